"""Summed aggregates as the study draws them: some embeddings, chosen at random, summed; what was chosen is known.

After doi 10.1101/2025.05.14.653900, Approach and Embedding Aggregation. Its first strategy sums embeddings of any
patients, drawn modality by modality with equal chances (``simple``), or of patients of one cancer type (``specific``).
Its second sums embeddings of one patient, n of them, r times over, and sets the r sums side by side.

The study does not say whether an embedding may be drawn twice into one sum, nor what becomes of a patient with fewer
than n embeddings. Here embeddings of many patients are drawn with replacement (a repeat among thousands is rare), and
a patient's own without, unless they have fewer than n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.pool import Pool

MEMORY = 256 << 20
"""Bytes that may be taken beside the result while sums are made."""

NOISE = -1
"""In place of a row: a constituent that is noise."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Aggregates and what they were made of; r is 1 but for patient-level sampling.

    Attributes
    ----------
    modalities
        Names, in the order of `counts`.
    vectors
        float32 (k, r * 768).
    counts
        How many embeddings of each modality, int64 (k, r, modalities).
    rows
        Rows of the pool that were summed, int64 (k, r, n); `NOISE` for a constituent that was replaced by noise.
    group
        Code of the group each sum was drawn in, int64 (k,): of the patient in the pool, or of the type in `groups`.
    groups
        Names of the types; empty where sums are of patients or of any type.
    """

    modalities: tuple[str, ...]
    vectors: NDArray[np.float32]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def totals(self) -> NDArray[np.int64]:
        """How many embeddings, noise left out, are in each sum, (k, r)."""
        total: NDArray[np.int64] = self.counts.sum(axis=2)
        return total


def sample_modalities(pool: Pool, n: int, size: int, *, seed: int, within: Sequence[str | None] | None = None) -> Sums:
    """Draw sums of n embeddings of any patients: each draw takes a modality, all equally likely, then a row of it.

    Parameters
    ----------
    pool
        What is drawn from.
    n
        Embeddings per sum (the study's sample count).
    size
        Number of sums.
    seed
        Rules every draw.
    within
        A label per patient of `pool.patients`, or None where it is unknown: all embeddings of a sum come from patients
        of one label (``specific``), labels equally likely. Without it all patients are one pool (``simple``).

    Raises
    ------
    UsageError
        `n` or `size` is below 1, or there is nothing to draw from.
    """
    _check(n, 1)
    if size < 1:
        raise UsageError(f"{size} sums: draw at least 1")
    if within is None:
        names: tuple[str, ...] = ()
        group = np.zeros(len(pool), np.int64)
    else:
        if len(within) != len(pool.patients):
            raise UsageError(f"{len(within)} labels for the {len(pool.patients)} patients of the pool")
        of_patient = ["" if one is None else one for one in within]
        held = {of_patient[code] for code in np.unique(pool.patient)} - {""}
        names = tuple(sorted(held))
        place = {name: i for i, name in enumerate(names)}
        group = np.array([place.get(one, -1) for one in of_patient], np.int64)[pool.patient]
    if not len(pool) or (within is not None and not names):
        raise UsageError("there are no vectors to draw from")
    table = _Table.of(pool, group, max(1, len(names)))
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, max(1, len(names)), size)
    rows, drawn = table.draw(groups, n, rng)
    return Sums(
        pool.modalities,
        sum_rows(pool.vectors, rows),
        count_codes(drawn, len(pool.modalities))[:, None],
        rows[:, None],
        groups,
        names,
    )


def sample_patients(pool: Pool, n: int, repeats: int, *, seed: int) -> Sums:
    """Draw n embeddings of each patient, sum them, and do so `repeats` times; the sums stand side by side.

    Every modality that a patient has is as likely as the others, however many embeddings there are of it: among
    hundreds of tiles the one RNA profile would hardly ever be drawn. A patient with n embeddings or more gives n
    different ones; one with fewer gives n with replacement, so that every sum has n.

    Returns
    -------
    Sums
        One row per patient with any vector, by patient code: `vectors` (k, repeats * 768), `group` the patient's code.

    Raises
    ------
    UsageError
        `n` or `repeats` is below 1, or there is nothing to draw from.
    """
    _check(n, repeats)
    patients = np.unique(pool.patient)
    if not len(patients):
        raise UsageError("there are no vectors to draw from")
    rng = np.random.default_rng(seed)
    table = _Table.of(pool, pool.patient, len(pool.patients))
    rich = np.bincount(pool.patient, minlength=len(pool.patients))[patients] >= n
    rows = np.empty((len(patients), repeats, n), np.int64)
    for turn in range(repeats):
        rows[~rich, turn] = table.draw(patients[~rich], n, rng)[0]
        rows[rich, turn] = _subsets(pool, patients[rich], n, rng)
    flat = rows.reshape(-1, n)
    counts = count_codes(pool.modality[flat], len(pool.modalities)).reshape(len(patients), repeats, -1)
    vectors = sum_rows(pool.vectors, flat).reshape(len(patients), repeats * DIM)
    return Sums(pool.modalities, vectors, counts, rows, patients)


def with_noise(sums: Sums, pool: Pool, share: float, *, seed: int) -> Sums:
    """Replace a share of each sum's constituents by Gaussian noise as long as an embedding is.

    Of a share that is no whole number of constituents the fraction is the chance of one more, so that the mean is met.
    Counts tell the embeddings that are left.

    Parameters
    ----------
    share
        Between 0 and 1.

    Raises
    ------
    UsageError
        The sums have more than one repeat, or the share is out of range.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"a share of {share} cannot be replaced: choose one between 0 and 1")
    if sums.rows.shape[1] != 1:
        raise UsageError("noise goes into sums of one repeat")
    rng = np.random.default_rng(seed)
    rows = sums.rows[:, 0].copy()
    n = rows.shape[1]
    exact = np.full(len(rows), share * n)
    replaced = np.minimum(n, np.floor(exact + rng.random(len(rows)) * (exact % 1 > 0))).astype(np.int64)
    rank = rng.random(rows.shape).argsort(axis=1).argsort(axis=1)
    noise = rank < replaced[:, None]
    rows[noise] = NOISE
    # Rows of the pool are summed in float64 blocks: so is the noise, whose q parts are one draw of q-fold variance.
    scale = np.sqrt(np.mean([np.einsum("ij,ij->i", block, block).mean() for block in _blocks(pool.vectors)]) / DIM)
    vectors = sum_rows(pool.vectors, rows)
    for start in range(0, len(rows), _PER_BLOCK):
        part = slice(start, start + _PER_BLOCK)
        spread = scale * np.sqrt(replaced[part, None])
        vectors[part] += (rng.standard_normal((len(vectors[part]), DIM)) * spread).astype(np.float32)
    kept = np.where(noise, len(sums.modalities), pool.modality[rows])
    counts = count_codes(kept, len(sums.modalities) + 1)[:, None, :-1]
    return replace(sums, vectors=vectors, rows=rows[:, None], counts=counts)


_PER_BLOCK = 16_384


def sum_rows(vectors: NDArray[np.float32], rows: NDArray[np.int64], *, memory: int = MEMORY) -> NDArray[np.float32]:
    """Sum rows of a matrix, set by set.

    Parameters
    ----------
    vectors
        (n, d).
    rows
        (k, m): the rows of each set; `NOISE` adds nothing.
    memory
        Bytes to take beside the result.

    Returns
    -------
    ndarray
        float32 (k, d), summed in float64 so that the order of the rows does not show.
    """
    total = np.empty((len(rows), vectors.shape[1]), np.float32)
    # Beside the float64 sums a block holds the float32 rows that are being added.
    step = max(1, memory // (vectors.shape[1] * 12))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        part = np.zeros((len(block), vectors.shape[1]))
        for column in block.T:
            real = column != NOISE
            if real.all():
                part += vectors[column]
            else:
                part[real] += vectors[column[real]]
        total[start : start + step] = part
    return total


def count_codes(codes: NDArray[np.int64], kinds: int) -> NDArray[np.int64]:
    """How often each of `kinds` codes stands in each row of (k, n) codes, int64 (k, kinds)."""
    places = np.arange(len(codes))[:, None] * kinds + codes
    return np.bincount(places.ravel(), minlength=len(codes) * kinds).reshape(-1, kinds).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows of a pool by group and modality.

    Attributes
    ----------
    order
        Rows sorted by group, then modality.
    start, size
        Where the rows of a group and modality are in `order`, and how many, (groups, modalities).
    held
        The modalities a group has, first in each row, (groups, modalities); `kinds` of them, (groups,).
    """

    order: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    held: NDArray[np.int64]
    kinds: NDArray[np.int64]

    @classmethod
    def of(cls, pool: Pool, group: NDArray[np.int64], groups: int) -> _Table:
        """Sort the rows; those of group -1 are left out."""
        width = len(pool.modalities)
        known = np.flatnonzero(group >= 0)
        key = group[known] * width + pool.modality[known]
        size = np.bincount(key, minlength=groups * width).reshape(groups, width)
        start = np.concatenate([[0], size.ravel().cumsum()[:-1]]).reshape(size.shape)
        held = np.argsort(size == 0, axis=1, kind="stable")
        return cls(known[np.argsort(key, kind="stable")], start, size, held, (size > 0).sum(axis=1))

    def draw(
        self, groups: NDArray[np.int64], n: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw n rows in each group with replacement: a modality that the group has, then a row; and the modalities."""
        of = groups[:, None]
        choice = (rng.random((len(groups), n)) * self.kinds[of]).astype(np.int64)
        modality = self.held[of, choice]
        place = (rng.random((len(groups), n)) * self.size[of, modality]).astype(np.int64)
        return self.order[self.start[of, modality] + place], modality


def _subsets(pool: Pool, patients: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n different rows of each patient, each of whom has so many, (patients, n).

    Rows are drawn one after the other with chances in proportion to 1 / (rows of that modality of that patient), which
    is the same as taking the n earliest of exponential waiting times with those rates (Efraimidis and Spirakis 2006).
    """
    rows = np.flatnonzero(np.isin(pool.patient, patients))
    of, modality = pool.patient[rows], pool.modality[rows]
    key = of * len(pool.modalities) + modality
    crowd = np.bincount(key)[key] if len(key) else key
    order = np.lexsort((rng.exponential(size=len(rows)) * crowd, of))
    sizes = np.bincount(of, minlength=len(pool.patients))[patients]
    starts = np.concatenate([[0], sizes.cumsum()[:-1]]) if len(sizes) else sizes
    drawn: NDArray[np.int64] = rows[order[starts[:, None] + np.arange(n)]]
    return drawn


def _blocks(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [vectors[start : start + _PER_BLOCK] for start in range(0, len(vectors), _PER_BLOCK)]


def _check(n: int, repeats: int) -> None:
    if n < 1 or repeats < 1:
        raise UsageError(f"{n} embeddings, {repeats} times: both have to be at least 1")
