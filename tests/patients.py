"""Small cohorts of patient vectors, drawn by code: clusters for labels, shifts for sites, assays missing at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molsig.retrieval.patient_vectors import PatientVectors
from molsig.types import DIM


@dataclass(frozen=True)
class Cohort:
    """Vectors, and what is known of each patient."""

    vectors: PatientVectors
    labels: np.ndarray
    groups: np.ndarray


def cohort(
    n: int = 300,
    *,
    labels: int = 4,
    sites: int = 12,
    noise: float = 1.0,
    site_shift: float = 0.3,
    held: float = 0.75,
    modalities: tuple[str, ...] = ("mutation", "rna"),
    seed: int = 0,
) -> Cohort:
    """Patients of a few labels in 16 informative dimensions; the first modality is the noisier one."""
    rng = np.random.default_rng(seed)
    kind, site = rng.integers(labels, size=n), rng.integers(sites, size=n)
    present = rng.random((n, len(modalities))) < held
    present[~present.any(axis=1), -1] = True
    vectors = {}
    for i, modality in enumerate(modalities):
        width = noise * (2.5 if i == 0 and len(modalities) > 1 else 1.0)
        inner = 1.2 * rng.normal(size=(labels, 16))[kind] + site_shift * rng.normal(size=(sites, 16))[site]
        inner += width * rng.normal(size=(n, 16))
        block = np.zeros((n, DIM), dtype=np.float32)
        block[:, 20 * i : 20 * i + 16] = inner
        block[~present[:, i]] = 0
        vectors[modality] = block
    return Cohort(
        PatientVectors(
            tuple(f"P{i:04d}" for i in range(n)), vectors, {m: present[:, i] for i, m in enumerate(modalities)}
        ),
        np.array([f"T{k}" for k in kind]),
        np.array([f"S{s:02d}" for s in site]),
    )
