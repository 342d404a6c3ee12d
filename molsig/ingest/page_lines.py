"""Lines that text recognition found on a page: spaces it dropped are put back, lines are put in reading order."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

GAPS = (0.16, 0.4)
"""Least and largest width of a space between words, in heights of the line, that the gaps of a page may give."""

INK = 140
"""Grey level below which a pixel is ink."""

Box = tuple[float, float, float, float, str, float]
"""Left, top, right, bottom, words, confidence."""


@dataclass(frozen=True, slots=True)
class Line:
    """Corners of a line (4, 2), its characters, and the corners of each character's box (4, 2)."""

    corners: NDArray[np.float64]
    characters: Sequence[str]
    boxes: Sequence[Sequence[Sequence[float]]]


def restore_spaces(page: NDArray[np.uint8], lines: Sequence[Line]) -> list[str]:
    """Put spaces where a line has gaps of white as wide as between words.

    rapidocr's recognition, made for Chinese, drops many spaces between Latin words. It tells where each character is,
    so the widest run without ink between the middles of two neighbours can be measured on the page. The gaps of all
    lines, over the line's height, are split in two by Otsu's threshold, held within `GAPS`. Spaces that were read stay.

    Parameters
    ----------
    page
        Grey levels, shape (height, width).
    """
    import numpy as np

    heights = [max(1.0, float(np.linalg.norm(line.corners[3] - line.corners[0]))) for line in lines]
    usual = float(np.median(heights)) if heights else 1.0
    # A line without letters above or below the middle has a low box, and its gaps would seem wide.
    gaps = [
        [gap / max(height, min(usual, 1.25 * height)) for gap in _gaps(page, line, height)]
        for line, height in zip(lines, heights, strict=True)
    ]
    every = np.array([gap for line in gaps for gap in line if gap > 0])
    threshold = float(np.clip(_otsu(every), *GAPS)) if len(every) else GAPS[1]
    texts = []
    for line, wide in zip(lines, gaps, strict=True):
        words = _inked(line)
        text = line.characters[words[0]] if words else ""
        for (one, other), gap in zip(pairwise(words), wide, strict=True):
            text += " " * (other - one > 1 or gap > threshold) + line.characters[other]
        texts.append(text)
    return texts


def _inked(line: Line) -> list[int]:
    """Places of the characters that are no spaces."""
    return [i for i, character in enumerate(line.characters) if not character.isspace()]


def _gaps(page: NDArray[np.uint8], line: Line, height: float) -> list[float]:
    """Widest run of columns without ink between neighbouring characters, spaces aside, in pixels."""
    import numpy as np

    left_top, right_top, *_ = line.corners
    slope = (right_top[1] - left_top[1]) / max(1.0, right_top[0] - left_top[0])
    middles = [float(np.mean([corner[0] for corner in box])) for box in line.boxes]
    words = _inked(line)
    if len(middles) != len(line.characters):
        return [0.0] * (len(words) - 1)
    gaps = []
    for one, other in pairwise([middles[i] for i in words]):
        top = left_top[1] + slope * ((one + other) / 2 - left_top[0])
        part = page[max(0, round(top)) : round(top + height), max(0, round(one)) : round(other) + 1]
        if part.size == 0:
            gaps.append(0.0)
            continue
        ink = part.min(axis=0) < INK
        edges = np.flatnonzero(np.concatenate(([True], ink, [True])))
        gaps.append(float((np.diff(edges) - 1).max()))
    return gaps


def _otsu(values: NDArray[np.float64]) -> float:
    """The threshold that splits values into two groups with the least variance within them."""
    import numpy as np

    ordered = np.sort(values)
    if len(ordered) < 2:
        return float(ordered[0])
    count = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    low, high = sums[:-1] / count, (sums[-1] - sums[:-1]) / (len(ordered) - count)
    best = int(np.argmax(count * (len(ordered) - count) * (high - low) ** 2))
    return float(ordered[best] + ordered[best + 1]) / 2


def reading_order(boxes: Sequence[Box]) -> str:
    """Put boxes of words into lines, top down and left to right.

    A box belongs to a line when its middle lies within the nearest box of that line to its left or right: compared with
    the neighbour and not with the first box, lines of a slightly skewed page stay whole.
    """
    lines: list[list[Box]] = []
    for box in sorted(boxes, key=lambda one: (one[1] + one[3], one[0])):
        middle = (box[1] + box[3]) / 2
        home = None
        for line in reversed(lines):
            near = min(line, key=lambda one: max(one[0] - box[2], box[0] - one[2]))
            beside = near[2] <= box[0] + 0.2 * (box[2] - box[0]) or near[0] >= box[2] - 0.2 * (box[2] - box[0])
            if beside and near[1] < middle < near[3] and box[1] < (near[1] + near[3]) / 2 < box[3]:
                home = line
                break
        if home is None:
            lines.append([box])
        else:
            home.append(box)
    if not lines:
        return ""
    height = statistics.median(box[3] - box[1] for box in boxes)
    text: list[str] = []
    foot = None
    for line in lines:
        top = min(box[1] for box in line)
        if foot is not None and top - foot > 1.2 * height:
            text.append("")
        foot = max(box[3] for box in line)
        text.append(" ".join(box[4] for box in sorted(line)))
    return "\n".join(text)
