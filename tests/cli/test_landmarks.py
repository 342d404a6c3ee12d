"""`molsig landmarks` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from molsig.encoders.landmarks import METHODS
from molsig.errors import InputError, UsageError
from molsig.ingest.expression import read_expression
from molsig.ingest.gmt import read_gene_list
from molsig.reference import Reference
from molsig.simulate import SimulatedCohort
from tests.room import run_with_room


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def test_landmarks_are_told_compared_and_written(built: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    table, page, sets = tmp_path / "genes.csv", tmp_path / "landmarks.html", tmp_path / "sets.gmt"
    names = read_expression(cohort_files.rna).features
    of_thirty = ["\t".join(names[start : start + 30]) for start in range(0, 120, 30)]
    sets.write_text("".join(f"set{i}\t-\t{some}\n" for i, some in enumerate(of_thirty)))
    done = molsig(
        "landmarks", built, "--rna", cohort_files.rna, "--n", 20, "--method", "medoids", "--compare", "--resamples", 2,
        "--epochs", 5, "--gene-sets", sets, "--output", table, "--html", page, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"method", "n", "genes", "landmarks", "scores", "validation", "stability", "enriched"} <= told.keys()
    assert len(told["landmarks"]) == 20
    by_random = [one for one in told["scores"] if one["held_out"] == "random"]
    assert sorted(one["method"] for one in by_random) == sorted(METHODS)
    assert by_random[0]["against"] is None
    assert by_random[1]["against"]["genes"] == by_random[1]["common_genes"]
    assert {one["held_out"] for one in told["scores"]} == {"whole_groups", "random"}
    assert all(one["genes"] == told["genes"] - 20 and one["patients"] < 160 for one in told["scores"])
    assert 0 < told["stability"]["jaccard"] <= 1
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["gene"] for row in rows if row["landmark"] == "true"] == told["landmarks"]
    assert len(rows) == told["genes"]
    text = page.read_text()
    assert told["landmarks"][0] in text
    assert "SIM-" not in text, "no sample is named"
    read = read_gene_list(table)
    assert read.genes == tuple(told["landmarks"])
    assert read.candidates is not None
    assert len(read.candidates) == told["genes"]


def test_the_best_method_is_chosen_on_patients_held_back(built: Path, cohort_files: SimulatedCohort) -> None:
    found = Reference.open(built).landmarks(rna=cohort_files.rna, n=15, method="auto", epochs=5)
    assert set(found.validation) == set(METHODS)
    assert found.method == min(found.validation, key=lambda name: found.validation[name])
    assert {one.method for one in found.scores} == {found.method}


def test_a_reference_is_rebuilt_on_landmarks(built: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    fresh = tmp_path / "few.molsig"
    done = molsig(
        "landmarks", built, "--rna", cohort_files.rna, "--n", 60, "--method", "variance", "--rebuild", fresh, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["rebuilt"]
    old, new = Reference.open(built), Reference.open(fresh)
    before, after = old.info(), new.info()
    assert told["after"]["total"] == after["bytes"]
    assert told["after"]["encoders"] < told["before"]["encoders"]
    assert {one["figure"] for one in told["accuracy"]} == {"p@10", "vote@10"}
    assert all(0 < one["after"] <= 1 for one in told["accuracy"])
    assert before["patients"] == after["patients"]
    assert before["columns"] == after["columns"]
    assert before["modalities"].keys() == after["modalities"].keys()
    for modality in ("mirna", "mutation"):
        assert before["modalities"][modality] == after["modalities"][modality]
    encoder = next(one["card"] for one in new.encoders() if one["modality"] == "rna")
    assert encoder["name"] == "rna-vae"
    assert encoder["n_features"] <= 60
    assert all(check.ok for check in new.verify())
    # What is carried over is the same vectors of the same inputs: the same files change nothing.
    again = new.ingest(mirna=cohort_files.mirna, mutations=cohort_files.mutations, learn=False)
    assert again.conflicts == 0
    assert sum(again.added.values()) == 0
    found = new.query_files(rna=cohort_files.new_rna, k=3)
    assert all(len(one.hits) == 3 for one in found)
    with pytest.raises(UsageError, match="something already"):
        old.rebuild(fresh, old.landmarks(rna=cohort_files.rna, n=20, method="variance"), rna=cohort_files.rna)


def test_gene_sets_that_cannot_be_tested_lose_nothing(
    built: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    sets, table = tmp_path / "small.gmt", tmp_path / "genes.csv"
    names = read_expression(cohort_files.rna).features
    sets.write_text("small\t-\t" + "\t".join(names[:3]) + "\n")
    words = ["landmarks", built, "--rna", cohort_files.rna, "--n", 20, "--method", "variance"]
    done = molsig(*words, "--gene-sets", sets, "--output", table, "--json")
    assert done.returncode == 0, done.stderr
    assert "small.gmt" in done.stderr
    assert any("molsig enrich" in line for line in json.loads(done.stdout)["notes"])
    assert len(table.read_text().splitlines()) > 20
    done = molsig(*words, "--rebuild", tmp_path / "few.molsig", "--label", "colour")
    assert done.returncode == 2
    assert "--label colour" in done.stderr
    assert not (tmp_path / "few.molsig").exists()


def test_a_rebuild_that_is_killed_or_has_no_room_leaves_no_reference(
    built: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    fresh = tmp_path / "few.molsig"
    words = ["landmarks", built, "--rna", cohort_files.rna, "--n", 20, "--method", "variance", "--rebuild", fresh]
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (begun := list(tmp_path.glob(".few.molsig-rebuild-*/few.molsig/encoders/*"))):
            assert running.poll() is None, "it ended before it wrote anything"
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not fresh.exists()
    assert begun[0].exists(), "a killed process clears nothing"
    full = run_with_room(command, 500_000)
    assert full.returncode == 4, full.stderr
    assert "disk is full" in full.stderr
    assert not list(tmp_path.iterdir()), "neither a reference nor what the killed one left"
    assert all(check.ok for check in Reference.open(built).verify())


def test_what_cannot_be_asked_is_told(built: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    done = molsig("landmarks", built, "--rna", cohort_files.rna, "--output", tmp_path / "genes.txt")
    assert done.returncode == 2
    assert ".csv" in done.stderr
    stored = Reference.open(built)
    asked: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "--rna FILE"),
        ({"rna": cohort_files.rna, "n": 5000}, "can be landmarks"),
        ({"rna": cohort_files.rna, "method": "best"}, "autoencoder"),
        ({"rna": cohort_files.rna, "inference": "guess"}, "dgex"),
        ({"rna": cohort_files.rna, "group": "ward"}, "no such patient column"),
    )
    for given, said in asked:
        with pytest.raises(UsageError, match=said):
            stored.landmarks(**given)
    with pytest.raises(InputError, match="knows 0 of this file"):
        stored.landmarks(rna=cohort_files.new_rna, n=20)
