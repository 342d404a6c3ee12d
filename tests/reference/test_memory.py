"""What a reference holds between queries: the same answers, and none from a state that is past."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.errors import DamagedError, InputError, UsageError
from molsig.index.at_once import at_once
from molsig.index.connection import kept_open
from molsig.reference import Reference
from molsig.reference.learning import learned_for
from molsig.retrieval.evidence import EvidenceModel
from molsig.retrieval.memory import PatientMemory
from molsig.retrieval.patient_vectors import load_patient_vectors

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from molsig.simulate import SimulatedCohort


@pytest.fixture(scope="module")
def learned(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = shutil.copytree(built, tmp_path_factory.mktemp("memory") / "demo.molsig")
    Reference.open(place).learn()
    return place


@pytest.fixture
def mine(learned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(learned, tmp_path / "mine.molsig")


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large reference: the candidates of one query are a small part of it."""
    monkeypatch.setattr("molsig.retrieval.fused.CANDIDATES", 25)


def cold(place: Path) -> Reference:
    """A reference that holds nothing."""
    reference = Reference.open(place)
    reference._memory = PatientMemory(reference._store, reference._searcher, memory=0)
    return reference


def lean(place: Path) -> Reference:
    """A reference that may hold probabilities, and no fused vectors."""
    reference = Reference.open(place)
    memory = 1000 * len(reference._store.patient_ids())
    reference._memory = PatientMemory(reference._store, reference._searcher, memory=memory)
    return reference


def holds(reference: Reference) -> bool:
    return reference._memory._held is not None


def told(reference: Reference, patient: str, **how: Any) -> dict[str, Any]:
    return reference.query(patient, vote=["cancer_type", "age"], k=20, **how).to_dict()


@pytest.mark.parametrize("how", [{}, {"where": "sex = 'female'"}, {"fusion": "weighted"}, {"kind": "any"}])
def test_modalities_searched_side_by_side_give_the_same_answers(
    learned: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = Reference.open(learned)
    warm.warm()
    together = []

    def counted(tasks: Any) -> Any:
        together.append(len(tasks))
        return at_once(tasks)

    monkeypatch.setattr("molsig.retrieval.fused.at_once", counted)
    asked = [patient for patient in warm._store.patient_ids()[::30] if len(warm.query(patient).modalities) > 1]
    answers = {}
    for processors in (1, 3):
        together.clear()
        monkeypatch.setattr("molsig.index.at_once._processors", lambda count=processors: count)
        answers[processors] = [told(warm, patient, **how) for patient in asked]
        if how.get("kind") != "any":
            assert together
            assert min(together) > 1
    assert answers[1] == answers[3]


def test_what_keeps_the_database_open_searches_one_modality_after_the_other(
    learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another thread may have to open it too, and wait for a commit that waits for this one.
    warm = Reference.open(learned)
    warm.warm()
    asked = next(p for p in warm._store.patient_ids() if len(warm.query(p).modalities) > 1)
    expected = told(warm, asked)
    monkeypatch.setattr("molsig.retrieval.fused.at_once", lambda tasks: pytest.fail("threads were started"))
    with pytest.raises(pytest.fail.Exception, match="threads were started"):
        told(warm, asked)
    with kept_open(warm._store.database):
        assert told(warm, asked) == expected


@pytest.mark.parametrize(
    "how", [{}, {"where": "sex = 'female'"}, {"fusion": "weighted"}, {"modality": "rna"}, {"fusion": "sum"}]
)
def test_a_warm_reference_answers_as_a_cold_one(learned: Path, how: dict[str, Any]) -> None:
    warm = Reference.open(learned)
    assert warm.warm()
    assert holds(warm)
    half = lean(learned)
    assert half.warm()
    vectors = load_patient_vectors(warm._store)
    with_rna = [patient for patient, held in zip(vectors.patients, vectors.present["rna"], strict=True) if held]
    for patient in with_rna[::40]:
        expected = told(cold(learned), patient, **how)
        assert told(warm, patient, **how) == expected
        assert told(half, patient, **how) == expected


def test_of_too_many_patients_probabilities_are_held(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, half = Reference.open(learned), lean(learned)
    assert whole.warm()
    assert half.warm()
    one, other = (reference._memory._held.sayings for reference in (whole, half))
    assert one.patients == other.patients
    assert np.array_equal(one.posterior, other.posterior)
    assert one.fused.shape == (len(one.patients), 768)
    assert other.fused.size == other.alone.size == 0
    rows = np.array([7, 2, 11])
    np.testing.assert_allclose(other.alone_of(rows), one.alone[:, rows], atol=1e-12)
    # What modalities say is not worked out for fused vectors, which takes several times as long.
    monkeypatch.setattr(EvidenceModel, "evidence", lambda *_: pytest.fail("worked out for nothing"))
    np.testing.assert_allclose(other.fused_of(rows), one.fused[rows], atol=1e-6)


def test_new_samples_are_answered_the_same_warm_or_cold(learned: Path, cohort_files: SimulatedCohort) -> None:
    warm = Reference.open(learned)
    assert warm.warm()
    files = {"rna": cohort_files.new_rna, "mutations": cohort_files.new_mutations, "vote": "cancer_type"}
    other = cold(learned)
    for _ in range(3):
        assert [one.to_dict() for one in warm.query_files(**files)] == [
            one.to_dict() for one in other.query_files(**files)
        ]
    assert not holds(other), "what does not fit into the memory allowed is not held"
    assert not other.warm()


def test_a_second_query_holds_what_patients_say_and_opens_nothing_after(
    learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Reference.open(learned)
    patients = reference._store.patient_ids()[:6]
    told(reference, patients[0])
    assert not holds(reference), "a single query works out nothing but its candidates"
    told(reference, patients[1])
    assert holds(reference)
    expected = [told(cold(learned), patient) for patient in patients]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the database was opened")

    monkeypatch.setattr("molsig.index.store.reading", refuse)
    assert [told(reference, patient) for patient in patients] == expected


def test_a_forgotten_patient_is_not_answered_from_memory(mine: Path) -> None:
    warm = Reference.open(mine)
    patient = warm._store.patient_ids()[2]
    assert warm.warm()
    gone = told(warm, patient)["hits"][0]["patient"]
    Reference.open(mine).forget(gone)
    after = told(warm, patient)
    assert gone not in {hit["patient"] for hit in after["hits"]}
    assert after == told(cold(mine), patient)


def test_what_is_learned_anew_is_used_at_once(mine: Path) -> None:
    warm = Reference.open(mine)
    patient = warm._store.patient_ids()[2]
    assert warm.warm()
    before = told(warm, patient)
    Reference.open(mine).learn(seed=7)
    after = told(warm, patient)
    assert after == told(cold(mine), patient)
    assert after["hits"] != before["hits"], "another seed gives other weights"
    assert learned_for(warm._store, warm._shelf, ["cancer_type"], "auto")[0].seed == 7
    for file in (mine / "fusion").iterdir():
        file.unlink()
    assert warm.query(patient).plan.fusion == "sum"


def test_the_same_objects_are_given_out_while_nothing_changes(learned: Path) -> None:
    reference = Reference.open(learned)
    first, again = (reference._shelf.all()[0][0] for _ in range(2))
    assert first is again


def test_vectors_that_are_encoded_already_are_asked_as_their_patient_is(learned: Path) -> None:
    reference = Reference.open(learned)
    vectors = load_patient_vectors(reference._store)
    row = int(np.flatnonzero(vectors.matrix_present().all(axis=1))[5])
    own = {modality: vectors.vectors[modality][row] for modality in vectors.modalities}
    answer = reference.query_vectors(own, name="someone", vote="cancer_type", fusion="weighted")
    assert (answer.query, answer.hits[0].patient) == ("someone", vectors.patients[row])
    assert answer.hits[0].score == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match="slide"):
        reference.query_vectors({"slide": own["rna"]})
    with pytest.raises(InputError, match="rna"):
        reference.query_vectors({"rna": own["rna"][:10]})


def test_weights_that_changed_after_they_were_loaded_are_noticed(mine: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(mine)
    assert reference.query_files(rna=cohort_files.new_rna)
    weights = next(mine.glob("encoders/rna*/model.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-9] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=r"model\.safetensors"):
        reference.query_files(rna=cohort_files.new_rna)
