"""Episodes among labelled patients, and what is fitted on them."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.retrieval.type_calibration import (
    Fits,
    expected_calibration_error,
    fit_temperature,
    fits_of,
    left_out_scores,
    pooled,
)
from molsig.retrieval.type_episodes import Episodes, barred_pairs, draw_episodes
from molsig.retrieval.type_scores import softmax


def clusters(
    types: int = 6, each: int = 20, noise: float = 0.6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity of all pairs, types and groups of some points around centres."""
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(types), each)
    points = random.normal(size=(types, 8))[codes] + noise * random.normal(size=(len(codes), 8))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points @ points.T, codes, np.arange(len(codes)) % 5


def test_no_episode_shows_a_patient_themselves_or_their_group() -> None:
    codes, groups = np.repeat(np.arange(4), 10), np.arange(40) % 3
    # The score of a pair tells which pair it is.
    tell = np.arange(40)[:, None] * 100.0 + np.arange(40)
    found = draw_episodes(tell, codes, groups, ways=4, shots=3, episodes=500, random=np.random.default_rng(1))
    asked, example = np.divmod(found.scores.astype(int), 100)
    assert np.isfinite(found.scores).all(), "there are enough of every type in other groups"
    assert (asked != example).all()
    assert (groups[asked] != groups[example]).all()
    assert (codes[example] == np.arange(4)[None, :, None]).all()
    assert (codes[asked[:, 0, 0]] == found.truth).all()
    within = np.sort(example, axis=2)
    assert (np.diff(within, axis=2) > 0).all(), "no example twice"


def test_episodes_have_as_many_types_as_were_asked_for_and_the_right_one_among_them() -> None:
    scores, codes, groups = clusters()
    found = draw_episodes(scores, codes, groups, ways=3, shots=1, episodes=300, random=np.random.default_rng(0))
    there = np.isfinite(found.scores[..., 0])
    assert (there.sum(axis=1) == 3).all()
    assert there[np.arange(len(found)), found.truth].all()


def test_who_has_nobody_of_their_type_elsewhere_is_not_asked() -> None:
    codes = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    groups = np.array([0, 0, 0, 1, 2, 0, 1, 2])
    scores = np.zeros((8, 8))
    found = draw_episodes(scores, codes, groups, ways=3, shots=2, episodes=400, random=np.random.default_rng(0))
    assert set(found.truth.tolist()) == {1, 2}, "all of type 0 are of one group"


def test_a_group_of_minus_one_is_none() -> None:
    assert barred_pairs(np.array([-1, -1, 3, 3])).tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, True],
        [False, False, True, True],
    ]


@pytest.mark.parametrize("shots", [1, 5])
def test_fitted_temperatures_are_calibrated(shots: int) -> None:
    scores, codes, groups = clusters(noise=0.9)
    random = np.random.default_rng(0)
    found = draw_episodes(scores, codes, groups, ways=6, shots=shots, episodes=2_000, random=random)
    known = fit_temperature(found, source="reference", label="kind", patients=len(codes), ways=6)
    assert known.ece is not None
    assert known.ece < 0.05
    told = pooled(found.scores, known.one)
    half = expected_calibration_error(softmax(told, known.several / 4), found.truth)
    double = expected_calibration_error(softmax(told, known.several * 4), found.truth)
    assert min(half, double) > 2 * known.ece


def test_parts_are_joined_whatever_their_number_of_types() -> None:
    scores, codes, groups = clusters(types=5)
    parts = []
    for kept in ([0, 1], [2, 3, 4]):
        rows = np.flatnonzero(np.isin(codes, kept))
        own = np.unique(codes[rows], return_inverse=True)[1]
        parts.append(
            draw_episodes(
                scores[np.ix_(rows, rows)],
                own,
                groups[rows],
                ways=9,
                shots=2,
                episodes=50,
                random=np.random.default_rng(0),
            )
        )
    joined = Episodes.joined(parts)
    assert joined.scores.shape == (len(parts[0]) + len(parts[1]), 3, 2)
    assert np.isneginf(joined.scores[: len(parts[0]), 2]).all()
    assert np.isfinite(pooled(joined.scores, 0.1)[np.arange(len(joined)), joined.truth]).all()


def test_left_out_scores_look_at_nobodys_own_group() -> None:
    scores, codes, groups = clusters(types=3, each=6)
    found = left_out_scores(scores, codes, groups, 0.1)
    for row in range(len(codes)):
        for code in range(3):
            others = [n for n in np.flatnonzero(codes == code) if n != row and groups[n] != groups[row]]
            alone = 0.1 * np.log(np.mean(np.exp(scores[row, others] / 0.1)))
            assert found[row, code] == pytest.approx(alone)


def test_the_p_value_turns_away_the_share_it_says() -> None:
    random = np.random.default_rng(0)
    known, new = random.normal(size=199), random.normal(size=20_000)
    fits = Fits(np.sort(known), np.sort(known - 3), "support")
    share = np.mean([fits.none(one, 0.05) for one in new.tolist()])
    assert share == pytest.approx(0.05, abs=0.035)
    assert fits.none(known.min() - 1, 0.05)
    assert not fits.none(known.max() + 1, 0.05)
    assert fits.told(0.05) > 0.8
    assert fits.stranger_p(known.max() + 9) == pytest.approx(1 / 200)


def test_samples_of_one_patient_do_not_calibrate_each_other() -> None:
    scores, codes, _ = clusters(types=3, each=6)
    patients, no_groups = np.arange(len(codes)) // 2, np.full(len(codes), -1)
    found = left_out_scores(scores, codes, no_groups, 0.1, patients)
    alone = left_out_scores(scores, codes, no_groups, 0.1)
    for row in range(len(codes)):
        others = [n for n in np.flatnonzero(codes == codes[row]) if patients[n] != patients[row]]
        expected = 0.1 * np.log(np.mean(np.exp(scores[row, others] / 0.1)))
        assert found[row, codes[row]] == pytest.approx(expected)
    assert not np.array_equal(found, alone)
    drawn = draw_episodes(
        np.where(patients[:, None] == patients, 99.0, scores), codes, np.full(len(codes), -1), ways=3, shots=2,
        episodes=500, random=np.random.default_rng(0), patients=patients,
    )  # fmt: skip
    assert drawn.scores.max() < 99


def test_who_asks_is_not_compared_with_their_own_score() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.7]])
    fits = fits_of(scores, np.array([0, 0, 1]), "support", np.array(["A", "B", "C"]))
    assert fits.p_value(0.7) == pytest.approx(2 / 4)
    assert fits.without(["C"]).p_value(0.7) == pytest.approx(1 / 3)
    assert fits.without(["C"]).strangers.tolist() == [0.1, 0.2]
    assert fits.without([]) is fits


def test_strangers_are_asked_without_their_own_type() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [-np.inf, 0.3]])
    fits = fits_of(scores, np.array([0, 1, 0]), "support")
    assert fits.known.tolist() == [0.8, 0.9]
    assert fits.strangers.tolist() == [0.1, 0.2, 0.3]


def test_pairs_alone_give_no_p_value() -> None:
    fits = Fits(np.zeros(0), np.array([0.1, 0.2, 0.3]), "pairs")
    assert fits.p_value(0.5) is None
    assert fits.told(0.05) is None
    assert fits.none(0.15, 0.05)
    assert not fits.none(0.25, 0.05)
