"""Text of PDF reports: the text layer of each page, or text recognition where a page is a scan."""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molsig.errors import InputError, MissingExtraError
from molsig.ingest.opening import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.ocr import PageReader

LEAST_LETTERS = 30
"""A text layer with fewer letters is a stamp or a page number on a scan."""

DPI = 200
"""Dots per inch that a page without text is rendered at."""

LEAST_DPI = 100
"""Pages so large that they have to be rendered coarser than this are told in a warning."""

LEAST_CONFIDENCE = 0.75
"""Mean confidence of text recognition below which a page is told in a warning; clean pages reach .93 to .97."""

MOST_IMAGES = 10_000
"""Images on one page."""

_CODE_PASSWORD = "password"


@dataclass(frozen=True, slots=True)
class PdfText:
    """Text of a PDF, pages in order.

    Attributes
    ----------
    layer, scanned, unread
        How many pages gave their text layer, were read by text recognition, or were left out because there was none.
    engine
        What read the scanned pages.
    """

    text: str
    layer: int
    scanned: int
    unread: int
    engine: str | None
    warnings: tuple[str, ...]

    @property
    def note(self) -> str:
        """Where the text came from, in words."""
        parts = [
            (self.layer, "from the text layer"),
            (self.scanned, f"read by {self.engine}"),
            (self.unread, "not read"),
        ]
        total = self.layer + self.scanned + self.unread
        told = ", ".join(f"{count:,} {how}" for count, how in parts if count)
        return f"{total:,} page{'' if total == 1 else 's'}: {told}"


def is_pdf(path: str | Path, limits: Limits) -> bool:
    """Whether a file is a PDF: it starts as one, or is named as one and is marked within its first 1,024 bytes."""
    with open_regular(path, limits) as file:
        head = file.read(1024)
    return head.startswith(b"%PDF-") or (b"%PDF-" in head and str(path).lower().endswith(".pdf"))


def read_pdf(path: str | Path, reader: Callable[[], PageReader | None], limits: Limits) -> PdfText:
    """Read the text of a PDF.

    Parameters
    ----------
    reader
        Gives the engine for pages without a text layer, or None to leave them out; called when the first one is met.

    Raises
    ------
    InputError
        Encrypted, damaged, without pages, or over the limits; with the page where it is one.
    MissingExtraError
        pypdfium2 is not installed.
    """
    try:
        import pypdfium2
    except ModuleNotFoundError:
        raise MissingExtraError("reading PDF", "reports") from None
    with open_regular(path, limits) as file:
        data = file.read(limits.max_pdf_bytes + 1)
    if len(data) > limits.max_pdf_bytes:
        raise InputError(
            f"a PDF of more than {limits.max_pdf_bytes:,} bytes",
            file=path,
            hint="Split it, or raise Limits.max_pdf_bytes",
        )
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if _CODE_PASSWORD in str(error).lower():
            raise InputError("the PDF is encrypted", file=path, hint="Save it without a password") from None
        raise InputError(f"the PDF is damaged ({error})", file=path, hint="Copy or download the file again") from None
    try:
        return _Reading(path, document, reader, limits).all(data)
    finally:
        document.close()


class _Reading:
    """One PDF while it is read."""

    def __init__(
        self, path: str | Path, document: Any, reader: Callable[[], PageReader | None], limits: Limits
    ) -> None:
        self._path = path
        self._document = document
        self._reader = reader
        self._limits = limits
        self._layer = self._scanned = self._unread = 0
        self._engine: str | None = None
        self._unsure: list[int] = []
        self._coarse: list[int] = []

    def all(self, data: bytes) -> PdfText:
        import pypdfium2

        count = len(self._document)
        if count == 0:
            raise InputError("the PDF has no page", file=self._path)
        if count > self._limits.max_pages:
            raise InputError(
                f"{count:,} pages, more than the limit of {self._limits.max_pages:,}",
                file=self._path,
                hint="Split it, or raise Limits.max_pages",
            )
        texts = []
        letters = 0
        for number in range(1, count + 1):
            try:
                texts.append(self._page(number))
            except pypdfium2.PdfiumError as error:
                raise InputError(
                    f"page {number} is damaged ({error})", file=self._path, hint="Copy or download the file again"
                ) from None
            letters += len(texts[-1])
            if letters > self._limits.max_cell_chars:
                raise InputError(
                    f"the text up to page {number} is over the limit of {self._limits.max_cell_chars:,} characters",
                    file=self._path,
                )
        return PdfText(
            "\n".join(texts), self._layer, self._scanned, self._unread, self._engine, self._warnings(data, count)
        )

    def _warnings(self, data: bytes, count: int) -> tuple[str, ...]:
        warnings = []
        if b"%%EOF" not in data[-2048:]:
            warnings.append("does not end as a PDF does, it may be cut short")
        if self._unread:
            warnings.append(f"{self._unread:,} of {count:,} pages have no text layer and were not read")
        if self._unsure:
            warnings.append(f"{self._engine} was unsure of what it read on {_pages(self._unsure)}")
        if self._coarse:
            warnings.append(f"read at less than {LEAST_DPI} dpi for their size: {_pages(self._coarse)}")
        return tuple(warnings)

    def _page(self, number: int) -> str:
        page = self._document[number - 1]
        try:
            text = _layer(page)
            if usable_letters(text) >= LEAST_LETTERS:
                self._layer += 1
                return text
            reader = self._reader()
            if reader is None:
                self._unread += 1
                return text
            self._engine = reader.name
            self._scanned += 1
            image = self._render(page, number)
            try:
                found = reader.read(image)
            except InputError as error:
                raise InputError(f"page {number}: {error.problem}", file=self._path) from None
            if found.text and found.confidence < LEAST_CONFIDENCE:
                self._unsure.append(number)
            # A page with a line of type and nothing else has more in its text layer than the engine makes out.
            return max(found.text, text, key=usable_letters)
        finally:
            page.close()

    def _render(self, page: Any, number: int) -> Any:
        """Render a page in grey, as coarse as its size and the limit make necessary."""
        from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

        images = 0
        for image in itertools.islice(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE]), MOST_IMAGES + 1):
            images += 1
            width, height = image.get_px_size()
            if width * height > self._limits.max_image_pixels:
                raise InputError(
                    f"page {number} holds an image of {width:,} x {height:,} pixels, more than the limit of "
                    f"{self._limits.max_image_pixels:,}",
                    file=self._path,
                    hint="Scan it coarser, or raise Limits.max_image_pixels",
                )
        if images > MOST_IMAGES:
            raise InputError(f"page {number} holds more than {MOST_IMAGES:,} images", file=self._path)
        width, height = (max(1.0, side) for side in page.get_size())
        most = float(self._limits.max_page_pixels)
        scale = min(DPI / 72, (most / (width * height)) ** 0.5)
        # A strip may be within the limit of pixels and still be longer than any engine takes.
        scale = min(scale, most**0.5 * 2 / max(width, height))
        if scale * 72 < LEAST_DPI:
            self._coarse.append(number)
        bitmap = page.render(scale=scale, grayscale=True, may_draw_forms=False)
        try:
            return bitmap.to_pil().copy()
        finally:
            bitmap.close()


def _layer(page: Any) -> str:
    words = page.get_textpage()
    try:
        return str(words.get_text_bounded())
    finally:
        words.close()


def usable_letters(text: str) -> int:
    """Letters of a text layer; none where over a fifth of it is characters that no font could be found for."""
    letters = sum(map(str.isalpha, text))
    broken = sum(c == "\ufffd" or (c not in "\r\n\t\x02\ufffe" and unicodedata.category(c) in _NO_TEXT) for c in text)
    return 0 if broken * 5 > len(re.sub(r"\s", "", text)) else letters


_NO_TEXT = frozenset(("Cc", "Co", "Cn"))


def _pages(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return f"page{'' if len(numbers) == 1 else 's'} {shown}{more}"
