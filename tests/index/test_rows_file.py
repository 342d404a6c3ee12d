"""Mapped rows: any change of a row shows before it is used, and what a generation does not know is not seen."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.errors import DamagedError
from molsig.index.manifest import NamedFile
from molsig.index.rows_file import ROW_BYTES, RowFacts, RowsFile, RowsWriter, checksums
from molsig.types import DIM


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def test_rows_come_back_as_they_were_written_and_appended(tmp_path: Path) -> None:
    path, first, more = tmp_path / "a.vectors", rows(5), rows(3, 1)
    writer = RowsWriter(path)
    writer.append(np.arange(5), first)
    facts = writer.close()
    early = RowsFile.open(path, facts)
    with path.open("ab") as handle:
        handle.write(b"what a writer left that died")
    writer = RowsWriter(path, facts)
    writer.append(np.arange(10, 13), more)
    late = RowsFile.open(path, writer.close())
    assert late.ids.tolist() == [0, 1, 2, 3, 4, 10, 11, 12]
    np.testing.assert_array_equal(late.read(np.arange(8)), np.concatenate([first, more]))
    np.testing.assert_allclose(late.facts.lengths, np.linalg.norm(late.matrix.astype(np.float64), axis=1))
    early.check_all()
    np.testing.assert_array_equal(early.matrix, first)
    assert len(RowsFile.open(path, RowFacts.of(np.empty(0, np.int64), rows(0)))) == 0


def test_facts_are_what_was_written_or_nothing(tmp_path: Path) -> None:
    facts = RowFacts.of(np.array([3, 5]), rows(2))
    data = facts.serialised()
    path = tmp_path / "a.rows"
    path.write_bytes(data)
    written = NamedFile(path.name, len(data), sha256(data).hexdigest())
    again = RowFacts.read(tmp_path, written)
    assert again.serialised() == data
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(DamagedError, match="hash"):
        RowFacts.read(tmp_path, written)
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedError, match="hash"):
        RowFacts.read(tmp_path, written)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, ROW_BYTES * 8 - 1), st.integers(1, 3))
def test_flipped_bits_of_a_row_change_its_checksum(row: int, bit: int, bits: int) -> None:
    vectors = rows(5)
    before = checksums(np.arange(5), vectors)
    damaged = vectors.copy()
    data = damaged[row].view(np.uint8)
    for place in range(bits):
        data[((bit + 97 * place) // 8) % ROW_BYTES] ^= 1 << ((bit + place) % 8)
    after = checksums(np.arange(5), damaged)
    assert [a != b for a, b in zip(before, after, strict=True)] == [place == row for place in range(5)]


def test_a_row_in_the_place_of_another_is_told(tmp_path: Path) -> None:
    path, vectors = tmp_path / "a.vectors", rows(4)
    writer = RowsWriter(path)
    writer.append(np.arange(4), vectors)
    facts = writer.close()
    swapped = vectors[[1, 0, 2, 3]]
    path.write_bytes(swapped.tobytes())
    file = RowsFile.open(path, facts)
    np.testing.assert_array_equal(file.read(np.array([2, 3])), vectors[2:])
    with pytest.raises(DamagedError, match="row 1 is not what was written"):
        file.check(np.array([[2, 3], [3, 1]]))
    with pytest.raises(DamagedError, match="row 0"):
        file.check_all()
    path.write_bytes(vectors.tobytes()[:-1])
    with pytest.raises(DamagedError, match="shorter"):
        RowsFile.open(path, facts)
    with pytest.raises(FileNotFoundError):
        RowsFile.open(tmp_path / "none.vectors", facts)


def test_of_a_large_file_rows_in_a_row_and_scattered_ones_are_read_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molsig.index.rows_file.SHORT", 0)
    monkeypatch.setattr("molsig.index.rows_file._BLOCK_ROWS", 64)
    monkeypatch.setattr("molsig.index.rows_file._AHEAD_ROWS", 128)
    path, vectors = tmp_path / "a.vectors", rows(700)
    writer = RowsWriter(path)
    writer.append(np.arange(700), vectors)
    facts = writer.close()
    file = RowsFile.open(path, facts)
    scattered = np.array([5, 699, 300, 300, 0, 64, 63])
    for some in (np.arange(130, 420), scattered, np.arange(9)[::-1], np.empty(0, np.int64), np.arange(700)):
        np.testing.assert_array_equal(file.read(some), vectors[some])
    damaged = vectors.copy()
    damaged[401, 7] += 1
    path.write_bytes(damaged.tobytes())
    file = RowsFile.open(path, facts)
    np.testing.assert_array_equal(file.read(np.arange(401)), vectors[:401])
    for some in (np.arange(380, 420), scattered + np.array([0, 0, 101, 0, 0, 0, 0])):
        with pytest.raises(DamagedError, match="row 401 is not what was written"):
            file.read(some)
    with pytest.raises(DamagedError, match="row 401"):
        file.check_all()
