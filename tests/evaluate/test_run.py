"""The evaluation: who is asked, who may be found, and that figures are what they are called."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from molsig.errors import UsageError
from molsig.evaluate.folds import leave_groups_out
from molsig.evaluate.report import HELD_OUT, RANDOM, Evaluation
from molsig.evaluate.run import Labelled, evaluate
from molsig.evaluate.strangers import LEAST_PATIENTS, labels_to_leave_out
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.retrieval.plain import FittedPlain, Plain

from ..patients import Cohort, cohort


@pytest.fixture(scope="module")
def patients() -> Cohort:
    return cohort(500, labels=5, sites=15, seed=2)


@pytest.fixture(scope="module")
def done(patients: Cohort) -> Evaluation:
    return run(patients, missing=(0.0, 0.6))


def run(patients: Cohort, *methods: Plain | Watched, **how: object) -> Evaluation:
    labelled = Labelled(patients.vectors, patients.labels, patients.groups)
    chosen = methods or (Plain(), Plain("rna"))
    return evaluate(labelled, chosen, label="kind", group="site", **({"draws": 50, "seed": 3} | how))  # type: ignore[arg-type]


@dataclass
class Watched:
    """The plain method, keeping its galleries and who was asked about with each."""

    name: str = "sum"
    galleries: list[PatientVectors] = field(default_factory=list)
    asked: list[tuple[PatientVectors, PatientVectors]] = field(default_factory=list)

    def fit(self, gallery: PatientVectors, labels: np.ndarray, groups: np.ndarray) -> WatchedFit:
        self.galleries.append(gallery)
        fitted = Plain().fit(gallery, labels, groups)
        return WatchedFit(
            **{name: getattr(fitted, name) for name in FittedPlain.__dataclass_fields__}, gallery=gallery, by=self
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class WatchedFit(FittedPlain):
    gallery: PatientVectors
    by: Watched

    def nearest(self, queries: PatientVectors, k: int) -> tuple[np.ndarray, np.ndarray]:
        self.by.asked.append((self.gallery, queries))
        return super().nearest(queries, k)


def test_nobody_meets_themselves_nor_their_group_where_that_is_promised(patients: Cohort) -> None:
    site_of = dict(zip(patients.vectors.patients, patients.groups, strict=True))
    watched = Watched()
    run(patients, watched, missing=(0.0,))
    held_out, random = np.array_split(np.arange(len(watched.asked)), 2)
    for i, (gallery, queries) in enumerate(watched.asked):
        assert not set(gallery.patients) & set(queries.patients)
        shared = {site_of[p] for p in gallery.patients} & {site_of[p] for p in queries.patients}
        assert bool(shared) == (i in random)
    for scheme in (held_out, random):
        asked = {p for i in scheme for p in watched.asked[i][1].patients}
        assert asked == set(patients.vectors.patients)


def test_labels_that_are_left_out_are_not_in_the_gallery(patients: Cohort) -> None:
    label_of = dict(zip(patients.vectors.patients, patients.labels, strict=True))
    watched = Watched()
    found = run(patients, watched, left_out=2, missing=(0.0,)).unknown[0]
    assert all(len(set(two)) == 2 for two in found.left_out)
    for one, names in enumerate(found.left_out):
        with_all, without = watched.galleries[2 * one], watched.galleries[2 * one + 1]
        assert {label_of[p] for p in with_all.patients} == set(patients.labels)
        assert {label_of[p] for p in without.patients} == set(patients.labels) - set(names)
    assert found.auroc.value is not None
    assert found.auroc.value > 0.7


def test_precision_is_that_of_scikit_learn_within_the_same_folds(patients: Cohort, done: Evaluation) -> None:
    fold = leave_groups_out(patients.labels, patients.groups, 5, seed=3)
    sums = patients.vectors.sums()
    hits = np.empty(500)
    for one in range(5):
        stored, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        found = NearestNeighbors(n_neighbors=10, metric="cosine").fit(sums[stored]).kneighbors(sums[asked])[1]
        hits[asked] = (patients.labels[stored][found] == patients.labels[asked][:, None]).mean(axis=1)
    part = done.part(HELD_OUT, "sum")
    assert part is not None
    assert part.overall.figures["p@10"].value == pytest.approx(hits.mean())


def test_single_modalities_are_asked_only_about_those_who_have_them(patients: Cohort, done: Evaluation) -> None:
    for missing in (0.0, 0.6):
        whole, single = done.part(RANDOM, "sum", missing), done.part(RANDOM, "rna", missing)
        assert whole is not None
        assert single is not None
        assert whole.overall.patients == 500
        with_rna = sum(s.patients for words, s in whole.by_assays.items() if "rna" in words)
        assert single.overall.patients == with_rna
        # The same patients, so that methods can be compared within a set of assays.
        assert single.by_assays["mutation+rna"].patients == whole.by_assays["mutation+rna"].patients
    assert "mutation" not in single.by_assays


def test_parts_of_the_patients_add_up(done: Evaluation) -> None:
    for part in done.parts:
        n = part.overall.patients
        assert sum(s.patients for s in part.by_assays.values()) == n
        assert sum(bar.n for bar in part.reliability) == n
        assert sum(map(sum, part.confusion.table)) == n
        right = sum(row[i] for i, row in enumerate(part.confusion.table))
        assert part.overall.figures["call"].value == pytest.approx(right / n)
        assert part.coverage[-1].accuracy.value == pytest.approx(right / n)
        together = sum(s.patients * (s.figures["map"].value or 0) for s in part.by_assays.values())
        assert part.overall.figures["map"].value == pytest.approx(together / n)
        for figure in part.overall.figures.values():
            assert None not in (figure.value, figure.low, figure.high)
            assert (figure.low or 0) <= (figure.value or 0) + 1e-9
            assert (figure.value or 0) <= (figure.high or 0) + 1e-9


def test_methods_are_compared_on_the_same_patients(done: Evaluation) -> None:
    for one in done.comparisons:
        assert (one.method, one.rival) == ("sum", "rna")
        first, second = (done.part(one.scheme, name, one.missing) for name in ("sum", "rna"))
        assert first is not None
        assert second is not None
        if one.assays == "all":
            assert one.patients == second.overall.patients
            continue
        assert one.patients == first.by_assays[one.assays].patients
        for name, figure in one.differences.items():
            both = [part.by_assays[one.assays].figures[name].value or 0 for part in (first, second)]
            assert figure.value == pytest.approx(both[0] - both[1])
    # Interval of the difference: narrower than the two intervals it is made of, since the patients are the same.
    pair = next(one for one in done.comparisons if one.assays == "mutation+rna" and one.scheme == HELD_OUT)
    difference = pair.differences["p@10"]
    alone = [done.part(HELD_OUT, name).by_assays["mutation+rna"].figures["p@10"] for name in ("sum", "rna")]  # type: ignore[union-attr]
    width = [(f.high or 0) - (f.low or 0) for f in (difference, *alone)]
    assert 0 < width[0] < width[1] + width[2]


def test_missing_assays_cost_and_are_missing(done: Evaluation) -> None:
    all_there, few = done.part(HELD_OUT, "sum"), done.part(HELD_OUT, "sum", 0.6)
    assert all_there is not None
    assert few is not None
    assert few.by_assays["mutation+rna"].patients < 0.5 * all_there.by_assays["mutation+rna"].patients
    assert (few.overall.figures["p@10"].value or 1) < (all_there.overall.figures["p@10"].value or 0)


def test_meters_are_read_for_group_and_assays(done: Evaluation) -> None:
    named = {(one.scheme, one.method): [meter.name for meter in one.meters] for one in done.leaks}
    assert named[(RANDOM, "sum")] == ["site", "assays"]
    # With whole sites held out no neighbour is of the query's site: there is nothing to tell.
    assert named[(HELD_OUT, "sum")] == ["assays"]


def test_the_document_is_json_with_stable_keys_and_the_seed_decides_it(patients: Cohort, done: Evaluation) -> None:
    document = done.to_dict()
    assert list(document) == [
        "format",
        "molsig",
        "settings",
        "cohort",
        "parts",
        "comparisons",
        "unknown",
        "leaks",
        "notes",
        "taught",
    ]
    part = document["parts"][0]
    assert list(part) == [
        *(
            "scheme",
            "method",
            "missing",
            "overall",
            "answerable",
            "by_assays",
            "reliability",
            "coverage",
            "conformal",
            "confusion",
        )
    ]
    assert set(part["overall"]["figures"]) == {
        *("p@1", "p@5", "p@10", "p@20", "map", "vote@1", "vote@3", "vote@5", "vote@10", "call", "macro_f1"),
        *("balanced_accuracy", "vote@10_macro_f1", "vote@10_balanced_accuracy", "ece", "coverage_area"),
        *("conformal@80", "conformal@90", "conformal@95", "set_size@80", "set_size@90", "set_size@95"),
    }
    assert list(part["overall"]["figures"]["p@1"]) == ["value", "low", "high", "n"]
    first = json.dumps(document, allow_nan=False)
    assert first == json.dumps(run(patients, missing=(0.0, 0.6)).to_dict())
    assert first != json.dumps(run(patients, missing=(0.0, 0.6), seed=4).to_dict())


def test_labels_that_only_one_group_has_are_counted_as_unanswerable(patients: Cohort) -> None:
    labels = patients.labels.copy()
    labels[patients.groups == "S03"] = "T9"
    found = run(replace(patients, labels=labels), Plain(), missing=(0.0,), left_out=0)
    held_out, random = found.part(HELD_OUT, "sum"), found.part(RANDOM, "sum")
    assert held_out is not None
    assert random is not None
    assert held_out.overall.unanswerable == (labels == "T9").sum()
    assert random.overall.unanswerable == 0
    assert random.answerable == random.overall
    left = held_out.answerable
    assert (left.patients, left.unanswerable) == (500 - (labels == "T9").sum(), 0)
    p10 = [(s.figures["p@10"].value or 0) * s.patients for s in (left, held_out.overall)]
    assert p10[0] == pytest.approx(p10[1])
    assert [n for n in found.notes if "(T9); they count as misses" in n and n.startswith("whole sites held out")]
    assert held_out.overall.patients == 500


def test_labels_missing_by_chance_are_neither_known_nor_left_out(patients: Cohort) -> None:
    labels = patients.labels.copy()
    labels[patients.groups == "S03"] = "T9"
    found = run(replace(patients, labels=labels), Plain(), missing=(0.0,), left_out=["T0"])
    by_scheme = {one.scheme: one for one in found.unknown}
    assert by_scheme[HELD_OUT].auroc.n == 500 - (labels == "T9").sum()
    assert by_scheme[RANDOM].auroc.n == 500
    assert by_scheme[HELD_OUT].patients == by_scheme[RANDOM].patients == (labels == "T0").sum()


def test_patients_without_a_label_are_left_out_and_without_a_group_are_not(patients: Cohort) -> None:
    labels, groups = patients.labels.copy(), patients.groups.copy()
    labels[:40] = ""
    groups[100:130] = ""
    found = run(replace(patients, labels=labels, groups=groups), Plain(), missing=(0.0,), left_out=0)
    assert (found.cohort.patients, found.cohort.unlabelled, found.cohort.without_group) == (460, 40, 30)
    assert found.part(HELD_OUT, "sum").overall.patients == 460  # type: ignore[union-attr]
    assert any("30 patients without a site" in note for note in found.notes)


def test_without_groups_only_random_folds_are_run_and_that_is_said(patients: Cohort) -> None:
    found = evaluate(
        Labelled(patients.vectors, patients.labels, None), [Plain()], label="kind", missing=(0.0,), left_out=0, draws=20
    )
    assert found.schemes == (RANDOM,)
    assert any("random folds only" in note for note in found.notes)
    assert [meter.name for meter in found.leaks[0].meters] == ["assays"]


def test_progress_reaches_its_total(patients: Cohort) -> None:
    seen: list[tuple[int, int | None]] = []
    run(patients, Plain(), missing=(0.0,), left_out=0, progress=lambda step, done, total: seen.append((done, total)))
    assert seen == [(i, 10) for i in range(1, 11)]


def test_the_ranking_can_be_cut(patients: Cohort) -> None:
    whole, cut = (run(patients, Plain(), missing=(0.0,), left_out=0, depth=depth).parts[0] for depth in (None, 10))
    assert whole.overall.figures["p@10"] == cut.overall.figures["p@10"]
    assert whole.overall.figures["map"] != cut.overall.figures["map"]


def test_questions_that_make_no_sense_are_refused(patients: Cohort) -> None:
    with pytest.raises(UsageError, match="1 labels"):
        run(replace(patients, labels=np.full(500, "T0")), Plain())
    with pytest.raises(UsageError, match="no patient has the label T9"):
        run(patients, Plain(), left_out=["T9"])
    with pytest.raises(UsageError, match="no share"):
        run(patients, Plain(), missing=(0.0, 1.0))
    with pytest.raises(UsageError, match="fewer than two labels"):
        run(patients, Plain(), left_out=["T0", "T1", "T2", "T3"])


def test_labels_take_turns_to_be_left_out() -> None:
    labels = np.repeat([f"T{i}" for i in range(7)] + ["few"], [LEAST_PATIENTS] * 7 + [LEAST_PATIENTS - 1])
    drawn = labels_to_leave_out(labels, 3, 5, seed=0)
    times = [sum(name in three for three in drawn) for name in dict.fromkeys(labels)]
    assert sorted(times[:-1]) == [2, 2, 2, 2, 2, 2, 3]
    assert times[-1] == 0
    assert all(len(set(three)) == 3 for three in drawn)
    assert labels_to_leave_out(labels, ["few"], 5, seed=0) == (("few",),) * 5
    assert labels_to_leave_out(labels[:40], 1, 5, seed=0) == ()


def test_it_does_not_matter_how_many_processes_share_the_work(patients: Cohort) -> None:
    alone, shared = (run(patients, missing=(0.0, 0.4), left_out=1, folds=3, workers=n) for n in (1, 2))
    assert shared == alone
