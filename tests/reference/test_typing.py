"""Typing by example in a reference: what it answers, what must not matter, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.ingest.cohort import Cohort
from molsig.reference import Reference
from molsig.reference.querying import stored_queries
from molsig.retrieval.one_shot import Asked, Typist
from molsig.retrieval.pair_scores import PairScorer
from molsig.retrieval.support import Example, SupportSet
from molsig.types import DIM

TYPES = ("ALDR", "BIRC", "CEDR", "ELMS", "FIRS", "HAZL")
EACH = 16
NEW = "ZZZZ"
"""A type that no column knows."""


def vectors_of(seed: int, n: int = EACH * len(TYPES)) -> tuple[list[str], dict[str, np.ndarray], np.ndarray]:
    """Patients round robin over the types: a telling modality, and one that is less so."""
    centres = np.random.default_rng(5).normal(size=(len(TYPES) + 1, 2, DIM))
    random = np.random.default_rng(seed)
    code = np.arange(n) % len(TYPES)
    blocks = {
        name: (centres[code, i] + width * random.normal(size=(n, DIM))).astype(np.float32)
        for i, (name, width) in enumerate((("rna", 1.8), ("mirna", 2.4)))
    }
    return [f"P{i:03}" for i in range(n)], blocks, code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference of ready vectors: every fourth patient has no miRNA, and P095 has no type. Evidence is learned."""
    folder = tmp_path_factory.mktemp("typing")
    names, blocks, code = vectors_of(0)
    held = {"rna": np.arange(len(names)), "mirna": np.flatnonzero(np.arange(len(names)) % 4 > 0)}
    files = {}
    for modality, rows in held.items():
        files[modality] = folder / f"{modality}.parquet"
        flat = pa.FixedSizeListArray.from_arrays(pa.array(blocks[modality][rows].ravel()), DIM)
        pq.write_table(pa.table({"sample": [names[row] for row in rows], "vector": flat}), files[modality])
    table = folder / "patients.tsv"
    lines = ["patient\tcancer_type\tsite\tage\tempty\tone"]
    for i, name in enumerate(names):
        kind = "" if i == len(names) - 1 else TYPES[code[i]]
        lines.append(f"{name}\t{kind}\tS{i % 5}\t{40 + i / 7:.1f}\t\tsame")
    table.write_text("\n".join(lines) + "\n")
    reference = Reference.create(folder / "typing.molsig")
    reference.ingest(vectors=files, patients=table, learn=False)
    reference.learn("cancer_type", groups="site")
    return folder / "typing.molsig"


@pytest.fixture(scope="module")
def reference(place: Path) -> Reference:
    return Reference.open(place)


@pytest.fixture
def one_each() -> dict[str, str]:
    """The first patient of each type who has both modalities."""
    return {f"P{i:03}": TYPES[i % len(TYPES)] for i in (6, 1, 2, 3, 10, 5)}


def new_sample(code: int, seed: int = 9) -> dict[str, np.ndarray]:
    _, blocks, codes = vectors_of(seed)
    row = int(np.flatnonzero(codes == code)[3])
    return {modality: block[row] for modality, block in blocks.items()}


@pytest.mark.parametrize("fusion", ["auto", "evidence", "weighted", "sum"])
@pytest.mark.parametrize("support", ["column", "few", "one"])
def test_new_samples_are_typed_by_every_fusion(
    reference: Reference, one_each: dict[str, str], fusion: str, support: str
) -> None:
    examples = one_each if support == "one" else "cancer_type"
    for code, name in enumerate(TYPES):
        found = reference.type_samples(
            examples, vectors=new_sample(code), fusion=fusion, shots=3 if support == "few" else None
        )[0]
        assert found.types[0].type == name, found
        assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert set(found.probabilities) == set(TYPES)
        assert (found.types[0].spread is None) == (support == "one")
        assert found.temperature.source == "reference"
        assert found.fit.source in (("reference",) if support == "one" else ("support", "reference"))


@pytest.mark.parametrize("modality", ["rna", "mirna"])
@pytest.mark.parametrize("fusion", ["single", "evidence"])
def test_one_modality_is_enough(reference: Reference, one_each: dict[str, str], modality: str, fusion: str) -> None:
    found = [
        reference.type_samples(one_each, vectors=new_sample(code), modality=modality, fusion=fusion)[0]
        for code in range(len(TYPES))
    ]
    assert all(one.modalities == (modality,) for one in found)
    assert all(set(kind.modalities) == {modality} for one in found for kind in one)
    assert np.mean([one.types[0].type == name for one, name in zip(found, TYPES, strict=True)]) >= 0.8


def test_one_example_a_type_is_the_nearest_neighbour(reference: Reference, one_each: dict[str, str]) -> None:
    query = new_sample(2)["rna"]
    found = reference.type_samples(one_each, vectors={"rna": query}, fusion="single")[0]
    _, blocks, _ = vectors_of(0)
    names = list(one_each)
    stored = blocks["rna"][[int(name[1:]) for name in names]]
    cosines = stored @ query / np.linalg.norm(stored, axis=1) / np.linalg.norm(query)
    order = [names[row] for row in np.argsort(-cosines)]
    assert [one.support for one in found] == order
    np.testing.assert_allclose([one.similarity for one in found], np.sort(cosines)[::-1], atol=1e-6)
    np.testing.assert_allclose([one.modalities["rna"] for one in found], np.sort(cosines)[::-1], atol=1e-6)


def test_the_order_of_the_examples_does_not_matter(reference: Reference, tmp_path: Path) -> None:
    rows = [(f"P{i:03}", TYPES[i % len(TYPES)]) for i in range(1, 60)]
    answers = []
    for number, some in enumerate((rows, rows[::-1])):
        file = tmp_path / f"{number}.tsv"
        file.write_text("patient\ttype\n" + "".join(f"{who}\t{what}\n" for who, what in some))
        answers.append(reference.type_samples(file, "P095")[0].to_dict())
    answers.append(reference.type_samples(dict(rows[::-1]), "P095")[0].to_dict())
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("fusion", ["evidence", "weighted", "sum"])
def test_adding_a_type_leaves_the_scores_of_the_others(
    reference: Reference, one_each: dict[str, str], fusion: str
) -> None:
    query = new_sample(1)
    fewer = dict(list(one_each.items())[:-1])
    before = reference.type_samples(fewer, vectors=query, fusion=fusion)[0]
    after = reference.type_samples(one_each, vectors=query, fusion=fusion)[0]
    then = {one.type: (one.support, one.similarity) for one in after}
    assert {one.type: (one.support, one.similarity) for one in before} == {
        name: told for name, told in then.items() if name in fewer.values()
    }


def test_a_patient_is_no_example_of_themselves(reference: Reference) -> None:
    found = reference.type_samples("cancer_type", "P000")[0]
    assert "P000" not in {one.support for one in found}
    assert found.probabilities.keys() == set(TYPES)
    assert {one.type: one.samples for one in found}[TYPES[0]] == EACH - 1
    assert any("P000 is a support sample itself" in line for line in found.notes)


def test_a_type_with_no_example_but_the_query_is_gone(reference: Reference, one_each: dict[str, str]) -> None:
    found = reference.type_samples(one_each, "P001")[0]
    assert "BIRC" not in found.probabilities
    assert any("BIRC has no other" in line for line in found.notes)
    with pytest.raises(NotFoundError, match="no two types left"):
        reference.type_samples({"P001": "BIRC", "P002": "CEDR"}, "P001")


def test_where_the_query_was_drawn_another_example_stands_in(reference: Reference) -> None:
    """One example of each type is drawn: whoever was is typed by another one of theirs."""
    names = [name for name in reference._store.patient_ids() if name != "P095"]
    found = reference.type_samples("cancer_type", patients=names, shots=1)
    assert all(len(one.types) == len(TYPES) for one in found)
    own = [one for one in found if any("support sample itself" in line for line in one.notes)]
    assert len(own) == len(TYPES)
    for one in own:
        assert not any("is not among the types" in line for line in one.notes)
        assert one.query not in {kind.support for kind in one.types}
        others = next(other for other in found if other not in own)
        theirs, usual = ({kind.type: kind.support for kind in some.types} for some in (one, others))
        assert sum(theirs[name] != usual[name] for name in TYPES) == 1


def test_a_new_sample_of_a_stored_patient_is_not_compared_with_them(reference: Reference, tmp_path: Path) -> None:
    _, blocks, _ = vectors_of(0)
    file = tmp_path / "new.parquet"
    flat = pa.FixedSizeListArray.from_arrays(pa.array(blocks["rna"][7]), DIM)
    pq.write_table(pa.table({"sample": ["P007"], "vector": flat}), file)
    answer = reference.type_samples("cancer_type", cohort=Cohort.of(vectors={"rna": file}))[0]
    assert "P007" not in {one.support for one in answer}


def test_a_type_added_a_minute_ago_is_found_without_training(place: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(place, tmp_path / "own.molsig"))
    random = np.random.default_rng(77)
    centre = random.normal(size=DIM)
    vectors = (centre + 3.0 * random.normal(size=(2, DIM))).astype(np.float32)
    file = tmp_path / "more.parquet"
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors[0]), DIM)
    pq.write_table(pa.table({"sample": ["N000"], "vector": flat}), file)
    reference = Reference.open(own)
    support = {f"P{i:03}": TYPES[i % len(TYPES)] for i in range(6)}
    before = reference.type_samples(support, vectors={"rna": vectors[1]})[0]
    reference.ingest(vectors={"rna": file}, learn=False)
    found = reference.type_samples({**support, "N000": NEW}, vectors={"rna": vectors[1]})[0]
    assert before.fit.p_value < found.fit.p_value
    assert found.types[0].type == NEW
    assert found.types[0].support == "N000"
    assert found.learned_types is False
    assert before.learned_types is True


def test_strangers_are_told_and_others_are_not(reference: Reference) -> None:
    support = {f"P{i:03}": TYPES[i % len(TYPES)] for i in range(96) if i % 6 < 4}
    right, strange = [], []
    for seed in range(8):
        for code in range(6):
            found = reference.type_samples(support, vectors=new_sample(code, seed=20 + seed), fusion="weighted")[0]
            (right if code < 4 else strange).append(found.fit)
    assert np.mean([one.none for one in strange]) > 0.8
    assert np.mean([one.none for one in right]) < 0.2
    assert {one.source for one in right} == {"support"}
    assert all(one.none == (one.p_value <= one.error) for one in right + strange)
    loose = reference.type_samples(support, vectors=new_sample(5), fusion="weighted", error=0.5)[0]
    assert loose.type is None


def test_without_labels_pairs_are_all_there_is(place: Path, tmp_path: Path, one_each: dict[str, str]) -> None:
    own = Path(shutil.copytree(place, tmp_path / "own.molsig"))
    reference = Reference.open(own)
    found = reference.type_samples(one_each, vectors=new_sample(2), fusion="sum", label="empty")[0]
    assert found.temperature.source == "none"
    assert found.to_dict()["plan"]["calibrated"] is False
    assert found.fit.source == "pairs"
    assert found.fit.p_value is None
    several = {f"P{i:03}": TYPES[i % len(TYPES)] for i in range(60)}
    calibrated = reference.type_samples(several, vectors=new_sample(2), fusion="sum", label="empty")[0]
    assert calibrated.temperature.source == "support"
    assert calibrated.fit.source == "support"
    assert calibrated.types[0].type == TYPES[2]


def test_drawn_examples_do_not_depend_on_other_types(reference: Reference) -> None:
    many = {f"P{i:03}": TYPES[i % len(TYPES)] for i in range(96)}
    fewer = {who: what for who, what in many.items() if what != TYPES[0]}
    found = [reference.type_samples(some, vectors=new_sample(3), shots=1, seed=4)[0] for some in (many, fewer)]
    first, second = ({one.type: one.support for one in answer} for answer in found)
    assert {kind: who for kind, who in first.items() if kind != TYPES[0]} == second
    other = reference.type_samples(many, vectors=new_sample(3), shots=1, seed=5)[0]
    assert {one.type: one.support for one in other} != first
    assert all(one.samples == 1 for one in other)


def test_who_cannot_be_compared_is_not_drawn(reference: Reference) -> None:
    found = reference.type_samples("cancer_type", vectors={"mirna": new_sample(1)["mirna"]}, shots=2)[0]
    assert all(one.samples == 2 for one in found)
    assert all(int(one.support[1:]) % 4 for one in found), "every fourth patient has no miRNA"


def test_types_of_a_column_that_cannot_be_compared_are_left_out_and_told(reference: Reference) -> None:
    query = {"mirna": new_sample(1)["mirna"]}
    found = reference.type_samples("cancer_type", vectors=query, where="age < 40.8")[0]
    assert found.probabilities.keys() == {"BIRC", "CEDR", "ELMS", "HAZL"}
    assert any("2 of 6 support samples have no mirna" in line and "ALDR, FIRS" in line for line in found.notes)
    named = {f"P{i:03}": TYPES[i] for i in range(6)}
    with pytest.raises(NotFoundError, match=r"type ALDR cannot be compared \(nor can FIRS\)"):
        reference.type_samples(named, vectors=query)


def test_where_chooses_among_the_patients_of_a_column(reference: Reference) -> None:
    found = reference.type_samples("cancer_type", vectors=new_sample(1), where="site = 'S1'")[0]
    assert {int(one.support[1:]) % 5 for one in found} == {1}


def test_the_same_question_is_answered_from_memory_and_the_same(place: Path) -> None:
    reference = Reference.open(place)
    first = reference.type_samples("cancer_type", vectors=new_sample(4))[0].to_dict()
    again = reference.type_samples("cancer_type", vectors=new_sample(4))[0].to_dict()
    assert first == again == Reference.open(place).type_samples("cancer_type", vectors=new_sample(4))[0].to_dict()


def test_what_is_kept_is_dropped_when_the_reference_changes(place: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(place, tmp_path / "own.molsig"))
    reference = Reference.open(own)
    best = reference.type_samples("cancer_type", vectors=new_sample(4))[0].types[0].support
    reference.forget(best)
    after = reference.type_samples("cancer_type", vectors=new_sample(4))[0]
    assert best not in {one.support for one in after}


def test_answers_are_told_in_every_shape(reference: Reference) -> None:
    found = reference.type_samples("cancer_type", "P003", shots=4)[0]
    told = json.loads(json.dumps(found.to_dict()))
    assert {"query", "type", "probability", "none_of_these", "types", "plan", "notes"} == told.keys()
    assert {"none", "score", "p_value", "error", "stranger_p", "told", "source", "samples"} == told[
        "none_of_these"
    ].keys()
    assert {"type", "probability", "support", "patient", "similarity", "samples", "modalities", "spread"} == told[
        "types"
    ][0].keys()
    assert len(found.to_pandas()) == len(TYPES)
    assert "P003" in repr(found)
    assert "<script" not in found._repr_html_()
    shares = [one.spread.share for one in found]
    assert sum(shares) == pytest.approx(1)


class _CosineHead:
    """A pair head as an encoder has one: certain of vectors that point the same way."""

    asked = 0

    def pair_probability(self, query_vectors: np.ndarray, support_vectors: np.ndarray) -> np.ndarray:
        self.asked += 1
        a, b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (query_vectors, support_vectors))
        return 0.5 + 0.5 * (a @ b.T)


def test_a_pair_head_judges_in_its_own_space(reference: Reference, one_each: dict[str, str]) -> None:
    head = _CosineHead()
    assert isinstance(head, PairScorer)
    store = reference._store
    typist = Typist(store, reference._searcher)
    support = SupportSet.of(Example(who, what, who) for who, what in one_each.items())
    queries = stored_queries(store, ["P020"], ["rna"], "auto")
    asked, single = Asked(None, "cancer_type", "site"), Asked(None, "cancer_type", "site", "single")
    plain = typist.type(queries, support, asked, lambda modality: head)[0]
    assert plain.similarity == "cosine"
    assert not head.asked, "it judges where it is asked for"
    by_head = typist.type(queries, support, single, lambda modality: head if modality == "rna" else None)[0]
    assert head.asked > 0
    assert by_head.similarity == "log-odds of the encoder's pair head"
    assert [one.support for one in by_head] == [one.support for one in plain], (
        "the same order as the cosine it is made of"
    )
    for one in by_head:
        probability = 0.5 + 0.5 * one.modalities["rna"]
        assert one.similarity == pytest.approx(np.log(probability / (1 - probability)), rel=1e-3)
    both = stored_queries(store, ["P021"], None, "auto")
    assert typist.type(both, support, asked, lambda modality: head)[0].fusion == "sum", "a head judges one modality"


def test_what_cannot_be_is_refused(reference: Reference, tmp_path: Path, one_each: dict[str, str]) -> None:
    query = {"vectors": new_sample(1)}
    for support, error, said in (
        ("cancer_typ", UsageError, "did you mean 'cancer_type'"),
        ("empty", UsageError, "the column is empty"),
        ("one", UsageError, "one type only"),
        ("age", UsageError, "types need names"),
        ({"P001": "A", "Q999": "B"}, NotFoundError, "'Q999'"),
        ({}, UsageError, "one type only"),
    ):
        with pytest.raises(error, match=said):
            reference.type_samples(support, **query)
    with pytest.raises(NotFoundError, match="type ALDR cannot be compared: its only support sample has no mirna"):
        reference.type_samples({"P000": "ALDR", "P001": "BIRC"}, **query, modality="mirna")
    with pytest.raises(UsageError, match="--shots 0"):
        reference.type_samples("cancer_type", **query, shots=0)
    with pytest.raises(UsageError, match="no such patient column"):
        reference.type_samples("cancer_type", **query, label="nothing")
    with pytest.raises(UsageError, match="--fusion guess"):
        reference.type_samples("cancer_type", **query, fusion="guess")
    with pytest.raises(UsageError, match="--kind sick"):
        reference.type_samples("cancer_type", **query, kind="sick")
    with pytest.raises(NotFoundError, match="of a metastasis sample"):
        reference.type_samples("cancer_type", **query, kind="metastasis")
    with pytest.raises(UsageError, match="error rate"):
        reference.type_samples("cancer_type", **query, error=0.0)
    with pytest.raises(UsageError, match="name what is to be typed"):
        reference.type_samples("cancer_type")
    with pytest.raises(UsageError, match="--where chooses"):
        reference.type_samples(one_each, **query, where="age > 50")
    with pytest.raises(NotFoundError, match="age > 500"):
        reference.type_samples("cancer_type", **query, where="age > 500")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient\ttype\nP001\tA\nP00X\tB\n", r"row 3: no patient 'P00X' is stored"),
        ("patient\ttype\nP001\tA\nP002\t\n", r"row 3, column 'type': an empty cell"),
        ("patient\ttype\nP001\tA\nP001\tB\n", r"row 3: P001 stands for 'B' here and for 'A' in row 2"),
        ("patient\tage\nP001\t3\n", r"needs a column 'patient' \(or 'sample'\) and a column 'type'"),
        ("patient\ttype\n", r"no rows"),
        ("sample,type\nP001,A\nnobody,B\n", r"row 3: no sample or patient 'nobody' is stored"),
    ],
)
def test_a_bad_support_file_is_told_where(reference: Reference, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "support.tsv"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        reference.type_samples(file, vectors=new_sample(1))


def test_samples_may_stand_for_types(tmp_path: Path) -> None:
    """Primary and metastasis of one patient are two examples when samples are named."""
    names = [f"TCGA-AA-{i:04}" for i in range(8)]
    random = np.random.default_rng(3)
    samples = [f"{name}-{code}A" for name in names for code in ("01", "06", "11")]
    centres = random.normal(size=(3, DIM))
    vectors = (np.tile(centres, (8, 1)) + random.normal(size=(24, DIM))).astype(np.float32)
    file = tmp_path / "rna.parquet"
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
    pq.write_table(pa.table({"sample": samples, "vector": flat}), file)
    reference = Reference.create(tmp_path / "kinds.molsig")
    reference.ingest(vectors={"rna": file}, learn=False)
    support = tmp_path / "support.csv"
    told = {"01": "primary", "06": "metastasis", "11": "normal"}
    rows = [f"{one}-11R-A29S-07,{told[one[13:15]]}\n" for one in samples[:9]]
    support.write_text("sample,type\n" + "".join(rows))
    for row, name in ((21, "primary"), (22, "metastasis"), (23, "normal")):
        found = reference.type_samples(support, vectors={"rna": vectors[row]})[0]
        assert found.types[0].type == name
        assert found.types[0].support in samples
        assert found.types[0].patient in names
        assert {one.samples for one in found} == {3}
    # The patient has other samples, none of this tissue: nobody stands in for it.
    support.write_text(f"sample,type\n{samples[0]},primary\n{names[1]}-02A,recurrence\n")
    with pytest.raises(InputError, match=f"no sample or patient '{names[1]}-02A' is stored"):
        reference.type_samples(support, vectors={"rna": vectors[21]})
    support.write_text(f"sample,type\n{samples[0]},primary\n{names[1]},anything\n")
    assert len(reference.type_samples(support, vectors={"rna": vectors[21]})[0].types) == 2
