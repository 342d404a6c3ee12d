"""torchvision beside a torch that it was not built for.

The package registry's torchvision is built for a CUDA torch. Beside a CPU torch its compiled operators do not load, and
its import ends with ``operator torchvision::nms does not exist``. transformers and timm import torchvision wherever it
is installed, so text models fail too. Neither calls these operators (they belong to object detection): it is enough
that torch knows their names.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_library: Any = None
"""Kept alive: torch forgets the schemas with the object that declared them."""


def declare_missing_operators() -> None:
    """Declare torchvision's operators where its own cannot be loaded; call before anything imports torchvision.

    An operator that is declared but not there raises `NotImplementedError` when it is called, so nothing is computed
    wrongly.
    """
    global _library
    if _library is not None or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    import torch

    known: Any = torch.ops
    library: Any = torch.library
    for compiled in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            known.load_library(str(compiled))
        except OSError:
            continue
    if not hasattr(known.torchvision, "nms"):
        _library = library.Library("torchvision", "DEF")
        for name, schema in _SCHEMAS.items():
            _library.define(name + schema)
