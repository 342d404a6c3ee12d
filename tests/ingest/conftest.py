"""Small files for the readers."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from molsig.ingest.genes import GeneMap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text or bytes under a name; `gz=True` compresses."""

    def _write(name: str, content: str | bytes, *, gz: bool = False) -> Path:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if gz else data)
        return path

    return _write


def pdf_bytes(pages: Sequence[str], *, box: tuple[float, float] = (595, 842), trailer: str = "") -> bytes:
    """A PDF with a text layer, one line of Helvetica for each line of a page; `trailer` is added to its trailer."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for i, page in enumerate(pages):
        escaped = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in page.split("\n")]
        lines = "".join(f"({line}) Tj T* " for line in escaped)
        content = zlib.compress(f"BT /F1 11 Tf 14 TL 50 {box[1] - 60} Td {lines}ET".encode("cp1252"))
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {box[0]} {box[1]}] /Contents {5 + 2 * i} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        head = f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + content + b"\nendstream")
    data = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    return data + (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer}>>\nstartxref\n{table}\n%%EOF\n".encode()
    )


def draw_page(text: str, *, points: float = 14, dpi: int = 150, size: tuple[float, float] = (6.0, 2.5)) -> Image.Image:
    """Black type on white, as a scanner sees a page; `size` in inches."""
    page = Image.new("L", (round(size[0] * dpi), round(size[1] * dpi)), 255)
    face = ImageFont.load_default(size=points * dpi / 72)
    ImageDraw.Draw(page).multiline_text((40, 40), text, font=face, fill=10, spacing=points * dpi / 72 * 0.5)
    return page


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """See `pdf_bytes`."""
    return pdf_bytes


@pytest.fixture(scope="session")
def scan() -> Callable[..., Image.Image]:
    """See `draw_page`."""
    return draw_page


@pytest.fixture(scope="session")
def genes() -> GeneMap:
    """A gene map of a few real genes; TSPAN6 and DPM1 with Entrez ids."""
    return GeneMap.from_table(
        pa.table(
            {
                "ensembl": [
                    "ENSG00000000003",
                    "ENSG00000000005",
                    "ENSG00000000419",
                    "ENSG00000000460",
                    "ENSG00000168385",
                    "ENSG00000145416",
                    "ENSG00000999999",
                ],
                "symbol": ["TSPAN6", "TNMD", "DPM1", "C1orf112", "SEPTIN2", "MARCHF1", None],
                "entrez": ["7105", "64102", "8813", None, "4735", "55016", None],
            }
        )
    )
