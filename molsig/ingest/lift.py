"""Vectors of any length to 768 dimensions: an isometry upwards, a reduction that the user names downwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import InputError
from molsig.geometry import isometry
from molsig.ingest.mapped import blocks, room
from molsig.types import DIM

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Reduce = Literal["first", "last", "random"]


def to_768(
    vectors: NDArray[np.float32], reduce: Reduce | None, seed: int, file: str | Path
) -> tuple[NDArray[np.float32], str, str]:
    """Bring vectors to 768 dimensions: the vectors, what to add to the name of their space, and a note.

    Raises
    ------
    InputError
        More than 768 dimensions and no reduction named, or a reduction that leaves a vector of zeros.
    """
    dims = vectors.shape[1]
    if dims == DIM:
        return vectors, "", f"{DIM} dimensions, taken as they are"
    if dims < DIM:
        return (
            _times(vectors, isometry(dims, DIM, seed), file),
            f".lift{dims}-s{seed}",
            f"{dims} dimensions lifted to {DIM} by an isometry (seed {seed})",
        )
    if reduce is None:
        raise InputError(
            f"vectors of {dims:,} dimensions, and molsig stores {DIM}",
            file=file,
            hint="Say how to bring them down: reduce='first', 'last' or 'random'; or reduce them yourself",
        )
    if reduce == "random":
        # Scaled so that lengths keep their size on average (Johnson and Lindenstrauss, 1984).
        projection = isometry(DIM, dims, seed).T * np.sqrt(dims / DIM)
        reduced = _times(vectors, projection, file)
        suffix = f".random{dims}-s{seed}"
    else:
        reduced = room(len(vectors), DIM, file)
        for (_, part), (_, block) in zip(blocks(reduced), blocks(vectors), strict=True):
            part[:] = block[:, :DIM] if reduce == "first" else block[:, -DIM:]
        suffix = f".{reduce}{dims}"
    for start, block in blocks(reduced):
        zero = np.flatnonzero(~block.any(axis=1))
        if len(zero):
            row = start + int(zero[0]) + 1
            raise InputError(f"reduce={reduce!r} leaves nothing of this vector", file=file, row=row)
    return reduced, suffix, f"{dims:,} dimensions brought to {DIM}: {reduce}"


def _times(vectors: NDArray[np.float32], matrix: NDArray[np.float64], file: str | Path) -> NDArray[np.float32]:
    """Multiply in float64, some rows at a time."""
    product = room(len(vectors), matrix.shape[1], file)
    for (_, part), (_, block) in zip(blocks(product), blocks(vectors), strict=True):
        part[:] = block.astype(np.float64) @ matrix
    return product
