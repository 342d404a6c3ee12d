"""Samples onto a profile, one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from molsig.encoders.alignment import FEWEST_FEATURES, align, choose_alignment, fit_profile


def cohort(seed: int, n: int = 30, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.uniform(0, 12, width) + rng.normal(0, 1, (n, width))).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_a_whole_sample_gets_the_quantiles_in_its_own_order(seed: int) -> None:
    values = cohort(seed)
    # Equal values are another test's; in single precision the exponential can make two of two that differ.
    assume(all(len(np.unique(row)) == len(row) for block in (values, np.exp(values / 3)) for row in block))
    profile = fit_profile(values)
    aligned = align(values.copy(), profile, "quantile")
    np.testing.assert_allclose(np.sort(aligned, axis=1), np.tile(profile.quantiles, (30, 1)))
    assert (np.argsort(aligned, axis=1) == np.argsort(values, axis=1)).all()
    np.testing.assert_array_equal(align(np.exp(values / 3), profile, "quantile"), aligned)


def test_equal_values_stay_equal() -> None:
    values = cohort(1)
    values[0, :20] = values[0].min() - 1
    aligned = align(values.copy(), fit_profile(values), "quantile")
    assert len(set(aligned[0, :20].tolist())) == 1
    assert aligned[0, 0] <= aligned[0, 20:].min()
    flat = align(np.full((1, 80), 4, np.float32), fit_profile(values), "quantile")
    assert np.ptp(flat) == 0


def test_gaps_stay_gaps_and_the_rest_is_aligned_for_what_it_is() -> None:
    """The lower half of the genes alone must not be stretched to the range of all."""
    values = cohort(2)
    profile = fit_profile(values)
    low = np.argsort(profile.means)[:40]
    part = np.full_like(values, np.nan)
    part[:, low] = values[:, low] + 2
    aligned = align(part, profile, "quantile")
    assert np.isnan(np.delete(aligned, low, axis=1)).all()
    whole = align(values.copy(), profile, "quantile")
    assert np.abs(aligned[:, low] - whole[:, low]).mean() < 0.5


def test_size_factor_and_none() -> None:
    values = cohort(3)
    profile = fit_profile(values)
    shifted = align(values + 3, profile, "size_factor")
    np.testing.assert_allclose(shifted, align(values.copy(), profile, "size_factor"), atol=1e-5)
    np.testing.assert_array_equal(align(values.copy(), profile, "none"), values)
    gone = np.full((1, 80), np.nan, np.float32)
    assert np.isnan(align(gone, profile, "size_factor")).all()


@pytest.mark.parametrize(
    ("scale", "n", "method"), [("log2", 5000, "quantile"), ("log2", FEWEST_FEATURES - 1, "none"), ("raw", 5000, "none")]
)
def test_the_choice_of_method(scale: str, n: int, method: str) -> None:
    assert choose_alignment(scale, n) == method
