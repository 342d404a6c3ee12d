"""Tables and pictures of the benchmarks of aggregates, on rows whose figures are known."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composition_data import made_pool

from benchmarks import aggregates, composition, composition_verdicts
from benchmarks.composition_table import COUNTS, draw, summary, table
from molsig.types import DIM

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG"


def row(seed: int, n: int, mcc: float | None, noise: float = 0.0) -> dict[str, Any]:
    label = {"rows": 5, "precision": 0.5, "recall": 0.25, "f1": 0.125}
    one = {"modality": "rna", "mcc": mcc, "balanced_accuracy": 0.75, "present": label, "absent": label}
    key = {"seed": seed, "method": "molsig", "training": "composite", "sampling": "simple", "n": n, "noise": noise}
    return key | {"presence": [one], "counts": {"all": {"exact": 0.5, "error": 1.0}}}


def test_cells_are_means_over_the_seeds_with_their_range() -> None:
    rows = [row(seed, n, mcc) for n in COUNTS for seed, mcc in ((0, 0.9), (1, 0.8))]
    lines = table(rows).splitlines()
    assert [line.split()[4] for line in lines[1:]] == ["rna", "all"]
    assert lines[1].count("0.850 (0.100)") == len(COUNTS)
    assert table([row(0, n, None) for n in COUNTS]).splitlines()[1].split()[5:] == ["-"] * len(COUNTS)


def test_the_summary_leaves_noise_out() -> None:
    rows = [row(0, n, 0.9) for n in COUNTS]
    line = summary(rows).splitlines()[1].split()
    assert line[-7:] == ["0.750", "0.500", "0.250", "0.125", "0.500", "0.250", "0.125"]
    assert summary(rows + [row(0, n, 0.1, 0.5) for n in COUNTS]) == summary(rows)


def test_experiments_of_one_seed_can_be_kept_printed_and_drawn(tmp_path: Path) -> None:
    pool = made_pool(2, 150, 2)
    types = ["BRCA" if i % 2 else "LUAD" for i in range(len(pool.patients))]
    options = argparse.Namespace(
        methods=["logistic", "network"], training=["composite", "isolation"], queries=40, per_count=60, isolation=60
    )
    rows = [one for some in composition.run(pool, types, options, 0) for one in some]
    kinds = {(r["training"], r["sampling"], r["noise"]) for r in rows}
    noisy = {("composite", "simple", share) for share in composition.SHARES}
    clean = {(a, b, 0.0) for a in ("composite", "isolation") for b in ("simple", "specific")}
    assert kinds == noisy | clean
    assert len(rows) == 2 * len(kinds) * len(COUNTS)
    (tmp_path / "scores.json").write_text(json.dumps(rows))
    command = [sys.executable, "-m", "benchmarks.composition", "--scores", str(tmp_path / "scores.json")]
    done = subprocess.run(
        [*command, "--picture", str(tmp_path / "mcc.png")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == f"{table(rows)}\n\n{summary(rows)}\n"
    assert (tmp_path / "mcc.png").read_bytes().startswith(PNG)
    draw(rows[: len(COUNTS)], tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_subtypes_are_values_that_enough_patients_of_a_type_with_two_of_them_have() -> None:
    types = ["BRCA"] * 7 + ["LUAD"] * 5 + [None] * 3
    values = ["ductal"] * 3 + ["lobular"] * 3 + ["rare"] + ["ductal"] * 4 + [None] + ["ductal"] * 3
    found = aggregates.subtypes_of(types, values, 3)
    assert found == {"BRCA": ["ductal"] * 3 + ["lobular"] * 3 + [None] * 9}
    assert aggregates.subtypes_of(types, values, 5) == {}


def test_the_picture_of_clusters_is_drawn(tmp_path: Path) -> None:
    pool = made_pool(2, 60, 1)
    labels: list[str | None] = [("BRCA", "LUAD", "THCA")[i % 3] for i in range(60)]
    rows, pictures = aggregates.compare(pool, labels, [(2, 1)])
    assert rows[0]["mixture"].keys() == {"tied", "full", "diag"}
    assert rows[0]["patients"] == 60
    aggregates.draw(pictures, tmp_path / "clusters.png")
    assert (tmp_path / "clusters.png").read_bytes().startswith(PNG)


def test_runs_are_told_with_mean_and_spread(capsys: pytest.CaptureFixture[str]) -> None:
    pool = made_pool(2, 60, 1)
    labels: list[str | None] = [("BRCA", "LUAD", "THCA")[i % 3] for i in range(60)]
    sites: list[str | None] = [f"S{i % 15}" for i in range(60)]
    (told,) = aggregates.classify(pool, labels, "cancer_type", sites, 3, [(2, 1)])
    assert (told["split"], told["patients"], told["runs"]) == ("site", 60, 3)
    assert np.array(told["confusion"]).shape == (3, 3)
    assert 0 <= told["accuracy"][0] <= 1
    assert "accuracy" in capsys.readouterr().out


def test_own_sums_are_those_of_each_patient() -> None:
    pool = made_pool(2, 20, 2).take(np.arange(100))
    vectors, counts = composition_verdicts.own_sums(pool)
    for row, patient in enumerate(np.unique(pool.patient)):
        own = pool.patient == patient
        np.testing.assert_allclose(vectors[row], pool.vectors[own].sum(axis=0), atol=1e-5)
        np.testing.assert_array_equal(counts[row], np.bincount(pool.modality[own], minlength=3))
    asked = composition_verdicts.odd_vectors(pool, 20, 0)
    assert {vectors.shape for vectors in asked.values()} == {(20, DIM)}
    np.testing.assert_allclose(np.linalg.norm(asked["sums, 1 long"], axis=1), 1, rtol=1e-5)
