"""torchvision beside a torch it was not built for: the one place that makes `import torchvision` possible there.

timm needs torchvision, for image transforms that molsig does not use. The wheels of the package registry are built for
CUDA; beside a CPU build of torch their compiled operators do not load, and the import then fails with ``operator
torchvision::nms does not exist``, because torchvision describes the shapes of two operators that nobody has declared.
Declaring them is enough: nothing here computes a non-maximum suppression, and a call of one still fails, saying that
it has no implementation.

Where the compiled operators do load they declare themselves, and nothing is done.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

from molsig.errors import MissingExtraError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []
"""The library object; its declarations last as long as it does."""


def prepare_torchvision() -> bool:
    """Declare the operators if the compiled ones do not load; to be called before torchvision is first imported.

    Returns
    -------
    bool
        Whether they had to be declared.

    Raises
    ------
    MissingExtraError
        torchvision is not installed.
    """
    import torch

    if "torchvision" in sys.modules or _declared:
        return bool(_declared)
    # The specification of a top-level package is found without importing it.
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise MissingExtraError("encoding tiles with a timm model", "tiles")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        compiled = Path(found.origin).with_name(f"_C{suffix}")
        if compiled.is_file():
            try:
                torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            except OSError:
                continue
            return False
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return True
