"""Learning how to fuse, keeping it, and what queries make of it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.errors import DamagedError, UsageError
from molsig.index.whole_file import write_whole
from molsig.ingest.cohort import Cohort
from molsig.reference import Reference
from molsig.reference.learning import learned_for
from molsig.retrieval.learned import load, load_all, path_of
from molsig.retrieval.shelf import Shelf
from molsig.simulate import simulate_cohort
from tests.room import run_with_room

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.simulate import SimulatedCohort


@pytest.fixture(scope="module")
def learned(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated cohort with its evidence learned."""
    place = shutil.copytree(built, tmp_path_factory.mktemp("learned") / "demo.molsig")
    told = Reference.open(place).learn()
    assert (told["label"], told["groups"]) == ("cancer_type", "site")
    return place


@pytest.fixture
def mine(learned: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(learned, tmp_path / "mine.molsig")


def molsig(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


def test_new_patients_are_typed_with_a_probability(learned: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(learned)
    answers = reference.query_files(
        rna=cohort_files.new_rna, mutations=cohort_files.new_mutations, vote="cancer_type", k=5
    )
    assert {one.plan.fusion for one in answers} == {"evidence"}
    for one in answers:
        call = one.calls["cancer_type"]
        assert 0 < call.probability <= 1
        assert sum(call.classes.values()) == pytest.approx(1, abs=0.01)
        assert call.error == 0.1
        assert next(iter(call.classes)) in call.set
        assert call.label == (None if call.unknown else next(iter(call.classes)))
        for hit in one.hits:
            assert 0 <= hit.probability <= 1
            assert set(hit.nats) <= set(one.modalities) & set(hit.modalities)
            assert hit.brought_by == max(hit.nats, key=hit.nats.get)
        assert [hit.score for hit in one.hits] == sorted((hit.score for hit in one.hits), reverse=True)


def test_a_hit_is_explained_by_the_evidence_that_the_query_told(learned: Path) -> None:
    reference = Reference.open(learned)
    name = reference._store.patient_ids()[0]
    # One who is far down the list is explained as well as the first.
    for hit in (reference.query(name, k=30).hits[place] for place in (0, 29)):
        found = reference.explain(hit.patient, name)
        assert found.fusion == "evidence"
        assert (found.score, found.probability, dict(found.nats)) == (hit.score, hit.probability, dict(hit.nats))
        assert found.brought_by == hit.brought_by
        assert found.label == "cancer_type"
        assert found.call is not None
        assert found.chance == pytest.approx(1 / 8, abs=0.03)
        assert {one.modality: one.nats for one in found.shared} == dict(hit.nats)
        assert [one.nats for one in found.shared] == sorted(hit.nats.values(), reverse=True)


def test_evidence_beats_sums_on_new_patients(learned: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(learned)
    right = {}
    for fusion in ("evidence", "sum"):
        answers = reference.query_files(
            rna=cohort_files.new_rna, mutations=cohort_files.new_mutations, vote="cancer_type", fusion=fusion
        )
        right[fusion] = np.mean(
            [hit.attributes["cancer_type"] == cohort_files.truth[one.query] for one in answers for hit in one]
        )
    assert right["evidence"] >= right["sum"]
    assert right["evidence"] > 0.8


def test_stored_patients_are_told_from_new_ones(learned: Path) -> None:
    reference = Reference.open(learned)
    patient = reference._store.patient_ids()[0]
    answer = reference.query(patient, vote=["cancer_type", "sex"])
    assert any("too good" in note for note in answer.notes)
    assert patient not in {hit.patient for hit in answer}
    assert answer.calls["sex"].probability is None, "nothing was learned of sex"


def test_filters_hold_for_hits_but_not_for_the_call(learned: Path) -> None:
    reference = Reference.open(learned)
    patient = reference._store.patient_ids()[0]
    free = reference.query(patient, vote="cancer_type")
    kind = free.calls["cancer_type"].label
    other = reference.query(patient, vote="cancer_type", where=f"cancer_type <> '{kind}'")
    assert kind not in {hit.attributes["cancer_type"] for hit in other}
    assert other.calls["cancer_type"].classes == free.calls["cancer_type"].classes


def test_what_is_kept_is_what_was_learned(mine: Path) -> None:
    reference = Reference.open(mine)
    patient = reference._store.patient_ids()[3]
    before = reference.query(patient, vote="cancer_type").to_dict()
    assert [one.label for one in load_all(mine)[0]] == ["cancer_type"]
    assert all(check.ok for check in reference.verify())
    path = path_of(mine, "cancer_type")
    first = path.read_bytes()
    reference.learn()
    assert path.read_bytes() == first, "the same seed and data learn the same"
    assert Reference.open(mine).query(patient, vote="cancer_type").to_dict() == before


@pytest.mark.parametrize("place", [0, 40, 0.3, 0.7, -1])
def test_a_flipped_bit_is_noticed_and_passed_over(mine: Path, place: float) -> None:
    path = path_of(mine, "cancer_type")
    data = bytearray(path.read_bytes())
    at = int(place * len(data)) if isinstance(place, float) else place
    data[at] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match="molsig learn"):
        load(mine, "cancer_type")
    reference = Reference.open(mine)
    assert [check.name for check in reference.verify() if not check.ok] == ["fusion"]
    answer = reference.query(reference._store.patient_ids()[0], vote="cancer_type")
    assert answer.plan.fusion == "sum"
    assert any("molsig learn" in note for note in answer.notes)
    assert answer.calls["cancer_type"].probability is None


def test_what_was_learned_on_other_encoders_is_not_used(mine: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(mine)
    reference.ingest(rna=cohort_files.rna, new_encoders="rna", seed=5, epochs=1)
    found, notes = learned_for(reference._store, Shelf(reference.path), ["cancer_type"], "auto")
    assert found is None
    assert "of other encoders" in notes[0]
    answer = reference.query(reference._store.patient_ids()[0], vote="cancer_type")
    assert answer.plan.fusion == "sum"
    assert any("of other encoders" in note for note in answer.notes)


def test_without_a_label_there_are_weights(own: Path) -> None:
    reference = Reference.open(own)
    told = reference.learn(labelled=False)
    assert told["label"] is None
    assert set(told["weights"]) == {"rna", "mutation", "mirna"}
    patient = reference._store.patient_ids()[0]
    answer = reference.query(patient, vote="cancer_type")
    assert answer.plan.fusion == "weighted"
    assert answer.calls["cancer_type"].probability is None
    with pytest.raises(UsageError, match="nothing has been learned yet"):
        reference.query(patient, fusion="evidence")


def test_columns_that_do_not_exist_are_named(own: Path) -> None:
    reference = Reference.open(own)
    with pytest.raises(UsageError, match="--label grade: there is no such patient column"):
        reference.learn("grade")
    with pytest.raises(UsageError, match="--group ward: there is no such patient column"):
        reference.learn(groups="ward")


def test_the_command_line(mine: Path, cohort_files: SimulatedCohort) -> None:
    done = molsig("learn", mine, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["held_out"]["accuracy"] > 0.6
    assert set(told["modalities"]) <= {"rna", "mutation", "mirna"}
    done = molsig("query", mine, "--rna", cohort_files.new_rna, "--vote", "cancer_type", "--error", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    for answer in json.loads(done.stdout)["answers"]:
        call = answer["calls"]["cancer_type"]
        assert (answer["plan"]["fusion"], call["error"]) == ("evidence", 0.05)
        assert call["set"]
    done = molsig("query", mine, "--rna", cohort_files.new_rna, "--vote", "cancer_type")
    assert "probability" in done.stdout
    assert "at error rate 0.1" in done.stdout
    done = molsig("query", mine, "--rna", cohort_files.new_rna, "--error", "0.9")
    assert done.returncode == 2


def test_numbers_are_voted_on_as_numbers(learned: Path, own: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(learned)
    answers = reference.query_files(rna=cohort_files.new_rna, vote=["age", "cancer_type"], error=0.2)
    for one in answers:
        call = one.calls["age"]
        low, high = call.interval
        assert low < call.label < high
        assert 20 < call.label < 95
        assert (call.error, call.voters, call.probability) == (0.2, 20, None)
        wider = reference.query_files(rna=cohort_files.new_rna, vote="age", error=0.05)[0].calls["age"].interval
        assert wider[1] - wider[0] > 0
    plain = Reference.open(own).query_files(rna=cohort_files.new_rna, vote="age")[0].calls["age"]
    assert plain.interval is None
    assert 0 < plain.voters <= 10


def test_with_a_filter_numbers_have_no_interval_and_kinds_do_not_make_strangers(learned: Path) -> None:
    reference = Reference.open(learned)
    patient = reference._store.patient_ids()[3]
    assert reference.query(patient, vote="age", fusion="evidence").calls["age"].interval is not None
    kept = reference.query(patient, vote="age", where="age > 60", fusion="evidence").calls["age"]
    assert (kept.interval, kept.error) == (None, None)
    assert kept.label > 60
    free, other = (
        reference.query(patient, vote="cancer_type", kind=kind, fusion="evidence") for kind in ("auto", "tumour")
    )
    assert other.calls["cancer_type"].strangeness == free.calls["cancer_type"].strangeness


def test_an_ingest_learns_by_itself_where_it_is_due(tmp_path: Path) -> None:
    files = simulate_cohort(tmp_path, patients=260, new_patients=4, genes=120, mirnas=120, seed=3)
    place = tmp_path / "a.molsig"
    first = Reference.ingest_into(place, Cohort.of(rna=files.rna, patients=files.clinical), epochs=2)
    assert first.learned
    reference = Reference.open(place)
    again = reference.ingest(rna=files.rna, patients=files.clinical, epochs=2)
    assert (again.unchanged, again.learned) == (True, False)
    small = reference.ingest(rna=files.new_rna)
    assert (sum(small.added.values()), small.learned) == (4, False)
    more = reference.ingest(mirna=files.mirna, epochs=2)
    assert more.learned, "a modality came that nothing had been learned of"
    (learned,) = load_all(place)[0]
    assert set(learned.spaces) == set(learned.rows) == {"mirna", "rna"}


def test_an_ingest_learns_nothing_when_told_not_to_or_from_few(built: Path, tmp_path: Path) -> None:
    assert load_all(built) == ([], []), "160 patients are few"
    files = simulate_cohort(tmp_path, patients=260, new_patients=4, genes=120, mirnas=120, seed=3)
    cohort = Cohort.of(rna=files.rna, patients=files.clinical)
    report = Reference.ingest_into(tmp_path / "a.molsig", cohort, epochs=2, learn=False)
    assert not report.learned
    assert load_all(tmp_path / "a.molsig") == ([], [])
    # What a kill after the record and before the learning leaves is finished by the same command.
    assert Reference.open(tmp_path / "a.molsig").ingest(cohort, epochs=2).learned


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, 2.0])
def test_an_error_rate_lies_between_0_and_1(learned: Path, error: float) -> None:
    reference = Reference.open(learned)
    with pytest.raises(UsageError, match="error rate"):
        reference.query(reference._store.patient_ids()[0], vote="cancer_type", error=error)


def test_a_full_disk_leaves_what_was_learned_and_the_same_command_finishes(mine: Path) -> None:
    reference = Reference.open(mine)
    patient = reference._store.patient_ids()[3]
    before, answer = path_of(mine, "cancer_type").read_bytes(), reference.query(patient, vote="cancer_type").to_dict()
    command = [sys.executable, "-m", "molsig", "learn", str(mine), "--seed", "5"]
    done = run_with_room(command, 20_000)
    assert done.returncode == 4, done.stderr
    assert "disk is full" in done.stderr
    assert path_of(mine, "cancer_type").name in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert {file.name: file.read_bytes() for file in (mine / "fusion").iterdir()} == {
        path_of(mine, "cancer_type").name: before
    }
    assert Reference.open(mine).query(patient, vote="cancer_type").to_dict() == answer
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert load(mine, "cancer_type").seed == 5
    assert all(check.ok for check in Reference.open(mine).verify())


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("step", ["fusion.write", "fusion.rename", "learning"])
def test_a_learn_that_is_killed_leaves_what_was_learned_or_nothing(mine: Path, step: str, first: bool) -> None:
    path = path_of(mine, "cancer_type")
    if first:
        path.unlink()
    before = None if first else path.read_bytes()
    command = [sys.executable, "-m", "molsig", "learn", str(mine), "--seed", "5"]
    fault = {} if step == "learning" else {"MOLSIG_FAULT": step}
    child = subprocess.Popen(
        command, env={**os.environ, **fault}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if step == "learning":
        time.sleep(1.5)
        child.kill()
    _, said = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, said
    left = [file for file in (mine / "fusion").iterdir() if file != path]
    assert bool(left) == (step != "learning"), "the kill was meant to leave an unfinished file"
    assert (path.read_bytes() if path.exists() else None) == before
    reference = Reference.open(mine)
    answer = reference.query(reference._store.patient_ids()[3], vote="cancer_type")
    assert answer.plan.fusion == ("sum" if first else "evidence")
    assert all(check.ok for check in reference.verify())
    reference.learn()
    assert [file.name for file in (mine / "fusion").iterdir()] == [path.name], "a leftover is still there"
    assert load(mine, "cancer_type").seed == 0


def test_a_file_that_another_learn_is_writing_is_let_be(tmp_path: Path) -> None:
    folder = tmp_path / "fusion"
    folder.mkdir()
    (folder / ".a.safetensors.77-dead").write_bytes(b"torn")
    with (folder / ".a.safetensors.78-alive").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_whole(folder / "a.safetensors", b"whole", step="fusion")
    assert sorted(one.name for one in folder.iterdir()) == [".a.safetensors.78-alive", "a.safetensors"]
    assert (folder / "a.safetensors").read_bytes() == b"whole"
