"""The verbs as a user types them: what they print, where, and what they end with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.room import run_with_room

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.simulate import SimulatedCohort


def molsig(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `molsig` in a process of its own."""
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def answer_of(*words: object) -> Any:
    done = molsig(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def patient(built: Path) -> str:
    """A stored patient with RNA and mutations."""
    hits = answer_of("export", built, "--output", built.parent / "ids.parquet")
    assert hits["rows"] > 100
    from pyarrow import parquet

    rows = parquet.read_table(built.parent / "ids.parquet")
    return str(rows["patient"][0])


def test_a_stored_patient_is_answered_with_the_stable_keys(built: Path, patient: str) -> None:
    answer = answer_of("query", built, "--patient", patient, "--vote", "cancer_type", "--k", 5)
    assert {"query", "plan", "hits", "calls"} <= answer.keys()
    assert {"fusion", "method", "recall", "candidates", "snapshot"} <= answer["plan"].keys()
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    assert {"rank", "patient", "score", "probability", "modalities", "attributes"} <= answer["hits"][0].keys()
    assert {"label", "probability", "set", "unknown", "classes"} <= answer["calls"]["cancer_type"].keys()
    assert patient not in {hit["patient"] for hit in answer["hits"]}
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_the_same_question_gets_the_same_answer(built: Path, patient: str) -> None:
    first, again = (molsig("query", built, "--patient", patient, "--json").stdout for _ in range(2))
    assert first == again


def test_where_limits_the_hits(built: Path, patient: str) -> None:
    answer = answer_of("query", built, "--patient", patient, "--where", "sex = 'female' AND age > 60")
    assert answer["hits"]
    assert all(h["attributes"]["sex"] == "female" and h["attributes"]["age"] > 60 for h in answer["hits"])


def test_new_samples_are_typed_better_than_chance(built: Path, cohort_files: SimulatedCohort) -> None:
    answers = answer_of("query", built, "--rna", cohort_files.new_rna, "--vote", "cancer_type")["answers"]
    truth = cohort_files.truth
    right = sum(a["calls"]["cancer_type"]["label"] == truth[a["query"]["id"].removesuffix("-T")] for a in answers)
    assert len(answers) == len(truth)
    assert right / len(answers) > 0.5


def test_a_query_by_two_assays_joins_them_by_patient(built: Path, cohort_files: SimulatedCohort) -> None:
    done = answer_of("query", built, "--rna", cohort_files.new_rna, "--mutations", cohort_files.new_mutations)
    both = [a for a in done["answers"] if a["query"]["modalities"] == ["rna", "mutation"]]
    assert both
    assert all(a["plan"]["fusion"] == "sum" for a in both)


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet", ".html"])
def test_answers_are_written_by_the_ending(built: Path, patient: str, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"answer{ending}"
    done = molsig("query", built, "--patient", patient, "--output", target)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert target.stat().st_size > 200


def test_the_reference_may_come_from_the_environment(built: Path) -> None:
    done = molsig("info", "--json", env={"MOLSIG_REFERENCE": str(built)})
    assert {"format", "patients", "modalities", "encoders", "indexes", "bytes"} <= json.loads(done.stdout).keys()


def test_the_same_ingest_again_changes_nothing(own: Path, cohort_files: SimulatedCohort) -> None:
    words = ["--rna", cohort_files.rna, "--mutations", cohort_files.mutations, "--mirna", cohort_files.mirna]
    before = answer_of("info", own)
    report = answer_of("ingest", own, *words, "--clinical", cohort_files.clinical, "--epochs", 15)
    assert report["unchanged"]
    assert answer_of("info", own)["snapshot"] == before["snapshot"]


def test_a_dry_run_writes_nothing(cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    report = answer_of("ingest", tmp_path / "none.molsig", "--rna", cohort_files.rna, "--dry-run")
    assert report["contracts"][0]["modality"] == "rna"
    assert not (tmp_path / "none.molsig").exists()


def test_a_bad_file_leaves_no_reference_behind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("sample\tTP53\tKRAS\nA\t1.5\tnonsense\nB\t2.0\t3.0\n")
    done = molsig("ingest", tmp_path / "none.molsig", "--rna", bad)
    assert done.returncode == 3
    assert "bad.tsv" in done.stderr
    assert "row 2" in done.stderr
    assert "KRAS" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none.molsig").exists()


def test_forgotten_patients_are_gone(own: Path, patient: str) -> None:
    done = molsig("forget", own, "--patient", patient, "--yes", "--compact")
    assert done.returncode == 0, done.stderr
    asked = molsig("query", own, "--patient", patient)
    assert asked.returncode == 1
    assert patient in asked.stderr
    held = b"".join(file.read_bytes() for file in own.rglob("*") if file.is_file())
    assert patient.encode() not in held
    assert answer_of("verify", own)["ok"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("query", "REF", "--patient", "NOBODY"), 1, "NOBODY"),
        (("query", "REF", "--patient", "P", "--where", "age >"), 2, "age >"),
        (("query", "REF", "--patient", "P", "--where", "agee > 3"), 2, "age"),
        (("query", "REF", "--patient", "P", "--where", "age > 200"), 1, "age > 200"),
        (("query", "REF", "--patient", "P", "--vote", "typ"), 2, "cancer_type"),
        (("query", "REF"), 2, "--patient"),
        (("query", "REF", "--patient", "P", "--output", "x.docx"), 2, ".parquet"),
        (("query", "none.molsig", "--patient", "P"), 2, "none.molsig"),
        (("ingest", "REF", "--rna", "missing.tsv"), 3, "missing.tsv"),
        (("ingest", "REF", "--vectors", "tile"), 2, "MODALITY="),
        (("export", "REF", "--output", "x.parquet", "--space", "nothing"), 2, "nothing"),
    ],
)
def test_errors_say_what_and_end_with_their_code(
    built: Path, patient: str, words: tuple[str, ...], code: int, said: str
) -> None:
    done = molsig(*({"REF": built, "P": patient}.get(word, word) for word in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_passes_on_a_sound_reference_and_fails_on_a_damaged_one(own: Path) -> None:
    sound = json.loads(molsig("doctor", own, "--json").stdout)["findings"]
    assert not [f for f in sound if f["status"] == "FAIL"]
    weights = next(own.glob("encoders/*/model.safetensors"))
    flipped = bytearray(weights.read_bytes())
    flipped[-9] ^= 1
    weights.write_bytes(flipped)
    done = molsig("doctor", own, "--json")
    assert done.returncode == 4
    failed = [f for f in json.loads(done.stdout)["findings"] if f["status"] == "FAIL"]
    assert failed
    assert all(f["mend"] for f in failed)
    assert molsig("verify", own).returncode == 4


def test_damaged_weights_are_not_used(own: Path, cohort_files: SimulatedCohort) -> None:
    weights = next(own.glob("encoders/rna*/model.safetensors"))
    flipped = bytearray(weights.read_bytes())
    flipped[len(flipped) // 2] ^= 4
    weights.write_bytes(flipped)
    done = molsig("query", own, "--rna", cohort_files.new_rna)
    assert done.returncode == 4
    assert "model.safetensors" in done.stderr


def test_a_reader_that_goes_away_is_not_an_answer_without_hits(built: Path, patient: str) -> None:
    command = f"{sys.executable} -m molsig query {built} --patient {patient} --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in {"0", "141"}, "done, or ended by the pipe's own signal"
    assert "Nothing found" not in done.stderr


def test_a_protein_matrix_is_a_modality_of_its_own(own: Path, tmp_path: Path) -> None:
    levels = tmp_path / "protein.tsv"
    rows = [f"X{i}\t" + "\t".join(f"{((i * 7 + j * 13) % 11 - 5) / 3:.3f}" for j in range(6)) for i in range(30)]
    levels.write_text("sample\t" + "\t".join(f"AKT{j}" for j in range(6)) + "\n" + "\n".join(rows) + "\n")
    words = ["--matrix", f"protein={levels}", "--matrix-scale", "protein=raw"]
    report = answer_of("ingest", own, *words, "--epochs", 2)
    assert report["added"] == {"protein": 30}
    assert "only 30 patients" in report["warnings"][0]
    assert len(answer_of("query", own, *words, "--k", 3)["answers"]) == 30


def test_a_full_disk_is_said_and_the_same_command_finishes(tmp_path: Path) -> None:
    vectors = tmp_path / "v.npy"
    np.save(vectors, np.random.default_rng(0).standard_normal((600, 768)).astype(np.float32))
    ids = tmp_path / "ids.tsv"
    ids.write_text("sample\n" + "\n".join(f"P{i}" for i in range(600)) + "\n")
    words = ["ingest", tmp_path / "full.molsig", "--vectors", f"tile={vectors}", "--vector-ids", f"tile={ids}"]
    done = run_with_room([sys.executable, "-m", "molsig", *map(str, words)], 1_500_000)
    assert done.returncode == 4, done.stderr
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert answer_of(*words)["added"] == {"tile": 600}
    assert answer_of("verify", tmp_path / "full.molsig")["ok"]


def test_a_structure_is_kept_once_it_was_asked_for(own: Path) -> None:
    built = answer_of("index", own, "--method", "hnsw")["built"]
    assert {one["method"] for one in built} == {"hnsw"}
    assert all(one["recall"] >= 0.99 and one["effort"] >= 24 for one in built)
    assert answer_of("index", own)["built"] == []
    assert {one["method"] for one in answer_of("info", own)["indexes"]} == {"hnsw"}
    assert {one["method"] for one in answer_of("index", own, "--method", "auto")["built"]} == {"pca-sq8"}
    refused = molsig("index", own, "--method", "annoy")
    assert refused.returncode == 2
    assert "ivf-rabitq" in refused.stderr
