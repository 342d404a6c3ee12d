"""How alike two patients are, for typing by example: one number a pair, whatever their types are called.

Every fusion but a pair head is a dot product of prepared vectors, so that all pairs are one matrix product:

- ``single``, ``sum``, ``weighted``: the cosine that queries are answered by;
- ``evidence``: a weighted mean of two cosines, of the weighted sums and of the evidence profiles; how much the profiles
  count is chosen on labelled patients (`type_labelled`). A profile is the log-probability of each learned class, from
  `FLOOR` on, less its mean over the classes and less what the reference's patients have on average. Two tumours of a
  type that nobody has learned are equally far from those that were: how far from each says more of them than that they
  are none of them. Queries rank patients by the probability of being of one class instead, which is nearly 0 or 1 and
  cannot tell unlearned types apart.

Only modalities that a query has are compared, of the examples too. An encoder that judges pairs itself (`PairScorer`)
replaces the cosine in its own space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from molsig.retrieval.heads import log_softmax
from molsig.retrieval.neighbourhood import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]

FLOOR = -8.0
"""Lowest log-probability in a profile: below, classes are ruled out, and by how much is noise."""

LEAST = 1e-6
"""Pair probabilities are kept from 0 and 1 by so much before their log-odds are taken."""


@runtime_checkable
class PairScorer(Protocol):
    """An encoder with a head that tells whether two of its vectors are of one type."""

    def pair_probability(
        self, query_vectors: NDArray[np.float32], support_vectors: NDArray[np.float32]
    ) -> NDArray[np.floating]:
        """Probability of being of one type, (q, s), of vectors (q, 768) and (s, 768) of the encoder's space."""
        ...


@runtime_checkable
class PairLogits(PairScorer, Protocol):
    """One that gives log-odds too, which tell very alike pairs apart where probabilities round to 1."""

    def pair_logits(
        self, query_vectors: NDArray[np.float32], support_vectors: NDArray[np.float32]
    ) -> NDArray[np.floating]:
        """Log-odds of `pair_probability`, (q, s)."""
        ...


@dataclass(frozen=True, eq=False)
class PairScore:
    """A way of comparing patients who have some modalities.

    Attributes
    ----------
    fusion
        ``single``, ``sum``, ``weighted`` or ``evidence``.
    modalities
        What is compared.
    learned
        What `weighted` and `evidence` need.
    hidden
        Learned classes that profiles are without, as if they had not been learned.
    centre
        Mean profile, (classes kept,).
    scorer
        The pair head of the encoder of the only modality.
    share
        Weight of the profiles' cosine beside that of the weighted sums.
    """

    fusion: str
    modalities: tuple[str, ...]
    learned: Learned | None = None
    hidden: frozenset[str] = frozenset()
    centre: Array | None = None
    scorer: PairScorer | None = None
    share: float = 0.5

    @classmethod
    def fitted(
        cls,
        fusion: str,
        modalities: tuple[str, ...],
        learned: Learned | None,
        some: PatientVectors,
        *,
        hidden: frozenset[str] = frozenset(),
        scorer: PairScorer | None = None,
    ) -> PairScore:
        """Measure the mean profile on some of the reference's patients, where profiles are compared."""
        bare = cls(fusion, modalities, learned, hidden, None, scorer)
        if fusion != "evidence" or not len(some):
            return bare
        return cls(fusion, modalities, learned, hidden, bare._profiles(some.only(modalities)).mean(axis=0), scorer)

    @property
    def told(self) -> str:
        """What the similarity is, in a few words."""
        if self.scorer is not None:
            return "log-odds of the encoder's pair head"
        if self.fusion == "evidence":
            return f"{self.share:g} cosine of the evidence profiles + {1 - self.share:g} cosine of the weighted sums"
        return {"single": "cosine", "sum": "cosine of the sums"}.get(self.fusion, "cosine of the weighted sums")

    def prepared(self, vectors: PatientVectors) -> NDArray[np.float32]:
        """What a patient brings to all comparisons, float32 (n, d); d differs between fusions."""
        parts = self.parts(vectors)
        if len(parts) == 1:
            return parts[0]
        profiles, fused = parts
        return np.hstack([profiles * np.float32(np.sqrt(self.share)), fused * np.float32(np.sqrt(1 - self.share))])

    def parts(self, vectors: PatientVectors) -> list[NDArray[np.float32]]:
        """What is compared, at length 1 but for a pair head: of ``evidence`` the profiles and the weighted sums."""
        own = vectors.only(self.modalities)
        if self.fusion == "single":
            block = own.vectors[self.modalities[0]]
            return [block if self.scorer is not None else unit(block)]
        if self.fusion == "sum":
            return [unit(own.sums())]
        assert self.learned is not None
        fused = self.learned.weighted.fused(own)
        if self.fusion == "weighted":
            return [fused]
        profiles = self._profiles(own)
        if self.centre is not None:
            profiles = profiles - self.centre
        return [unit(profiles.astype(np.float32)), fused]

    def scores(self, queries: NDArray[np.float32], examples: NDArray[np.float32]) -> Array:
        """Similarity of all pairs of prepared queries and examples, float64 (q, s)."""
        if self.scorer is None:
            # Row by row, not as a matrix product, whose rounding depends on how many rows there are.
            if len(queries) == 1:
                return np.asarray(np.einsum("nd,d->n", examples, queries[0]), dtype=np.float64)[None]
            return np.asarray(queries @ examples.T, dtype=np.float64)
        if isinstance(self.scorer, PairLogits):
            return np.asarray(self.scorer.pair_logits(queries, examples), dtype=np.float64)
        told = np.asarray(self.scorer.pair_probability(queries, examples), dtype=np.float64).clip(LEAST, 1 - LEAST)
        return np.asarray(np.log(told) - np.log1p(-told))

    def _profiles(self, vectors: PatientVectors) -> Array:
        model = self.model
        kept = np.array([name not in self.hidden for name in model.classes])
        present = model.present(vectors)
        log_p = model.log_posterior(model.evidence(vectors), present)[:, kept]
        log_p = np.maximum(log_softmax(log_p), FLOOR)
        return np.asarray(log_p - log_p.mean(axis=1, keepdims=True))

    @property
    def model(self) -> EvidenceModel:
        """The evidence."""
        assert self.learned is not None
        assert self.learned.evidence is not None
        return self.learned.evidence
