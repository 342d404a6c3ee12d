"""Text of PDF files: text layers, scanned pages, and files that are broken or hostile."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from molsig.errors import InputError, MissingExtraError
from molsig.ingest.limits import Limits
from molsig.ingest.ocr import PageText, RapidOcr
from molsig.ingest.pdf import read_pdf, usable_letters
from molsig.ingest.reports import read_reports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

LINES = "Lung, left lower lobe, wedge biopsy.\nSquamous cell carcinoma with\nnecrosis. The margins are free."
LIMITS = Limits()


class Sizes:
    """Stands where an engine would, to see what it is given: the pixels of each page."""

    name = "sizes"

    def __init__(self, text: str = "", confidence: float = 0.9) -> None:
        self.seen: list[tuple[int, int]] = []
        self.found = PageText(text, confidence)

    def read(self, page: Image.Image) -> PageText:
        self.seen.append(page.size)
        return self.found


def nothing() -> None:
    """No engine."""


def as_pdf(*pages: Image.Image) -> bytes:
    sink = io.BytesIO()
    pages[0].save(sink, "PDF", resolution=150, save_all=True, append_images=pages[1:])
    return sink.getvalue()


def test_text_layer(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    path = write("a.pdf", pdf([LINES, "A page (2) with a caf\xe9 and words enough for a layer of text."]))
    found = read_pdf(path, nothing, LIMITS)
    assert found.text.split() == f"{LINES} A page (2) with a café and words enough for a layer of text.".split()
    assert (found.layer, found.scanned, found.unread, found.warnings) == (2, 0, 0, ())
    assert found.note == "2 pages: 2 from the text layer"


def test_a_scanned_page_is_read_for_real(
    write: Callable[..., Path], pdf: Callable[..., bytes], scan: Callable[..., Image.Image]
) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    found = read_pdf(write("a.pdf", as_pdf(scan(LINES))), RapidOcr, LIMITS)
    assert found.text.split() == LINES.split()
    assert found.note == "1 page: 1 read by rapidocr"
    assert found.warnings == ()


def test_a_scan_with_a_stamp_beside_a_page_of_text(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    path = write("a.pdf", pdf([LINES, "Page 2", ""]))
    engine = Sizes(LINES)
    found = read_pdf(path, lambda: engine, LIMITS)
    assert found.note == "3 pages: 1 from the text layer, 2 read by sizes"
    assert len(engine.seen) == 2
    # The engine made out less than the text layer holds.
    found = read_pdf(path, lambda: Sizes("P"), LIMITS)
    assert "Page 2" in found.text


def test_pages_that_nothing_read(write: Callable[..., Path], scan: Callable[..., Image.Image]) -> None:
    path = write("P1.pdf", as_pdf(scan(LINES), scan(LINES)))
    found = read_pdf(path, nothing, LIMITS)
    assert found.warnings == ("2 of 2 pages have no text layer and were not read",)
    with pytest.raises(InputError, match="no report with text"):
        read_reports(path, ocr="none")


def test_an_unsure_engine_is_told(write: Callable[..., Path], scan: Callable[..., Image.Image]) -> None:
    found = read_pdf(write("a.pdf", as_pdf(scan(LINES))), lambda: Sizes("Some words", 0.4), LIMITS)
    assert found.warnings == ("sizes was unsure of what it read on page 1",)


def test_large_pages_are_rendered_coarser(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    engine = Sizes()
    path = write("a.pdf", pdf(["x"], box=(14400, 14400)))
    found = read_pdf(path, lambda: engine, LIMITS)
    assert found.warnings == ("read at less than 100 dpi for their size: page 1",)
    strip = write("b.pdf", pdf(["x"], box=(14400, 3)))
    read_pdf(strip, lambda: engine, LIMITS)
    read_pdf(write("c.pdf", pdf(["x"])), lambda: engine, LIMITS)
    for width, height in engine.seen:
        assert width * height <= 1.01 * LIMITS.max_page_pixels
        assert max(width, height) <= 8001
    assert engine.seen[2] == (1653, 2339)


def test_an_image_of_too_many_pixels(write: Callable[..., Path], scan: Callable[..., Image.Image]) -> None:
    path = write("a.pdf", as_pdf(scan(LINES), scan(LINES, dpi=300)))
    with pytest.raises(
        InputError, match=r"page 2 holds an image of 1,800 x 750 pixels, more than the limit of 400,000"
    ):
        read_pdf(path, lambda: Sizes(), Limits(max_image_pixels=400_000))


def test_encrypted(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    lock = f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'5a' * 32}> /U <{'a5' * 32}> >> /ID [<00> <00>] "
    with pytest.raises(InputError, match=r"the PDF is encrypted\. Save it without a password") as caught:
        read_pdf(write("a.pdf", pdf([LINES], trailer=lock)), nothing, LIMITS)
    assert caught.value.file is not None


def test_broken_files(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    whole = pdf([LINES, LINES])
    with pytest.raises(InputError, match="the PDF is damaged"):
        read_pdf(write("a.pdf", whole[:200]), nothing, LIMITS)
    with pytest.raises(InputError, match="the PDF is damaged"):
        read_pdf(write("b.pdf", b"%PDF-1.7\n" + b"x" * 500), nothing, LIMITS)
    with pytest.raises(InputError, match="is empty"):
        read_pdf(write("c.pdf", b""), nothing, LIMITS)
    with pytest.raises(InputError, match="page 2 is damaged"):
        read_pdf(write("d.pdf", whole.replace(b"6 0 obj", b"6 0 obx")), nothing, LIMITS)
    with pytest.raises(InputError, match="the PDF is damaged"):
        read_pdf(write("e.pdf", pdf([])), nothing, LIMITS)
    # Cut behind its pages, so that the rest can be pieced together.
    cut = read_pdf(write("f.pdf", whole[: whole.index(b"xref")] + b"trailer << /Root 1 0 R >>"), nothing, LIMITS)
    assert cut.text.split() == (LINES + "\n" + LINES).split()
    assert cut.warnings == ("does not end as a PDF does, it may be cut short",)


def test_limits(write: Callable[..., Path], pdf: Callable[..., bytes]) -> None:
    path = write("a.pdf", pdf([LINES] * 3))
    with pytest.raises(InputError, match="3 pages, more than the limit of 2"):
        read_pdf(path, nothing, Limits(max_pages=2))
    with pytest.raises(InputError, match="a PDF of more than 100 bytes"):
        read_pdf(path, nothing, Limits(max_pdf_bytes=100))
    with pytest.raises(InputError, match="the text up to page 2 is over the limit of 150"):
        read_pdf(path, nothing, Limits(max_cell_chars=150))


def test_letters_of_a_layer_without_a_font_do_not_count() -> None:
    assert usable_letters("Lung, left") == 8
    assert usable_letters("\ufffd\ue001\ue002 ab\r\n") == 0
    assert usable_letters("carci\x02\r\nnoma") == 9


def test_without_the_extra(
    write: Callable[..., Path], pdf: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'molsig\[reports\]'"):
        read_pdf(write("a.pdf", pdf([LINES])), nothing, LIMITS)
