"""molsig: find patients like this one, by vector retrieval over multimodal patient embeddings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molsig.errors import DamagedError, InputError, LockedError, MolsigError, NotFoundError
    from molsig.ingest.cohort import Cohort
    from molsig.reference import Reference
    from molsig.retrieval.answer import Answer
    from molsig.types import Call, Hit

__version__ = "0.1.0"

# Loaded on first use (PEP 562), so that `import molsig` and `molsig --help` stay light.
_HOMES = {
    "Answer": "molsig.retrieval.answer",
    "Call": "molsig.types",
    "Cohort": "molsig.ingest.cohort",
    "DamagedError": "molsig.errors",
    "Hit": "molsig.types",
    "InputError": "molsig.errors",
    "LockedError": "molsig.errors",
    "MolsigError": "molsig.errors",
    "NotFoundError": "molsig.errors",
    "Reference": "molsig.reference",
}

__all__ = [
    "Answer",
    "Call",
    "Cohort",
    "DamagedError",
    "Hit",
    "InputError",
    "LockedError",
    "MolsigError",
    "NotFoundError",
    "Reference",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'molsig' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
