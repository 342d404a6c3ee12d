"""Text of page images, read by tesseract or by rapidocr; both run offline with weights that are on the machine.

`python -m benchmarks.ocr` measures both. Tesseract makes fewer errors and is faster, so it is what ``auto`` uses where
its program is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from molsig.errors import InputError, MissingExtraError, UsageError
from molsig.ingest.page_lines import Line, reading_order, restore_spaces

if TYPE_CHECKING:
    from PIL.Image import Image

    from molsig.ingest.page_lines import Box

Ocr = Literal["auto", "tesseract", "rapidocr", "none"]

PAGE_SECONDS = 300
"""Longest that tesseract may look at one page."""

LEAST_CONFIDENCE = 0.3
"""Lines that rapidocr is less sure of are specks and stamps."""


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
        lines = [Line(np.asarray(corners), characters, boxes) for corners, _, _, boxes, characters, _ in found or ()]
        texts = restore_spaces(np.asarray(page.convert("L")), lines)
        placed: list[Box] = []
        for words, line, (_, _, confidence, *_) in zip(texts, lines, found or (), strict=True):
            (left, top), (right, bottom) = line.corners.min(axis=0), line.corners.max(axis=0)
            placed.append((float(left), float(top), float(right), float(bottom), words, float(confidence)))
        letters = sum(len(box[4]) for box in placed)
        weighed = sum(len(box[4]) * box[5] for box in placed)
        return PageText(reading_order(placed), weighed / letters if letters else 0.0)


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
