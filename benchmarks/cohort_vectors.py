"""Vectors of all patients by encoders that never saw the test part: ``python -m benchmarks.cohort_vectors --data DIR``.

For each split and seed: RNA, miRNA and mutation encoders are fitted on the patients outside the test part, then every
tumour is encoded; report sentences are encoded by a given text model (as they are, the diagnosis is not hidden unless
asked). What a patient has of a modality is summed, as in a reference. The results are kept as NPZ in ``--cache`` for
the benchmarks of fusion and votes, which are many and quick.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.held_out_sites import READERS, SPLITS, take
from benchmarks.reports import encode, sums
from benchmarks.splits import read_labels
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.ingest.reports import read_reports
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix, MutationSet

MODALITIES = ("rna", "mirna", "mutation")


@dataclass(frozen=True)
class SplitCohort:
    """All patients with a vector, and their part, type and site."""

    vectors: PatientVectors
    part: NDArray[np.str_]
    types: NDArray[np.str_]
    sites: NDArray[np.str_]


def cohort(data: Path, cache: Path, split: str, seed: int, *, model: str | None, masked: bool = False) -> SplitCohort:
    """What the cache holds of a split, made first where it is not there."""
    labels = read_labels(data / "tcga" / "clinical.tsv")
    patients = sorted(labels)
    place = SPLITS[split](labels, seed)
    part = np.array([place[one] for one in patients])
    vectors: dict[str, NDArray[np.float32]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    for modality in MODALITIES:
        file = cache / f"{modality}-{split}-{seed}.npz"
        if not file.exists():
            cache.mkdir(parents=True, exist_ok=True)
            print(f"fit {modality} on {split} {seed}", file=sys.stderr, flush=True)
            np.savez(file, **_encoded(READERS[modality](data), patients, part))
        with np.load(file) as held:
            vectors[modality], present[modality] = held["vectors"], held["present"]
    if model is not None:
        vectors["report"], present["report"] = _reports(data, cache, patients, model, masked)
    found = PatientVectors(tuple(patients), vectors, present)
    some = np.flatnonzero(found.matrix_present().any(axis=1))
    types = np.array([labels[one].cancer_type for one in patients])
    sites = np.array([labels[one].site for one in patients])
    return SplitCohort(found.take(some), part[some], types[some], sites[some])


def _encoded(
    records: FeatureMatrix | MutationSet, patients: list[str], part: NDArray[np.str_]
) -> dict[str, NDArray[np.generic]]:
    number = {patient: i for i, patient in enumerate(patients)}
    of = np.array([number.get(one.patient, -1) if one.kind != "normal" else -1 for one in records.samples])
    known = np.flatnonzero(of >= 0)
    encoder = fit_encoder(take(records, known[part[of[known]] != "test"]), seed=0)
    encoded = encoder.encode(records, rows=known.tolist(), allow_missing=True).vectors
    total = np.zeros((len(patients), DIM))
    np.add.at(total, of[known], encoded)
    present = np.bincount(of[known], minlength=len(patients)) > 0
    return {"vectors": total.astype(np.float32), "present": present}


def _reports(
    data: Path, cache: Path, patients: list[str], model: str, masked: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    file = cache / f"report{'-masked' if masked else ''}.npz"
    if not file.exists():
        records = read_reports(data / "tcga" / "reports.csv.gz")
        choice = ModelChoice(text_model=model, mask_diagnosis=masked, text_precision="bfloat16")
        total = sums(records, encode(fit_encoder(records, choice=choice), records, cache / "text"), patients)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, vectors=total, present=np.abs(total).sum(axis=1) > 0)
    with np.load(file) as held:
        return held["vectors"], held["present"]


def main() -> None:
    """Fill the cache."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", help="folder of the text model; no reports without")
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=list(SPLITS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for split in options.split:
        for seed in range(options.seeds):
            found = cohort(options.data, options.cache, split, seed, model=options.model)
            held = {modality: int(one.sum()) for modality, one in found.vectors.present.items()}
            print(f"{split} {seed}: {len(found.vectors):,} patients, {held}", flush=True)


if __name__ == "__main__":
    main()
