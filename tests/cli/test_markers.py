"""`molsig markers` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.ingest.cohort import Cohort
from molsig.simulate import SimulatedCohort


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture(scope="module")
def typed(cohort_files: SimulatedCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference whose RNA encoder has learned from types."""
    place = tmp_path_factory.mktemp("typed") / "typed.molsig"
    cohort = Cohort.of(rna=cohort_files.rna, patients=cohort_files.clinical)
    choice = ModelChoice(networks={"rna": "whitened"})
    Reference.ingest_into(place, cohort, choice=choice, learn=False, label="cancer_type")
    return place


def test_markers_are_told_with_stable_keys_and_drawn(
    typed: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    page, folder = tmp_path / "markers.html", tmp_path / "figures"
    done = molsig(
        "markers", typed, "--label", "cancer_type", "--rna", cohort_files.rna, "--top", 12, "--pairs", 60, "--json",
        "--html", page, "--figure", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"encoder", "modality", "label", "method", "score", "features", "types", "markers", "by_type"} <= told.keys()
    assert told["encoder"].startswith("rna-whitened-")
    assert [row["rank"] for row in told["markers"]] == list(range(1, 13))
    assert {"feature", "score", "times_average", "top_in", "best_in"} <= told["markers"][0].keys()
    scores = [row["score"] for row in told["markers"]]
    assert scores == sorted(scores, reverse=True)
    assert len(told["by_type"]) == len(told["types"]) == 8
    assert all(one["pairs"] <= 60 for one in told["types"].values())
    text = page.read_text()
    assert told["markers"][0]["feature"] in text
    assert text.count("<svg ") == 3
    assert sorted(one.name for one in folder.iterdir()) == [
        "markers-accuracy.svg", "markers-heatmap.svg", "markers-tsne.svg",
    ]  # fmt: skip


def test_an_encoder_without_labels_has_markers_too_and_says_so(built: Path, cohort_files: SimulatedCohort) -> None:
    done = molsig("markers", built, "--label", "cancer_type", "--mirna", cohort_files.mirna, "--top", 3, "--pairs", 20)
    assert done.returncode == 0, done.stderr
    assert "fitted without labels" in done.stderr
    assert "cosine of the vectors" in done.stdout


def test_what_is_missing_is_told(typed: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    without = molsig("markers", typed, "--label", "cancer_type")
    assert without.returncode == 2
    assert "--rna FILE" in without.stderr
    column = molsig("markers", typed, "--label", "histology", "--rna", cohort_files.rna)
    assert column.returncode == 2
    assert "cancer_type" in column.stderr
    space = molsig("markers", typed, "--label", "cancer_type", "--rna", cohort_files.rna, "--encoder", "rna-vae-0")
    assert space.returncode == 1
    assert "rna-whitened-" in space.stderr
    strangers = molsig("markers", typed, "--label", "cancer_type", "--rna", cohort_files.new_rna)
    assert strangers.returncode == 3
    assert "none of the" in strangers.stderr
    other = molsig("markers", typed, "--label", "cancer_type", "--mirna", cohort_files.mirna)
    assert other.returncode == 1
    page = molsig("markers", typed, "--label", "cancer_type", "--html", tmp_path / "markers.pdf")
    assert page.returncode == 2
    assert "Traceback" not in without.stderr + column.stderr + space.stderr + strangers.stderr + other.stderr
