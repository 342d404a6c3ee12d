"""Compiled parts: taken where they were built from the source that is here, and only then."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from molsig.index import cosines, pca_sq8
from molsig.index.compiled import compiled_part


@pytest.mark.parametrize("room", [cosines, pca_sq8])
def test_parts_of_another_version_are_not_used(room: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"_{room.__name__.rsplit('.', 1)[-1]}"
    built = ModuleType(name)
    monkeypatch.setitem(sys.modules, f"molsig.index.{name}", built)
    assert compiled_part(name, room.VERSION) is None
    built.VERSION = room.VERSION - 1  # type: ignore[attr-defined]
    assert compiled_part(name, room.VERSION) is None
    built.VERSION = room.VERSION  # type: ignore[attr-defined]
    assert compiled_part(name, room.VERSION) is built


def test_other_parts_leave_the_work_to_numpy() -> None:
    script = """
import sys, types
for name in ("_cosines", "_pca_sq8"):
    other = types.ModuleType(f"molsig.index.{name}")
    other.VERSION = -1
    sys.modules[other.__name__] = other
from molsig.index import cosines, pca_sq8
assert cosines.best_of_rows() is None and cosines.nearest_cells() is None
assert not pca_sq8.compiled()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_parts_that_were_not_built_are_none() -> None:
    assert compiled_part("_never", 1) is None
