"""`molsig evaluate` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.ingest.cohort import Cohort
from molsig.simulate import SimulatedCohort

QUICK = ("--label", "cancer_type", "--fusion", "sum", "--fusion", "rna", "--folds", "3", "--draws", "20")


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_and_meters_are_printed(built: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--missing", "0,0.5")
    assert done.returncode == 0, done.stderr
    for words in (
        "whole sites held out",
        "random folds",
        "Leak meters",
        "left out",
        "vote@10",
        "50%",
        "note: encoders",
    ):
        assert words in done.stdout
    assert done.stderr == ""


def test_json_and_files_hold_the_same_document(built: Path, tmp_path: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--missing", "0", "--json", "--output", tmp_path / "e.json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "e.json").read_text())
    assert document["settings"]["label"] == "cancer_type"
    assert document["settings"]["missing"] == [0.0]
    assert {part["scheme"] for part in document["parts"]} == {"groups_held_out", "random"}
    assert document["leaks"]
    assert document["unknown"][0]["auroc"]["value"] > 0.5


def test_the_page_is_written(built: Path, tmp_path: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--leave-out", "ALDR,BIRC", "--output", tmp_path / "e.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "e.html" in done.stderr
    page = (tmp_path / "e.html").read_text()
    assert page.count("<svg") == 10
    assert "ALDR, BIRC" in page


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--label", "kind"), 2, "--label kind"),
        (("--label", "cancer_type", "--missing", "0,1"), 2, "--missing 0,1"),
        (("--label", "cancer_type", "--missing", "few"), 2, "--missing few"),
        (("--label", "cancer_type", "--output", "e.pdf"), 2, "e.pdf"),
        (("--label", "cancer_type", "--leave-out", "NONE"), 2, "NONE"),
    ],
)
def test_what_cannot_be_done_is_said(built: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = molsig("evaluate", built, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_encoder_that_learned_the_label_is_warned_of(cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    place, page = tmp_path / "taught.molsig", tmp_path / "e.html"
    cohort = Cohort.of(rna=cohort_files.rna, patients=cohort_files.clinical)
    choice = ModelChoice(networks={"rna": "whitened"})
    Reference.ingest_into(place, cohort, choice=choice, learn=False, label="cancer_type")
    quick = ("--fusion", "sum", "--folds", "2", "--draws", "5", "--missing", "0", "--leave-out", "0")
    done = molsig("evaluate", place, "--label", "cancer_type", *quick, "--json", "--output", page)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(one["modality"], one["methods"], len(one["labels"])) for one in told["taught"]] == [("rna", ["sum"], 8)]
    assert told["notes"][0] == told["taught"][0]["warning"]
    assert "8 of the 8 values of cancer_type" in page.read_text()
    assert "sum *" in page.read_text()
    sex = Reference.open(place).evaluate("sex", fusion="sum", folds=2, draws=5, missing=(0.0,), left_out=0)
    assert sex.taught == ()
    assert any("has learned types of these patients" in note for note in sex.notes)
    learned = Reference.open(place).learn("cancer_type")
    assert len(learned["taught"]["rna"]) == 8
    patient = Reference.open(place)._store.patient_ids()[0]
    answer = Reference.open(place).query(patient, vote=["cancer_type"])
    assert any("the rna encoder has learned cancer_type" in note for note in answer.notes)


def test_without_such_an_encoder_nothing_is_marked(built: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--missing", "0")
    assert "WARNING" not in done.stdout
    assert " *" not in done.stdout
