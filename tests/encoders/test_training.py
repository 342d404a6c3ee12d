"""The shared loop: who is held back, when it stops, what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.encoders.device import choose_device
from molsig.encoders.training import FEWEST_GROUPS, Settings, split_groups, train
from molsig.errors import MolsigError, UsageError
from molsig.types import SampleId, silent

if TYPE_CHECKING:
    from torch import Tensor


class Script(torch.nn.Module):
    """A model whose held-back loss follows a script, to watch the loop; its one weight counts the epochs."""

    def __init__(self, held_back: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.zeros(1))
        self.script = held_back

    def train(self, mode: bool = True) -> Script:
        if mode:
            self.epoch += 1
        super().train(mode)
        return self

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.zeros(len(x), 2) + 0 * self.weight
        return mean, torch.zeros_like(mean)

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        value = 1.0 if self.training else self.script[int(self.epoch) - 1]
        return torch.full((len(x),), value) + 0 * self.weight


def run(model: torch.nn.Module, epochs: int, held_back: int = 4, **changes: float) -> tuple[object, list[int]]:
    seen: list[int] = []
    data = torch.zeros(20, 3)
    history = train(
        model,
        lambda rows: data[rows],
        np.arange(20 - held_back),
        np.arange(20 - held_back, 20),
        Settings(epochs=epochs, batch_size=8, **changes),  # type: ignore[arg-type]
        seed=0,
        progress=lambda step, done, total: seen.append(done),
        name="test-vae",
    )
    return history, seen


def test_it_stops_when_nothing_gets_better_and_keeps_the_best_epoch() -> None:
    model = Script([5, 4, 3, 3.5, 3.2, 3.1, 3.3, 1])
    history, seen = run(model, epochs=8, patience=3)
    assert history.best_epoch == 3  # type: ignore[attr-defined]
    assert history.validation_reconstruction == pytest.approx([5, 4, 3, 3.5, 3.2, 3.1])  # type: ignore[attr-defined]
    assert int(model.epoch) == 3, "the weights of the best epoch must be back"
    assert seen == [1, 2, 3, 4, 5, 6]
    assert not model.training


def test_without_held_back_samples_the_last_epoch_is_kept() -> None:
    model = Script([])
    history, seen = run(model, epochs=5, held_back=0)
    assert (history.best_epoch, seen) == (5, [1, 2, 3, 4, 5])  # type: ignore[attr-defined]
    assert history.validation_kl == []  # type: ignore[attr-defined]


def test_a_loss_that_is_not_finite_ends_the_fit() -> None:
    class Diverging(Script):
        def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
            return super().reconstruction_loss(x, z) * float("nan")

    with pytest.raises(MolsigError, match="training of test-vae diverged in epoch 1, step 1"):
        run(Diverging([1.0]), epochs=2)
    with pytest.raises(MolsigError, match="held-back loss"):
        run(Script([float("nan")]), epochs=2)


def test_the_kl_term_is_warmed_up_from_zero() -> None:
    """Nothing but the KL term moves this model; over the first epoch its pull grows from nothing."""

    class Pulled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Parameter(torch.full((1,), 3.0))
            self.gradients: list[float] = []
            self.mean.register_hook(lambda g: self.gradients.append(abs(float(g))))

        def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean = self.mean.expand(len(x), 2)
            return mean, torch.zeros(len(x), 2)

        def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
            return 0 * z.sum(dim=1)

    model = Pulled()
    run(model, epochs=2, held_back=4, warmup_epochs=1.0, beta=0.5, learning_rate=1e-6)
    first, second, third, *_ = model.gradients
    assert first == 0
    # 16 rows in batches of 8: two steps per epoch; d(beta KL)/d mean = beta x mean x 2 dimensions = 3 at full weight
    assert (second, third) == (pytest.approx(1.5, rel=1e-3), pytest.approx(3.0, rel=1e-3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=120), st.floats(0, 0.9), st.integers(0, 5))
def test_no_patient_is_on_both_sides(patients: list[int], share: float, seed: int) -> None:
    samples = [SampleId(f"S{i}", f"P{p}") for i, p in enumerate(patients)]
    rows, held_back = split_groups(samples, None, share, seed)
    assert sorted([*rows, *held_back]) == list(range(len(samples)))
    assert not {samples[i].patient for i in rows} & {samples[i].patient for i in held_back}
    n = len(set(patients))
    assert len({samples[i].patient for i in held_back}) == (round(share * n) if n >= FEWEST_GROUPS else 0)


def test_whole_sites_can_be_held_back() -> None:
    samples = [SampleId(f"S{i}", f"P{i // 2}") for i in range(100)]
    sites = [f"site {i // 2 % 20}" for i in range(100)]
    rows, held_back = split_groups(samples, sites, 0.1, 0)
    assert len({sites[i] for i in held_back}) == 2
    assert not {sites[i] for i in rows} & {sites[i] for i in held_back}
    with pytest.raises(UsageError, match="99 labels for 100 samples"):
        split_groups(samples, sites[1:], 0.1, 0)
    with pytest.raises(UsageError, match="patient P0 in 'site 0' and 'elsewhere'"):
        split_groups(samples, ["site 0", "elsewhere", *sites[2:]], 0.1, 0)


def test_devices() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(UsageError, match="is no device"):
            choose_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="torch sees no device 'cuda'"):
            choose_device("cuda")
    silent("nothing", 0, None)
