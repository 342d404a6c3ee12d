"""Type scores, and the spread over the choice of examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.retrieval.type_scores import (
    Groups,
    best_examples,
    calling_share,
    softmax,
    spread_of_choices,
    type_scores,
)

sizes = st.lists(st.integers(1, 4), min_size=2, max_size=5)


def drawn(numbers: list[int], seed: int, *, ties: bool = False) -> tuple[np.ndarray, Groups]:
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(numbers)), numbers)
    scores = random.normal(size=len(codes))
    return (np.round(scores) if ties else scores), Groups.of(codes)


@given(sizes, st.integers(0, 10_000))
def test_one_example_a_type_is_the_nearest_neighbour(numbers: list[int], seed: int) -> None:
    scores, groups = drawn([1] * len(numbers), seed)
    np.testing.assert_allclose(type_scores(scores, groups, 0.2), scores, atol=1e-12)
    assert best_examples(scores, groups).tolist() == list(range(len(numbers)))
    probabilities = softmax(scores, 0.2)
    assert probabilities.argmax() == scores.argmax()
    assert probabilities.sum() == pytest.approx(1)


@given(sizes, st.integers(0, 10_000), st.floats(0.05, 2.0))
def test_a_type_lies_between_the_mean_and_the_best_of_its_examples(
    numbers: list[int], seed: int, temperature: float
) -> None:
    scores, groups = drawn(numbers, seed)
    found = type_scores(scores, groups, temperature)
    for code in range(len(groups)):
        own = scores[groups.codes == code]
        assert own.mean() - 1e-9 <= found[code] <= own.max() + 1e-9
        assert scores[best_examples(scores, groups)[code]] == own.max()


def test_an_example_that_is_there_many_times_counts_once() -> None:
    few, many = Groups.of(np.array([0, 0, 1])), Groups.of(np.array([0, 0, 0, 0, 0, 0, 1]))
    once = type_scores(np.array([0.3, 0.5, 0.4]), few, 0.1)
    again = type_scores(np.array([0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0.4]), many, 0.1)
    np.testing.assert_allclose(once, again)


@given(sizes, st.integers(0, 10_000), st.booleans())
def test_the_share_of_choices_is_that_of_going_through_them_all(numbers: list[int], seed: int, ties: bool) -> None:
    scores, groups = drawn(numbers, seed, ties=ties)
    members = [np.flatnonzero(groups.codes == code) for code in range(len(groups))]
    called = np.zeros(len(groups))
    choices = list(itertools.product(*members))
    for choice in choices:
        called[int(np.argmax(scores[list(choice)]))] += 1
    np.testing.assert_allclose(calling_share(scores, groups), called / len(choices), atol=1e-12)


@given(sizes, st.integers(0, 10_000))
def test_few_choices_are_all_looked_at(numbers: list[int], seed: int) -> None:
    scores, groups = drawn(numbers, seed)
    members = [np.flatnonzero(groups.codes == code) for code in range(len(groups))]
    each = np.array([softmax(scores[list(choice)], 0.3) for choice in itertools.product(*members)])
    found = spread_of_choices(scores, groups, 0.3, np.zeros((2_000, len(groups))))
    assert found.exhausted
    assert found.choices == len(each)
    np.testing.assert_allclose(found.mean, each.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.sd, each.std(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.low, np.quantile(each, 0.05, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.high, np.quantile(each, 0.95, axis=0), atol=1e-12)


def test_drawn_choices_come_near_to_all_of_them() -> None:
    scores, groups = drawn([6, 6, 6, 6], 3)
    uniform = np.random.default_rng(0).random((1_000, 4))
    drawn_some = spread_of_choices(scores, groups, 0.3, uniform)
    every = spread_of_choices(scores, groups, 0.3, np.zeros((1_296, 4)))
    assert not drawn_some.exhausted
    assert every.exhausted
    np.testing.assert_allclose(drawn_some.mean, every.mean, atol=0.05)
    np.testing.assert_allclose(drawn_some.sd, every.sd, atol=0.05)


@given(sizes, st.integers(0, 10_000))
def test_adding_a_type_leaves_the_scores_of_the_others(numbers: list[int], seed: int) -> None:
    scores, groups = drawn([*numbers, 2], seed)
    without = scores[groups.codes < len(numbers)]
    fewer = type_scores(without, Groups.of(groups.codes[groups.codes < len(numbers)]), 0.2)
    np.testing.assert_allclose(type_scores(scores, groups, 0.2)[:-1], fewer)
