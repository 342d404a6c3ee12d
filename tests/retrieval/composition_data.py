"""Patients with made-up vectors of three modalities, each in directions of its own but for a few that all share."""

from __future__ import annotations

import numpy as np

from molsig.retrieval.pool import Pool
from molsig.types import DIM


def made_pool(seed: int = 0, patients: int = 300, rows: int = 3) -> Pool:
    """`rows` vectors of each modality and patient, about 1 long."""
    rng = np.random.default_rng(seed)
    names = [f"P{i:03d}" for i in range(patients) for _ in range(rows)]
    shared = np.linalg.qr(rng.standard_normal((DIM, 10)))[0]
    vectors = {}
    for modality, width in (("mutation", 20), ("report", 60), ("rna", 60)):
        axes = np.linalg.qr(rng.standard_normal((DIM, width)))[0]
        code = rng.standard_normal((len(names), width)) / np.sqrt(width)
        offset = axes[:, 0] * 0.2
        common = rng.standard_normal((len(names), 10)) @ shared.T * 0.02
        tail = rng.standard_normal((len(names), DIM)) * 1e-3
        vectors[modality] = (code @ axes.T + offset + common + tail).astype(np.float32)
    return Pool.of(vectors, dict.fromkeys(vectors, names))
