"""The landmark benchmark on invented samples: what is held out, what is common, what is added to its file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import landmarks
from benchmarks.landmark_cohorts import Split
from benchmarks.landmark_tables import table


@pytest.fixture
def one() -> Split:
    """80 genes of 60 samples that 6 hidden ones rule, 15 samples held out."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 1, (75, 6))
    values = (6 + hidden @ rng.normal(0, 1, (6, 80)) + 0.2 * rng.normal(0, 1, (75, 80))).astype(np.float32)
    names = tuple(f"G{i}" for i in range(80))
    return Split(names, values[:60], values[60:], [f"P{i // 2}" for i in range(60)], [""] * 15, ["A"] * 15)


def test_sets_are_compared_on_genes_that_none_holds(
    one: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarks, "METHODS", ("variance", "medoids", "pca", "random"))
    path = tmp_path / "found.json"
    options = argparse.Namespace(autoencoder=False, model=["ridge"], sizes=[10], draws=2, transfer=False)
    landmarks.work(landmarks.Results(path), one, "panel/random/test/0", 0, options)
    held = json.loads(path.read_text())
    row = held["rows"]["inference/panel/random/test/0/ridge/10"]
    chosen = {gene for name, one in held["rankings"].items() for gene in one["genes"][:10]}
    assert set(row["sets"]) == {"variance", "medoids", "pca", "random 0", "random 1"}
    assert row["common"] == 80 - len(chosen)
    for name, figures in row["sets"].items():
        assert figures["own"]["genes"] == 70
        at_most = row["common"]
        assert at_most - 10 <= figures["common"]["genes"] <= at_most
        assert (figures["common"]["genes"] == at_most) is not name.startswith("random")
        # Six hidden variables, ten landmarks: next to nothing but the noise is left.
        assert figures["own"]["pcc"] > 0.9
        assert figures["own"]["mae"] < 0.4
        assert 0 < figures["own"]["mae_sd"] < 0.3
    assert [(pair["first"], pair["second"]) for pair in row["paired"]][:2] == [
        ("variance", "medoids"),
        ("variance", "pca"),
    ]
    before = path.read_text()
    landmarks.work(landmarks.Results(path), one, "panel/random/test/0", 0, options)
    assert path.read_text() == before
    printed = table(held["rows"])
    assert "### panel, random split, test patients" in printed
    assert "| 10 | variance | ridge |" in printed
