"""Encoders that learn from labels what makes two samples of one type: Siamese network, contrastive, whitening.

They are fitted on tumours of known type and serve types they have not seen: one labelled sample of a new type is enough
to compare with. All of them give 768-d vectors whose cosine proposes neighbours, and a head that gives the probability
that two vectors are of one type. Which samples they learn from is told by labels; everything else is as for the other
encoders of matrices (`expression`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders import forward, pair_head
from molsig.encoders.alignment import ALIGNMENTS, choose_alignment
from molsig.encoders.disk import ENCODED
from molsig.encoders.expression import CLIP, ExpressionEncoder, prepare, well_covered
from molsig.encoders.features import choose_features, gather, positions
from molsig.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.alignment import Alignment
    from molsig.encoders.choice import Metric
    from molsig.encoders.encoder import Rows
    from molsig.types import FeatureMatrix, Progress

VERSION = 1
FEWEST_TYPES = 4
FEWEST_OF_TYPE = 5
"""Samples that a type must have to be learned from."""

LEAST = 0.8
FAINT = f"mean and deviation below {LEAST} in the samples learned from"
"""As in CancerSiamese: such genes hardly ever rise above noise."""


class MetricEncoder(ExpressionEncoder):
    """Encoder of a matrix that was fitted to labels."""

    def _embed_few(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        if self.card.architecture["metric"] != "whitened":
            return None
        return forward.whitening(self._network_weights(), inputs)

    def _build(self) -> Any:
        n = len(self.features)
        kind = self.card.architecture["metric"]
        if kind == "siamese":
            from molsig.encoders.siamese_network import Siamese

            return Siamese(n, monotone=self.card.hyperparameters["monotone"])
        if kind == "contrastive":
            from molsig.encoders.contrastive import Contrastive

            return Contrastive(n)
        from molsig.encoders.whitening import Whitening

        return Whitening(n)

    def pair_probability(
        self, query_vectors: NDArray[np.float32], support_vectors: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Probability that a query and a support sample are of one type, if that is as likely as not beforehand.

        Parameters
        ----------
        query_vectors, support_vectors
            Vectors of this encoder, (n, 768) and (m, 768).

        Returns
        -------
        ndarray
            Float64, (n, m).
        """
        return pair_head.probability(self.pair_logits(query_vectors, support_vectors))

    def pair_logits(
        self, query_vectors: NDArray[np.float32], support_vectors: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Log-odds of `pair_probability`, which tell very alike pairs apart where probabilities round to 1."""
        tensors = self._contents.tensors
        try:
            if pair_head.LOGISTIC in tensors:
                return pair_head.cosine_logits(tensors[pair_head.LOGISTIC], query_vectors, support_vectors)
            return pair_head.siamese_logits(tensors, query_vectors, support_vectors)
        except (KeyError, ValueError) as error:
            raise self._misfit(error) from None


def fit_metric(
    matrix: FeatureMatrix,
    labels: Sequence[str | None],
    *,
    metric: Metric,
    seed: int,
    epochs: int | None,
    device: str,
    alignment: Alignment | None,
    learnt: Sequence[int] | None,
    all_features: bool,
    progress: Progress,
    settings: Any = None,
) -> MetricEncoder:
    """Fit an encoder to labelled tumours; see `molsig.encoders.encoder.fit_encoder`.

    Parameters
    ----------
    labels
        Type of each sample of the matrix, None where it is not known. Only samples of the kind ``tumour`` are learned
        from, and of types with at least `FEWEST_OF_TYPE` of them.
    settings
        `SiameseSettings` or `ContrastiveSettings`, for those who compare; the defaults are those that were chosen.
    """
    from molsig.encoders.fitting import Job

    if alignment is not None and alignment not in ALIGNMENTS:
        raise UsageError(f"{alignment!r} is no alignment: use {', '.join(ALIGNMENTS)}")
    rows, kinds, names = _labelled(matrix, labels, learnt)
    uses = choose_features(matrix, faint=True, absent=all_features)
    if matrix.scale == "log2":
        uses = _without_faint(matrix, uses, rows)
    encoded = [name for name, use in uses.items() if use == ENCODED]
    columns = positions(matrix.features, encoded)
    covered = np.isin(rows, well_covered(matrix, columns))
    rows, kinds, names = _enough(matrix, rows[covered], [names[kind] for kind in kinds[covered]])
    values = gather(matrix.values, rows, columns)
    method = alignment or choose_alignment(matrix.scale, len(encoded))
    around = prepare(values, method, least=1e-6)
    job = Job(
        name=f"{matrix.modality}-{metric}",
        version=VERSION,
        modality=matrix.modality,
        scale=matrix.scale,
        samples=[matrix.samples[row] for row in rows],
        inputs=lambda some: values[some],
        uses=uses,
        around=around,
        architecture={"metric": metric},
        hyperparameters={"alignment": method, "clip": CLIP, "samples_left_out": len(matrix.samples) - len(rows)},
        notes={"samples_by_type": {names[kind]: int(n) for kind, n in enumerate(np.bincount(kinds))}},
    )
    from molsig.encoders.metric_fitting import fit

    contents = fit(job, values, kinds, metric, settings, seed=seed, epochs=epochs, device=device, progress=progress)
    return MetricEncoder(contents, device)


def _labelled(
    matrix: FeatureMatrix, labels: Sequence[str | None], learnt: Sequence[int] | None
) -> tuple[Rows, Rows, list[str]]:
    if len(labels) != len(matrix.samples):
        raise UsageError(f"there are {len(labels)} labels for {len(matrix.samples)} samples")
    allowed = np.ones(len(labels), dtype=bool)
    if learnt is not None:
        allowed[:] = False
        allowed[np.asarray(learnt, dtype=np.int64)] = True
    known = [
        row
        for row, (one, label) in enumerate(zip(matrix.samples, labels, strict=True))
        if allowed[row] and label is not None and one.kind == "tumour"
    ]
    return _enough(matrix, np.array(known, dtype=np.int64), [str(labels[row]) for row in known])


def _enough(matrix: FeatureMatrix, rows: Rows, labels: Sequence[str]) -> tuple[Rows, Rows, list[str]]:
    """Rows of types with enough samples, the number of each one's type, and the types' names."""
    sizes = Counter(labels)
    names = sorted(name for name, n in sizes.items() if n >= FEWEST_OF_TYPE)
    if len(names) < FEWEST_TYPES:
        raise InputError(
            f"an encoder that learns from types needs {FEWEST_TYPES} of them with at least {FEWEST_OF_TYPE} tumours "
            f"each, there are {len(names)}: {', '.join(f'{name} ({n})' for name, n in sizes.most_common(6)) or 'none'}",
            file=matrix.report.file,
            hint="Give a patient table whose column tells the type, or another column with --label, or fit a vae",
        )
    number = {name: place for place, name in enumerate(names)}
    kept = np.array([label in number for label in labels])
    kinds = np.array([number[label] for label in labels if label in number], dtype=np.int64)
    return rows[kept], kinds, names


def _without_faint(matrix: FeatureMatrix, uses: dict[str, str], rows: Rows) -> dict[str, str]:
    encoded = [name for name, use in uses.items() if use == ENCODED]
    values = gather(matrix.values, rows, positions(matrix.features, encoded)).astype(np.float64)
    faint = (np.nanmean(values, axis=0) < LEAST) & (np.nanstd(values, axis=0) < LEAST)
    if len(encoded) - int(faint.sum()) < 2:
        raise InputError(
            f"fewer than two of {len(encoded)} features have a mean or a deviation of {LEAST} on the log2 scale",
            file=matrix.report.file,
            hint="Tell the reader the scale of the file",
        )
    return uses | {name: FAINT for name, one in zip(encoded, faint, strict=True) if one}
