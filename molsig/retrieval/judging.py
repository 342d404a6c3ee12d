"""What the learned evidence makes of queries: of their own vectors, and of the stored patients nearest to them.

In each modality the nearest patients of a known class vote, and how near the very nearest are tells how familiar the
query is. No filter holds for them; only the query's own patient is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.heads import NEIGHBOURS
from molsig.retrieval.neighbourhood import STRANGE_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.hits import Ranked
    from molsig.index.store import Store
    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Near:
    """The patients nearest to a query in one modality, nearest first: hits `begin` to `end`, some left out."""

    ranked: Ranked
    begin: int
    end: int
    left_out: Sequence[str] = ()

    def patients(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Their codes in the view, and their cosines."""
        codes = self.ranked.codes[self.begin : self.end]
        scores = self.ranked.scores[self.begin : self.end]
        if not self.left_out:
            return codes, scores
        kept = ~np.isin(codes, self.ranked.view.codes_of(self.left_out))
        return codes[kept], scores[kept]


@dataclass(frozen=True, eq=False)
class Judged:
    """What was made of queries.

    Attributes
    ----------
    modalities
        Those of the evidence.
    posterior
        Probability of each class, (queries, classes).
    strange
        Share of stored patients who are less strange, (queries,).
    present
        Which of the modalities each query has, (modalities, queries).
    alone
        The posterior by each modality on its own, (modalities, queries, classes).
    chance
        Log-probability that two patients are of the same class by chance.
    """

    modalities: tuple[str, ...]
    posterior: Array
    strange: Array
    present: NDArray[np.bool_]
    alone: Array
    chance: float

    def of(self, row: int) -> Judged:
        """One query, its axis kept."""
        if len(self.posterior) == 1:
            return self
        one = slice(row, row + 1)
        return replace(
            self,
            posterior=self.posterior[one],
            strange=self.strange[one],
            present=self.present[:, one],
            alone=self.alone[:, one],
        )


def judge(
    store: Store,
    model: EvidenceModel,
    asked: PatientVectors,
    near: Mapping[str, Sequence[Near | None]],
    label: str,
) -> Judged:
    """What the model makes of the queries and of who is near them, by modality; None where a query has not got it."""
    counts: dict[str, Array] = {}
    nearness: dict[str, Array] = {}
    for modality in model.compared:
        counts[modality] = np.zeros((len(asked), len(model.classes)))
        nearness[modality] = np.full(len(asked), -1.0)
        for row, one in enumerate(near[modality]):
            if one is None:
                continue
            codes, cosines = one.patients()
            if not len(codes):
                continue
            nearness[modality][row] = cosines[:STRANGE_AFTER].astype(np.float64).mean()
            voters = store.classes_of(label, model.classes, one.ranked.view.patients, codes)
            counts[modality][row] = np.bincount(voters[voters >= 0][:NEIGHBOURS], minlength=len(model.classes))
    present = model.present(asked)
    evidence = model.evidence(asked, counts)
    log_posterior = model.log_posterior(evidence, present)
    return Judged(
        model.modalities,
        np.exp(log_posterior),
        model.strangeness(nearness, present, log_posterior),
        present,
        model.alone(evidence),
        model.chance,
    )
