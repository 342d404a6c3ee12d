"""The one training loop of all autoencoders here, variational or not.

Maximises the evidence lower bound (Kingma and Welling 2014, arXiv:1312.6114), with the KL term warmed up from zero
(Bowman et al. 2016, arXiv:1511.06349), and keeps the weights of the epoch that did best on held-back patients.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from molsig.errors import MolsigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.types import Progress, SampleId

    Rows = NDArray[np.int64]
    Batches = Callable[[Rows], Tensor]


class Autoencoder(Protocol):
    """What the loop needs of a model, which must be a `torch.nn.Module`."""

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log-variance of q(z | x), each (batch, latent); no variance where z is known without doubt."""

    def reconstruct(self, z: Tensor) -> Tensor:
        """Expectation of x under p(x | z), of the shape of x."""

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x | z) in nats, or another error, for each sample, (batch,)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Hyper-parameters of a fit.

    Attributes
    ----------
    epochs
        Most epochs, fine-tuning aside.
    batch_size
        Samples per step.
    learning_rate
        Peak of the schedule: a linear rise over the first tenth of the steps, then half a cosine down to zero.
    fine_tune_epochs
        Most epochs of a second stage that starts from the best weights of the first, with the full weight of the KL
        term from the start; 0 for none.
    fine_tune_rate
        Peak learning rate of the second stage.
    beta
        Final weight of the KL term.
    warmup_epochs
        Epochs over which the weight of the KL term rises from 0 to `beta` (kappa in the source paper).
    patience
        Stop when the held-back loss has not improved for so many epochs.
    validation_share
        Share of the groups (patients) that is held back.
    weight_decay, decoupled_decay
        Decay of the weights: beside the gradient (AdamW), or as an L2 penalty in the loss (Adam).
    """

    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    fine_tune_epochs: int = 0
    fine_tune_rate: float = 3e-4
    beta: float = 1.0
    warmup_epochs: float = 1.0
    patience: int = 10
    validation_share: float = 0.1
    weight_decay: float = 1e-4
    decoupled_decay: bool = True
    largest_gradient: float = 5.0

    def fine_tuning(self) -> Settings:
        """The second stage as settings of its own."""
        return replace(
            self,
            epochs=self.fine_tune_epochs,
            learning_rate=self.fine_tune_rate,
            fine_tune_epochs=0,
            warmup_epochs=0.0,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(slots=True)
class History:
    """Mean losses per epoch; the validation lists stay empty when nothing was held back.

    `best_epoch` and `pretrain_epochs` count from 1 over both stages.
    """

    best_epoch: int = 0
    pretrain_epochs: int = 0
    train_reconstruction: list[float] = field(default_factory=list)
    train_kl: list[float] = field(default_factory=list)
    validation_reconstruction: list[float] = field(default_factory=list)
    validation_kl: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, rounded to four digits after the point."""
        losses = {key: value for key, value in asdict(self).items() if isinstance(value, list)}
        return {
            "epochs": len(self.train_kl),
            "pretrain_epochs": self.pretrain_epochs,
            "best_epoch": self.best_epoch,
            **{key: [round(one, 4) for one in value] for key, value in losses.items()},
        }


FEWEST_GROUPS = 10
"""Below so many patients none are held back: one or two say nothing about when to stop."""


def split_groups(
    samples: Sequence[SampleId], groups: Sequence[str] | None, share: float, seed: int
) -> tuple[Rows, Rows]:
    """Split sample positions into a training and a validation share that have no patient in common.

    Parameters
    ----------
    groups
        One label per sample (a submitting site, say) whose samples stay together; None keeps patients together.
    share
        Share of the groups that goes to validation; 0 groups if there are fewer than `FEWEST_GROUPS`.

    Returns
    -------
    train, validation : NDArray[np.int64]
        Sorted positions in `samples`.

    Raises
    ------
    UsageError
        The labels do not fit the samples, or would put one patient on both sides.
    """
    patients = [one.patient for one in samples]
    labels = patients if groups is None else list(groups)
    if len(labels) != len(patients):
        raise UsageError(f"validation_groups has {len(labels)} labels for {len(patients)} samples")
    group_of: dict[str, str] = {}
    for patient, label in zip(patients, labels, strict=True):
        if group_of.setdefault(patient, label) != label:
            raise UsageError(
                f"validation_groups puts samples of patient {patient} in {group_of[patient]!r} and {label!r}"
            )
    names = sorted(set(labels))
    rng = np.random.default_rng(seed)
    count = round(share * len(names)) if len(names) >= FEWEST_GROUPS else 0
    held = {names[i] for i in rng.permutation(len(names))[:count]}
    is_held = np.fromiter((label in held for label in labels), dtype=bool, count=len(labels))
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def train(
    model: torch.nn.Module,
    batches: Batches,
    rows: Rows,
    held_back: Rows,
    settings: Settings,
    *,
    seed: int,
    progress: Progress,
    name: str,
) -> History:
    """Fit `model` in place, in one stage or two, and leave it with the weights of its best epoch.

    Parameters
    ----------
    model
        A module that is also an `Autoencoder`, on its device.
    batches
        Gives the input of some rows as a float32 tensor on the model's device.
    rows, held_back
        Rows to train on, and rows that choose the epoch; without any of the latter the last epoch is kept.
    seed
        Rules the order of the samples and the noise.

    Raises
    ------
    MolsigError
        The loss is no finite number any more.
    """
    history = History()
    _stage(model, batches, rows, held_back, settings, history, seed=seed, progress=progress, name=name)
    history.pretrain_epochs = len(history.train_kl)
    if settings.fine_tune_epochs:
        second = settings.fine_tuning()
        _stage(model, batches, rows, held_back, second, history, seed=seed + 1, progress=progress, name=name)
    model.eval()
    return history


def _stage(
    model: torch.nn.Module,
    batches: Batches,
    rows: Rows,
    held_back: Rows,
    settings: Settings,
    history: History,
    *,
    seed: int,
    progress: Progress,
    name: str,
) -> None:
    """Train with one schedule, add to the history, and leave the model with the best weights so far."""
    steps_per_epoch = math.ceil(len(rows) / settings.batch_size)
    total = settings.epochs * steps_per_epoch
    device = next(model.parameters()).device
    kind = torch.optim.AdamW if settings.decoupled_decay else torch.optim.Adam
    optimiser = kind(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=device.type in {"cpu", "cuda"},
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, total))
    order = np.random.default_rng(seed)
    noise = torch.Generator(device=device).manual_seed(seed)
    before = len(history.train_kl)
    title = f"train {name}" if before == 0 else f"fine-tune {name}"
    best_loss, best_weights = math.inf, None
    if before and len(held_back):
        # Fine-tuning that does no good is not kept.
        best_loss = _total(_evaluate(model, batches, held_back, settings.batch_size, 0), settings)
        best_weights = _copy(model)
    last_better = before
    step = 0
    for epoch in range(before + 1, before + settings.epochs + 1):
        model.train()
        sums = np.zeros(2)
        shuffled = order.permutation(rows)
        for start in range(0, len(shuffled), settings.batch_size):
            chosen = shuffled[start : start + settings.batch_size]
            beta = settings.beta * _warm(step, settings.warmup_epochs * steps_per_epoch)
            reconstruction, kl = _bound(model, batches(chosen), noise)
            loss = reconstruction + beta * kl
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.largest_gradient)
            optimiser.step()
            schedule.step()
            step += 1
            sums += np.array([float(reconstruction.detach()), float(kl.detach())]) * len(chosen)
            if not np.isfinite(sums).all():
                raise MolsigError(
                    f"training of {name} diverged in epoch {epoch}, step {step}: the loss is not finite. Look for "
                    f"extreme values in the input, or lower the learning rate ({settings.learning_rate:g})"
                )
        history.train_reconstruction.append(sums[0] / len(rows))
        history.train_kl.append(sums[1] / len(rows))
        progress(title, epoch - before, settings.epochs)
        if len(held_back) == 0:
            history.best_epoch = epoch
            continue
        # The same noise for every epoch and stage, so that they can be compared.
        held = _evaluate(model, batches, held_back, settings.batch_size, 0)
        history.validation_reconstruction.append(held[0])
        history.validation_kl.append(held[1])
        held_loss = _total(held, settings)
        if not math.isfinite(held_loss):
            raise MolsigError(f"training of {name} diverged in epoch {epoch}: the held-back loss is not finite")
        if held_loss < best_loss:
            best_loss, history.best_epoch, last_better = held_loss, epoch, epoch
            best_weights = _copy(model)
        elif epoch - last_better >= settings.patience:
            break
    if best_weights is not None:
        model.load_state_dict(best_weights)


def _copy(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _total(held: tuple[float, float], settings: Settings) -> float:
    return held[0] + settings.beta * held[1]


def _warm(step: int, steps: float) -> float:
    return min(1.0, step / steps) if steps > 0 else 1.0


def _learning_rate(step: int, total: int) -> float:
    rise = max(1, total // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _bound(model: Any, x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean reconstruction loss and mean KL(q(z | x) || N(0, I)) of a batch, with one draw of z each."""
    mean, log_variance = model.posterior(x)
    if log_variance is None:
        return model.reconstruction_loss(x, mean).mean(), torch.zeros((), device=x.device)
    epsilon = torch.randn(mean.shape, generator=noise, device=mean.device)
    z = mean + torch.exp(0.5 * log_variance) * epsilon
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
    return model.reconstruction_loss(x, z).mean(), kl.mean()


def _evaluate(model: torch.nn.Module, batches: Batches, rows: Rows, size: int, seed: int) -> tuple[float, float]:
    """Mean reconstruction loss and KL over `rows`; the same noise each time, so that epochs can be compared."""
    model.eval()
    noise = torch.Generator(device=next(model.parameters()).device).manual_seed(seed)
    sums = np.zeros(2)
    with torch.no_grad():
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            reconstruction, kl = _bound(model, batches(chosen), noise)
            sums += np.array([float(reconstruction), float(kl)]) * len(chosen)
    return float(sums[0]) / len(rows), float(sums[1]) / len(rows)
