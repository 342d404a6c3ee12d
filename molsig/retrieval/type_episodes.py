"""Questions with known answers, from labelled patients: which type is this one of, given some examples of each?

An episode draws a patient, some types with theirs among them, and examples of each, never the patient nor, where
another can be had, anybody of the same group (submitting site): what is learned from episodes holds for new hospitals.
All pairs are scored once; an episode is a few numbers looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Episodes:
    """Scores of the examples of each type, (episodes, types, shots), -inf where there is none; the right type of each.

    Where the right type has no example, the episode is left out.
    """

    scores: Array
    truth: Rows

    def __len__(self) -> int:
        return len(self.truth)

    @staticmethod
    def joined(parts: Sequence[Episodes]) -> Episodes:
        """Episodes over different types as one; places without a type hold -inf."""
        types = max(part.scores.shape[1] for part in parts)
        padded = [
            np.pad(one.scores, ((0, 0), (0, types - one.scores.shape[1]), (0, 0)), constant_values=-np.inf)
            for one in parts
        ]
        return Episodes(np.concatenate(padded), np.concatenate([part.truth for part in parts]))


def draw_episodes(
    scores: Array,
    codes: Rows,
    groups: Rows,
    *,
    ways: int,
    shots: int,
    episodes: int,
    random: np.random.Generator,
    patients: Rows | None = None,
) -> Episodes:
    """Draw episodes among patients all of whose pairs are scored.

    Parameters
    ----------
    scores
        Shape (n, n).
    codes
        Type of each, (n,), 0, 1, ...
    groups
        Group of each, (n,); -1 is in no group.
    ways
        Types an episode chooses from, at most.
    shots
        Examples of each type, as far as there are so many.
    patients
        Patient of each, (n,), where some have several samples.
    """
    types = int(codes.max()) + 1
    asked = random.integers(len(codes), size=episodes)
    barred = barred_pairs(groups, patients)
    found = np.full((episodes, types, shots), -np.inf)
    for code in range(types):
        members = np.flatnonzero(codes == code)
        keys = random.random((episodes, len(members))) + barred[asked[:, None], members]
        chosen = np.argsort(keys, axis=1)[:, :shots]
        drawn = scores[asked[:, None], members[chosen]]
        found[:, code, : drawn.shape[1]] = np.where(np.take_along_axis(keys, chosen, axis=1) < 1, drawn, -np.inf)
    truth = codes[asked]
    rows = np.arange(episodes)
    # The right type stays, others drop out by lot.
    lots = random.random((episodes, types)) + np.where(np.isfinite(found[..., 0]), 0.0, 2.0)
    lots[rows, truth] = -1.0
    out = np.argsort(lots, axis=1)[:, ways:]
    np.put_along_axis(found, out[..., None], -np.inf, axis=1)
    # Nothing can be asked where nobody else is of the type, or nothing else is there to choose.
    there = np.isfinite(found[..., 0])
    kept = there[rows, truth] & (there.sum(axis=1) > 1)
    return Episodes(found[kept], truth[kept])


def barred_pairs(groups: Rows, patients: Rows | None = None) -> NDArray[np.bool_]:
    """Pairs that may not meet, (n, n): each with itself, with its patient and with its group."""
    own = np.arange(len(groups)) if patients is None else patients
    return np.asarray(((groups[:, None] == groups) & (groups[:, None] >= 0)) | (own[:, None] == own))
