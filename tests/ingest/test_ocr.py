"""Text recognition on pages drawn by the tests: the real engines run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from molsig.errors import InputError, MissingExtraError, UsageError
from molsig.ingest import ocr
from molsig.ingest.ocr import RapidOcr, Tesseract, has_tesseract, open_reader
from molsig.ingest.page_lines import reading_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from molsig.ingest.ocr import PageReader

TEXT = "Lung, left lower lobe, wedge biopsy.\nSquamous cell carcinoma with\nnecrosis. The margins are free."

needs_tesseract = pytest.mark.skipif(not has_tesseract(), reason="tesseract is not installed")


@pytest.fixture(
    scope="module",
    params=[pytest.param(Tesseract, marks=needs_tesseract), pytest.param(RapidOcr)],
    ids=lambda e: e.name,
)
def reader(request: pytest.FixtureRequest) -> PageReader:
    pytest.importorskip("rapidocr_onnxruntime" if request.param is RapidOcr else "pytesseract")
    engine: PageReader = request.param()
    return engine


def test_a_page_is_read_line_by_line_with_its_spaces(reader: PageReader, scan: Callable[..., Image.Image]) -> None:
    found = reader.read(scan(TEXT))
    assert found.text.split("\n") == TEXT.split("\n")
    assert found.confidence > 0.85


def test_a_skewed_page(reader: PageReader, scan: Callable[..., Image.Image]) -> None:
    found = reader.read(scan(TEXT).rotate(0.8, resample=Image.Resampling.BICUBIC, fillcolor=255))
    assert found.text.split() == TEXT.split()


def test_an_empty_page(reader: PageReader) -> None:
    found = reader.read(Image.new("L", (400, 300), 255))
    assert (found.text, found.confidence) == ("", 0.0)


def test_boxes_in_reading_order() -> None:
    boxes = [
        (200.0, 12.0, 300.0, 32.0, "right", 1.0),
        (0.0, 40.0, 90.0, 60.0, "below", 1.0),
        (0.0, 8.0, 90.0, 28.0, "left", 1.0),
        (320.0, 20.0, 400.0, 40.0, "far", 1.0),
        (0.0, 120.0, 90.0, 140.0, "apart", 1.0),
    ]
    assert reading_order(boxes) == "left right far\nbelow\n\napart"
    assert reading_order(boxes[::-1]) == reading_order(boxes)
    assert reading_order([]) == ""


def test_the_choice_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_reader("none") == (None, None)
    with pytest.raises(UsageError, match="ocr is auto, tesseract, rapidocr, none, not 'magic'"):
        open_reader("magic")  # type: ignore[arg-type]
    # A machine without the program: the fallback is told, and asking for it by name is an error.
    monkeypatch.setenv("PATH", "")
    assert not has_tesseract()
    with pytest.raises(UsageError, match="apt-get install tesseract-ocr"):
        open_reader("tesseract")
    pytest.importorskip("rapidocr_onnxruntime")
    found, warning = open_reader("auto")
    assert isinstance(found, RapidOcr)
    assert warning is not None
    assert "read by rapidocr, as tesseract is not installed" in warning


@needs_tesseract
def test_a_page_that_takes_too_long(monkeypatch: pytest.MonkeyPatch, scan: Callable[..., Image.Image]) -> None:
    monkeypatch.setattr(ocr, "PAGE_SECONDS", 0.001)
    with pytest.raises(InputError, match="tesseract could not read it"):
        Tesseract().read(scan(TEXT))


@needs_tesseract
def test_tesseract_comes_first() -> None:
    found, warning = open_reader("auto")
    assert isinstance(found, Tesseract)
    assert warning is None


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pytesseract", "rapidocr_onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not has_tesseract()
    for engine in (ocr.RapidOcr, ocr.Tesseract):
        with pytest.raises(MissingExtraError, match=r"pip install 'molsig\[reports\]'"):
            engine()
