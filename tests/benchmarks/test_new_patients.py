"""What structures find for new patients, tried on a reference that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import new_patients
from benchmarks.recall import fill
from molsig.evaluate.clustered import Mixture
from molsig.index.store import Store

ROWS = 1500


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("new") / "r.molsig"
    vectors, _, _ = Mixture().draw(ROWS, 1, 3)
    fill(Store.create(place), vectors)
    return place


def test_patients_that_ask_are_not_held(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_patients.main([str(reference), "--queries", "50", "--structures", "pca-sq8,rabitq", "--json"])
    lines = json.loads(capsys.readouterr().out)
    assert [(one["space"], one["structure"]) for one in lines] == [
        ("rna", "pca-sq8"),
        ("rna", "rabitq"),
        ("sum", "pca-sq8"),
        ("sum", "rabitq"),
    ]
    for one in lines:
        assert one["rows"] == ROWS * 4 // 5
        assert one["queries"] == 50
        assert 0.97 <= one["recall"] <= 1
        assert one["compared"] >= 10
        assert one["p50_us"] > 0


def test_the_table_says_what_was_learned(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_patients.main([str(reference), "--queries", "20", "--structures", "pca-sq8"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "| pca-sq8 (32 directions) |" in lines[2]
