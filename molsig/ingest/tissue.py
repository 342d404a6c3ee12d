"""Which tiles show tissue: a rule on RGB values, or Otsu's threshold of the slide's own colourfulness.

Both look at an overview in which each tile is 16 x 16 pixels, so that a tile of background is never read at full
resolution. A pixel of the overview is background if it is

* white: its darkest channel is at least 220 (empty glass, lumen, fat);
* without colour: its channels differ by less than 15 (grey glass, dust, black borders, black pen);
* green or blue ink: green exceeds red by more than 20, which haematoxylin and eosin do not do. Red pen looks like blood
  and stays.

A tile is left out where more than 70 % of it is background. The source paper (doi:10.1101/2025.05.14.653900) removes
tiles "predominantly containing background" by "a simple RGB pixel thresholding heuristic" and gives no numbers; these
keep all 33 MoNuSeg fields and all tiles of the CRC set, fat included.

Otsu's method (1979) puts a threshold between the two humps of the histogram of colourfulness (largest less smallest
channel) in place of the first two rules. Where there are no two humps, as in a field that is all tissue, the fixed
numbers are used, and it is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Background = Literal["rgb", "otsu", "none"]
BACKGROUNDS: tuple[Background, ...] = ("rgb", "otsu", "none")

OVERVIEW = 16
"""Edge of a tile in the overview, in pixels."""

WHITE_FROM = 220
COLOURLESS_BELOW = 15
GREEN_OVER_RED = 20
MOST_BACKGROUND = 0.7

_LEAST_BETWEEN_HUMPS = 20.0


def background_of(pixels: NDArray[np.uint8], threshold: float | None = None) -> NDArray[np.bool_]:
    """Which pixels are background.

    Parameters
    ----------
    pixels
        RGB in the last axis.
    threshold
        Colourfulness below which a pixel is background, in place of the fixed numbers.

    Returns
    -------
    NDArray[np.bool_]
        The shape of `pixels` without its last axis.
    """
    colour = pixels.astype(np.int16)
    darkest, range_ = colour.min(axis=-1), colourfulness(pixels)
    ink = colour[..., 1] - colour[..., 0] > GREEN_OVER_RED
    if threshold is not None:
        return np.asarray((range_ < threshold) | ink)
    return np.asarray((darkest >= WHITE_FROM) | (range_ < COLOURLESS_BELOW) | ink)


def colourfulness(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Largest less smallest channel of each pixel, 0 to 255."""
    return np.asarray(pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1), dtype=np.int16)


def otsu(values: NDArray[np.int16]) -> float | None:
    """The threshold between two groups of values of 0 to 255 that differ most; None where there are no two groups.

    N. Otsu, A threshold selection method from gray-level histograms, 1979.
    """
    counts = np.bincount(values.reshape(-1), minlength=256).astype(np.float64)
    levels = np.arange(256)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * (high - low) ** 2, nan=-1.0)
    best = int(between.argmax())
    if between[best] <= 0 or high[best] - low[best] < _LEAST_BETWEEN_HUMPS:
        return None
    return best + 1.0
