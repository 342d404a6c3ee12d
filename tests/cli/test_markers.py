"""`molsig markers` as a user types it."""

from __future__ import annotations

import csv
import gzip
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


def test_a_panel_is_chosen_and_judged_on_who_was_held_out(
    typed: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    page = tmp_path / "panel.html"
    words = ("markers", typed, "--label", "cancer_type", "--rna", cohort_files.rna, "--select", 20)
    done = molsig(*words, "--by", "discrimination", "--json", "--html", page, "--figure", tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"encoder", "by", "types", "held_out", "parts", "ways", "curve", "enough", "panel", "notes"} <= told.keys()
    assert [row["rank"] for row in told["panel"]] == list(range(1, 21))
    assert len({row["feature"] for row in told["panel"]}) == 20
    assert [one["features"] for one in told["curve"]] == [10, 20, told["features"]]
    # Eight types are too few to hold any out.
    assert told["held_out"] == "patients"
    assert "8 types are too few to hold any out" in done.stderr
    assert told["curve"][1]["held_out"] > told["curve"][1]["random"]
    assert page.read_text().count("<svg ") == 3
    assert {one.name for one in tmp_path.glob("*.svg")} == {
        "markers-accuracy.svg", "markers-tsne.svg", "markers-heatmap.svg",
    }  # fmt: skip


def test_one_feature_is_drawn_too(typed: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    words = ("markers", typed, "--label", "cancer_type", "--rna", cohort_files.rna, "--html", page)
    for more in (("--select", 1, "--by", "discrimination"), ("--top", 1)):
        done = molsig(*words, *more)
        assert done.returncode == 0, done.stderr
        assert "<svg " in page.read_text()
        page.unlink()


def test_what_differs_in_metastases_is_told(typed: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    with gzip.open(cohort_files.rna, "rt") as file:
        head, *rows = csv.reader(file, delimiter="\t")
    marked = [number % 3 == 0 for number in range(len(rows))]
    # Metastases have forty times as much of one gene.
    for row, one in zip(rows, marked, strict=True):
        row[7] = str((int(row[7]) + 50) * (40 if one else 1))
    measured, kinds, page = tmp_path / "rna.tsv", tmp_path / "kinds.tsv", tmp_path / "m.html"
    measured.write_text("".join("\t".join(row) + "\n" for row in (head, *rows)))
    lines = [f"{r[0]}\t{r[1]}\t{'metastasis' if m else 'tumour'}\n" for r, m in zip(rows, marked, strict=True)]
    kinds.write_text("sample\tpatient\tkind\n" + "".join(lines))
    words = (
        "markers",
        typed,
        "--label",
        "cancer_type",
        "--rna",
        measured,
        "--samples",
        kinds,
        "--metastatic",
        "--top",
        5,
    )
    done = molsig(*words, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    first = told["markers"][0]
    assert first["feature"] == head[7]
    assert first["q"] < 1e-10 < told["markers"][1]["q"]
    assert first["difference"] > 3
    assert first["same_sign_in"] == len(told["types"])
    assert told["told"][0]["auc"] > 0.9
    assert page.read_text().count("<svg ") == 3


def test_slips_of_the_other_questions_are_told(typed: Path, cohort_files: SimulatedCohort) -> None:
    rna = ("--label", "cancer_type", "--rna", cohort_files.rna)
    for words, code, said in (
        (("--select", "5", "--metastatic"), 2, "one at a time"),
        (("--by", "forward"), 2, "goes with --select"),
        (("--select", "5", "--by", "luck"), 2, "forward or discrimination"),
        (("--metastatic", "--encoder", "rna-vae-0"), 2, "no encoder is asked"),
        (("--select", "5", "--pairs", "20"), 2, "--pairs"),
        (("--metastatic",), 3, "none of the labelled samples is a metastasis"),
    ):
        done = molsig("markers", typed, *rna, *words)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
