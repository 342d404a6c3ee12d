"""How well compositions are recognised: presence of each modality, all rows and by true label, and counts.

The study scores rows with and without a modality apart (doi 10.1101/2025.05.14.653900, Metric calculation for
recognizer network evaluation), so that a model that always says "absent" does not look good. Within such a group there
is one label: recall, precision and F1 of that label are defined, MCC and balanced accuracy are given for all rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelScore:
    """Scores of one label among the rows that have it: `recall` is also the group's accuracy.

    `precision` and `f1` count the whole test set's mistakes with this label. None where no row has it.
    """

    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class PresenceScore:
    """Scores of one modality.

    Attributes
    ----------
    mcc, balanced_accuracy
        Over all rows; None where every row has the same label.
    present, absent
        Rows that have the modality (the study's non-zero-labelled) and rows that have not (zero-labelled).
    """

    modality: str
    mcc: float | None
    balanced_accuracy: float | None
    present: LabelScore
    absent: LabelScore

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def presence_scores(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], modalities: Sequence[str]
) -> list[PresenceScore]:
    """Score presence, bool (k, modalities) each.

    Raises
    ------
    UsageError
        The arrays differ in shape.
    """
    if found.shape != truth.shape or found.shape[1] != len(modalities):
        raise UsageError(f"{found.shape} answers for {truth.shape} truths of {len(modalities)} modalities")
    scores = []
    for m, name in enumerate(modalities):
        said, real = found[:, m], truth[:, m]
        present, absent = _label(said, real), _label(~said, ~real)
        both = None if present.recall is None or absent.recall is None else (present.recall + absent.recall) / 2
        scores.append(PresenceScore(name, matthews(said, real), both, present, absent))
    return scores


def matthews(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float | None:
    """Matthews correlation coefficient; 0 where one label is never said, None where one never occurs."""
    if truth.all() or not truth.any():
        return None
    if found.all() or not found.any():
        return 0.0
    return float(np.corrcoef(found, truth)[0, 1])


def count_scores(
    found: NDArray[np.int64], truth: NDArray[np.int64], modalities: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Share of exact counts and mean absolute error by modality, and under ``all`` of the whole composition."""
    exact = found == truth
    error = np.abs(found - truth)
    scores = {
        name: {"exact": float(exact[:, m].mean()), "error": float(error[:, m].mean())}
        for m, name in enumerate(modalities)
    }
    return scores | {"all": {"exact": float(exact.all(axis=1).mean()), "error": float(error.sum(axis=1).mean())}}


def _label(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> LabelScore:
    rows, right, said = int(truth.sum()), int((found & truth).sum()), int(found.sum())
    recall = right / rows if rows else None
    precision = right / said if said else None
    f1 = 2 * right / (rows + said) if rows else None
    return LabelScore(rows, precision, recall, f1)
