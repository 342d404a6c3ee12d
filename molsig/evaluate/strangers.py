"""Labels that are left out of the gallery: are their patients told from the others by their strangeness?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.evaluate.bootstrap import with_intervals
from molsig.evaluate.metrics import auroc
from molsig.evaluate.report import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.report import Settings

LEAST_PATIENTS = 20
"""A label with fewer is not drawn to be left out."""


def labels_to_leave_out(
    labels: NDArray[np.str_], wanted: int | Sequence[str], folds: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Labels that the gallery of each fold is without.

    A number draws that many for each fold among the labels with `LEAST_PATIENTS`, those that have been drawn least so
    far first; names are left out in every fold. Empty where fewer than two labels would remain or too few are large.

    Raises
    ------
    UsageError
        A name is no label, or names leave fewer than two labels.
    """
    counts = Counter(labels.tolist())
    if not isinstance(wanted, int):
        if absent := [name for name in wanted if name not in counts]:
            raise UsageError(f"no patient has the label {absent[0]}; there are {', '.join(sorted(counts))}")
        if len(counts) - len(set(wanted)) < 2:
            raise UsageError(f"without {', '.join(wanted)} fewer than two labels are left")
        return (tuple(wanted),) * folds if wanted else ()
    large = [name for name, n in sorted(counts.items()) if n >= LEAST_PATIENTS]
    if wanted < 1 or len(large) < wanted or len(counts) - wanted < 2:
        return ()
    rng = np.random.default_rng(seed)
    turns = np.zeros(len(large))
    drawn = []
    for _ in range(folds):
        chosen = np.lexsort((rng.random(len(large)), turns))[:wanted]
        turns[chosen] += 1
        drawn.append(tuple(sorted(large[i] for i in chosen)))
    return tuple(drawn)


def known_from_unknown(
    scheme: str,
    method: str,
    strange: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    left_out: tuple[tuple[str, ...], ...],
    how: Settings,
) -> Unknown | None:
    """AUROC over all folds from each fold's strangeness and whether a patient's label was left out; None of nobody."""
    if not sum(len(new) for _, new in strange):
        return None
    scores, new = np.concatenate([s for s, _ in strange]), np.concatenate([n for _, n in strange])
    figure = with_intervals({"auroc": auroc(scores, new)}, len(new), draws=how.draws, seed=how.seed, level=how.level)
    return Unknown(scheme, method, int(new.sum()), left_out, figure["auroc"][0])
