"""`molsig type` as a user calls it: what it prints, where, and what it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from molsig.reference import Reference
from molsig.simulate import SimulatedCohort


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `molsig` in a process of its own."""
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer_of(*words: object) -> Any:
    done = molsig(*words, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stored(built: Path) -> list[tuple[str, str]]:
    """Patients with RNA and mutations, and their types."""
    store = Reference.open(built)._store
    spaces = store.active_spaces()
    patients = sorted(
        set(store.rows(spaces["rna"])["patient"].to_pylist())
        & set(store.rows(spaces["mutation"])["patient"].to_pylist())
    )
    return list(zip(patients, map(str, store.column("cancer_type", patients)), strict=True))


@pytest.fixture
def support(stored: list[tuple[str, str]], tmp_path: Path) -> Path:
    """A file with the first patient of each type."""
    first = {name: patient for patient, name in reversed(stored)}
    file = tmp_path / "support.tsv"
    file.write_text("patient\ttype\n" + "".join(f"{patient}\t{name}\n" for name, patient in first.items()))
    return file


def test_new_samples_are_typed_better_than_chance(built: Path, cohort_files: SimulatedCohort, support: Path) -> None:
    for given, least in ((support, 0.3), ("cancer_type", 0.6)):
        told = answer_of("type", built, "--support", given, "--rna", cohort_files.new_rna)["answers"]
        best = {one["query"]["id"].removesuffix("-T"): one["types"][0]["type"] for one in told}
        assert best.keys() == cohort_files.truth.keys()
        assert sum(best[who] == what for who, what in cohort_files.truth.items()) / len(best) > least


def test_the_keys_are_stable(built: Path, stored: list[tuple[str, str]]) -> None:
    told = answer_of("type", built, "--support", "cancer_type", "--patient", stored[0][0], "--shots", 2)
    assert {"query", "type", "probability", "none_of_these", "types", "plan", "notes"} == told.keys()
    assert {"fusion", "similarity", "types", "samples", "choices", "calibrated", "temperature"} <= told["plan"].keys()
    assert {"mean", "sd", "low", "high", "share"} == told["types"][0]["spread"].keys()
    assert told["plan"]["calibrated"] is True
    assert told == answer_of("type", built, "--support", "cancer_type", "--patient", stored[0][0], "--shots", 2)


def test_a_table_for_people(built: Path, stored: list[tuple[str, str]]) -> None:
    done = molsig("type", built, "--support", "cancer_type", "--patient", stored[0][0], "--top", 3)
    assert done.returncode in (0, 1)
    assert stored[0][0] in done.stdout.splitlines()[0]
    assert "and 5 more types" in done.stdout
    assert "probabilities calibrated on cancer_type" in done.stdout
    assert "of these" in done.stdout
    assert "called" in done.stdout
    assert done.stderr == ""


def test_many_samples_are_one_table(built: Path, cohort_files: SimulatedCohort) -> None:
    done = molsig("type", built, "--support", "cancer_type", "--rna", cohort_files.new_rna)
    assert done.returncode in (0, 1), done.stderr
    head, *lines = done.stdout.splitlines()
    n = len(set(cohort_files.truth) & {line.split()[0].removesuffix("-T") for line in lines if line.split()})
    assert n > 10
    assert head.startswith(f"{n} samples: ")
    assert done.stdout.count("probabilities calibrated on cancer_type") == 1
    assert "fits better than" in lines[1]
    assert done.stdout.count("none of these: fits its type as badly as 5% of") == 1


def test_a_stored_patient_needs_no_torch(built: Path, stored: list[tuple[str, str]]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['molsig', 'type', {str(built)!r}, '--support', 'cancer_type', '-p', {stored[0][0]!r}]\n"
        "from molsig.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', *[m for m in ('torch', 'sklearn', 'pandas.core') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rsplit("loaded:", 1)[1].strip() == ""


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet", ".html"])
def test_answers_are_written_by_the_ending(
    built: Path, stored: list[tuple[str, str]], tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"answer{ending}"
    patients = ["--patient", stored[0][0], "--patient", stored[1][0]]
    done = molsig("type", built, "--support", "cancer_type", *patients, "--output", target)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout == ""
    assert target.stat().st_size > 500
    if ending == ".csv":
        assert len(target.read_text().splitlines()) == 1 + 2 * 8


def test_none_of_these_ends_with_1(built: Path, stored: list[tuple[str, str]], tmp_path: Path) -> None:
    names = sorted({name for _, name in stored})[:2]
    file = tmp_path / "two.csv"
    file.write_text("patient,type\n" + "".join(f"{who},{what}\n" for who, what in stored if what in names))
    others = [who for who, what in stored if what not in names][:12]
    codes = [molsig("type", built, "--support", file, "--patient", who, "--json") for who in others[:4]]
    assert {done.returncode for done in codes} <= {0, 1}
    for done in codes:
        assert (done.returncode == 1) == (json.loads(done.stdout)["type"] is None)
    assert any(done.returncode == 1 for done in codes)


def test_slips_are_told_and_end_as_they_should(
    built: Path, stored: list[tuple[str, str]], tmp_path: Path, support: Path
) -> None:
    who = stored[0][0]
    bad = tmp_path / "bad.tsv"
    bad.write_text(f"patient\ttype\n{who}\tA\nNOBODY-1\tB\n")
    for words, code, said in (
        (["--support", "cancer_typo", "--patient", who], 2, "did you mean 'cancer_type'"),
        (["--support", bad, "--patient", who], 3, "row 3: no patient 'NOBODY-1' is stored"),
        (["--support", support, "--patient", "NOBODY-1"], 1, "NOBODY-1"),
        (["--support", support], 2, "give either --patient ID or the files"),
        (["--support", support, "--patient", who, "--shots", "0"], 2, "shots"),
        (["--support", support, "--patient", who, "--output", "answer.pdf"], 2, ".json, .csv, .parquet, .html"),
        (["--patient", who], 2, "support"),
    ):
        done = molsig("type", built, *words)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
