"""Choosing features by one-shot episodes, baselines, and what differs within types."""

import numpy as np
import pytest
from scipy import stats

from molsig.errors import InputError, UsageError
from molsig.evaluate.episodes import draw_episodes
from molsig.evaluate.marker_pictures import heat_map, plane, standing_alone, tsne
from molsig.evaluate.marker_selection import (
    accuracies,
    anova_f,
    by_anova,
    by_discrimination,
    by_variance,
    fewest,
    forward_selection,
    sizes_up_to,
)
from molsig.retrieval.differential import differential

RANDOM = np.random.default_rng(0)
TYPES = np.repeat([f"T{i}" for i in range(8)], 20)
X = RANDOM.normal(size=(160, 40))
X[:, :6] += 2 * RANDOM.normal(size=(8, 6))[np.repeat(np.arange(8), 20)]
X[:, 6] = X[:, 0] + 0.01 * RANDOM.normal(size=160)
"""Six features tell the types, the seventh says what the first does."""
PATIENTS = [f"P{i}" for i in range(160)]
ASKED = draw_episodes(TYPES.tolist(), PATIENTS, ways=5, episodes=1500, seed=0)


def test_few_features_that_tell_do_better_than_all() -> None:
    telling = accuracies(X, np.arange(40), [6, 40], ASKED)
    assert telling[0] > telling[1] + 0.1


def test_the_forward_selection_finds_them_and_leaves_the_copy() -> None:
    found = forward_selection(X, ASKED, np.arange(40), 6)
    assert len(set(found.tolist())) == 6
    assert len(set(found.tolist()) & set(range(6))) >= 5 or set(found.tolist()) <= set(range(7))
    assert not {0, 6} <= set(found.tolist()[:4])
    assert accuracies(X, found, [6], ASKED)[0] >= accuracies(X, by_anova(X, TYPES.tolist()), [6], ASKED)[0] - 0.02


def test_the_forward_selection_takes_one_shot_and_what_fits() -> None:
    two = draw_episodes(TYPES.tolist(), PATIENTS, ways=5, shots=2, episodes=10)
    with pytest.raises(UsageError, match="one shot"):
        forward_selection(X, two, np.arange(4), 2)
    with pytest.raises(UsageError, match="too many"):
        forward_selection(np.zeros((160, 10_000)), ASKED, np.arange(10_000), 2)


def test_anova_is_that_of_scipy() -> None:
    expected = stats.f_oneway(*(X[name == TYPES] for name in np.unique(TYPES))).statistic
    np.testing.assert_allclose(anova_f(X, TYPES.tolist()), expected, rtol=1e-6)


def test_discrimination_passes_over_what_says_the_same() -> None:
    found = by_discrimination(X, TYPES.tolist(), 6, ridge=1e-4)
    assert len({0, 6} & set(found.tolist())) == 1
    assert set(found.tolist()) - {0, 6} == set(range(1, 6))
    assert len({0, 6} & set(by_anova(X, TYPES.tolist())[:7].tolist())) == 2


def test_variance_is_of_the_values_as_they_are() -> None:
    assert by_variance(X * np.arange(1, 41))[0] > 20


def test_sizes_and_the_fewest() -> None:
    assert sizes_up_to(35) == [10, 20, 30, 35]
    assert sizes_up_to(250)[-3:] == [150, 200, 250]
    assert fewest([10, 20, 30], np.array([0.5, 0.795, 0.8])) == 20


def test_what_differs_within_types_is_no_difference_between_them() -> None:
    random = np.random.default_rng(1)
    types = np.repeat(["A", "B", "C"], [60, 60, 40])
    group = np.concatenate([np.arange(60) < 50, np.arange(60) < 10, np.zeros(40, dtype=bool)])
    x = random.normal(size=(160, 12))
    x[:, 0] += 5 * (types == "A")
    x[:, 1] += 2 * group
    found = differential(x, types.tolist(), group.tolist())
    assert found.ranking()[0] == 1
    assert found.types == {"A": (50, 10), "B": (10, 50)}
    assert found.difference[1] == pytest.approx(2, abs=0.6)
    assert found.q[1] < 1e-6
    assert (found.q[[0, *range(2, 12)]] > 0.01).all()


def test_within_one_type_it_is_the_t_test() -> None:
    random = np.random.default_rng(2)
    x, group = random.normal(size=(30, 5)), np.arange(30) < 11
    found = differential(x, ["A"] * 30, group.tolist())
    np.testing.assert_allclose(found.t, stats.ttest_ind(x[group], x[~group]).statistic, rtol=1e-9)


def test_without_both_groups_nothing_is_compared() -> None:
    with pytest.raises(InputError, match="no type"):
        differential(X, TYPES.tolist(), [True] * 160)


def test_pictures_name_what_they_show_and_are_the_same_again() -> None:
    points = tsne(X[:, :6])
    np.testing.assert_array_equal(points, tsne(X[:, :6]))
    drawn = plane("Tumours <1>", points, TYPES.tolist())
    assert "Tumours &lt;1&gt;" in drawn
    assert all(f">T{i}</text>" in drawn for i in range(8))
    assert drawn.count("<circle") == 160
    map_ = heat_map("Genes", ["G1", "G<2"], ["A", "B", "C"], np.array([[1.0, 0, -1], [2, 0, -2]]))
    assert "G&lt;2, A: +2.00" in map_
    assert standing_alone(map_).startswith('<svg xmlns="http://www.w3.org/2000/svg"')
