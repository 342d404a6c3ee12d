"""Invented patients of four types at twelve sites: two telling modalities, one of noise, one a sum of many items."""

from __future__ import annotations

import numpy as np

from molsig.retrieval.patient_vectors import PatientVectors
from molsig.types import DIM

TYPES = ("A", "B", "C", "D")
HELD = {"rna": 0.8, "mirna": 0.7, "noise": 0.9, "report": 0.5}


def patients(n: int, seed: int, *, types: tuple[str, ...] = TYPES) -> tuple[PatientVectors, np.ndarray, np.ndarray]:
    """Vectors, types and sites of `n` patients; the centre of a type is the same for every seed."""
    centres = {t: np.random.default_rng(100 + TYPES.index(t)).normal(0, 0.02, (3, DIM)) for t in TYPES}
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(types), n)
    centre = np.stack([centres[one] for one in labels])
    blocks = {
        "rna": centre[:, 0] + rng.normal(0, 0.1, (n, DIM)),
        "mirna": centre[:, 1] + rng.normal(0, 0.1, (n, DIM)),
        "noise": rng.normal(0, 0.1, (n, DIM)),
        "report": (1 + centre[:, 2] + rng.normal(0, 0.1, (n, DIM))) * rng.integers(1, 30, n)[:, None],
    }
    present = {name: rng.random(n) < share for name, share in HELD.items()}
    present["rna"] |= ~np.any(list(present.values()), axis=0)
    vectors = {name: np.where(present[name][:, None], block, 0).astype(np.float32) for name, block in blocks.items()}
    sites = np.char.add(labels, rng.integers(0, 3, n).astype(str))
    return PatientVectors(tuple(f"P{i:04}" for i in range(n)), vectors, present), labels, sites
