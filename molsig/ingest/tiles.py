"""Slides and ready-made tiles become a `TileSet`: where the tiles lie and which show tissue; pixels are read later."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.slides import COARSEST_MPP, FINEST_MPP, open_slide, slide_sha256
from molsig.ingest.tile_files import find_images
from molsig.ingest.tile_pixels import OpenedFile, Piece, TilePixels
from molsig.ingest.tissue import (
    BACKGROUNDS,
    MOST_BACKGROUND,
    OVERVIEW,
    background_of,
    colourfulness,
    otsu,
)
from molsig.types import ContractReport, TileSet, silent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits
    from molsig.ingest.slides import Slide
    from molsig.ingest.tissue import Background
    from molsig.types import Progress, SampleId

Cut = Literal["auto", "grid", "whole"]
CUTS: tuple[Cut, ...] = ("auto", "grid", "whole")

READY_MADE = 2
"""A plain image whose longer edge is at most so many tiles is a ready-made tile, not a field to cut."""

LEAST_INSIDE = 0.75
"""Share of a tile's edge that has to lie within the image; what is missing at the rim is filled by mirroring."""

_BLOCK = 4096
"""Edge of a block of full resolution that the overview is read by."""


@dataclass(slots=True)
class _Tally:
    """What the report tells."""

    kept: int = 0
    background: int = 0
    whole: int = 0
    cut: int = 0
    mpps: list[float | None] = field(default_factory=list)
    said_by: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    enlarged: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)
    one_hump: int = 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """How tiles are to be cut."""

    mpp: float | None
    tile: int
    background: Background
    source_mpp: float | None
    cut: Cut


def read_tiles(
    path: str | Path,
    *,
    mpp: float | None = 0.5,
    tile: int = 256,
    background: Background = "rgb",
    source_mpp: float | None = None,
    cut: Cut = "auto",
    sample_table: str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> TileSet:
    """Cut slides and fields into square tiles that do not overlap, and leave out those of background.

    After the source paper (doi:10.1101/2025.05.14.653900): non-overlapping tiles of 256 x 256 pixels, those that are
    mostly background removed by a threshold on RGB values. Nothing but a low resolution of each slide is read here;
    `TileSet.pixels` reads the tiles themselves, when they are asked for.

    Parameters
    ----------
    path
        A whole-slide file of any format that OpenSlide reads, a PNG, JPEG or TIFF, or a folder of these, one level of
        sub-folders included. Whose they are: see `molsig.ingest.tile_files.find_images`.
    mpp
        Micrometres per pixel of the tiles; None cuts at full resolution. A file's own scale is its resolution entry, or
        10 micrometres over the power of its objective (20x is 0.5, 40x is 0.25). Where no file says and `source_mpp` is
        not given, tiles are cut at full resolution, with a warning.
    tile
        Edge of a tile in pixels.
    background
        ``rgb``, ``otsu`` or ``none``: see `molsig.ingest.tissue`.
    source_mpp
        Micrometres per pixel of the files, whatever they say themselves.
    cut
        ``auto`` takes plain images of at most two tiles' edge whole, as the ready-made tiles that they are, and cuts
        everything else by a grid; ``whole`` and ``grid`` do the same to all plain images. An image taken whole is
        cropped to its central square and resized.

    Returns
    -------
    TileSet
        Items are ``x,y`` in pixels of the full resolution, after the file's name and a colon where a sample has several
        files. Tiles lie slide by slide, row by row.

    Raises
    ------
    InputError
        A file that is no image, is damaged or is over the limits (`max_pixels`, `max_tiles`, `max_files`); an input in
        which no tile shows tissue.
    MissingExtraError
        Without ``molsig[tiles]``.
    UsageError
        An option out of its range.
    """
    wish = _Wish(mpp, tile, background, source_mpp, cut)
    _check(wish)
    found = find_images(path, sample_table, limits)
    tally = _Tally(notes=list(found.notes), warnings=list(found.warnings))
    opened: list[OpenedFile] = []
    pieces: list[Piece] = []
    samples: list[SampleId] = []
    items: list[str] = []
    digests: list[str] = []
    for number, image in enumerate(found.files):
        file = OpenedFile.of(image.path)
        slide = open_slide(image.path, limits)
        try:
            of_slide = _pieces(slide, number, image.path.name, wish, limits, tally)
        except InputError as error:
            raise error if error.file else InputError(error.problem, file=image.path, hint=error.hint) from None
        finally:
            slide.close()
        content = slide_sha256(image.path, limits) if of_slide else ""
        opened.append(file)
        pieces += of_slide
        samples += [image.sample] * len(of_slide)
        items += [f"{image.prefix}{one.x},{one.y}" for one in of_slide]
        digests += [_digest(content, one, tile) for one in of_slide]
        progress("find tiles", number + 1, len(found.files))
    if not pieces:
        raise InputError(
            f"no tile shows tissue: {tally.background:,} are background, {len(tally.empty):,} files are too small",
            file=path,
            hint="Look at the slides, or keep every tile with background = 'none'",
        )
    distinct = sorted(set(samples), key=lambda one: one.sample)
    of_tiles, scale_notes, scale_warnings = _scale(tally, wish)
    return TileSet(
        samples=tuple(samples),
        items=tuple(items),
        digests=tuple(digests),
        pixels=TilePixels(tuple(opened), tuple(pieces), tile, limits),
        size=tile,
        mpp=of_tiles,
        report=ContractReport(
            file=str(path),
            modality="tile",
            rows=tally.kept + tally.background,
            samples=len(distinct),
            patients=len({one.patient for one in distinct}),
            scale=f"{tile} x {tile} pixels, " + ("scale unknown" if of_tiles is None else f"{of_tiles:g} mpp"),
            kinds=dict(sorted(Counter(one.kind for one in distinct).items())),
            joined=found.joined,
            notes=(_counts(tally, wish), *scale_notes, *tally.notes),
            warnings=(*scale_warnings, *tally.warnings),
        ),
    )


def _check(wish: _Wish) -> None:
    for name, value in (("mpp", wish.mpp), ("source_mpp", wish.source_mpp)):
        if value is not None and not (
            isinstance(value, int | float) and not isinstance(value, bool) and FINEST_MPP <= value <= COARSEST_MPP
        ):
            raise UsageError(
                f"{name}={value!r} is no scale: give {FINEST_MPP:g} to {COARSEST_MPP:g} micrometres a pixel"
            )
    if not isinstance(wish.tile, int) or isinstance(wish.tile, bool) or not 32 <= wish.tile <= 4096:
        raise UsageError(f"tile={wish.tile!r} is no edge of a tile: give 32 to 4096 pixels")
    if wish.background not in BACKGROUNDS:
        raise UsageError(f"background={wish.background!r} is not known: use {', '.join(BACKGROUNDS)}")
    if wish.cut not in CUTS:
        raise UsageError(f"cut={wish.cut!r} is not known: use {', '.join(CUTS)}")


def _pieces(slide: Slide, number: int, name: str, wish: _Wish, limits: Limits, tally: _Tally) -> list[Piece]:
    """The tiles of one file that are kept."""
    tally.notes += slide.notes
    source = wish.source_mpp or slide.mpp
    if wish.source_mpp and slide.mpp and abs(wish.source_mpp / slide.mpp - 1) > 0.02:
        tally.overruled.append(f"{name} ({slide.mpp:.4g})")
    longest = max(slide.width, slide.height)
    if min(slide.frame[2:]) < wish.tile // 8:
        raise InputError(f"is {slide.width} x {slide.height} pixels, too small for a tile of {wish.tile}")
    ready = not slide.levelled and (wish.cut == "whole" or (wish.cut == "auto" and longest <= READY_MADE * wish.tile))
    if ready:
        edge = min(slide.width, slide.height)
        columns = rows = 1
        step, left, top = float(edge), (slide.width - edge) // 2, (slide.height - edge) // 2
        frame = (left, top, edge, edge)
    else:
        step = wish.tile * (wish.mpp / source if wish.mpp and source else 1.0)
        frame = slide.frame
        columns, rows = (int(size / step + 1 - LEAST_INSIDE + 1e-9) for size in frame[2:])
    if columns * rows > limits.max_tiles:
        raise InputError(
            f"{columns:,} x {rows:,} tiles are more than the limit of {limits.max_tiles:,}",
            hint="Choose a coarser mpp, or raise Limits.max_tiles",
        )
    if columns * rows == 0:
        tally.empty.append(name)
        return []
    tally.whole, tally.cut = tally.whole + ready, tally.cut + (not ready)
    if source is None:
        tally.unknown.append(name)
    else:
        tally.said_by["source_mpp" if wish.source_mpp else slide.said_by] += 1
    tally.mpps.append(None if source is None else source * step / wish.tile)
    if step < 0.9 * wish.tile and not ready:
        tally.enlarged.append(name)
    tissue = np.ones((rows, columns), dtype=bool)
    if wish.background != "none":
        overview = _overview(slide, frame, step, rows, columns)
        inside = [
            [_inside(i, step, size) for i in range(count)] for count, size in ((rows, frame[3]), (columns, frame[2]))
        ]
        tissue = _tissue(overview, inside[0], inside[1], wish.background if not ready else "rgb", tally)
    kept = [
        Piece(number, x, y, min(step, frame[0] + frame[2] - x), min(step, frame[1] + frame[3] - y), step)
        for row, column in np.argwhere(tissue)
        for x, y in [(frame[0] + math.floor(column * step), frame[1] + math.floor(row * step))]
    ]
    tally.kept += len(kept)
    tally.background += rows * columns - len(kept)
    return kept


def _inside(i: int, step: float, size: int) -> int:
    """How many of a tile's overview pixels lie within the image, along one axis."""
    return min(OVERVIEW, max(1, int((size - i * step) / step * OVERVIEW + 1e-6)))


def _overview(
    slide: Slide, frame: tuple[int, int, int, int], step: float, rows: int, columns: int
) -> NDArray[np.uint8]:
    """Each tile as 16 x 16 pixels, uint8 of shape (rows, 16, columns, 16, 3); read in blocks of bounded size."""
    out = np.empty((rows, OVERVIEW, columns, OVERVIEW, 3), dtype=np.uint8)
    block = max(1, int(_BLOCK // step))
    for row in range(0, rows, block):
        for column in range(0, columns, block):
            down, across = min(block, rows - row), min(block, columns - column)
            seen = slide.read(
                frame[0] + math.floor(column * step),
                frame[1] + math.floor(row * step),
                across * step,
                down * step,
                (across * OVERVIEW, down * OVERVIEW),
            )
            out[row : row + down, :, column : column + across] = seen.reshape(down, OVERVIEW, across, OVERVIEW, 3)
    return out


def _tissue(
    overview: NDArray[np.uint8], down: list[int], across: list[int], background: Background, tally: _Tally
) -> NDArray[np.bool_]:
    """Which tiles are not mostly background; only what lies within the image counts."""
    threshold = None
    if background == "otsu":
        threshold = otsu(colourfulness(overview))
        tally.one_hump += threshold is None
    blank = background_of(overview, threshold)
    shares = np.array(
        [[blank[i, :high, j, :wide].mean() for j, wide in enumerate(across)] for i, high in enumerate(down)]
    )
    return np.asarray(shares <= MOST_BACKGROUND)


def _digest(content: str, piece: Piece, tile: int) -> str:
    """SHA-256 of all that a tile's pixels depend on; the scale is in the size of the piece."""
    place = f"{content}|{piece.x},{piece.y}|{piece.across!r},{piece.down!r},{piece.step!r}|{tile}|1"
    return hashlib.sha256(place.encode()).hexdigest()


def _counts(tally: _Tally, wish: _Wish) -> str:
    total = tally.kept + tally.background
    rule = "all are kept" if wish.background == "none" else f"{tally.background:,} are background by {wish.background}"
    kinds = [f"{tally.cut:,} slides or fields cut by a grid"] if tally.cut else []
    kinds += [f"{tally.whole:,} ready-made tiles"] if tally.whole else []
    return f"{tally.kept:,} of {total:,} tiles of {wish.tile} x {wish.tile} pixels kept ({rule}); {' and '.join(kinds)}"


def _scale(tally: _Tally, wish: _Wish) -> tuple[float | None, list[str], list[str]]:
    """The one scale of all tiles, if there is one, with what is to be told of it."""
    known = [one for one in tally.mpps if one is not None]
    common = len(known) == len(tally.mpps) and max(known) <= 1.02 * min(known)
    mpp = round(float(np.mean(known)), 4) if common else None
    notes, warnings = [], []
    for source, count in sorted(tally.said_by.items()):
        notes.append(f"the scale of {count:,} files is known from {source}")
    if tally.unknown:
        warnings.append(
            f"{_some(tally.unknown)}: no scale is known, so tiles are cut at full resolution and may not compare with "
            "others; give source_mpp (0.25 for 40x, 0.5 for 20x)"
        )
    elif not common:
        warnings.append(f"tiles are of {min(known):.3g} to {max(known):.3g} micrometres a pixel, not of one scale")
    if tally.overruled:
        warnings.append(f"source_mpp={wish.source_mpp:g} overrules what the files say: {_some(tally.overruled)}")
    if tally.enlarged:
        warnings.append(f"{_some(tally.enlarged)}: coarser than the tiles asked for, which are enlarged")
    if tally.empty:
        warnings.append(f"{_some(tally.empty)}: smaller than one tile and left out")
    if tally.one_hump:
        notes.append(f"{tally.one_hump:,} files have no two groups of colourfulness; the rgb rule was used")
    return mpp, notes, warnings


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
