"""Parts that are compiled where a compiler was at hand when molsig was installed."""

from __future__ import annotations

import importlib
from typing import Any


def compiled_part(name: str, version: int) -> Any:
    """Return the module of this room, or None where it was not built, or of a source that was changed since."""
    try:
        module = importlib.import_module(f"molsig.index.{name}")
    except ImportError:
        return None
    return module if getattr(module, "VERSION", None) == version else None
