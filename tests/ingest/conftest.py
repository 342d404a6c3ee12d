"""Small files for the readers."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from molsig.ingest.genes import GeneMap

if TYPE_CHECKING:
    from collections.abc import Callable
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
