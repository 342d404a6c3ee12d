"""The attribution engine on every network of molsig: its method is the right one, parts add up, weights matter."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from molsig.encoders.attribution import attribute, method_of, randomised
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import Encoder, fit_encoder
from molsig.encoders.network import NetworkEncoder
from molsig.encoders.siamese_network import Siamese
from molsig.encoders.tile_vae import TileVAE
from molsig.errors import MolsigError
from molsig.retrieval.annotate_network import Network

from .conftest import kinds_of

if TYPE_CHECKING:
    from molsig.encoders.attribution import Score
    from molsig.types import FeatureMatrix, MutationSet

METHOD = {
    "vae": "integrated",
    "autoencoder": "integrated",
    "map": "integrated",
    "whitened": "integrated",
    "contrastive": "integrated",
    "siamese": "deeplift",
    "mutation": "integrated",
    "annotate": "deeplift",
    "tile": "integrated",
}
ROWS, OTHER = slice(1, 9), slice(20, 21)
LIKENESS = 0.4
"""Rank correlation of contributions that a network may at most have, on average, with its copy of shuffled weights.

Contributions with their signs: magnitudes are as large as the values they belong to, whatever the weights are.
"""


@pytest.fixture(scope="module")
def networks(expression: FeatureMatrix, somatic: MutationSet, rna: Encoder, netvae: Encoder) -> Any:
    """By kind: the network and what it is given, (n, features)."""
    labels = [f"T{kind}" for kind in kinds_of(150)]
    epochs = {"autoencoder": 10, "map": 4, "contrastive": 6, "siamese": 4}

    @cache
    def of(kind: str) -> tuple[nn.Module, np.ndarray]:
        if kind == "annotate":
            encoder, rows = rna, np.arange(150)
            assert isinstance(encoder, NetworkEncoder)
            values = encoder.network_inputs(expression, rows)
            fitted = Network(values, epochs=8).fit_labels(rows, kinds_of(150).astype(np.int64), 6)
            return fitted.layers, fitted.scaler(values)
        if kind == "tile":
            # Never trained: that is no matter to parts adding up.
            torch.manual_seed(0)
            return TileVAE(40).eval(), np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
        records: FeatureMatrix | MutationSet = expression
        if kind == "vae":
            encoder = rna
        elif kind == "mutation":
            encoder, records = netvae, somatic
        else:
            choice = ModelChoice(networks={"rna": kind})
            encoder = fit_encoder(expression, labels=labels, choice=choice, epochs=epochs.get(kind), device="cpu")
        assert isinstance(encoder, NetworkEncoder)
        return encoder.network(), encoder.network_inputs(records, np.arange(150))

    return of


def likeness_of(kind: str, network: nn.Module, inputs: np.ndarray) -> Score:
    """A score of that kind of network: how alike a row is to another, or the logit of a type."""
    other = torch.from_numpy(inputs[OTHER])
    if kind == "annotate":
        return lambda net, x: net(x)[:, 0]
    assert hasattr(network, "embed")
    with torch.no_grad():
        origin = network.embed(torch.zeros_like(other))  # type: ignore[operator]
        way = (network.embed(other) - origin)[0]  # type: ignore[operator]
    return lambda net, x: (net.embed(x) - origin.to(x)) @ way.to(x)  # type: ignore[operator]


def ranked_alike(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> float:
    """Rank correlation over the inputs that are not at the reference, which get nothing from any network."""
    ranks = [np.argsort(np.argsort(one[x != 0])) for one in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("kind", METHOD)
def test_parts_add_up_and_follow_the_weights(kind: str, networks: Any) -> None:
    network, inputs = networks(kind)
    score = likeness_of(kind, network, inputs)
    method = method_of(network, inputs, score)
    assert method == METHOD[kind]
    zeros = np.zeros(inputs.shape[1])
    found = attribute(network, inputs[ROWS], method=method, score=score, reference=zeros)
    with torch.no_grad():
        double = network.double()
        there = float(score(double, torch.zeros(1, len(zeros), dtype=torch.float64)))
        network.float()
    difference = found.scores - there
    assert np.abs(difference).min() > 1e-6
    np.testing.assert_allclose(found.values.sum(axis=1), difference, rtol=2e-3, atol=1e-6)
    assert found.missed is not None
    assert (np.abs(found.missed) <= 1e-3 * np.abs(difference) + 1e-7).all()

    # The same function of what the other network gives: two likenesses would have the inputs in common.
    other = attribute(randomised(network), inputs[ROWS], method=method, score=score, reference=zeros).values
    likeness = np.mean([ranked_alike(*rows) for rows in zip(found.values, other, inputs[ROWS], strict=True)])
    assert abs(likeness) < LIKENESS


@pytest.mark.parametrize("bend", [nn.GELU(), nn.LayerNorm(9), nn.Softmax(dim=1)])
def test_what_the_rescale_rule_does_not_know_is_integrated(bend: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 9), bend, nn.ReLU(), nn.Linear(9, 1)).eval()
    x = np.random.default_rng(0).normal(size=(4, 6))
    with pytest.raises(MolsigError, match="use integrated"):
        attribute(network, x, method="deeplift", reference=np.zeros(6))
    assert method_of(network, x) == "integrated"
    attribute(network, x, method="integrated", reference=np.zeros(6))


@pytest.mark.parametrize("bend", [nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.Softplus()])
def test_what_the_rescale_rule_knows_is_left_to_it(bend: nn.Module) -> None:
    torch.manual_seed(0)
    # Batch normalisation is straight in evaluation mode.
    network = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), bend, nn.Dropout(), nn.Linear(9, 1)).eval()
    x = np.random.default_rng(0).normal(size=(4, 6))
    assert method_of(network, x) == "deeplift"
    attribute(network, x, method="deeplift", reference=np.zeros(6))
    # A square of the output, and a product of two inputs, are bends of the score.
    assert method_of(network, x, lambda net, x: net(x).square()) == "integrated"
    assert method_of(network, x, lambda net, x: net(x)[:, 0] * x[:, 0]) == "integrated"


def test_a_bend_that_is_no_module_is_integrated() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(4, 6))
    assert method_of(nn.Linear(6, 1).eval(), x, lambda net, x: torch.relu(net(x))) == "integrated"
    assert method_of(nn.Linear(6, 1).eval(), x) == "integrated"


def test_the_head_of_the_siamese_network_is_a_product_of_inputs() -> None:
    torch.manual_seed(0)
    pairs = np.random.default_rng(1).normal(size=(3, 2, 40)).astype(np.float32)

    def logit(net: Any, x: torch.Tensor) -> torch.Tensor:
        features = net.cnn(x.reshape(-1, x.shape[-1])).reshape(len(x), 2, -1)
        found: torch.Tensor = net.head(features[:, 0], features[:, 1])
        return found

    assert method_of(Siamese(40).eval(), pairs, logit) == "integrated"
