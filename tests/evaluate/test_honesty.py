"""Cohorts whose truth is known: nothing is found where nothing is, and a batch is seen for what it is."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.evaluate.bootstrap import Figure
from molsig.evaluate.report import HELD_OUT, RANDOM, Evaluation
from molsig.evaluate.run import Labelled, evaluate
from molsig.retrieval.plain import Plain

from ..patients import Cohort, cohort


def run(patients: Cohort, labels: np.ndarray | None = None, **how: object) -> Evaluation:
    labelled = Labelled(patients.vectors, patients.labels if labels is None else labels, patients.groups)
    return evaluate(labelled, [Plain()], label="kind", group="site", **({"missing": (0.0,), "draws": 200} | how))  # type: ignore[arg-type]


def figure(found: Evaluation, scheme: str, name: str) -> tuple[float, float, float]:
    part = found.part(scheme, "sum")
    assert part is not None
    return ends(part.overall.figures[name])


def ends(one: Figure) -> tuple[float, float, float]:
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    return one.value, one.low, one.high


def test_labels_at_random_are_told_by_chance_and_sets_say_so() -> None:
    patients = cohort(1200, labels=4, seed=5)
    labels = np.random.default_rng(0).permutation(patients.labels)
    found = run(patients, labels, left_out=1)
    for scheme in (HELD_OUT, RANDOM):
        assert figure(found, scheme, "p@10")[0] == pytest.approx(0.25, abs=0.02)
        assert figure(found, scheme, "balanced_accuracy")[0] == pytest.approx(0.25, abs=0.04)
        # Sets keep their promise by growing, not by knowing.
        assert figure(found, scheme, "conformal@90")[0] > 0.87
        assert figure(found, scheme, "set_size@90")[0] > 3
    for one in found.unknown:
        low, high = ends(one.auroc)[1:]
        assert low < 0.5 < high


def test_a_batch_flatters_random_folds_and_the_meter_shows_it() -> None:
    quiet, loud = (
        cohort(900, labels=4, sites=30, noise=2.5, site_shift=shift, held=1.0, seed=6) for shift in (0.0, 3.0)
    )
    # In the loud cohort each site sends one label, as tissue source sites do.
    site = np.array([int(one[1:]) for one in loud.groups])
    clean, batch = run(quiet, left_out=0), run(loud, (site % 4).astype(str), left_out=0)
    assert figure(batch, RANDOM, "vote@10")[1] > figure(batch, HELD_OUT, "vote@10")[2] + 0.1
    assert abs(figure(clean, RANDOM, "vote@10")[0] - figure(clean, HELD_OUT, "vote@10")[0]) < 0.05
    meters = [next(leak for leak in found.leaks if leak.scheme == RANDOM).meters[0] for found in (clean, batch)]
    assert [meter.name for meter in meters] == ["site", "site"]
    assert ends(meters[0].excess)[1] <= 0 <= ends(meters[0].excess)[2]
    assert ends(meters[1].excess)[1] > 0.3


def test_sure_calls_are_right_more_often() -> None:
    found = run(cohort(1200, labels=4, noise=3.0, seed=7), left_out=0)
    part = found.part(RANDOM, "sum")
    assert part is not None
    curve = [ends(point.accuracy)[0] for point in part.coverage]
    assert curve[1] > curve[-1] + 0.05
    assert part.coverage[-1].coverage == 1.0
