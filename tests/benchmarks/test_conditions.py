"""What searches find under conditions, tried on a reference that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import conditions
from benchmarks.recall import fill
from molsig.evaluate.clustered import Mixture
from molsig.index.store import Store

ROWS = 6_000


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.create(tmp_path_factory.mktemp("conditions") / "r.molsig")
    vectors, _, _ = Mixture().draw(ROWS, 1, 3)
    fill(store, vectors)
    columns = {
        "patient": [f"P{row:07d}" for row in range(ROWS)],
        "sex": ["female" if row % 2 else "male" for row in range(ROWS)],
        "age": [20 + row % 60 for row in range(ROWS)],
    }
    with store.writer("test") as writer:
        writer.put_patients(pa.table(columns))
    return store.path


def test_conditions_are_of_columns_and_drawn(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditions.main([str(reference), "--queries", "40", "--json"])
    lines = json.loads(capsys.readouterr().out)
    asked = {one["condition"]: one for one in lines if one["space"] == "rna"}
    assert asked["\"sex\" = 'male'"]["kept"] == asked["\"sex\" <> 'male'"]["kept"] == ROWS // 2
    assert {"50% at random", "50% slant 1", "50% one side"} <= asked.keys()
    assert any(condition.startswith('"age" <') for condition in asked)
    for one in lines:
        assert one["rows"] == ROWS
        assert one["method"] == "pca-sq8"
        assert 0.98 <= one["recall"] <= 1
        assert one["kept"] > 2_000


def test_the_table_has_a_line_for_a_space(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditions.main([str(reference), "--queries", "10"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| rna | 6,000 | pca-sq8 |")
