"""The pixels of tiles, read from their files when they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.ingest.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits
    from molsig.ingest.slides import Slide

MOST_OPEN = 8
"""Files that are open at the same time."""

MOST_HELD = 100_000_000
"""Decoded pixels of open files that are kept; the file that is read from is kept in any case."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file as it was when its tiles were found."""

    path: Path
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> OpenedFile:
        """Take note of a file; raises `InputError` if there is none."""
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"cannot be opened: {error.strerror}", file=path) from None
        return cls(path, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a tile lies in its file, in pixels of the full resolution.

    Attributes
    ----------
    file
        Position of the file in the list of them.
    across, down
        What of the tile lies within the image; less than `step` at the rim.
    step
        Edge of the tile.
    """

    file: int
    x: int
    y: int
    across: float
    down: float
    step: float


class TilePixels:
    """Reads tiles by row; few files are open at a time, and reads of several threads follow one another."""

    def __init__(self, files: tuple[OpenedFile, ...], pieces: tuple[Piece, ...], tile: int, limits: Limits) -> None:
        self._files = files
        self._pieces = pieces
        self._tile = tile
        self._limits = limits
        self._open: OrderedDict[int, Slide] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """Pixels of some tiles, uint8 RGB of shape (n_rows, tile, tile, 3).

        Raises
        ------
        InputError
            A file is damaged, or is no longer the one that the tiles were found in.
        UsageError
            A row does not exist.
        """
        out = np.empty((len(rows), self._tile, self._tile, 3), dtype=np.uint8)
        for place, row in enumerate(rows):
            if not 0 <= row < len(self._pieces):
                raise UsageError(f"there is no tile {row} among {len(self._pieces)}")
            with self._lock:
                out[place] = self._read(self._pieces[row])
        return out

    def close(self) -> None:
        """Let go of all files; they are opened again when they are needed."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _read(self, piece: Piece) -> NDArray[np.uint8]:
        size = (_share(piece.across, piece.step, self._tile), _share(piece.down, piece.step, self._tile))
        try:
            seen = self._slide(piece.file).read(piece.x, piece.y, piece.across, piece.down, size)
        except InputError:
            # After an error OpenSlide gives the same error for good: a file that was mended has to be opened anew.
            if broken := self._open.pop(piece.file, None):
                broken.close()
            raise
        if size == (self._tile, self._tile):
            return seen
        return np.pad(seen, ((0, self._tile - size[1]), (0, self._tile - size[0]), (0, 0)), mode="symmetric")

    def _slide(self, number: int) -> Slide:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        file = self._files[number]
        if OpenedFile.of(file.path) != file:
            raise InputError("has changed since its tiles were found", file=file.path, hint="Read it again")
        slide = open_slide(file.path, self._limits)
        self._open[number] = slide
        while len(self._open) > 1 and (
            len(self._open) > MOST_OPEN or sum(one.weight() for one in self._open.values()) > MOST_HELD
        ):
            self._open.popitem(last=False)[1].close()
        return slide


def _share(part: float, whole: float, tile: int) -> int:
    """Pixels that a part of a tile's edge fills; all of them where but a rounding is missing."""
    return tile if part > whole - 1.0 else max(1, min(tile, round(part / whole * tile)))
