"""Which inputs carry an output of a network: the one attribution engine of molsig.

A score is one number a row: what a module gives, or a function of it (a logit, a cosine of two samples of a pair). Four
methods, each through autograd, ``guided`` and ``deeplift`` through captum:

    gradient     d score / d x
    guided       the same with negative gradients stopped at every ReLU (Springenberg et al. 2015, arXiv:1412.6806)
    integrated   (x - r) times the mean gradient on the way from the reference r to x (Sundararajan et al. 2017,
                 arXiv:1703.01365)
    deeplift     (x - r) times multipliers by the Rescale rule (Shrikumar et al. 2017, arXiv:1704.02685)

The last two divide score(x) - score(r) among the inputs. They are computed in float64, and each row is checked: what
the parts add up to may miss the difference by 1e-3 of it, and a row that misses by more is an error, never a result.

Sigmoids, GELU and normalisation have no rule of their own in ``guided``: their plain gradient is taken. Max-pooling
passes everything to its largest input in ``gradient`` and ``guided``. By the Rescale rule ReLU, sigmoid, tanh, ELU,
softplus and max-pooling are divided; anything else that bends (a square, a product of two inputs, GELU, softmax) is
not, so that a network which has it fails the check rather than giving a plausible table. Integrated gradients has no
such limit. `method_of` says which of the two is right for a network and a score.

A rule at a ReLU needs the ReLU to be a module of its own, called once a pass; both are checked. Both samples of a pair
therefore go through a network as one batch, rows (n, 2, features) laid out as (2 n, features): see
`molsig.retrieval.markers`. A new method is a function of (scored module, x, r) in `attribution_rules.RULES`.

`mean_contributions` asks DeepLIFT of all outputs of a layer at once, each row and output checked in the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from molsig.encoders.attribution_rules import (
    HOOKED,
    RULES,
    TOLERANCE,
    allowed,
    check_modules,
    rescale_each,
    rescales,
)
from molsig.errors import MolsigError, UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.types import Progress

Score = Callable[[nn.Module, "Tensor"], "Tensor"]
"""Of a network and a batch of inputs: one number a row, (batch,)."""

METHODS = tuple(RULES)

TRAINING = "the network is in training mode, in which its score depends on chance: call eval() first"


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the inputs of some rows say of their score.

    Attributes
    ----------
    values
        Float32, as the inputs were shaped: (n, features), or (n, 2, features) of pairs.
    scores
        Score of each row, float64, (n,).
    missed
        What the parts miss of score(x) - score(r), (n,); None where the method divides nothing.
    """

    method: str
    reference: str
    values: NDArray[np.float32]
    scores: NDArray[np.float64]
    missed: NDArray[np.float64] | None = None


class _Scored(nn.Module):
    """A network and a function of it as one module, so that hooks find what the function calls."""

    def __init__(self, network: nn.Module, score: Score | None) -> None:
        super().__init__()
        self.network = network
        self._score = score

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x) if self._score is None else self._score(self.network, x)
        found = found.squeeze(1) if found.ndim == 2 and found.shape[1] == 1 else found
        if found.shape != (len(x),):
            raise UsageError(f"a score is one number a row: {len(x)} rows gave a tensor of shape {tuple(found.shape)}")
        return found


def attribute(
    network: nn.Module,
    inputs: NDArray[np.floating],
    *,
    method: str,
    score: Score | None = None,
    reference: NDArray[np.floating] | None = None,
    batch: int = 256,
    progress: Progress = silent,
) -> Attribution:
    """Attribute a score to the inputs, row by row.

    Parameters
    ----------
    network
        A module in evaluation mode; it is not changed.
    inputs
        (n, features), or (n, 2, features) of pairs.
    method
        One of `METHODS`.
    score
        What of the network is explained; its output, where that is one number a row. It computes with what it is given,
        in its precision: float64 for the methods that are checked.
    reference
        What the inputs are compared with, of the shape of one row or of all: needed by ``integrated`` and
        ``deeplift``, of no use to the others. Zeros are the mean of the samples that an encoder was fitted on.
    batch
        Rows of one pass.

    Raises
    ------
    UsageError
        Unknown method, no reference or one too many, a score that is not one number a row, a ReLU that no hook sees.
    MolsigError
        The parts of a row do not add up, or are not finite.
    MissingExtraError
        captum is not installed.
    """
    if method not in RULES:
        raise UsageError(f"{method!r} is no method of attribution: use {', '.join(METHODS)}")
    rule, divides = RULES[method]
    if divides != (reference is not None):
        raise UsageError(
            f"{method} {'needs a reference' if divides else 'takes no reference'} to compare the input with"
        )
    if network.training:
        raise UsageError(TRAINING)
    scored = _prepared(network, score, double=divides)
    parameter = next(scored.parameters(), torch.empty(0))
    kind = torch.float64 if divides else torch.float32
    given = np.asarray(inputs)
    against = None if reference is None else np.broadcast_to(np.asarray(reference), given.shape)
    values = np.empty(given.shape, dtype=np.float32)
    scores, missed = np.empty(len(given)), np.zeros(len(given))
    for start in range(0, len(given), batch):
        part = slice(start, min(len(given), start + batch))
        x = torch.tensor(given[part].copy(), dtype=kind, device=parameter.device)
        r = None if against is None else torch.tensor(against[part].copy(), dtype=kind, device=parameter.device)
        if start == 0 and method in HOOKED:
            check_modules(scored, x[:1], HOOKED[method])
        with torch.enable_grad():
            found = rule(scored, x, r)
        with torch.no_grad():
            score_of_x = scored(x)
            scores[part] = score_of_x.double().cpu().numpy()
            if r is not None:
                missed[part] = _missed(found, score_of_x, scored(r), method, start)
        if not torch.isfinite(found).all():
            raise MolsigError(f"{method}: the attribution of rows {part.start} to {part.stop - 1} is not finite")
        values[part] = found.detach().float().cpu().numpy()
        progress(f"attribute ({method})", part.stop, len(given))
    told = "none" if reference is None else ("zeros" if not np.any(reference) else "given")
    return Attribution(method, told, values, scores, missed if divides else None)


def mean_contributions(
    network: nn.Module,
    inputs: NDArray[np.floating],
    *,
    reference: NDArray[np.floating],
    batch: int = 64,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Mean absolute contribution of each input to each output of a network, by DeepLIFT's Rescale rule.

    A row goes forward once for all outputs and back once for each, in float64. The parts of every row and output are
    checked as those of `attribute` are; nothing but their mean is kept.

    Parameters
    ----------
    network
        A module in evaluation mode of many outputs a row, (batch, outputs); it is not changed.
    inputs
        (n, features), n at least 1.
    reference
        What the inputs are compared with, of the shape of one row or of all.

    Returns
    -------
    NDArray
        float64, (outputs, features).

    Raises
    ------
    UsageError, MolsigError, MissingExtraError
        As `attribute`.
    """
    if network.training:
        raise UsageError(TRAINING)
    copied = _copied(network, double=True)
    device = next(copied.parameters(), torch.empty(0)).device
    given = np.asarray(inputs)
    against = np.broadcast_to(np.asarray(reference), given.shape)
    total: Tensor | None = None
    for start in range(0, len(given), batch):
        part = slice(start, min(len(given), start + batch))
        x = torch.tensor(given[part].copy(), dtype=torch.float64, device=device)
        r = torch.tensor(against[part].copy(), dtype=torch.float64, device=device)
        if start == 0:
            check_modules(copied, x[:1], HOOKED["deeplift"])
        with torch.no_grad():
            at_x, at_r = copied(x), copied(r)
        if total is None:
            total = torch.zeros(at_x.shape[1], given.shape[1], dtype=torch.float64, device=device)
        summed = total

        def add(output: int, found: Tensor) -> None:
            _missed(found, at_x[:, output], at_r[:, output], "deeplift", start)  # noqa: B023
            summed[output] += found.abs().sum(dim=0)  # noqa: B023

        rescale_each(copied, x, r, add)
        progress("attribute (deeplift)", part.stop, len(given))
    if total is None:
        raise UsageError("there are no rows to attribute")
    return np.asarray(total.cpu().numpy() / len(given))


def method_of(network: nn.Module, inputs: NDArray[np.floating], score: Score | None = None) -> str:
    """The method that divides this score of this network: the one place where it is decided.

    ``deeplift`` where the score bends in modules that the Rescale rule knows and nowhere else: one pass, exact.
    ``integrated`` for everything else: GELU and layer normalisation (the VAEs, the autoencoders, the map, the
    contrastive network), squares and products of two inputs (a head on differences, a cosine), a ReLU that is no
    module. Of a score without any bend (whitening) both say the same, and ``integrated`` needs no captum. Batch
    normalisation is straight in evaluation mode and leaves the choice to the rest.

    Parameters
    ----------
    inputs
        Rows as they will be explained, at least one; the graph of the first is looked at.
    """
    scored = _prepared(network, score, double=True)
    parameter = next(scored.parameters(), torch.empty(0))
    first = torch.tensor(np.asarray(inputs)[:1].copy(), dtype=torch.float64, device=parameter.device)
    return "deeplift" if rescales(scored, first) else "integrated"


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """A copy whose weights are shuffled within each tensor: the sanity test of Adebayo et al. 2018 (arXiv:1810.03292).

    An attribution that stays the same after it shows the inputs, not what the network has learned.
    """
    random = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(network)
    with torch.no_grad():
        for tensor in shuffled.parameters():
            order = torch.randperm(tensor.numel(), generator=random).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
    return shuffled


def _prepared(network: nn.Module, score: Score | None, *, double: bool) -> _Scored:
    return _Scored(_copied(network, double=double), score).eval()


def _copied(network: nn.Module, *, double: bool) -> nn.Module:
    """A copy, so that hooks and precision leave the user's network alone."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    if double:
        on_mps = any(tensor.device.type == "mps" for tensor in copied.parameters())
        copied = (copied.cpu() if on_mps else copied).double()
    return copied


def _missed(found: Tensor, score: Tensor, at_reference: Tensor, method: str, start: int) -> NDArray[np.float64]:
    difference = score - at_reference
    missed = found.flatten(1).sum(dim=1) - difference
    most = allowed(score, at_reference)
    if bool((~(missed.abs() <= most)).any()):
        row = int((missed.abs() / most).nan_to_num(torch.inf).argmax())
        raise MolsigError(
            f"{method}: the parts of row {start + row} add up to {float(difference[row] + missed[row]):.6g}, the score "
            f"differs from the reference's by {float(difference[row]):.6g}: more than {TOLERANCE:g} of it is missed. "
            + (
                "The network bends in a way the Rescale rule does not know; use integrated"
                if method == "deeplift"
                else "The score is too steep on the way from the reference; choose another reference"
            )
        )
    return np.asarray(missed.double().cpu().numpy())
