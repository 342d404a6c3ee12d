"""What calls rest on: scores that add up, inputs that part the classes, inputs zeroed until a call changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from molsig.errors import MolsigError
from molsig.retrieval.annotate_explain import Fit, KeptNetworks, class_scores, explain_labels, scores_of_rows
from molsig.retrieval.annotate_inputs import Scaler
from molsig.retrieval.annotate_network import FittedNetwork, Network
from molsig.retrieval.annotation import HELD_OUT, predict_labels, schemes_of
from molsig.retrieval.zeroing import NEVER, Zeroed, zeroed_until

NOBODY = np.zeros(0, dtype=np.int64)


def linear(weights: list[list[float]], bias: list[float]) -> nn.Sequential:
    layer = nn.Linear(len(weights[0]), len(bias))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.copy_(torch.tensor(bias))
    return nn.Sequential(layer).eval()


def deep(inputs: int, classes: int, *, bend: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, 30), bend(), nn.Linear(30, 20), bend(), nn.Linear(20, classes)).eval()


def unscaled(inputs: int) -> Scaler:
    nothing = np.zeros(inputs, dtype=np.float32)
    return Scaler(np.arange(inputs), nothing, nothing, nothing + 1)


def test_scores_of_a_class_add_up_to_its_logit_less_that_of_zeros() -> None:
    network, x = deep(12, 4), np.random.default_rng(0).random((9, 12), dtype=np.float32)
    found, missed = class_scores(network, x, 4)
    with torch.inference_mode():
        logits, zero = network(torch.from_numpy(x)), network(torch.zeros(1, 12))
    np.testing.assert_allclose(found.sum(axis=1), (logits - zero).numpy(), atol=1e-5)
    assert 0 <= missed < 1e-6
    with pytest.raises(MolsigError, match="add up"):
        class_scores(deep(12, 4, bend=nn.GELU), x, 4)


def test_inputs_are_zeroed_until_the_call_changes_as_worked_out_by_hand() -> None:
    # Logits 6, 2.5 and 0.5; without the first input 3, without the second as well 1. The last input is zero as it is.
    network = linear([[3, 2, 1, 5], [0, 0, 0, 0], [0, 0, 0, 0]], [0, 2.5, 0.5])
    x = np.array([[1, 1, 1, 0]], dtype=np.float32)
    scores, _ = class_scores(network, x, 3)
    np.testing.assert_allclose(scores[0, :, 0], [3, 2, 1, 0])
    codes, to_any, to_that = zeroed_until(network, x, scores, np.array([0]))
    assert to_any.tolist() == [[NEVER, 2, 2]]
    assert to_that.tolist() == [[NEVER, 2, NEVER]]
    # The order is that of the differences: for the one class the second input goes first, for the other the first.
    network = linear([[2, 2], [-1, 2], [2, -1]], [0.5, 2, 2])
    x = np.array([[1, 1]], dtype=np.float32)
    _, to_any, to_that = zeroed_until(network, x, class_scores(network, x, 3)[0], np.array([0]))
    assert to_any.tolist() == [[NEVER, 1, 1]]
    assert to_that.tolist() == [[NEVER, 1, 1]]
    assert codes.tolist() == [0]


def test_zeroing_in_batches_is_zeroing_one_by_one() -> None:
    rng = np.random.default_rng(5)
    network, x = deep(150, 4), rng.random((25, 150), dtype=np.float32)
    x[rng.random(x.shape) < 0.2] = 0

    def call(row: np.ndarray) -> int:
        with torch.inference_mode():
            return int(network(torch.from_numpy(row)[None]).argmax())

    own = np.array([call(row) for row in x])
    scores, _ = class_scores(network, x, 4)
    _, to_any, to_that = zeroed_until(network, x, scores, own)
    far = 0
    for i, row in enumerate(x):
        for other in range(4):
            expected = [NEVER, NEVER]
            order = np.argsort(-(scores[i, :, own[i]] - scores[i, :, other]), kind="stable")
            left = row.copy()
            for steps, j in enumerate(order[row[order] != 0] if other != own[i] else (), 1):
                left[j] = 0
                now = call(left)
                hits = (now != own[i], now == other)
                expected = [steps if was == NEVER and hit else was for was, hit in zip(expected, hits, strict=True)]
            assert [to_any[i, other], to_that[i, other]] == expected
            far = max(far, *expected)
    assert far > 30, "some calls change only after several runs of steps"
    assert (to_that != NEVER).any(axis=0).sum() > 1


def test_stability_and_similarity_are_means_over_those_whose_calls_change() -> None:
    to_any = np.array([[NEVER, 2, 3], [NEVER, 4, NEVER], [1, NEVER, 1]])
    to_that = np.array([[NEVER, 2, 9], [NEVER, 6, NEVER], [5, NEVER, 1]])
    found = Zeroed.nobody(3).with_more(np.arange(3), (np.array([0, 0, 1]), to_any, to_that))
    assert found.samples.tolist() == [2, 1, 0]
    means, share = found.stability()
    np.testing.assert_array_equal(means, [[np.nan, 3, 3], [1, np.nan, 1], [np.nan] * 3])
    np.testing.assert_array_equal(share, [[np.nan, 1, 0.5], [1, np.nan, 1], [np.nan] * 3])
    means, share = found.similarity()
    np.testing.assert_array_equal(means, [[np.nan, 4, 9], [5, np.nan, 1], [np.nan] * 3])
    np.testing.assert_array_equal(found.fewest(), [3, 1, np.nan])
    assert found.nearest().tolist() == [1, 2, -1]


def test_the_score_of_a_class_is_the_mean_of_its_samples_against_the_other_classes() -> None:
    weights = [[4.0, 0, 1], [0, 2, 1], [0, 1, 0]]
    fitted = FittedNetwork(unscaled(3), linear(weights, [0, 0, 0.5]))
    values = np.array([[1, 0, 1], [0.5, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0.2, 0.1], [1, 1, 1]], dtype=np.float32)
    codes = np.array([0, 0, 1, 2, 1])
    kept = KeptNetworks(Network(values), [Fit(np.arange(5), np.arange(3), fitted)])
    found = explain_labels(kept, np.arange(5), codes, 3, np.zeros(5, dtype=np.int64))
    assert found.rows.tolist() == [0, 1, 2, 4, 3]
    assert found.called[:3].tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.by_class[0], [4 * 0.75, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found.by_class[1], [0, 1.5 * 0.6, 0.5 * 0.55], rtol=1e-6)
    np.testing.assert_allclose(found.by_class[2], 0)
    assert found.top(0, 5).tolist() == [0, 2]
    assert found.top(2, 5).tolist() == []
    # Row 4 is called 2 and is of class 1: nothing of it is zeroed.
    assert set(found.rows[found.zeroed.places].tolist()) == {0, 1, 2, 3}
    scores, called = scores_of_rows(kept, np.array([2]), 3)
    np.testing.assert_allclose(scores[0, 1], [0 - 1, 2 - 1, 1 - 1], atol=1e-6)
    assert called.tolist() == [1]


def test_samples_are_explained_by_networks_that_have_not_seen_them() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(3, size=240)
    lifted = np.arange(20) % 4 == codes[:, None]
    values = rng.gamma(2.0, np.where(lifted, 60.0, 20.0)).astype(np.float32)
    seen: list[tuple[set[int], set[int]]] = []

    class Watched(Network):
        def fit_labels(self, taught: np.ndarray, codes: np.ndarray, n_classes: int) -> FittedNetwork:
            fitted = super().fit_labels(taught, codes, n_classes)
            seen.append((set(taught.tolist()), id(fitted)))
            return fitted

    kept = KeptNetworks(Watched(values, epochs=3))
    known, asked = np.arange(200), np.arange(200, 240)
    groups = np.array([f"S{one}" for one in rng.integers(12, size=200)])
    schemes = schemes_of(codes[:200], groups)
    predict_labels(kept, known, codes[:200], 3, asked, schemes, error=0.1)
    plain = Network(values, epochs=3).tell(known, codes[:200], 3, asked)
    np.testing.assert_array_equal(plain, kept.fits[-1].fitted.tell(codes[:200], values[asked]))
    of_fit = {fit: taught for taught, fit in seen}
    fit = kept.first_able(known, codes[:200])
    for place, one in enumerate(kept.fits):
        assert not of_fit[id(one.fitted)] & set(one.asked.tolist())
        assert set(groups[fit == place]).isdisjoint(groups[fit != place]), "whole groups are held out"
    assert set(fit.tolist()) == set(range(5))
    assert set(kept.first_able(asked).tolist()) == {10}
    found = explain_labels(kept, known, codes[:200], 3, schemes[HELD_OUT])
    assert not found.at_random.any()
    assert len(found.rows) == 200
    assert (found.called == found.codes).mean() > 0.8
    for code in range(3):
        assert set((found.top(code, 5) % 4).tolist()) == {code}, "what a class lifts speaks for it"
    assert (found.zeroed.fewest() > 0.9).all()


def test_whoever_alone_with_their_group_has_a_class_is_explained_by_a_network_that_knows_it() -> None:
    rng = np.random.default_rng(4)
    codes = np.repeat([0, 1, 2], 40)
    values = rng.gamma(2.0, np.where(np.arange(9) % 3 == codes[:, None], 60.0, 20.0)).astype(np.float32)
    groups = np.array([f"S{one % 7}" if code < 2 else "alone" for one, code in enumerate(codes.tolist())])
    kept, known = KeptNetworks(Network(values, epochs=3)), np.arange(120)
    schemes = schemes_of(codes, groups)
    predict_labels(kept, known, codes, 3, NOBODY, schemes, error=0.1)
    found = explain_labels(kept, known, codes, 3, schemes[HELD_OUT])
    assert (found.at_random == (found.codes == 2)).all()
    assert (found.called[found.codes == 2] == 2).mean() > 0.5


def test_where_a_fold_had_nothing_to_learn_its_patients_are_said_to_be_held_out_at_random() -> None:
    """Of two classes one is at one hospital alone: without it there is no network of the first scheme."""
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1], [100, 20])
    values = rng.gamma(2.0, np.where(np.arange(8) % 2 == codes[:, None], 60.0, 20.0)).astype(np.float32)
    groups = np.array([f"S{one % 7}" for one in range(100)] + ["S0"] * 20)
    kept, known = KeptNetworks(Network(values, epochs=3)), np.arange(120)
    schemes = schemes_of(codes, groups)
    predict_labels(kept, known, codes, 2, NOBODY, schemes, error=0.1)
    with_them = schemes[HELD_OUT] == schemes[HELD_OUT][-1]
    found = explain_labels(kept, known, codes, 2, schemes[HELD_OUT])
    assert (found.at_random == with_them[found.rows]).all()
