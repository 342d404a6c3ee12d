"""`molsig annotate` as a user types it, and `Reference.annotate` as a notebook calls it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from torch.nn import GELU
from typer.testing import CliRunner

from molsig import Reference
from molsig.cli.app import app
from molsig.errors import InputError, MolsigError, NotFoundError, UsageError
from molsig.ingest.cohort import Cohort
from molsig.retrieval.annotate_forest import Forest
from molsig.retrieval.annotate_network import Network
from molsig.simulate import SimulatedCohort

HIDDEN = 24
"""Patients whose type is not recorded."""


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def within(*words: object) -> Result:
    """The same in this process."""
    return CliRunner().invoke(app, [str(one) for one in words])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small forest, and a network that stops early."""
    monkeypatch.setattr("molsig.retrieval.annotate_forest.Forest", partial(Forest, trees=(10, 40)))
    monkeypatch.setattr("molsig.retrieval.annotate_network.Network", partial(Network, epochs=2))


@pytest.fixture(scope="module")
def partly(cohort_files: SimulatedCohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A reference in which some patients' types are missing, and these types."""
    folder = tmp_path_factory.mktemp("partly")
    with cohort_files.clinical.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    truth = {row["patient"]: row["cancer_type"] for row in rows[:: len(rows) // HIDDEN][:HIDDEN]}
    with (folder / "clinical.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(row | ({"cancer_type": ""} if row["patient"] in truth else {}) for row in rows)
    place = folder / "partly.molsig"
    Reference.ingest_into(
        place, Cohort.of(rna=cohort_files.rna, patients=folder / "clinical.tsv"), epochs=3, learn=False
    )
    stored = set(Reference.open(place)._store.rows("sum")["patient"].to_pylist())
    return place, {patient: kind for patient, kind in truth.items() if patient in stored}


@pytest.fixture
def reference(partly: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(partly[0], tmp_path / "own.molsig"))


def test_a_file_tells_missing_labels_and_what_is_recorded_stays(
    partly: tuple[Path, dict[str, str]], reference: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    truth = partly[1]
    table = tmp_path / "types.csv"
    done = within(
        "annotate", reference, "--field", "Cancer_Type", "--rna", cohort_files.rna, "--write", "--json", "-o", table
    )
    assert done.exit_code == 0, done.output
    assert f"Stored {len(truth)} predictions of cancer_type" in done.stderr
    told = json.loads(done.stdout)
    assert {"field", "classes", "method", "error", "created", "source", "told", "written", "predictions",
            "validation", "notes"} <= told.keys()  # fmt: skip
    assert (told["field"], told["method"], told["written"]) == ("cancer_type", "forest", len(truth))
    assert {one["patient"] for one in told["predictions"]} == set(truth)
    right = [one["likeliest"] == truth[one["patient"]] for one in told["predictions"]]
    assert sum(right) > 0.7 * len(right)
    for one in told["predictions"]:
        assert one["recorded"] is None
        assert (one["value"] is None) == (len(one["alternatives"]) > 1)
        assert one["alternatives"][0] == one["likeliest"]
    schemes = {(one["scheme"], one["method"]): one for one in told["validation"]}
    assert set(schemes) == {(s, m) for s in ("groups_held_out", "random") for m in ("forest", "commonest")}
    assert schemes["groups_held_out", "forest"]["accuracy"] > schemes["groups_held_out", "commonest"]["accuracy"] + 0.3
    assert len(told["source"]["file_sha256"]) == 64
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {row["patient"] for row in written} == set(truth)
    assert {row["predicted:cancer_type:method"] for row in written} == {"forest"}
    refused = within("ingest", reference, "--clinical", table)
    assert isinstance(refused.exception, InputError), refused.output
    assert "never stored as recorded values" in str(refused.exception)

    stored = Reference.open(reference)
    records = stored._store.records(sorted(truth))
    assert all(record["cancer_type"] is None for record in records.values())
    assert stored.predictions("Cancer_type")["patient"].to_pylist() == sorted(truth)
    shown = within("info", reference)
    assert "Predicted columns, beside what is recorded" in shown.stdout
    exported = tmp_path / "sums.csv"
    stored.export(exported)
    with exported.open(newline="") as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    one = min(truth)
    assert rows[one]["cancer_type"] == ""
    assert rows[one]["predicted:cancer_type:likeliest"] == stored.predictions()["likeliest"][0].as_py()
    assert rows[one]["predicted:cancer_type:method"] == "forest"
    assert all(check.ok for check in stored.verify())
    stored.forget([one])
    assert one not in Reference.open(reference).predictions()["patient"].to_pylist()
    dropped = within("annotate", reference, "--field", "CANCER_TYPE", "--drop", "--json")
    assert json.loads(dropped.stdout) == {"field": "CANCER_TYPE", "dropped": len(truth) - 1}


def test_stored_vectors_will_do(partly: tuple[Path, dict[str, str]]) -> None:
    place, truth = partly
    done = molsig("annotate", place, "--field", "cancer_type", "--top", 3)
    assert done.returncode == 0, done.stderr
    assert "stored vectors of rna" in done.stderr
    assert "whole sites held out" in done.stdout
    assert "random folds" in done.stdout
    assert f"predicted by neighbours for {len(truth)} patients" in done.stdout
    assert f"and {len(truth) - 3} more" in done.stdout
    assert Reference.open(place).predictions().num_rows == 0


def test_age_in_years_and_in_intervals(partly: tuple[Path, dict[str, str]]) -> None:
    reference = Reference.open(partly[0])
    years = reference.annotate("age")
    assert years.classes == ()
    assert {one.method for one in years.validation} == {"neighbours", "commonest", "cancer_type alone"}
    assert years.predictions
    for one in years.predictions:
        assert isinstance(one.value, float)
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.value < one.high
    # So few patients can promise nothing at that error: no interval, and JSON all the same.
    hardly = json.loads(within("annotate", partly[0], "--field", "age", "--error", 0.001, "--json").stdout)
    assert {one["low"] for one in hardly["predictions"]} == {None}
    assert {one["width"] for one in hardly["validation"]} == {None}
    done = within("annotate", partly[0], "--field", "age", "--intervals", 2, "--json")
    told = json.loads(done.stdout)
    assert told["classes"] == ["up to 65", "over 65"]
    # Simulated ages have nothing to do with the tumour: both intervals stay possible.
    assert told["told"] < len(told["predictions"]) or not told["predictions"]
    assert told["source"]["cuts"] == [65.0]


def test_small_numbers_rare_labels_and_booleans(partly: tuple[Path, dict[str, str]], reference: Path) -> None:
    stored = Reference.open(reference)
    patients = stored._store.patient_ids()
    lines = ["patient\tpurity\trare\tflag"]
    for place, one in enumerate(patients):
        rare = f"type {place}" if place > 20 else "AB"[place % 2]
        flag = "" if place < 5 else str(place % 2 == 0).lower()
        lines.append(f"{one}\t{'' if place < 5 else 0.01 + 0.0001 * place}\t{rare}\t{flag}")
    (reference.parent / "more.tsv").write_text("\n".join(lines) + "\n")
    stored.ingest(patients=reference.parent / "more.tsv", learn=False)
    with pytest.raises(InputError, match="that 5 or more patients have; at least 100"):
        stored.annotate("rare")
    told = within("annotate", reference, "--field", "purity").stdout
    assert re.search(r"0\.01\d\d* to 0\.0\d\d", told) or re.search(r"-?0\.00\d+ to 0\.0\d\d", told), told
    assert " 0.0 to 0.0 " not in told
    found = stored.annotate("flag")
    assert found.classes == ("false", "true")
    assert {one.likeliest for one in found.predictions} <= {"false", "true"}


def test_the_best_on_held_out_groups_is_taken_and_recorded_values_are_told_blind(
    partly: tuple[Path, dict[str, str]], cohort_files: SimulatedCohort
) -> None:
    place, truth = partly
    hidden = min(truth)
    stored = Reference.open(place)
    known = next(one for one in stored._store.patient_ids() if one not in truth)
    found = stored.annotate("cancer_type", method="auto", patients=[hidden, known], recorded=True)
    held = {one.method: one.scores.loss for one in found.validation if one.scheme == "groups_held_out"}
    assert set(held) == {"neighbours", "network", "forest", "commonest"}
    assert held[found.method] == min(held.values())
    assert "fused vectors" in " ".join(found.notes)
    assert [one.patient for one in found.predictions] == sorted([hidden, known])
    assert {one.patient for one in found.predictions if one.recorded is not None} <= {known}
    nobody = stored.annotate("sex")
    assert nobody.predictions == ()
    assert "every patient that can be told about has a recorded sex" in " ".join(nobody.notes)


def test_what_calls_rest_on_is_a_table_json_and_a_page_without_names(
    partly: tuple[Path, dict[str, str]],
    cohort_files: SimulatedCohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("molsig.retrieval.annotate_network.Network", partial(Network, epochs=8))
    place, truth = partly
    page, folder = tmp_path / "why.html", tmp_path / "pictures"
    asked = ("annotate", place, "--field", "cancer_type", "--rna", cohort_files.rna, "--method", "network")
    done = within(*asked, "--explain", "--json", "--html", page, "--figure", folder)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["explanation"]
    assert {"method", "reference", "score", "held_out", "features", "inputs", "missed", "classes", "stability",
            "similarity", "patients"} == told.keys()  # fmt: skip
    assert (told["method"], told["reference"], told["score"]) == ("deeplift", "zeros", "logit")
    assert told["held_out"] == "groups_held_out"
    assert told["missed"] < 1e-3
    names = [one["class"] for one in told["classes"]]
    assert len(names) == len(set(truth.values()))
    for one in told["classes"]:
        scores = [each["d1"] for each in one["inputs"]]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0 for score in scores)
        assert one["zeroed_samples"] <= one["right"] <= one["samples"] <= 100
        assert (one["fewest_zeroed"] or 1) >= 1
        assert one["nearest"] in {*names, None}
    assert sum(one["right"] for one in told["classes"]) > 0.2 * sum(one["samples"] for one in told["classes"])
    for matrix in (told["stability"], told["similarity"]):
        for i, (zeroed, share) in enumerate(zip(matrix["zeroed"], matrix["share"], strict=True)):
            assert zeroed[i] is None
            assert all(n is None or n >= 1 for n in zeroed)
            assert share[i] is None
            assert all(n is None or 0 <= n <= 1 for n in share)
    text = page.read_text()
    assert text.count("<svg ") == 4
    assert "SIM-" not in text, "no patient is named"
    assert not re.search(r"(src|href|url\()", text + "".join(one.read_text() for one in folder.iterdir())), "fetched"
    assert sorted(one.name for one in folder.iterdir()) == [
        f"annotate-{name}.svg" for name in ("classes", "samples", "similarity", "stability")
    ]

    # A network that has hardly learned anything is explained as well.
    monkeypatch.setattr("molsig.retrieval.annotate_network.Network", partial(Network, epochs=1))
    hidden = min(truth)
    done = within(*asked, "--explain", "--members", "--patient", hidden, "--html", page)
    assert done.exit_code == 0, done.output
    assert "speak for it" in done.stdout
    assert f"{hidden} is called" in done.stdout
    text = page.read_text()
    assert text.count("<svg ") == 5
    assert f"Why {hidden} is called" in text
    assert "This page names patients" in text


def test_only_labels_that_the_network_tells_from_measurements_are_explained(
    partly: tuple[Path, dict[str, str]], cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    place = partly[0]
    network = ("--method", "network", "--rna", cohort_files.rna)
    for words, said in (
        (("--field", "sex", "--explain"), "--method network"),
        (("--field", "sex", "--explain", "--method", "forest", "--rna", cohort_files.rna), "--method network"),
        (("--field", "sex", "--explain", "--method", "network"), "give the file"),
        (("--field", "age", "--explain", *network), "age is a number"),
        (("--field", "sex", "--html", tmp_path / "x.html", *network), "--html goes with --explain"),
        (("--field", "sex", "--members", *network), "--members goes with --explain"),
        (("--field", "sex", "--explain", "--html", tmp_path / "x.svg", *network), ".html"),
        (("--field", "sex", "--explain", "--figure", place / "reference.duckdb", *network), "a folder is needed"),
    ):
        found = within("annotate", place, *words)
        assert isinstance(found.exception, UsageError), found.output
        assert said in str(found.exception)


def test_an_explanation_that_does_not_add_up_is_an_error_and_no_page(
    partly: tuple[Path, dict[str, str]],
    cohort_files: SimulatedCohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """GELU bends in a way that the rule of DeepLIFT does not know."""
    monkeypatch.setattr("torch.nn.ReLU", GELU)
    page = tmp_path / "why.html"
    found = within(
        "annotate", partly[0], "--field", "sex", "--rna", cohort_files.rna, "--method", "network", "--explain",
        "--html", page,
    )  # fmt: skip
    assert isinstance(found.exception, MolsigError), found.output
    assert "add up" in str(found.exception)
    assert not page.exists()


def test_what_is_wrong_is_told(
    partly: tuple[Path, dict[str, str]], cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    place = partly[0]
    stored = Reference.open(place)
    done = molsig("annotate", place, "--field", "tissue")
    assert done.returncode == 2
    assert "cancer_type" in done.stderr
    assert "Traceback" not in done.stderr
    for words, said in (
        (("--field", "sex", "--method", "svm"), "neighbours, network, forest"),
        (("--field", "sex", "--intervals", "2"), "cannot be cut"),
        (("--field", "age", "--intervals", "5"), "2, 3 or 4"),
        (("--field", "age", "--intervals", "2", "--cuts", "50"), "one of them"),
        (("--field", "age", "--cuts", "a,b"), "ascending"),
        (("--field", "age", "--group", "patient"), "held out whole"),
        (("--field", "age", "--group", "sex"), "have 2 values of it"),
        (("--field", "sex", "--group", "sex"), "that is what is predicted"),
        (("--field", "sex", "--drop", "--patient", "A"), "--drop deletes all"),
        (("--field", "sex", "--output", "/proc/x.csv"), "nothing can be written"),
        (("--field", "sex", "--output", str(tmp_path / "x.xlsx")), ".parquet"),
        (("--field", "sex", "--output", str(tmp_path / "none" / "x.csv")), "does not exist"),
    ):
        found = within("annotate", place, *words)
        assert isinstance(found.exception, UsageError), found.output
        assert said in str(found.exception)
    with pytest.raises(UsageError, match="give no file"):
        stored.annotate("sex", rna=cohort_files.rna, method="neighbours")
    with pytest.raises(UsageError, match="one file"):
        stored.annotate("sex", rna=cohort_files.rna, mirna=cohort_files.mirna)
    with pytest.raises(UsageError, match="no matrix"):
        stored.annotate("sex", mutations=cohort_files.mutations)
    with pytest.raises(InputError, match="0 of 24 patients have a recorded sex"):
        stored.annotate("sex", rna=cohort_files.new_rna)
    with pytest.raises(NotFoundError, match="ZZ is not stored"):
        stored.annotate("sex", patients="ZZ")
    with pytest.raises(UsageError, match="ascending"):
        stored.annotate("age", cuts=(70, 45))
    with pytest.raises(InputError, match="fewer than two values"):
        stored.annotate("age", cuts=(1000,))
