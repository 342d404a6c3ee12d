"""Energies in bands, and what is made of them and of the likelihood."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from molsig.retrieval.bands import EDGES, Bands
from molsig.retrieval.composition_presence import LIKELIHOOD_ALONE, fit_weights, log_odds, probabilities
from molsig.retrieval.mixture import Mixture
from molsig.retrieval.pool import Pool, split_patients
from molsig.retrieval.sampling import sample_modalities
from molsig.types import DIM

sys.path.insert(0, str(Path(__file__).parent))
from composition_data import made_pool

WIDTH = len(EDGES) - 1


@pytest.fixture(scope="module")
def parts() -> tuple[Pool, Pool, Pool]:
    pool = made_pool(3)
    split = split_patients(pool, 0)
    return pool.of_patients(split.train), pool.of_patients(split.validation), pool.of_patients(split.test)


@pytest.fixture(scope="module")
def mixture(parts: tuple[Pool, Pool, Pool]) -> Mixture:
    return Mixture.fit(parts[0], parts[1])


def test_bands_are_means_over_directions_by_hand() -> None:
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((2, DIM, DIM)).astype(np.float32)
    x = rng.standard_normal((5, DIM)).astype(np.float32)
    found = Bands(axes).energies(x).reshape(5, 2, 2, WIDTH)
    for m in range(2):
        square = (np.float64(x) @ axes[m]) ** 2
        for band, (first, last) in enumerate(pairwise(EDGES)):
            mean = square[:, first:last].mean(axis=1)
            np.testing.assert_allclose(found[:, m, 0, band], np.sqrt(mean), rtol=1e-4)
            np.testing.assert_allclose(found[:, m, 1, band], np.log(mean), rtol=1e-3, atol=1e-4)
    assert np.isfinite(Bands(axes).inputs(np.zeros((1, DIM), np.float32))).all()


def test_the_first_bands_of_a_modality_grow_with_its_vectors_and_not_with_those_of_others(
    mixture: Mixture, parts: tuple[Pool, Pool, Pool]
) -> None:
    bands = Bands.of(mixture)
    sums = sample_modalities(parts[2], 6, 400, seed=1)
    first = bands.energies(sums.vectors).reshape(400, 3, 2, WIDTH)[:, :, 0, :2].mean(axis=2)
    follows = np.corrcoef(np.concatenate([first, sums.counts[:, 0]], axis=1).T)[:3, 3:]
    assert np.diag(follows).min() > 0.6
    assert follows[~np.eye(3, dtype=bool)].max() < 0.2


def test_log_odds_are_positive_exactly_where_the_likeliest_set_has_the_modality(
    mixture: Mixture, parts: tuple[Pool, Pool, Pool]
) -> None:
    presence = mixture.presence(sample_modalities(parts[2], 5, 60, seed=2).vectors)
    np.testing.assert_array_equal(log_odds(mixture, presence) > 0, presence.present)


def test_weights_trust_whoever_is_right_and_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random((4000, 2)) < 0.5
    noise, signal = rng.standard_normal((4000, 2)), np.where(truth, 1.0, -1.0)
    odds = np.stack([signal[:, 0] + noise[:, 0], noise[:, 1]], axis=1)
    estimates = np.stack([noise[:, 1], signal[:, 1] + noise[:, 0]], axis=1)
    weights = fit_weights(odds, estimates, truth)
    assert weights[0, 0] > 10 * abs(weights[0, 1])
    assert weights[1, 1] > 10 * abs(weights[1, 0])
    sure = probabilities(weights, odds, estimates)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (sure >= low) & (sure < low + 0.25)
        assert abs(truth[inside].mean() - sure[inside].mean()) < 0.05


def test_where_nothing_teaches_the_likelihood_alone_decides() -> None:
    odds, estimates = np.array([[-0.5], [0.5]]), np.array([[9.0], [0.0]])
    weights = fit_weights(odds, estimates, np.ones((2, 1), bool))
    np.testing.assert_array_equal(weights, [LIKELIHOOD_ALONE])
    np.testing.assert_array_equal(probabilities(weights, odds, estimates) > 0.5, [[False], [True]])
