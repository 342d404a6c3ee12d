"""Small references for the tests of the index room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from molsig.index.store import Store
from molsig.types import DIM, Encoded, SampleId

MakeEncoded = Callable[..., Encoded]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "tumours.molsig")


@pytest.fixture(scope="session")
def encoded() -> MakeEncoded:
    """Make an `Encoded` of named patients, one sample each; vectors follow from `seed`."""

    def make(
        patients: Sequence[str],
        *,
        modality: str = "rna",
        space: str | None = None,
        kind: str = "tumour",
        items: Sequence[str] | None = None,
        seed: int = 0,
        vectors: np.ndarray | None = None,
        digest: str = "d",
    ) -> Encoded:
        suffix = "11" if kind == "normal" else "01"
        samples = tuple(SampleId(f"{patient}-{suffix}", patient, kind) for patient in patients)  # type: ignore[arg-type]
        if vectors is None:
            vectors = np.random.default_rng(seed).standard_normal((len(samples), DIM), dtype=np.float32)
        names = tuple(items) if items is not None else ("",) * len(samples)
        digests = tuple(f"{digest}:{sample.sample}:{item}" for sample, item in zip(samples, names, strict=True))
        return Encoded(modality, space or f"{modality}-test", samples, names, vectors, digests)

    return make
