"""Whatever is done to a file, a reader gives a result or says what is wrong; nothing else comes out."""

from __future__ import annotations

import gzip
import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from molsig.errors import MolsigError
from molsig.ingest.cohort import read_cohort
from molsig.ingest.expression import read_expression
from molsig.ingest.genes import read_gene_map
from molsig.ingest.mirna import read_mirna
from molsig.ingest.mutations import read_maf
from molsig.ingest.patients import read_patients
from molsig.ingest.reports import read_reports
from molsig.ingest.tables import read_sample_table
from molsig.ingest.vectors import read_vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.eye(2, 6, dtype=np.float32))
    return buffer.getvalue()


EXPRESSION = b"sample\tpatient\tTP53\tKRAS\tEGFR\nS1\tP1\t1.5\t2\t3\nS2\tP1\t2\t\t-4e1\n"
MATRIX = {"sample": ["S1", "S2"], "TP53": [1.5, 2.0], "KRAS": [3.0, None]}
PDF = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 500 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>> endobj
4 0 obj <</Length 71>> stream
BT /F 9 Tf 9 50 Td (Sections of the lung show an adenocarcinoma.) Tj ET
endstream endobj
5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
trailer <</Root 1 0 R>>
%%EOF
"""
SEEDS = {
    "tsv": EXPRESSION,
    "csv": EXPRESSION.replace(b"\t", b",").replace(b"S1", b'"S1"'),
    "semicolon": EXPRESSION.replace(b"\t", b";").replace(b".", b","),
    "gzip": gzip.compress(EXPRESSION, mtime=0),
    "utf16": EXPRESSION.decode().encode("utf-16"),
    "gct": b"#1.3\n1\t2\t1\t1\nid\tname\tS1\tS2\nkind\tna\ttumour\tnormal\nTP53\tx\t1.5\t2\n",
    "mirna": b"mirna\tS1\tS2\nhsa-mir-21\t100\t2\nhsa-let-7a\t3\t4\n",
    "maf": b"#v\nHugo_Symbol\tVariant_Classification\tTumor_Sample_Barcode\nTP53\tSilent\tTCGA-OR-A5J1-01A\n",
    "patients": b"patient,age,day\nP1,61,2020-01-01\nP2,[Unknown],\n",
    "reports": b'patient,text\nP1,"a ""b"",\nc"\n',
    "pdf": PDF,
    "jsonl": json.dumps({"patient": "P1", "text": "x"}).encode() + b"\n",
    "genes": b"ensembl\tsymbol\tentrez\nENSG00000000003\tTSPAN6\t7105\n",
    "samples": b"sample,patient,kind\nS1,P1,normal\n",
    "parquet": _parquet(MATRIX),
    "vectors": _parquet({"sample": ["S1", "S2"], "v": [[1.0, 2.0], [3.0, 4.0]]}),
    "npy": _npy(),
    "toml": b"rna = 'x'\n[[vectors]]\nmodality = 'tile'\npath = 'y'\n",
}
READERS: tuple[Callable[[Path], object], ...] = (
    read_expression,
    partial(read_expression, modality="protein", scale="raw", orientation="samples-across"),
    read_mirna,
    read_maf,
    read_patients,
    partial(read_reports, ocr="none"),
    read_gene_map,
    read_sample_table,
    partial(read_vectors, modality="tile"),
    read_cohort,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A proper file with some bytes changed, cut out, doubled or put in."""
    data = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["flip", "cut", "insert", "double", "token"])):
            case "flip" if data:
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[place : place + draw(st.integers(1, 20))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=6))
            case "double":
                data[place:place] = data[place : place + draw(st.integers(1, 40))]
            case "token":
                tokens = [b'"', b"\t", b",", b";", b"\n", b"\r", b"#", b"nan", b"inf", b"1e400", b"TCGA-OR-A5J1-01A"]
                data[place:place] = draw(
                    st.sampled_from([*tokens, b"1-Mar", b"ENST00000000003", b"\xef\xbb\xbf", b"0,5"])
                )
    return bytes(data)


@settings(max_examples=250, deadline=None)
@given(data=damaged(), reader=st.sampled_from(READERS))
@example(data=b"\n", reader=read_expression)
@example(data=b"\t\n\t\n", reader=read_expression)
@example(data=b"a\tb\n\t\n", reader=read_patients)
@example(data=b"{}\n", reader=read_reports)
def test_a_reader_gives_a_result_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, reader: Callable[[Path], object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    try:
        reader(path)
    except MolsigError as error:
        assert str(path) in str(error)  # noqa: PT017


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=200),
    magic=st.sampled_from([b"", b"PAR1", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY\x01\0", b"\x1f\x8b"]),
)
def test_bytes_at_random(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(magic + data)
    for reader in READERS:
        with pytest.raises(MolsigError):
            reader(path)


def test_the_seeds_themselves_are_read(tmp_path: Path) -> None:
    readable = {
        "tsv": read_expression,
        "gct": READERS[1],
        "mirna": read_mirna,
        "maf": read_maf,
        "patients": read_patients,
    }
    readable |= {
        "reports": read_reports,
        "pdf": read_reports,
        "jsonl": read_reports,
        "genes": read_gene_map,
        "samples": read_sample_table,
    }
    readable |= {"vectors": READERS[8], "toml": read_cohort, "parquet": READERS[1]}
    for name, reader in readable.items():
        path = tmp_path / name
        path.write_bytes(SEEDS[name].replace(b"-4e1", b"4"))
        if name == "parquet":
            reader = partial(read_expression, scale="log2", orientation="samples-down")
        if name == "tsv":
            reader = partial(read_expression, scale="log2")
        assert reader(path)
