"""The benchmarks of the map run through on files of their form, made here: figures mean nothing, keys and table do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from benchmarks import deep_map, deep_map_features
from benchmarks.deep_map import LEFT_OUT
from benchmarks.deep_map_cohort import TISSUE

if TYPE_CHECKING:
    from pathlib import Path

TYPES = (*LEFT_OUT, "BRCA", "LUAD")
PER_TYPE = 20
NORMALS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep_map")
    (folder / "tcga").mkdir()
    random = np.random.default_rng(0)
    precursors = [f"hsa-mir-{number}" for number in range(20, 60)]
    level = random.uniform(3, 9, (len(TYPES), len(precursors)))
    rows, people = [], []
    for kind, name in enumerate(TYPES):
        for i in range(PER_TYPE):
            patient = f"TCGA-{chr(65 + kind)}{i % 6}-{i:04d}"
            people.append({"patient": patient, "cancer_type": name, "site": patient[5:7], "sex": "", "age": ""})
            for code in ("01A", "11A") if i < NORMALS else ("01A",):
                shift = 2.0 if code == "11A" else 0.0
                counts = random.poisson(np.exp(level[kind] + shift * (np.arange(40) % 2) + random.normal(0, 0.3, 40)))
                rows.append({"sample": f"{patient}-{code}", "patient": patient, "sequencer": "none"} | dict(
                    zip(precursors, counts.tolist(), strict=True)
                ))  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "tcga" / "mirna_counts.parquet")
    pd.DataFrame(people).to_csv(folder / "tcga" / "clinical.tsv", sep="\t", index=False)
    return folder


def test_the_map_is_measured_beside_its_rivals(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "map.json"
    asked = ["deep_map", "--output", str(output)]
    given = [*asked, "--data", str(data), "--epochs", "3"]
    monkeypatch.setattr("sys.argv", [*given, "--seeds", "1"])
    deep_map.main()
    monkeypatch.setattr("sys.argv", [*given, "--left-out"])
    deep_map.main()
    told = json.loads(output.read_text())
    assert set(told) == {"cohort", "patients", "sites", "left out"}
    assert told["cohort"]["samples"] == len(TYPES) * (PER_TYPE + NORMALS)
    assert told["cohort"]["normals"] == len(TYPES) * NORMALS
    for split in ("patients", "sites"):
        run = told[split]["0"]
        assert run["training"] + run["test"] == told["cohort"]["samples"]
        assert run["MLP"]["tissue"] > 0.7, "the types differ by far"
    assert set(told["left out"]) == {"known types", *LEFT_OUT}
    assert told["left out"][LEFT_OUT[0]]["samples"] == PER_TYPE + NORMALS
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", [*asked, "--table"])
    deep_map.main()
    table = capsys.readouterr().out
    assert "whole sites held out" in table
    assert f"| {LEFT_OUT[1]} |" in table


def test_known_markers_are_looked_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "features.json"
    monkeypatch.setattr("sys.argv", ["x", "--data", str(data), "--output", str(output), "--epochs", "3"])
    deep_map_features.main()
    told = json.loads(output.read_text())
    assert set(told["miR-21"]) == {TISSUE[name] for name in TYPES}
    assert set(told["beside"]) == set(told["miR-21"])
    monkeypatch.setattr("sys.argv", ["x", "--output", str(output), "--table"])
    deep_map_features.main()
    assert "miR-21 in" in capsys.readouterr().out
