"""Text of page images, read by tesseract or by rapidocr; both run offline with weights that are on the machine.

`python -m benchmarks.ocr` measures both. Tesseract makes fewer errors and is faster, so it is what ``auto`` uses where
its program is installed.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from molsig.errors import InputError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Ocr = Literal["auto", "tesseract", "rapidocr", "none"]

PAGE_SECONDS = 300
"""Longest that tesseract may look at one page."""

LEAST_CONFIDENCE = 0.3
"""Lines that rapidocr is less sure of are specks and stamps."""

GAPS = (0.16, 0.4)
"""Least and largest width of a space between words, in heights of the line, that the gaps of a page may give."""

INK = 140
"""Grey level below which a pixel is ink."""

_Box = tuple[float, float, float, float, str, float]
"""Left, top, right, bottom, words, confidence."""


@dataclass(frozen=True, slots=True)
class PageText:
    """What was read on a page: lines in reading order, and the mean confidence of its letters in [0, 1]."""

    text: str
    confidence: float


class PageReader(Protocol):
    """Reads the image of a page; `name` says which engine it is.

    `read` raises `InputError` where the engine fails.
    """

    name: str

    def read(self, page: Image) -> PageText: ...


class Tesseract:
    """The tesseract program with its English weights."""

    name = "tesseract"

    def __init__(self) -> None:
        try:
            import pytesseract
        except ModuleNotFoundError:
            raise MissingExtraError("reading scanned pages with tesseract", "reports") from None
        self._engine = pytesseract

    def read(self, page: Image) -> PageText:
        # Without a resolution tesseract guesses one, and warns where the guess is odd.
        try:
            found = self._engine.image_to_data(
                page.convert("L"),
                lang="eng",
                config="--psm 3 --dpi 200",
                output_type=self._engine.Output.DICT,
                timeout=PAGE_SECONDS,
            )
        except RuntimeError as error:  # of the program, or of the time that it took
            raise InputError(f"tesseract could not read it ({error})") from None
        lines: list[str] = []
        last: tuple[int, int, int] | None = None
        weighed = letters = 0.0
        for block, paragraph, line, word, confidence in zip(
            found["block_num"], found["par_num"], found["line_num"], found["text"], found["conf"], strict=True
        ):
            word = word.strip()
            if not word or float(confidence) < 0:
                continue
            place = (block, paragraph, line)
            if place == last:
                lines[-1] += f" {word}"
            else:
                if last is not None and place[:2] != last[:2]:
                    lines.append("")
                lines.append(word)
            last = place
            weighed += len(word) * float(confidence) / 100
            letters += len(word)
        return PageText("\n".join(lines), weighed / letters if letters else 0.0)


class RapidOcr:
    """rapidocr on onnxruntime; detection, direction and recognition weights are in its package."""

    name = "rapidocr"

    def __init__(self) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ModuleNotFoundError:
            raise MissingExtraError("reading scanned pages with rapidocr", "reports") from None
        self._engine = RapidOCR()

    def read(self, page: Image) -> PageText:
        import numpy as np

        # The direction classifier takes upright lines for upside-down ones now and then, and these are lost then.
        found, _ = self._engine(
            np.asarray(page.convert("RGB")), use_cls=False, return_word_box=True, text_score=LEAST_CONFIDENCE
        )
        lines = [_Line(np.asarray(corners), characters, boxes) for corners, _, _, boxes, characters, _ in found or ()]
        texts = restore_spaces(np.asarray(page.convert("L")), lines)
        placed: list[_Box] = []
        for words, line, (_, _, confidence, *_) in zip(texts, lines, found or (), strict=True):
            (left, top), (right, bottom) = line.corners.min(axis=0), line.corners.max(axis=0)
            placed.append((float(left), float(top), float(right), float(bottom), words, float(confidence)))
        letters = sum(len(box[4]) for box in placed)
        weighed = sum(len(box[4]) * box[5] for box in placed)
        return PageText(reading_order(placed), weighed / letters if letters else 0.0)


@dataclass(frozen=True, slots=True)
class _Line:
    """Corners of a line (4, 2), its characters, and the corners of each character's box (4, 2)."""

    corners: NDArray[np.float64]
    characters: Sequence[str]
    boxes: Sequence[Sequence[Sequence[float]]]


def restore_spaces(page: NDArray[np.uint8], lines: Sequence[_Line]) -> list[str]:
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


def _inked(line: _Line) -> list[int]:
    """Places of the characters that are no spaces."""
    return [i for i, character in enumerate(line.characters) if not character.isspace()]


def _gaps(page: NDArray[np.uint8], line: _Line, height: float) -> list[float]:
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


def reading_order(boxes: Sequence[_Box]) -> str:
    """Put boxes of words into lines, top down and left to right.

    A box belongs to a line when its middle lies within the nearest box of that line to its left or right: compared with
    the neighbour and not with the first box, lines of a slightly skewed page stay whole.
    """
    lines: list[list[_Box]] = []
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


def has_tesseract() -> bool:
    """Whether the tesseract program, its English weights and pytesseract are installed."""
    try:
        import pytesseract
    except ModuleNotFoundError:
        return False
    try:
        return "eng" in pytesseract.get_languages()
    except (pytesseract.TesseractNotFoundError, pytesseract.TesseractError, OSError):
        return False


def open_reader(ocr: Ocr) -> tuple[PageReader | None, str | None]:
    """Start an engine; also tells what is worth a warning about the choice, or None.

    ``auto`` is tesseract where it is installed, else rapidocr with a warning; ``none`` is no reader.

    Raises
    ------
    UsageError
        Not a name of an engine, or tesseract is asked for and its program is not there.
    MissingExtraError
        The engine's package is not installed.
    """
    check_ocr(ocr)
    if ocr == "none":
        return None, None
    if ocr == "rapidocr":
        return RapidOcr(), None
    if has_tesseract():
        return Tesseract(), None
    if ocr == "tesseract":
        raise UsageError(
            "tesseract with its English weights is not installed (Debian: apt-get install tesseract-ocr), or "
            "pytesseract is not (pip install 'molsig[reports]'); ocr='rapidocr' does without"
        )
    return RapidOcr(), (
        "scanned pages were read by rapidocr, as tesseract is not installed; tesseract makes fewer errors and is "
        "faster (Debian: apt-get install tesseract-ocr)"
    )


def check_ocr(ocr: str) -> Ocr:
    """Return `ocr` if it is one of the choices, else raise `UsageError`."""
    if ocr not in get_args(Ocr):
        raise UsageError(f"ocr is {', '.join(get_args(Ocr))}, not {ocr!r}")
    return cast("Ocr", ocr)
