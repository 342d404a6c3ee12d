"""Genes inferred from landmarks: the closed form, what chooses, and what the network learns beyond a line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as ReferenceRidge

from molsig.encoders import gene_inference
from molsig.encoders.deep_inference import DeepInference, Recipe
from molsig.encoders.gene_inference import Ridge, Standard, held_back
from molsig.errors import MolsigError, UsageError

SMALL = Recipe(width=32, layers=2, epochs=25, batch_size=16, learning_rate=5e-3)


def linear(n: int = 60, k: int = 8, t: int = 5, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Landmarks, targets that are sums of them, and two samples of each patient."""
    rng = np.random.default_rng(3)
    x = rng.normal(5, 2, (n, k))
    y = x @ rng.normal(0, 1, (k, t)) + rng.normal(0, noise, (n, t)) + 4
    return x.astype(np.float32), y.astype(np.float32), [f"P{i // 2}" for i in range(n)]


def test_ridge_is_the_regression_of_scikit_learn() -> None:
    x, y, patients = linear()
    ours = Ridge([0.3]).fit(x, y, patients).predict(x)
    standard, targets = Standard.of(x), Standard.of(y)
    z = standard.apply(x)
    strength = 0.3 * float(np.square(np.linalg.svd(z, compute_uv=False)).mean())
    theirs = ReferenceRidge(alpha=strength, fit_intercept=False).fit(z, targets.apply(y)).predict(z)
    np.testing.assert_allclose(ours, theirs * targets.deviation + targets.mean, rtol=1e-4)


def test_blocks_of_targets_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, patients = linear(t=7)
    whole = Ridge().fit(x, y, patients)
    monkeypatch.setattr(gene_inference, "_BLOCK_CELLS", 3 * len(x))
    parts = Ridge().fit(x, y, patients)
    assert parts.penalty == whole.penalty
    np.testing.assert_allclose(parts.predict(x), whole.predict(x), rtol=1e-5)


def test_more_noise_takes_a_greater_penalty() -> None:
    clear, noisy = (Ridge().fit(*linear(noise=noise)) for noise in (0.01, 20.0))
    assert noisy.penalty > clear.penalty
    assert clear.errors[clear.penalty] == min(clear.errors.values()) < 0.01


def test_more_landmarks_than_samples_and_a_constant_one() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 1, (60, 3))
    x = (hidden @ rng.normal(0, 1, (3, 90)) + 0.1 * rng.normal(0, 1, (60, 90))).astype(np.float32)
    y = (hidden @ rng.normal(0, 1, (3, 4)) + 7).astype(np.float32)
    x[:, 0], y[:, 3] = 2.5, 6.5
    fitted = Ridge().fit(x[:40], y[:40], [f"P{i}" for i in range(40)])
    found = fitted.predict(x[40:])
    assert np.abs(found - y[40:]).mean() < 0.1
    np.testing.assert_array_equal(found[:, 3], 6.5)


def test_what_was_not_measured_counts_as_the_mean() -> None:
    x, y, patients = linear()
    gaps = x.copy()
    gaps[0, 0] = np.nan
    fitted = Ridge().fit(x, y, patients)
    filled = gaps.copy()
    filled[0, 0] = x[:, 0].mean()
    np.testing.assert_allclose(fitted.predict(gaps), fitted.predict(filled), rtol=1e-4)
    holes = y.copy()
    holes[3, 1] = np.nan
    assert np.isfinite(Ridge().fit(gaps, holes, patients).predict(gaps)).all()


def test_nobody_is_on_both_sides() -> None:
    patients = [f"P{i // 3}" for i in range(90)]
    rows, judges = held_back(patients, 0.2, 1)
    assert len(judges) == 18
    assert not {patients[i] for i in rows} & {patients[i] for i in judges}


def test_few_patients_take_the_middle_penalty() -> None:
    x, y, _ = linear(n=6)
    fitted = Ridge([0.1, 1.0, 10.0]).fit(x, y, list("ABCDEF"))
    assert fitted.penalty == 1.0
    assert fitted.errors == {}


def test_the_network_learns_what_a_line_cannot() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, (400, 2)).astype(np.float32)
    y = np.stack([x[:, 0] * x[:, 1], x[:, 0]], axis=1) + 6
    patients = [f"P{i}" for i in range(400)]
    state = torch.random.get_rng_state()
    deep = DeepInference(SMALL, seed=2, device="cpu").fit(x[:300], y[:300], patients[:300])
    assert torch.equal(torch.random.get_rng_state(), state)
    ridge = Ridge().fit(x[:300], y[:300], patients[:300])
    found, plain = deep.predict(x[300:]), ridge.predict(x[300:])
    error, line = (np.abs(one - y[300:]).mean(axis=0) for one in (found, plain))
    assert error[0] < 0.5 * line[0]
    assert deep.history["best_epoch"] >= 1
    again = DeepInference(SMALL, seed=2, device="cpu").fit(x[:300], y[:300], patients[:300])
    np.testing.assert_array_equal(again.predict(x[300:]), found)


def test_what_does_not_belong_together_is_refused() -> None:
    x, y, patients = linear()
    for model in (Ridge(), DeepInference(SMALL, device="cpu")):
        with pytest.raises(UsageError, match="give the same samples"):
            model.fit(x, y[1:], patients)
        with pytest.raises(UsageError, match="two patients"):
            model.fit(x, y, ["P1"] * len(x))
        with pytest.raises(UsageError, match="at least one landmark"):
            model.fit(x[:, :0], y, patients)
        with pytest.raises(MolsigError, match="before it is asked"):
            model.predict(x)
    with pytest.raises(UsageError, match="fitted to 8"):
        Ridge().fit(x, y, patients).predict(x[:, 1:])
    with pytest.raises(UsageError, match="above 0"):
        Ridge([0.0])
