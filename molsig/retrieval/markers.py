"""Marker genes: which features make two tumours of one type alike to a metric.

    w(x, y) = d score(x, y) / d (x, y)          by guided backpropagation, for a matched pair of tumours
    s_t     = mean over pairs of type t of (|w_x| + |w_y|) / 2

After CancerSiamese (doi:10.1186/s12859-021-04157-w, Methods, "Identifying the marker genes"): up to 3,000 different
pairs of a type, both samples averaged. Two things are other than there. Magnitudes are averaged: the score looks at
differences, so that what it says of the one sample is nearly what it says of the other with the sign turned, and signed
values cancel. And each type counts as much as the others in the overall score, however many pairs or however steep
a score it has: s_t is divided by its sum.

The score is the logit of the Siamese network's head on features, as in the paper but before its last sigmoid, whose
slope vanishes for the surest pairs. A monotone head, which only ever lowers its logit, is asked for the logit with its
sign turned, how different the two are: guided backpropagation stops what is negative, which would be all of it. Of
every other encoder the score is the cosine of the two vectors, and guided is the plain gradient unless the network has
a ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, MolsigError, UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from molsig.encoders.attribution import Score
    from molsig.encoders.expression import ExpressionEncoder
    from molsig.types import FeatureMatrix, Progress

    Rows = NDArray[np.int64]

MOST_PAIRS = 3000
"""Pairs of each type, as in the paper."""
FEWEST_SAMPLES = 3
"""Tumours of different patients that a type needs to have markers."""
TOP = 100
"""Rank up to which a feature is said to be on top in a type; the paper's set has so many."""


@dataclass(frozen=True, slots=True)
class Markers:
    """Features ranked by what they do for a matched pair.

    Attributes
    ----------
    features
        Names, in the order of the encoder's input.
    by_type
        Score of each feature for the pairs of each type, each row adding up to 1, (types, features).
    overall
        Mean of it over types, (features,).
    types, pairs, samples
        Names of the types and how many pairs and samples of each were looked at.
    """

    features: tuple[str, ...]
    by_type: NDArray[np.float64]
    overall: NDArray[np.float64]
    types: tuple[str, ...]
    pairs: tuple[int, ...]
    samples: tuple[int, ...]
    method: str
    score: str

    def ranking(self, type_: str | None = None) -> Rows:
        """Places of the features, the best first: over all types, or of one."""
        scores = self.overall if type_ is None else self.by_type[self.types.index(type_)]
        return np.argsort(-scores, kind="stable")

    def on_top(self, top: int = TOP) -> NDArray[np.bool_]:
        """Whether each feature is among the `top` of each type, (types, features)."""
        order = np.argsort(-self.by_type, axis=1, kind="stable")[:, :top]
        found = np.zeros(self.by_type.shape, dtype=bool)
        np.put_along_axis(found, order, True, axis=1)
        return found


def rank_markers(
    encoder: ExpressionEncoder,
    matrix: FeatureMatrix,
    labels: Sequence[str | None],
    *,
    pairs: int = MOST_PAIRS,
    method: str = "guided",
    seed: int = 0,
    progress: Progress = silent,
) -> Markers:
    """Rank the features of an encoder by their saliency for matched pairs of tumours.

    Parameters
    ----------
    encoder
        Any encoder of a matrix; one that has learned from types says most.
    labels
        Type of each sample of the matrix, None where it is not known. Only samples of the kind ``tumour`` are paired.
    pairs
        Most pairs of a type; those of two samples of one patient are left out.
    method
        ``guided`` or ``gradient`` of `molsig.encoders.attribution`.

    Raises
    ------
    InputError
        No type has enough patients.
    UsageError
        The method compares with a reference, which a pair has none of.
    """
    from molsig.encoders.attribution import attribute

    if method not in {"guided", "gradient"}:
        raise UsageError(f"markers are ranked by guided or gradient, not by {method!r}")
    if len(labels) != len(matrix.samples):
        raise UsageError(f"there are {len(labels)} labels for {len(matrix.samples)} samples")
    rows_of = _rows_of_types(matrix, labels)
    if not rows_of:
        raise InputError(
            f"no type has tumours of {FEWEST_SAMPLES} patients, which pairs are made of",
            file=matrix.report.file,
            hint="Check that the patients of the file are those of the labels",
        )
    network, score, told = pair_score(encoder)
    random = np.random.default_rng(seed)
    saliency, counts = [], []
    for number, rows in enumerate(rows_of.values()):
        inputs = encoder.network_inputs(matrix, rows)
        first, second = _matched(np.array([matrix.samples[row].patient for row in rows]), pairs, random)
        total = np.zeros(len(encoder.features))
        for part in np.array_split(np.arange(len(first)), -(-len(first) // 1024)):
            both = np.stack([inputs[first[part]], inputs[second[part]]], axis=1)
            found = attribute(network, both, method=method, score=score).values
            total += np.abs(found).sum(axis=(0, 1), dtype=np.float64)
        if not total.sum() > 0:
            raise MolsigError(
                f"no feature moves the {told} of any pair: the network of {encoder.space} has learned nothing that "
                f"{method} sees. Use the method gradient, or fit the encoder anew"
            )
        saliency.append(total / total.sum())
        counts.append(len(first))
        progress("pairs of each type", number + 1, len(rows_of))
    by_type = np.array(saliency)
    return Markers(
        features=tuple(encoder.features),
        by_type=by_type,
        overall=by_type.mean(axis=0),
        types=tuple(rows_of),
        pairs=tuple(counts),
        samples=tuple(len(rows) for rows in rows_of.values()),
        method=method,
        score=told,
    )


def pair_score(encoder: ExpressionEncoder) -> tuple[nn.Module, Score, str]:
    """Network of an encoder, its score of pairs (n, 2, features), and what that is in words."""
    import torch
    from torch.nn import functional

    network = encoder.network()
    if encoder.card.architecture.get("metric") == "siamese":
        monotone = bool(encoder.card.hyperparameters["monotone"])

        def head(module: Any, x: Tensor) -> Tensor:
            features = module.cnn(x.reshape(-1, x.shape[-1])).reshape(len(x), 2, -1)
            logit: Tensor = module.head(features[:, 0], features[:, 1])
            return -logit if monotone else logit

        return network, head, f"{'negative ' if monotone else ''}logit of the similarity head"

    def cosine(module: Any, x: Tensor) -> Tensor:
        vectors = module.embed(x.reshape(-1, x.shape[-1])).reshape(len(x), 2, -1)
        unit = functional.normalize(vectors, dim=2)
        found: Tensor = torch.sum(unit[:, 0] * unit[:, 1], dim=1)
        return found

    return network, cosine, "cosine of the vectors"


def _rows_of_types(matrix: FeatureMatrix, labels: Sequence[str | None]) -> dict[str, Rows]:
    held: dict[str, list[int]] = {}
    for row, (one, label) in enumerate(zip(matrix.samples, labels, strict=True)):
        if label is not None and one.kind == "tumour":
            held.setdefault(label, []).append(row)
    return {
        name: np.array(rows, dtype=np.int64)
        for name, rows in sorted(held.items())
        if len({matrix.samples[row].patient for row in rows}) >= FEWEST_SAMPLES
    }


def _matched(patients: NDArray[np.str_], most: int, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Up to `most` different pairs of samples of different patients, each equally likely."""
    first, second = np.triu_indices(len(patients), 1)
    different = np.flatnonzero(patients[first] != patients[second])
    chosen = random.choice(different, min(most, len(different)), replace=False)
    return first[chosen], second[chosen]
