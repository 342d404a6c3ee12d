"""Kohonen's rule, and what it makes of samples whose order is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molsig.encoders.som import SelfOrganisingMap, SomSettings, train_som
from molsig.errors import UsageError


def _square(n: int, seed: int) -> torch.Tensor:
    """Points of a unit square, tilted into five dimensions."""
    random = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(5, 5, generator=random))[0][:2]
    return torch.rand(n, 2, generator=random) @ axes


def test_a_batch_moves_nodes_by_the_sum_of_what_its_samples_ask_for() -> None:
    random = torch.Generator().manual_seed(1)
    lattice = SelfOrganisingMap(3, 4, 2)
    with torch.no_grad():
        lattice.nodes.copy_(torch.randn(12, 2, generator=random))
    z = torch.randn(7, 2, generator=random)
    before = lattice.nodes.detach().numpy().copy()
    expected = before.copy()
    for one in z.numpy():
        winner = int(np.linalg.norm(before - one, axis=1).argmin())
        for node in range(12):
            apart = (node // 4 - winner // 4) ** 2 + (node % 4 - winner % 4) ** 2
            expected[node] += 0.005 * np.exp(-apart / (2 * 1.5**2)) * (one - before[node])
    lattice.learn(z, 0.005, 1.5)
    np.testing.assert_allclose(lattice.nodes.detach(), expected, atol=1e-6)


def test_distances_are_euclidean_far_from_the_origin_too() -> None:
    lattice = SelfOrganisingMap(2, 3, 4)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        lattice.nodes.copy_(torch.randn(6, 4, generator=random) + 500)
    z = torch.randn(9, 4, generator=random) + 500
    np.testing.assert_allclose(lattice(z).detach(), torch.cdist(z.double(), lattice.nodes.detach().double()), atol=2e-3)


def test_a_map_of_a_square_is_in_order_and_nearer_than_its_start() -> None:
    z, held_back = _square(600, 3), _square(200, 3)
    lattice = SelfOrganisingMap(6, 6, 5)
    lattice.spread(z)
    start = float(lattice.distance(held_back).mean())
    history = train_som(lattice, z, held_back, SomSettings(epochs=60), seed=0)
    assert history.validation_distance[history.best_epoch - 1] == min(history.validation_distance)
    assert float(lattice.distance(held_back).mean()) < 0.9 * start
    two = lattice(held_back).topk(2, largest=False).indices
    apart = (lattice.places[two[:, 0]] - lattice.places[two[:, 1]]).abs().amax(dim=1)
    assert float((apart <= 1).float().mean()) > 0.9, "the second nearest node is a neighbour of the nearest"


def test_the_seed_rules_the_map() -> None:
    z = _square(130, 4)

    def fitted(seed: int) -> torch.Tensor:
        lattice = SelfOrganisingMap(4, 3, 5)
        train_som(lattice, z, z[:0], SomSettings(epochs=5), seed=seed)
        return lattice.nodes.detach()

    assert torch.equal(fitted(1), fitted(1))
    assert not torch.equal(fitted(1), fitted(2))


def test_without_held_back_samples_the_last_epoch_is_kept() -> None:
    lattice = SelfOrganisingMap(3, 3, 5)
    history = train_som(lattice, _square(80, 5), torch.zeros(0, 5), SomSettings(epochs=4), seed=0)
    assert history.best_epoch == 4
    assert history.validation_distance == []


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (2, 1)])
def test_narrow_lattices_work(rows: int, columns: int) -> None:
    lattice = SelfOrganisingMap(rows, columns, 1)
    train_som(lattice, _square(70, 6)[:, :1], torch.zeros(0, 1), SomSettings(epochs=3), seed=0)
    assert bool(torch.isfinite(lattice.nodes).all())


def test_a_lattice_has_nodes() -> None:
    with pytest.raises(UsageError, match="at least one node"):
        SelfOrganisingMap(0, 3, 2)
