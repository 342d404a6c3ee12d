"""Training on labelled samples: what brings tumours of one type together, step by step on small batches of pairs.

A batch is a few samples of each of some types, drawn anew each step; its pairs, matched and mismatched in equal parts,
are taken among them. 128 pairs of 48 samples cost a fifth of 128 pairs of 256, since each sample goes through the
network once. Steps are few: what a network learns of the training types after that no longer serves others. All numbers
below were chosen on types held out of the training types of one cohort (miRNA), never on types that results are told
of.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from molsig.encoders.contrastive import Contrastive, supervised_contrastive
from molsig.encoders.fitting import seeded
from molsig.encoders.siamese_network import Siamese, pair_logits
from molsig.encoders.whitening import within_class_whitening
from molsig.errors import MolsigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.types import Progress

    Rows = NDArray[np.int64]

PAIRS = 128
TYPES_PER_BATCH, SAMPLES_PER_TYPE = 12, 4
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class SiameseSettings:
    """Steps and learning rates of the three stages: classifier, pairs, projection.

    Attributes
    ----------
    classify_steps, pair_steps, project_steps
        Batches of each stage.
    classify_rate, pair_rate, project_rate
        Learning rates of Adam.
    monotone
        Keep the head from calling a pair more alike for a greater difference.
    """

    classify_steps: int = 200
    pair_steps: int = 200
    project_steps: int = 200
    classify_rate: float = 1e-3
    pair_rate: float = 3e-4
    project_rate: float = 3e-4
    monotone: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ContrastiveSettings:
    """Steps and learning rate of the contrastive metric.

    Attributes
    ----------
    whitened_start
        Start the linear path as the within-class whitening and the bent one at zero; at random if not.
    """

    steps: int = 150
    rate: float = 1e-4
    whitened_start: bool = True
    samples_per_type: int = 8

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


class Batches:
    """Batches of a few samples of each of some types, a seeded stream of rows and types."""

    def __init__(self, kinds: NDArray[np.int64], seed: int) -> None:
        self._random = np.random.default_rng(seed)
        order = np.argsort(kinds, kind="stable")
        _, begin, sizes = np.unique(kinds[order], return_index=True, return_counts=True)
        self._order, self._begin, self._sizes = order, begin, sizes
        self.types = len(sizes)

    def draw(self, types: int, per_type: int) -> tuple[Rows, Rows]:
        """Rows and their types, `per_type` of each of `types` types; small types repeat samples."""
        chosen = self._random.permutation(self.types)[:types]
        places = self._random.random((len(chosen), per_type)) * self._sizes[chosen][:, None]
        rows = self._order[self._begin[chosen][:, None] + places.astype(np.int64)]
        return rows.ravel(), np.repeat(chosen, per_type)

    def pairs(self, kinds: Rows, n: int) -> tuple[Rows, Rows, NDArray[np.bool_]]:
        """`n` different pairs of a batch, half of them matched as far as there are so many."""
        first, second = np.triu_indices(len(kinds), 1)
        same = kinds[first] == kinds[second]
        matched = self._random.permutation(np.flatnonzero(same))[: n // 2]
        mismatched = self._random.permutation(np.flatnonzero(~same))[: n // 2]
        chosen = np.concatenate([matched, mismatched])
        return first[chosen], second[chosen], same[chosen]


def train_siamese(
    x: NDArray[np.float32],
    kinds: Rows,
    settings: SiameseSettings,
    *,
    seed: int,
    device: str,
    progress: Progress,
    name: str,
) -> tuple[Siamese, dict[str, Any]]:
    """Classifier of the training types, then pairs, then the projection into the space that is searched.

    Parameters
    ----------
    x
        Standardised samples, (n, n_features).
    kinds
        Type of each as a number from 0 on.

    Returns
    -------
    network : Siamese
    history : dict
        Mean loss of the last tenth of the steps of each stage.
    """
    data = torch.from_numpy(x).to(device)
    both = seeded(lambda: _Classified(x.shape[1], int(kinds.max()) + 1, settings.monotone), seed)
    assert isinstance(both, _Classified)
    network, classifier = both.to(device).siamese, both.classifier
    batches = Batches(kinds, seed)
    history: dict[str, Any] = {}

    def classify() -> Tensor:
        rows, of = batches.draw(batches.types, SAMPLES_PER_TYPE)
        loss: Tensor = functional.cross_entropy(
            classifier(network.cnn(data[rows])), torch.from_numpy(of).to(data.device)
        )
        return loss

    def compare() -> Tensor:
        rows, of = batches.draw(TYPES_PER_BATCH, SAMPLES_PER_TYPE)
        first, second, same = batches.pairs(of, PAIRS)
        features = network.cnn(data[rows])
        truth = torch.from_numpy(same.astype(np.float32)).to(data.device)
        loss: Tensor = functional.binary_cross_entropy_with_logits(
            network.head(features[first], features[second]), truth
        )
        return loss

    history["classify_loss"] = _descend(
        [*network.cnn.parameters(), *classifier.parameters()],
        classify,
        settings.classify_steps,
        settings.classify_rate,
        progress,
        f"classify types for {name}",
    )
    history["pair_loss"] = _descend(
        [*network.cnn.parameters(), *network.head.parameters()],
        compare,
        settings.pair_steps,
        settings.pair_rate,
        progress,
        f"compare pairs for {name}",
    )
    history["project_loss"] = _project(network, data, batches, settings, progress, name)
    return network.eval(), history


class _Classified(nn.Module):
    """The network with the layer that classifies in the first stage and is dropped after it."""

    def __init__(self, n_features: int, types: int, monotone: bool) -> None:
        super().__init__()
        self.siamese = Siamese(n_features, monotone=monotone)
        self.classifier = nn.Linear(self.siamese.cnn.width, types)


def _project(
    network: Siamese, data: Tensor, batches: Batches, settings: SiameseSettings, progress: Progress, name: str
) -> float:
    """Teach the projection to put near what the head calls alike, and the second head to say of vectors what it says.

    The projection starts as the features less their mean, or as their leading principal components where they are more
    than 768. For each sample of a batch the order of the others by cosine is drawn to the head's: cross-entropy between
    the softmax of the head's logits and that of the scaled cosines.
    """
    with torch.no_grad():
        features = torch.cat([network.cnn(part) for part in torch.split(data, _CHUNK)])
        mean = features.mean(dim=0)
        out, width = network.project.weight.shape
        if width <= out:
            network.project.weight.copy_(torch.eye(out, width))
            _start_alike(network)
        else:
            _, directions = torch.linalg.eigh(torch.cov(features.T))
            network.project.weight.copy_(directions.T.flip(0)[:out])
        network.project.bias.copy_(-network.project.weight @ mean)
    sharpness = nn.Parameter(torch.tensor(math.log(10.0), device=data.device))

    def distil() -> Tensor:
        rows, _ = batches.draw(TYPES_PER_BATCH, SAMPLES_PER_TYPE)
        own = torch.eye(len(rows), dtype=torch.bool, device=data.device)
        with torch.no_grad():
            told = pair_logits(network.head, features[rows], features[rows])
        vectors = network.project(features[rows])
        said = pair_logits(network.vector_head, vectors, vectors)
        unit = functional.normalize(vectors, dim=1)
        near = sharpness.exp() * (unit @ unit.T)
        target = told.masked_fill(own, float("-inf")).softmax(dim=1)
        ranked = near.masked_fill(own, float("-inf")).log_softmax(dim=1).masked_fill(own, 0.0)
        loss: Tensor = functional.binary_cross_entropy_with_logits(said[~own], told[~own].sigmoid())
        return loss - (target * ranked).sum(dim=1).mean()

    return _descend(
        [*network.project.parameters(), *network.vector_head.parameters(), sharpness],
        distil,
        settings.project_steps,
        settings.project_rate,
        progress,
        f"project features for {name}",
    )


def _start_alike(network: Siamese) -> None:
    """Give the head of vectors the weights of the head of features, whose differences are the same at the start."""
    width = network.cnn.width
    state = {key: value.clone() for key, value in network.head.state_dict().items()}
    padded = torch.zeros_like(network.vector_head.dense1.weight)
    padded[:, :width] = state["dense1.weight"]
    network.vector_head.load_state_dict(state | {"dense1.weight": padded})


def train_contrastive(
    x: NDArray[np.float32],
    kinds: Rows,
    settings: ContrastiveSettings,
    *,
    seed: int,
    device: str,
    progress: Progress,
    name: str,
) -> tuple[Contrastive, dict[str, Any]]:
    """Train the contrastive metric; arguments as in `train_siamese`."""
    network = seeded(lambda: Contrastive(x.shape[1]), seed)
    assert isinstance(network, Contrastive)
    if settings.whitened_start:
        with torch.no_grad():
            network.linear.weight.copy_(torch.from_numpy(within_class_whitening(x, kinds)))
            network.linear.bias.zero_()
            network.bend.weight.zero_()
            network.bend.bias.zero_()
    network.to(device)
    data = torch.from_numpy(x).to(device)
    batches = Batches(kinds, seed)

    def contrast() -> Tensor:
        rows, of = batches.draw(batches.types, settings.samples_per_type)
        return supervised_contrastive(network.embed(data[rows]), torch.from_numpy(of).to(data.device))

    loss = _descend(network.parameters(), contrast, settings.steps, settings.rate, progress, f"contrast for {name}")
    return network.eval(), {"contrastive_loss": loss}


def _descend(
    parameters: Iterable[nn.Parameter], loss_of: Any, steps: int, rate: float, progress: Progress, title: str
) -> float:
    """Take `steps` steps of Adam; the mean loss of the last tenth of them."""
    optimiser = torch.optim.Adam(list(parameters), lr=rate)
    losses: list[float] = []
    for step in range(steps):
        loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise MolsigError(f"training diverged in step {step + 1} of {title}: the loss is not finite")
        if (step + 1) % 10 == 0 or step + 1 == steps:
            progress(title, step + 1, steps)
    return round(float(np.mean(losses[-max(1, steps // 10) :])), 5) if losses else float("nan")
