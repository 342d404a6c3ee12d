"""Columns of names are numbered, listed and picked as Arrow itself does it, without loading `pyarrow.compute`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from molsig.index.names import LONGEST, coded, names_at, names_of, names_to_arrow, one_chunk
from molsig.index.opened import LONG

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {
    "name after name": ["A1", "A1", "B2", "B2", "B2", "C3"],
    "mixed": ["TCGA-02", "TCGA-01", "TCGA-02", "TCGA-03", "TCGA-01"],
    "of several lengths": ["b", "bb", "a", "", "bb", "ab", "b"],
    "not of ASCII": ["Å", "z", "é", "Å", "zz", "𝄞"],
    "with zeros": ["a\0", "a", "a\0\0", "a", "\0"],
    "zeros in equal lengths": ["a\0", "\0a", "ab", "a\0", "\0\0"],
    "long": ["x" * (LONGEST + 1), "y", "x" * LONGEST, "y"],
    "one": ["P"],
    "none": [],
}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("names", COLUMNS.values(), ids=COLUMNS)
def test_names_are_numbered_as_arrow_sorts_them(names: list[str], kind: pa.DataType) -> None:
    # A slice of something longer: its buffers begin elsewhere.
    column = pa.array(["before", "it", *names, "behind"], kind)[2:-1]
    distinct, codes = coded(column)
    ordered = pc.unique(column)
    assert distinct == ordered.take(pc.sort_indices(ordered)).to_pylist()
    assert codes.dtype == np.int32
    assert [distinct[code] for code in codes] == names
    assert names_of(column) == names
    assert names_to_arrow(names).equals(pa.array(names, pa.string()))
    places = np.arange(len(names))[::-2]
    assert names_at(column, places) == [names[place] for place in places]


def test_a_column_in_pieces_is_one_column() -> None:
    assert one_chunk(pa.chunked_array([["a"], ["b", "c"]])).to_pylist() == ["a", "b", "c"]
    assert one_chunk(pa.chunked_array([], pa.string())).to_pylist() == []
    whole = pa.array(["a"])
    assert one_chunk(whole) is whole


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 names are null"):
        names_of(pa.array(["a", None]))
    with pytest.raises(TypeError, match="int64"):
        coded(pa.array([1]))


@pytest.mark.parametrize(("size", "expected"), [(LONG, "False"), (LONG + 24, "True")])
def test_faiss_is_loaded_ahead_for_a_long_index_only(tmp_path: Path, size: int, expected: str) -> None:
    (tmp_path / "rna").mkdir()
    (tmp_path / "rna" / "000001.rows").write_bytes(bytes(size))
    code = (
        "import pathlib, sys, threading; from molsig.index.opened import load_ahead\n"
        "load_ahead(pathlib.Path(sys.argv[1]))\n"
        "for one in threading.enumerate(): one is threading.current_thread() or one.join()\n"
        "print('faiss' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (expected, "")
