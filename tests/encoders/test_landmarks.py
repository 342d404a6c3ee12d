"""Landmark genes: what each way of choosing them is made for, found in made-up data."""

import numpy as np
import pytest
from numpy.typing import NDArray

from molsig.encoders.landmark_autoencoder import PAPER, Recipe, fit
from molsig.encoders.landmarks import METHODS, rank_genes, stability
from molsig.errors import UsageError

Values = NDArray[np.float32]

QUICK = Recipe(epochs=40, batch=16, learning_rate=1e-2)
SMALL = (20, 6)


def programmes(samples: int = 120, of_each: int = 8, noise: int = 24, seed: int = 0) -> Values:
    """Three hidden programmes, each with genes that follow it, then genes that follow nothing; all of variance 1."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(samples, 3))
    follow = np.repeat(hidden, of_each, axis=1) + 0.3 * random.normal(size=(samples, 3 * of_each))
    values = np.concatenate([follow, random.normal(size=(samples, noise))], axis=1)
    return np.asarray(8 + values / values.std(axis=0), dtype=np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_every_way_ranks_all_genes_once_and_again_alike(method: str) -> None:
    values = programmes()
    found = rank_genes(values, method, n=6, recipe=QUICK, widths=SMALL)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(values.shape[1]))
    np.testing.assert_array_equal(found, rank_genes(values, method, n=6, recipe=QUICK, widths=SMALL))


@pytest.mark.parametrize("method", ["autoencoder", "pca"])
def test_genes_of_programmes_go_before_others(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molsig.encoders.landmarks.COMPONENTS", 3)
    found = rank_genes(programmes(), method, recipe=QUICK, widths=(20, 3))
    assert (found[:12] < 24).mean() >= 0.75


def test_variance_ranks_by_variance() -> None:
    values = programmes() * np.linspace(1, 3, 48, dtype=np.float32)
    expected = np.argsort(-values.var(axis=0, dtype=np.float64), kind="stable")
    np.testing.assert_array_equal(rank_genes(values, "variance"), expected)


def test_medoids_are_one_of_each_programme() -> None:
    values = programmes(noise=0)
    first = rank_genes(values, "medoids", n=3)[:3]
    assert sorted((first // 8).tolist()) == [0, 1, 2]


def test_the_state_of_torch_is_left_alone() -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    rank_genes(programmes(), "autoencoder", recipe=QUICK, widths=SMALL)
    assert torch.equal(torch.rand(3), expected)


def test_the_autoencoder_tells_held_out_samples() -> None:
    values = programmes(samples=240)
    learned, held = values[:200], values[200:]
    fitted = fit(learned, widths=SMALL, recipe=QUICK)
    error = np.abs(fitted.reconstructed(held) - held)[:, :24].mean()
    assert error < 0.6 * np.abs(learned.mean(axis=0) - held)[:, :24].mean()
    units = fitted.bottleneck(held)
    assert units.shape == (40, 6)
    assert ((units > 0) & (units < 1)).all()
    assert PAPER.settings().weight_decay == pytest.approx(2e-6)


def test_a_gene_that_does_not_vary_is_last() -> None:
    values = programmes()
    values[:, 7] = 4.0
    assert rank_genes(values, "autoencoder", recipe=QUICK, widths=SMALL)[-1] == 7
    assert rank_genes(values, "variance")[-1] == 7


def test_resamples_are_of_whole_patients_and_chance_is_told() -> None:
    values = programmes() * np.linspace(1, 9, 48, dtype=np.float32)
    patients = [f"P{i // 2}" for i in range(len(values))]
    steady = stability(values, patients, "variance", 10)
    by_chance = stability(values, patients, "random", 10, resamples=8)
    assert len(steady.jaccard) == 6
    assert steady.mean > 0.7
    assert by_chance.mean == pytest.approx(by_chance.chance, abs=0.08)
    with pytest.raises(UsageError, match="at least 2"):
        stability(values, patients, "variance", 10, resamples=1)


def test_what_cannot_be_ranked_is_refused() -> None:
    values = programmes()
    with pytest.raises(UsageError, match="no way of choosing"):
        rank_genes(values, "deviance")
    with pytest.raises(UsageError, match="how many"):
        rank_genes(values, "medoids")
    with pytest.raises(UsageError, match="48 genes"):
        rank_genes(values, "medoids", n=49)
    values[3, 3] = np.nan
    with pytest.raises(UsageError, match="finite"):
        rank_genes(values, "variance")
