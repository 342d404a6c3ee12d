"""The methods of attribution, each a function of a scored module, the inputs x and the reference r: see `attribution`.

A scored module gives one number a row. A rule at a ReLU needs the ReLU to be a module of its own, called once a pass:
`check_modules` sees to it before captum, which would pass over one that is not without a word.
"""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from molsig.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

TOLERANCE = 1e-3
"""Share of the difference in score that the parts may miss."""
_ROUNDING = 1e-7
"""Share of the scores themselves that a difference has to exceed to be more than rounding."""
_PIECES, _HALVINGS = 8, 24
"""Pieces that the way from the reference starts as, and how often one may be halved."""
_SHARE = 1 / 64
"""Of the tolerance that a single piece may use up."""
_GAUSS = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))
"""Points and weights of a piece: exact where the gradient is a polynomial of degree 5."""
_INTERNAL = 2048
"""Pieces of one pass."""


def allowed(score: Tensor, at_reference: Tensor) -> Tensor:
    """What the parts of each row may miss of score(x) - score(r)."""
    return TOLERANCE * (score - at_reference).abs() + _ROUNDING * (score.abs() + at_reference.abs()) + 1e-12


def _gradient(scored: nn.Module, x: Tensor, _: Tensor | None) -> Tensor:
    x = x.requires_grad_()
    return torch.autograd.grad(scored(x).sum(), x)[0]


def _guided(scored: nn.Module, x: Tensor, _: Tensor | None) -> Tensor:
    with _quietly():
        found: Tensor = _captum().GuidedBackprop(scored).attribute(x.requires_grad_())
    return found


def _deeplift(scored: nn.Module, x: Tensor, r: Tensor | None) -> Tensor:
    with _quietly():
        found: Tensor = _captum().DeepLift(scored).attribute(x.requires_grad_(), baselines=r)
    return found


def rescale_each(network: nn.Module, x: Tensor, r: Tensor, each: Callable[[int, Tensor], None]) -> None:
    """Give `each` output of a network, (batch, outputs), with the Rescale contributions of x to it, in turn.

    Forward once for all outputs, back once for each. captum forgets after one way back what went into each
    non-linearity and what came out of it; here that is kept until the last.
    """
    rule = _captum().DeepLift(network)
    once = rule._backward_hook

    def kept(module: nn.Module, *slopes: Tensor) -> Any:
        given, gave = module.input, module.output
        found = once(module, *slopes)
        module.input, module.output = given, gave
        return found

    def ways_back(forward: Callable[[], Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            outputs = forward()
        slopes = inputs
        for output in range(outputs.shape[1]):
            slopes = torch.autograd.grad(outputs[:, output].sum(), inputs, retain_graph=output + 1 < outputs.shape[1])
            each(output, ((x - r) * slopes[0]).detach())
        return slopes

    rule._backward_hook, rule.gradient_func = kept, ways_back
    with _quietly():
        rule.attribute(x.requires_grad_(), baselines=r)


def _integrated(scored: nn.Module, x: Tensor, r: Tensor | None) -> Tensor:
    """Adaptive: a piece of the way is halved until what its gradients give is what the score moves along it.

    A fixed rule meets a kink of a ReLU somewhere between its points and errs by one over their number, which is more
    than a thousandth wherever the parts of a row nearly cancel; halving meets it in a few more passes.
    """
    assert r is not None
    way = (x - r).flatten(1)
    found = torch.zeros_like(way)
    with torch.no_grad():
        most = allowed(scored(x), scored(r)) * _SHARE
    rows = torch.arange(len(x), device=x.device).repeat_interleave(_PIECES)
    low = (torch.arange(_PIECES, device=x.device, dtype=x.dtype) / _PIECES).repeat(len(x))
    width = torch.full_like(low, 1 / _PIECES)
    for halving in range(_HALVINGS + 1):
        undone = []
        for part in torch.split(torch.arange(len(rows), device=x.device), _INTERNAL):
            some, wide = rows[part], width[part]
            mean = torch.zeros_like(way[some])
            for node, weight in _GAUSS:
                point = _along(x, r, some, low[part] + node * wide).requires_grad_()
                mean += weight * torch.autograd.grad(scored(point).sum(), point)[0].flatten(1)
            pieces = mean * way[some] * wide[:, None]
            with torch.no_grad():
                moved = scored(_along(x, r, some, low[part] + wide)) - scored(_along(x, r, some, low[part]))
            good = (pieces.sum(dim=1) - moved).abs() <= most[some]
            if halving == _HALVINGS:
                good[:] = True
            found.index_add_(0, some[good], pieces[good])
            undone.append(part[~good])
        left = torch.cat(undone)
        if not len(left):
            break
        rows, width = rows[left].repeat(2), (width[left] / 2).repeat(2)
        low = torch.cat([low[left], low[left] + width[: len(left)]])
    return found.reshape(x.shape)


def _along(x: Tensor, r: Tensor, rows: Tensor, at: Tensor) -> Tensor:
    return r[rows] + (x[rows] - r[rows]) * at.reshape(-1, *[1] * (x.ndim - 1))


RULES: dict[str, tuple[Callable[[nn.Module, Tensor, Tensor | None], Tensor], bool]] = {
    "gradient": (_gradient, False),
    "guided": (_guided, False),
    "integrated": (_integrated, True),
    "deeplift": (_deeplift, True),
}
"""Each with whether it divides the difference from a reference."""

_NODES: dict[str, tuple[type[nn.Module], ...]] = {
    "ReluBackward": (nn.ReLU,),
    "SigmoidBackward": (nn.Sigmoid,),
    "TanhBackward": (nn.Tanh,),
    "EluBackward": (nn.ELU,),
    "SoftplusBackward": (nn.Softplus,),
    "MaxPool2DWithIndicesBackward": (nn.MaxPool1d, nn.MaxPool2d),
}
HOOKED = {"guided": ("ReluBackward",), "deeplift": tuple(_NODES)}
"""Nodes of autograd's graph that have to be modules for a method to see them."""


def check_modules(scored: nn.Module, x: Tensor, nodes: tuple[str, ...]) -> None:
    """Raise `UsageError` where a non-linearity is no module, or a module is called twice a pass.

    captum finds non-linearities as modules. One that is a function is passed over without a word, and of a module that
    is called twice it would mix up the calls.
    """
    calls: Counter[nn.Module] = Counter()
    watched = tuple(kind for node in nodes for kind in _NODES[node])
    hooks = [
        module.register_forward_hook(lambda module, *_: calls.update([module]))
        for module in scored.modules()
        if isinstance(module, watched)
    ]
    try:
        with torch.enable_grad():
            out = scored(x.detach().clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if any(n > 1 for n in calls.values()):
        raise UsageError("the network calls a non-linearity twice a pass: give each call a module of its own")
    seen = _graph(out)
    for name in nodes:
        there = sum(node.name().startswith(name) for node in seen)
        hooked = sum(n for module, n in calls.items() if isinstance(module, _NODES[name]))
        if there > hooked:
            raise UsageError(
                f"{there - hooked} of {there} {name.removesuffix('Backward')} of the network are no modules and would "
                "be passed over: make them torch.nn modules, or use gradient or integrated"
            )


_STRAIGHT = frozenset(
    f"{name}Backward{number}"
    for name in (
        *("Add", "Sub", "Neg", "Sum", "Mean", "Cat", "Stack", "ConstantPadNd", "ToCopy", "Clone", "NativeBatchNorm"),
        *("View", "UnsafeView", "ReshapeAlias", "T", "Transpose", "Permute", "Squeeze", "Unsqueeze", "Expand"),
        *("Select", "Slice", "Index"),
    )
    for number in range(4)
)
"""Nodes that do not bend; batch normalisation is one in evaluation mode, and in no other is anything attributed."""
_PRODUCTS = frozenset(
    f"{name}Backward0" for name in ("Mul", "Mm", "Mv", "Bmm", "Addmm", "Baddbmm", "Dot", "Convolution")
)
"""Straight where one factor is a constant."""


def rescales(scored: nn.Module, x: Tensor) -> bool:
    """Whether the score bends, and only in modules that the Rescale rule divides."""
    with torch.enable_grad():
        nodes = _graph(scored(x.detach().clone().requires_grad_()))
    known = [node for node in nodes if node.name().startswith(tuple(_NODES))]
    for node in nodes - {*known}:
        name, parents = node.name(), sum(parent is not None for parent, _ in node.next_functions)
        if name not in _STRAIGHT and not (name in _PRODUCTS and parents == 1) and not name.endswith("AccumulateGrad"):
            return False
    try:
        check_modules(scored, x, HOOKED["deeplift"])
    except UsageError:
        return False
    return bool(known)


def _graph(out: Tensor) -> set[Any]:
    """Nodes of autograd's graph that led to `out`."""
    seen: set[Any] = set()
    waiting = [out.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return seen


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError:
        raise MissingExtraError("attribution", "explain") from None
    return captum.attr


@contextmanager
def _quietly() -> Iterator[None]:
    """Without captum's word that it sets hooks, which it takes off again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)\s*Setting (forward, )?backward hooks")
        yield
