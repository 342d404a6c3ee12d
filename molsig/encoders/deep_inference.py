"""The genes that were not measured, inferred from landmark genes that were, by the deep network of D-GEX.

    h1 = tanh(W1 x + b1)       h2 = tanh(W2 drop(h1) + b2)       h3 = tanh(W3 drop(h2) + b3)       y = W4 drop(h3) + b4

x and y are standardised as in `gene_inference`. The loss is the mean square error over all targets at once. Weights
start uniform in +-sqrt(6 / (inputs + outputs)), those of the output in +-1e-4, and the epoch that does best on patients
who are held back is kept.

After D-GEX (Chen et al. 2016, doi:10.1093/bioinformatics/btw074, and its published scripts): up to three layers of up
to 9,000 tanh units, no dropout on the input and 10 or 25 % after each layer, momentum .5, a learning rate of 3e-4 that
is multiplied by .9 when the training error rises, batches of 200, 200 epochs over 88,807 samples, targets in two halves
to fit its cards. Other than there: a thousand samples give five batches of 200 an epoch, so batches are smaller and
steps are those of the training loop that every network here shares (AdamW, a rate that rises and falls); layers are as
wide as hundreds of samples can use; and all targets are learned together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from molsig.encoders.device import choose_device
from molsig.encoders.fitting import seeded
from molsig.encoders.gene_inference import VALIDATION_SHARE, Standard, check_width, checked, held_back
from molsig.encoders.training import Settings, train
from molsig.errors import MolsigError
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.types import Progress

    Matrix = NDArray[np.float32]

OUTPUT_RANGE = 1e-4
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Recipe:
    """Shape and training of the network.

    Attributes
    ----------
    width, layers
        Units of each hidden layer, and their number.
    dropout
        Share of the units of each hidden layer that is left out at a step.
    patience
        Epochs without a better held-back error after which training stops.
    """

    width: int = 500
    layers: int = 3
    dropout: float = 0.1
    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 2e-3
    patience: int = 10


MEASURED = Recipe()
"""What did best on validation patients of 1,048 samples; see docs/inference.md."""


class DeepGeneNetwork(nn.Module):
    """From standardised landmarks to standardised targets; the loop is given both side by side, (batch, k + t)."""

    def __init__(self, landmarks: int, targets: int, recipe: Recipe) -> None:
        super().__init__()
        self.n_landmarks = landmarks
        steps: list[nn.Module] = []
        for into, out in pairwise([landmarks, *[recipe.width] * recipe.layers]):
            layer = nn.Linear(into, out)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
            steps += [layer, nn.Tanh(), nn.Dropout(recipe.dropout)]
        self.hidden = nn.Sequential(*steps)
        self.output = nn.Linear(recipe.width, targets)
        nn.init.uniform_(self.output.weight, -OUTPUT_RANGE, OUTPUT_RANGE)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Targets of some landmarks, (batch, t)."""
        y: Tensor = self.output(self.hidden(x))
        return y

    def posterior(self, x: Tensor) -> tuple[Tensor, None]:
        """Last hidden layer, (batch, width), known without doubt."""
        return self.hidden(x[:, : self.n_landmarks]), None

    def reconstruct(self, z: Tensor) -> Tensor:
        """Targets, (batch, t)."""
        y: Tensor = self.output(z)
        return y

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """Mean square error over the targets, (batch,)."""
        return functional.mse_loss(self.reconstruct(z), x[:, self.n_landmarks :], reduction="none").mean(dim=1)


class DeepInference:
    """The network of D-GEX around its standardisation.

    Parameters
    ----------
    seed
        Of the patients who are held back, the first weights, the order of the samples and the dropout.

    Attributes
    ----------
    history
        Losses of each epoch, as `training.History` tells them.
    """

    def __init__(self, recipe: Recipe = MEASURED, *, seed: int = 0, device: str = "auto") -> None:
        self._recipe = recipe
        self._seed = seed
        self._device = device
        self._network: DeepGeneNetwork | None = None
        self.history: dict[str, Any] = {}

    def fit(
        self, landmarks: Matrix, targets: Matrix, groups: Sequence[str], *, progress: Progress = silent
    ) -> DeepInference:
        """Fit to samples.

        Parameters
        ----------
        landmarks, targets
            Log2 expression, (n_samples, n_landmarks) and (n_samples, n_targets), NaN where not measured.
        groups
            Patient of each sample.

        Returns
        -------
        DeepInference
            Itself.

        Raises
        ------
        UsageError
            The three do not belong together.
        MolsigError
            Training diverged.
        """
        checked(landmarks, targets, groups)
        rows, judges = held_back(groups, VALIDATION_SHARE, self._seed)
        self._x, self._y = Standard.of(landmarks[rows]), Standard.of(targets[rows])
        place = choose_device(self._device)

        def batches(some: NDArray[np.int64]) -> Tensor:
            both = np.concatenate([self._x.apply(landmarks[some]), self._y.apply(targets[some])], axis=1)
            return torch.from_numpy(both).to(place)

        recipe = self._recipe
        settings = Settings(
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            patience=recipe.patience,
            weight_decay=0.0,
        )
        network = seeded(lambda: DeepGeneNetwork(landmarks.shape[1], targets.shape[1], recipe), self._seed).to(place)
        # Dropout draws from torch's global state, which is given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            history = train(
                network, batches, rows, judges, settings, seed=self._seed, progress=progress, name="gene inference"
            )
        self.history = history.to_dict()
        assert isinstance(network, DeepGeneNetwork)
        self._network = network
        return self

    @torch.inference_mode()
    def predict(self, landmarks: Matrix) -> Matrix:
        """Targets of other samples, (n_samples, n_targets), in the units of the fitted ones.

        Raises
        ------
        MolsigError
            Nothing was fitted yet.
        UsageError
            There are other landmarks than were fitted.
        """
        if self._network is None:
            raise MolsigError("fit the network before it is asked")
        check_width(landmarks, len(self._x.mean))
        device = next(self._network.parameters()).device
        out = np.empty((len(landmarks), len(self._y.mean)), dtype=np.float32)
        for start in range(0, len(landmarks), _CHUNK):
            part = slice(start, start + _CHUNK)
            out[part] = self._network(torch.from_numpy(self._x.apply(landmarks[part])).to(device)).cpu().numpy()
        out *= self._y.deviation
        out += self._y.mean
        return out
