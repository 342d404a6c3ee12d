"""The attribution engine: closed forms, gradients, completeness, and what it refuses."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from molsig.encoders.attribution import METHODS, attribute, mean_contributions, randomised
from molsig.encoders.siamese_network import Siamese
from molsig.errors import MissingExtraError, MolsigError, UsageError

X = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
ZERO = np.zeros(6)


def net(*, bend: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 9), bend or nn.ReLU(), nn.Linear(9, 1)).eval()


def reference_of(method: str) -> np.ndarray | None:
    return ZERO if method in {"integrated", "deeplift"} else None


def weights(network: nn.Sequential) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, last = network[0], network[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return (
        first.weight.detach().double().numpy(),
        first.bias.detach().double().numpy(),
        last.weight.detach().double().numpy()[0],
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_network_gives_its_weights(method: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 1)).eval()
    found = attribute(network, X, method=method, reference=reference_of(method))
    weight = network[0].weight.detach().numpy()
    expected = weight * X if reference_of(method) is not None else np.broadcast_to(weight, X.shape)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6)


def test_guided_backpropagation_in_closed_form() -> None:
    network = net()
    first, bias, last = weights(network)
    on = X @ first.T + bias > 0
    # What is negative after the last layer stops at the ReLU.
    expected = (on * np.maximum(last, 0)) @ first
    found = attribute(network, X, method="guided").values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, attribute(network, X, method="gradient").values)


def test_deeplift_in_closed_form() -> None:
    network = net()
    first, bias, last = weights(network)
    at_x, at_r = X @ first.T + bias, np.broadcast_to(bias, (len(X), 9))
    slope = (np.maximum(at_x, 0) - np.maximum(at_r, 0)) / (at_x - at_r)
    found = attribute(network, X, method="deeplift", reference=ZERO)
    np.testing.assert_allclose(found.values, X * ((slope * last) @ first), rtol=1e-5, atol=1e-6)


def test_on_a_smooth_network_guided_is_the_gradient() -> None:
    network = net(bend=nn.Tanh())
    x = torch.from_numpy(X).requires_grad_()
    network(x).sum().backward()
    assert x.grad is not None
    for method in ("guided", "gradient"):
        np.testing.assert_allclose(attribute(network, X, method=method).values, x.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("method", ["integrated", "deeplift"])
def test_parts_add_up_through_convolution_pooling_and_sigmoid(method: str) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Conv1d(4, 3, 2), nn.Sigmoid(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(6, 1),
    ).eval()  # fmt: skip
    away = np.full(6, 0.3)
    found = attribute(network, X, method=method, reference=away)
    with torch.no_grad():
        there = network(torch.from_numpy(away[None].astype(np.float32))).numpy()[0, 0]
    difference = found.scores - there
    assert found.missed is not None
    assert (np.abs(found.missed) <= 1e-3 * np.abs(difference) + 1e-7).all()
    np.testing.assert_allclose(found.values.sum(axis=1), difference, rtol=2e-3, atol=1e-5)
    assert found.reference == "given"


def pair_score(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    assert isinstance(network, Siamese)
    features = network.cnn(x.reshape(-1, x.shape[-1])).reshape(len(x), 2, -1)
    logit: torch.Tensor = network.head(features[:, 0], features[:, 1])
    # How different they are: guided backpropagation stops what is negative, which is all of a monotone head's logit.
    return -logit


def test_a_score_of_a_pair_goes_to_both_samples() -> None:
    torch.manual_seed(2)
    network = Siamese(40).eval()
    pairs = np.random.default_rng(1).normal(size=(5, 2, 40)).astype(np.float32)
    found = attribute(network, pairs, method="guided", score=pair_score)
    swapped = attribute(network, pairs[:, ::-1], method="guided", score=pair_score)
    assert found.values.shape == pairs.shape
    assert found.values.any(axis=2).all()
    np.testing.assert_allclose(swapped.values[:, ::-1], found.values, rtol=1e-4, atol=1e-7)
    # One pair: the head bends at so many places that a pair takes seconds.
    parts = attribute(network, pairs[:1], method="integrated", score=pair_score, reference=np.zeros((2, 40)))
    assert parts.reference == "zeros"


def test_a_square_is_not_divided_by_the_rescale_rule_and_said_so() -> None:
    with pytest.raises(MolsigError, match="use integrated"):
        attribute(net(), X, method="deeplift", score=lambda n, x: n(x).squeeze(1).square(), reference=ZERO)
    assert attribute(net(), X, method="integrated", score=lambda n, x: n(x).square(), reference=ZERO).missed is not None


@pytest.mark.parametrize("method", METHODS)
def test_other_weights_give_other_attributions(method: str) -> None:
    network = net()
    before = attribute(network, X, method=method, reference=reference_of(method)).values
    after = attribute(randomised(network), X, method=method, reference=reference_of(method)).values
    again = attribute(network, X, method=method, reference=reference_of(method)).values
    np.testing.assert_array_equal(before, again)
    ranks = [np.argsort(np.argsort(np.abs(one), axis=1), axis=1) for one in (before, after)]
    likeness = [np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]
    assert np.mean(likeness) < 0.7


@pytest.mark.parametrize("method", ["guided", "deeplift"])
def test_a_relu_that_is_no_module_is_refused(method: str) -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.linear(x))

    with pytest.raises(UsageError, match="no modules"):
        attribute(Hidden().eval(), X, method=method, reference=reference_of(method))


def test_all_outputs_at_once_are_each_output_by_itself() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(5, 3), nn.Sigmoid()).eval()
    away = np.full(6, 0.2)
    found = mean_contributions(network, X, reference=away, batch=3)
    for unit in range(3):
        alone = attribute(network, X, method="deeplift", score=lambda n, x, u=unit: n(x)[:, u], reference=away)  # type: ignore[misc]
        np.testing.assert_allclose(found[unit], np.abs(alone.values).mean(axis=0), rtol=1e-5)


def test_all_outputs_at_once_are_checked_too() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.linear(x)[:, 0], self.linear(x)[:, 1].square()], dim=1)

    with pytest.raises(MolsigError, match="use integrated"):
        mean_contributions(Squared().eval(), X, reference=ZERO)
    with pytest.raises(UsageError, match="training mode"):
        mean_contributions(Squared(), X, reference=ZERO)
    with pytest.raises(UsageError, match="no rows"):
        mean_contributions(net(), X[:0], reference=ZERO)


def test_a_module_called_twice_is_refused() -> None:
    shared = nn.ReLU()
    network = nn.Sequential(nn.Linear(6, 4), shared, nn.Linear(4, 4), shared, nn.Linear(4, 1)).eval()
    with pytest.raises(UsageError, match="twice"):
        attribute(network, X, method="deeplift", reference=ZERO)


def test_wrong_calls_are_told() -> None:
    with pytest.raises(UsageError, match="no method"):
        attribute(net(), X, method="lime")
    with pytest.raises(UsageError, match="needs a reference"):
        attribute(net(), X, method="integrated")
    with pytest.raises(UsageError, match="takes no reference"):
        attribute(net(), X, method="guided", reference=ZERO)
    with pytest.raises(UsageError, match="one number a row"):
        attribute(nn.Linear(6, 2).eval(), X, method="gradient")
    with pytest.raises(UsageError, match="training mode"):
        attribute(nn.Linear(6, 1), X, method="gradient")


def test_without_captum_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"molsig\[explain\]"):
        attribute(net(), X, method="guided")


def test_the_network_is_left_as_it_was() -> None:
    network = net()
    hooks = [len(module._forward_hooks) for module in network.modules()]
    attribute(network, X, method="deeplift", reference=ZERO)
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert all(tensor.dtype == torch.float32 and tensor.requires_grad for tensor in network.parameters())
