"""Bootstrap intervals: seeded, as wide as theory says, and honest about what cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from molsig.errors import UsageError
from molsig.evaluate.bootstrap import resample, with_intervals
from molsig.evaluate.metrics import auroc, calibration_error, mean_of


def test_each_resample_draws_as_many_patients_as_there_are() -> None:
    weights = np.concatenate(list(resample(5000, 1700, seed=1)))
    assert weights.shape == (1700, 5000)
    assert (weights.sum(axis=1) == 5000).all()
    # Of a Poisson(1) count e^-1 are never drawn.
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=2e-3)


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    right = np.arange(400) < 320
    figure = with_intervals({"a": mean_of(right)}, 400, draws=4000)["a"][0]
    low, high = stats.binom(400, 0.8).ppf([0.025, 0.975]) / 400
    assert figure.value == pytest.approx(0.8)
    assert figure.low == pytest.approx(low, abs=0.006)
    assert figure.high == pytest.approx(high, abs=0.006)
    assert figure.n == 400


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(300):
        figure = with_intervals({"a": mean_of(rng.random(80) < 0.6)}, 80, draws=300, seed=trial)["a"][0]
        assert figure.low is not None
        assert figure.high is not None
        held += figure.low <= 0.6 <= figure.high
    assert 0.90 <= held / 300 <= 0.98


def test_the_seed_decides_and_all_statistics_see_the_same_resamples() -> None:
    values = np.random.default_rng(0).random(50)
    both = with_intervals({"a": mean_of(values), "b": mean_of(np.stack([values, 1 - values], axis=1))}, 50, seed=2)
    assert both["a"][0] == both["b"][0]
    first, turned = both["b"]
    assert first.low is not None
    assert turned.high == pytest.approx(1 - first.low)
    assert both["a"] == with_intervals({"a": mean_of(values)}, 50, seed=2)["a"]
    assert both["a"] != with_intervals({"a": mean_of(values)}, 50, seed=3)["a"]


def test_a_calibration_error_lies_in_its_own_interval() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.3, 1, size=400)
    statistic = {"ece": calibration_error(confidence, rng.random(400) < confidence)}
    plain = with_intervals(statistic, 400)["ece"][0]
    figure = with_intervals(statistic, 400, biased=frozenset({"ece"}))["ece"][0]
    assert plain.value is not None
    assert plain.high is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < plain.value < figure.high < plain.high


def test_what_cannot_be_computed_is_none_and_not_nan() -> None:
    figure = with_intervals({"a": auroc(np.arange(4.0), np.zeros(4, dtype=bool))}, 4)["a"][0]
    assert (figure.value, figure.low, figure.high, figure.n) == (None, None, None, 4)
    with pytest.raises(UsageError, match="no patient"):
        with_intervals({"a": mean_of(np.zeros(0))}, 0)
