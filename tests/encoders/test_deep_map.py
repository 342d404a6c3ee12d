"""The Deep Neural Map as an encoder: its three stages, its folder, what lands where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from molsig.encoders.choice import ModelChoice
from molsig.encoders.deep_map import PAPER, choose_lattice
from molsig.encoders.encoder import fit_encoder, load_encoder
from molsig.encoders.map_encoder import JUDGED, DeepMap
from molsig.encoders.som import SomSettings
from molsig.types import silent

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.types import FeatureMatrix

CHOICE = ModelChoice(networks={"rna": "map"})


@pytest.fixture(scope="module")
def fitted(expression: FeatureMatrix) -> DeepMap:
    encoder = fit_encoder(expression, epochs=25, choice=CHOICE, device="cpu")
    assert isinstance(encoder, DeepMap)
    return encoder


def test_like_samples_land_together(fitted: DeepMap, expression: FeatureMatrix) -> None:
    nodes, distances = fitted.place(fitted.encode(expression).vectors)
    kinds = np.arange(len(nodes)) % 120 % 6
    where = np.stack([nodes // fitted.lattice[1], nodes % fitted.lattice[1]], axis=1)
    apart = np.abs(where[:, None] - where[None]).max(axis=2)
    same = kinds[:, None] == kinds[None]
    assert apart[same].mean() < 0.6 * apart[~same].mean()
    assert (distances >= 0).all()


def test_places_in_numpy_are_those_of_the_network(fitted: DeepMap, expression: FeatureMatrix) -> None:
    encoded = fitted.encode(expression)
    nodes, distances = fitted.place(encoded.vectors)
    network = fitted.network()
    with torch.inference_mode():
        far = network.som(network.encoder(torch.from_numpy(fitted.network_inputs(expression, np.arange(150)))))
    np.testing.assert_allclose(distances, far.amin(dim=1), atol=1e-3)
    agree = nodes == far.argmin(dim=1).numpy()
    assert agree.mean() > 0.98, "but for ties within rounding"
    few = fitted.encode(expression, rows=range(9)).vectors
    np.testing.assert_allclose(few, encoded.vectors[:9], atol=1e-4)


def test_the_card_tells_the_stages_and_the_folder_keeps_the_map(
    fitted: DeepMap, expression: FeatureMatrix, tmp_path: Path
) -> None:
    told = fitted.card.training
    assert fitted.card.name == "rna-map"
    tried = told["lattices"]
    assert str(fitted.lattice[0]) in tried
    assert len(tried) >= 3
    assert told["map"]["epochs"] == told["epochs"] == 25
    assert told["joint"]["after"]["share_of_variance"] < told["joint"]["before"]["share_of_variance"]
    assert fitted.card.hyperparameters["map"]["learning_rate"] == 0.005
    fitted.save(tmp_path)
    again = load_encoder(tmp_path)
    assert isinstance(again, DeepMap)
    assert again.lattice == fitted.lattice
    vectors = fitted.encode(expression).vectors
    np.testing.assert_array_equal(again.encode(expression).vectors, vectors)
    np.testing.assert_array_equal(again.place(vectors)[0], fitted.place(vectors)[0])


def test_the_same_seed_gives_the_same_map(expression: FeatureMatrix) -> None:
    one, two = (fit_encoder(expression, epochs=2, choice=CHOICE, seed=3, device="cpu") for _ in range(2))
    assert one.space == two.space


def test_what_is_unlike_every_node_is_strange(fitted: DeepMap, expression: FeatureMatrix) -> None:
    _, known = fitted.place(fitted.encode(expression).vectors)
    assert np.median(fitted.strangeness(known)) < 0.5
    shuffled = expression.values.copy()
    for row in shuffled:
        np.random.default_rng(1).shuffle(row)
    other = replace(expression, values=shuffled)
    _, far = fitted.place(fitted.encode(other).vectors)
    everybody = np.arange(len(shuffled))
    most = fitted.judged / (fitted.judged + 1)
    assert fitted.judged == fitted.card.training["held_back_samples"]
    assert np.mean(fitted.strangeness(far, fitted.node_errors(other, everybody)) == most) > 0.9
    assert np.mean(fitted.strangeness(known, fitted.node_errors(expression, everybody)) == most) < 0.1


@pytest.mark.parametrize("n", [20, 150])
def test_of_samples_like_those_held_back_no_more_are_strange_than_it_says(fitted: DeepMap, n: int) -> None:
    rng = np.random.default_rng(n)
    tensors = fitted._contents.tensors
    shares, either = [], []
    for _ in range(200):
        both = rng.gamma(3.0, 1.0, (2, n + 200)).astype(np.float32)
        object.__setattr__(fitted._contents, "tensors", {**tensors, JUDGED: both[:, :n]})
        asked = both[:, n:].astype(np.float64)
        shares.append([(fitted.strangeness(asked[0]) > level).mean() for level in (0.8, 0.9, 0.99)])
        either.append((fitted.strangeness(asked[0], asked[1]) > 0.9).mean())
    object.__setattr__(fitted._contents, "tensors", tensors)
    for share, level in zip(np.mean(shares, axis=0), (0.8, 0.9, 0.99), strict=True):
        assert share <= 1.25 * (1 - level)
        assert n < 100 or share >= 0.3 * (1 - level)
    assert np.mean(either) <= 0.22


def test_a_map_without_its_judges_is_read_by_the_quantiles_it_has(fitted: DeepMap) -> None:
    tensors = fitted._contents.tensors
    older = {name: values for name, values in tensors.items() if name != JUDGED}
    older["net.quantiles"] = np.linspace([0, 0], [1, 2], 1001, axis=1).astype(np.float32)
    object.__setattr__(fitted._contents, "tensors", older)
    try:
        found = fitted.strangeness(np.array([0.1, 0.9, 5.0]), np.array([1.0, 0.1, 0.1]))
    finally:
        object.__setattr__(fitted._contents, "tensors", tensors)
    np.testing.assert_allclose(found, [0.5, 0.9, 1], atol=2e-3)


def test_the_u_matrix_is_the_mean_distance_to_next_neighbours(fitted: DeepMap) -> None:
    rows, columns = fitted.lattice
    grid = fitted.nodes.reshape(rows, columns, -1)
    found = fitted.u_matrix()
    assert found.shape == (rows, columns)
    corner = (np.linalg.norm(grid[0, 0] - grid[0, 1]) + np.linalg.norm(grid[0, 0] - grid[1, 0])) / 2
    assert found[0, 0] == pytest.approx(corner, rel=1e-5)
    around = [np.linalg.norm(grid[1, 1] - grid[r, c]) for r, c in ((0, 1), (2, 1), (1, 0), (1, 2))]
    assert found[1, 1] == pytest.approx(np.mean(around), rel=1e-5)


def test_no_lattice_is_so_large_that_held_back_samples_land_on_empty_nodes() -> None:
    random = torch.Generator().manual_seed(0)
    z, held_back = torch.randn(200, 6, generator=random), torch.randn(60, 6, generator=random)
    sides, tried = choose_lattice(
        z, held_back, SomSettings(epochs=10), (2, 3, 20), seed=0, progress=silent, name="test"
    )
    assert tried["20"]["distance"] < tried["3"]["distance"]
    assert tried["20"]["empty"] > 0.01
    assert sides[0] < 20


def test_the_preset_has_the_epochs_of_the_paper() -> None:
    assert (PAPER.first(None).epochs, PAPER.som.epochs, PAPER.joint(None).epochs) == (3500, 1500, 1250)
    assert PAPER.first(None).batch_size == PAPER.som.batch_size == 64
