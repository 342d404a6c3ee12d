"""Mapped pages: what was looked at stays, beyond a limit parts of all files go in turn, and reads are the same."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from molsig.index import mapped
from molsig.index.mapped import MappedPages, resident

ROW = 4096
ROWS = 8192
"""Of one file: 32 MB."""

linux = pytest.mark.skipif(resident() is None, reason="the system does not tell what is mapped")


def opened(path: Path) -> tuple[MappedPages, np.ndarray]:
    path.write_bytes(np.arange(ROWS, dtype="<i8").repeat(ROW // 8).tobytes())
    with path.open("rb") as handle:
        whole = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
    return MappedPages(whole, ROW), np.frombuffer(whole, "<i8").reshape(ROWS, -1)


def held(path: Path) -> int:
    """Bytes of a file that the system says are mapped here."""
    kilobytes, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return 1024 * kilobytes


@linux
def test_beyond_the_limit_parts_of_all_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_PART", 4 << 20)
    places = [tmp_path / "one", tmp_path / "other"]
    files = [opened(place) for place in places]
    rows = np.random.default_rng(0).integers(0, ROWS, (30, 300))
    for some in rows:
        for pages, matrix in files:
            pages.touch(some.size)
            assert np.array_equal(matrix[some, -1], some)
    assert all(held(place) > 30 << 20 for place in places), "within the limit all stays"
    now = resident()
    assert now is not None
    monkeypatch.setattr(mapped, "MAPPED", now - (24 << 20))
    files[0][0].touch(mapped._OFTEN + 1)
    left = [held(place) for place in places]
    assert sum(left) <= 2 * (32 << 20) - (24 << 20)
    assert abs(left[0] - left[1]) <= 4 << 20, "one file is not let go for the other"
    for some in rows:
        assert np.array_equal(files[1][1][some, -1], some)


@linux
def test_a_file_is_let_go_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "one"
    pages, matrix = opened(place)
    assert int(matrix.sum()) == (ROW // 8) * ROWS * (ROWS - 1) // 2
    assert held(place) == ROW * ROWS
    pages.let_go()
    assert held(place) == 0
    pages.read_ahead(3, 2 * ROWS)
    assert int(matrix[ROWS - 1, 0]) == ROWS - 1
