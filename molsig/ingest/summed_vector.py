"""Vectors to be taken apart: a .npy array, or text with 768 numbers for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.types import DIM

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MOST_BYTES = 64 << 20
"""Largest file: some thousand vectors as text."""

_HINT = f"Give a .npy array of {DIM} numbers (or n x {DIM}), or text with {DIM} numbers for each vector"


def read_summed_vectors(path: Path) -> NDArray[np.float32]:
    """Read one vector or several.

    Parameters
    ----------
    path
        ``.npy``: an array of shape (768,) or (n, 768). Anything else is read as text: numbers between blanks, commas or
        line breaks, 768 for each vector one after the other.

    Returns
    -------
    ndarray
        float32 (n, 768).

    Raises
    ------
    InputError
        The file cannot be read, holds something that is no finite number, or not 768 of them for each vector.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"is {size / 1e6:,.0f} MB, more than {MOST_BYTES / 1e6:,.0f}", file=path, hint=_HINT)
        numbers = _read_npy(path) if path.suffix.lower() == ".npy" else _read_text(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from None
    if numbers.size == 0 or numbers.size % DIM or (numbers.ndim > 1 and numbers.shape[-1] != DIM):
        shape = " x ".join(map(str, numbers.shape))
        raise InputError(f"holds {shape} numbers, not {DIM} for each vector", file=path, hint=_HINT)
    found = numbers.reshape(-1, DIM).astype(np.float32)
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0]
        raise InputError(f"number {column + 1} of vector {row + 1} is not finite", file=path)
    return found


def _read_npy(path: Path) -> NDArray[np.float64]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"is no .npy array of numbers: {error}", file=path, hint=_HINT) from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"holds {array.dtype}, not numbers", file=path, hint=_HINT)
    with np.errstate(over="ignore"):
        numbers: NDArray[np.float64] = array.astype(np.float64)
    return numbers


def _read_text(path: Path) -> NDArray[np.float64]:
    numbers: list[float] = []
    try:
        with path.open(encoding="utf-8") as file:
            for row, line in enumerate(file, 1):
                words = line.replace(",", " ").split()
                try:
                    numbers += map(float, words)
                except ValueError:
                    wrong = next(word for word in words if not _is_number(word))
                    raise InputError(f"{wrong[:40]!r} is no number", file=path, row=row, hint=_HINT) from None
    except UnicodeDecodeError:
        raise InputError("is neither text nor named .npy", file=path, hint=_HINT) from None
    return np.array(numbers)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
