"""What readers accept: bounds that keep a broken or hostile file from taking the machine down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
MIB = 1 << 20

MAX_LINE_BYTES = 64 * MIB
"""Longest line of a text file; a parser has to hold one whole line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds shared by all readers; every reader takes its own `limits=`.

    The defaults admit a matrix of 60,000 genes by 11,000 samples (660 million cells). Reading takes 8 bytes of memory
    a cell and up to 1 GB besides: some 6 GB for that one.

    Attributes
    ----------
    max_bytes
        Size of one file on disk.
    max_unpacked_bytes
        Bytes that come out of a compressed file.
    max_ratio, ratio_floor
        Unpacked over packed size; not looked at before `ratio_floor` bytes have come out, so that a small file of
        zeros is not taken for a bomb.
    max_columns, max_rows, max_cells
        Shape of a table or array.
    max_cell_chars
        Length of one cell or one report.
    max_files
        Files in a folder.
    max_pdf_bytes, max_pages
        Size of one PDF, which is held in memory, and its pages.
    max_image_pixels
        One image in a PDF page that has to be rendered.
    max_page_pixels
        A rendered page; larger ones are rendered coarser.
    max_pixels
        Pixels of an image that is decoded whole: PNG, JPEG, TIFF without tiles.
    max_tiles
        Tiles that a grid over one slide may have, background included.
    """

    max_bytes: int = 8 * GIB
    max_unpacked_bytes: int = 16 * GIB
    max_ratio: float = 200.0
    ratio_floor: int = 256 * MIB
    max_columns: int = 100_000
    max_rows: int = 50_000_000
    max_cells: int = 1_000_000_000
    max_cell_chars: int = 1_000_000
    max_files: int = 100_000
    max_pdf_bytes: int = 512 * MIB
    max_pages: int = 2_000
    max_image_pixels: int = 150_000_000
    max_page_pixels: int = 16_000_000
    max_pixels: int = 89_478_485
    max_tiles: int = 250_000

    def check_shape(self, rows: int, columns: int, file: str | Path) -> None:
        """Raise `InputError` if a table of this shape is over the limits."""
        if columns > self.max_columns:
            raise InputError(
                f"{columns:,} columns, more than the limit of {self.max_columns:,}",
                file=file,
                hint="Raise Limits.max_columns if the file is right",
            )
        if rows > self.max_rows:
            raise InputError(
                f"{rows:,} rows, more than the limit of {self.max_rows:,}",
                file=file,
                hint="Raise Limits.max_rows if the file is right",
            )
        if rows * columns > self.max_cells:
            raise InputError(
                f"{rows:,} rows of {columns:,} columns are more than the limit of {self.max_cells:,} cells",
                file=file,
                hint="Split the file by samples, or raise Limits.max_cells",
            )


DEFAULT_LIMITS = Limits()
