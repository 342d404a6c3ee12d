"""Fused queries as a reference grows, tried at sizes that take seconds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fused_scale
from molsig.reference import Reference

ROOT = Path(__file__).parents[2]


def test_sizes_are_made_from_one_another_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["--queries", "4", "--folder", str(tmp_path), "--types", "4"]
    fused_scale.main([*words, "--sizes", "300,450", "--keep", "--json"])
    told = json.loads(capsys.readouterr().out)
    first, second = told["sizes"]
    assert (first["patients"], second["patients"]) == (300, 450)
    for one in (first, second):
        assert one["held"]
        # So few patients lie two to a cluster: that some are called right is all there is to see.
        assert 0 < one["called_right"] <= 1
        assert 0 < one["p50_ms"] <= one["p95_ms"]
        assert one["candidates"] >= 200
        assert one["added_s"] > 0
    slope = np.log(second["p50_ms"] / first["p50_ms"]) / np.log(450 / 300)
    assert told["exponent"] == pytest.approx(slope)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["300.molsig", "450.molsig"]

    # What is kept is asked again, and nothing is made.
    fused_scale.main([*words, "--sizes", "450", "--keep"])
    out = capsys.readouterr().out
    assert out.startswith("| patients | p50 ms |")
    assert "\n| 450 | " in out
    assert "power" not in out
    with pytest.raises(subprocess.CalledProcessError):
        fused_scale.main([*words, "--sizes", "450", "--keep", "--modalities", "rna,report"])


def test_other_modalities_may_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["--queries", "4", "--folder", str(tmp_path), "--types", "4", "--sizes", "300", "--keep", "--json"]
    fused_scale.main([*words, "--modalities", "rna,mutation,mirna,report"])
    told = json.loads(capsys.readouterr().out)
    assert told["sizes"][0]["held"]
    stored = Reference.open(tmp_path / "300.molsig").encoders()
    assert {one["modality"] for one in stored} == {"rna", "mutation", "mirna", "report"}


def test_patients_of_a_cluster_lie_together_in_every_modality() -> None:
    clusters, vectors = fused_scale.Patients(types=4).draw(400, 5)
    again, others = fused_scale.Patients(types=4).draw(400, 5)
    assert np.array_equal(clusters, again)
    same = clusters[:, None] == clusters
    np.fill_diagonal(same, False)
    for modality, block in vectors.items():
        assert np.array_equal(block, others[modality])
        unit = block / np.linalg.norm(block, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, 0)
        assert cosines[same].mean() > 0.4
        assert abs(cosines[~same].mean()) < 0.05
