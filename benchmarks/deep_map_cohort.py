"""TCGA miRNA with the tissue each sample is of, and whether it is of a tumour; the splits of the map's benchmarks."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.splits import read_labels, split_by_site
from molsig.ingest.mirna import read_mirna

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

    Rows = NDArray[np.int64]
    Names = NDArray[np.str_]

TISSUE = {
    "ACC": "adrenal cortex",
    "BLCA": "bladder",
    "BRCA": "breast",
    "CESC": "cervix",
    "CHOL": "bile duct",
    "COAD": "colorectum",
    "DLBC": "lymph node",
    "ESCA": "oesophagus",
    "GBM": "brain",
    "HNSC": "head and neck",
    "KICH": "kidney",
    "KIRC": "kidney",
    "KIRP": "kidney",
    "LAML": "blood",
    "LGG": "brain",
    "LIHC": "liver",
    "LUAD": "lung",
    "LUSC": "lung",
    "MESO": "pleura",
    "OV": "ovary",
    "PAAD": "pancreas",
    "PCPG": "paraganglia",
    "PRAD": "prostate",
    "READ": "colorectum",
    "SARC": "soft tissue",
    "SKCM": "skin",
    "STAD": "stomach",
    "TGCT": "testis",
    "THCA": "thyroid",
    "THYM": "thymus",
    "UCEC": "uterus",
    "UCS": "uterus",
    "UVM": "eye",
}
"""Organ that the tumours of a type grow from."""
SMALLEST_CLASS = 10
TEST = 0.4


class Cohort:
    """TCGA miRNA with a tissue and a neoplasticity: the 680 precursors that every type was measured for."""

    def __init__(self, data: Path) -> None:
        self.labels = read_labels(data / "tcga" / "clinical.tsv")
        matrix = read_mirna(data / "tcga" / "mirna_counts.parquet")
        whole = ~np.isnan(matrix.values).any(axis=0)
        typed = [place for place, one in enumerate(matrix.samples) if one.patient in self.labels]
        kinds = ["-" if matrix.samples[place].kind == "normal" else "+" for place in typed]
        organs = [TISSUE[self.labels[matrix.samples[place].patient].cancer_type] for place in typed]
        sizes = Counter(zip(organs, kinds, strict=True))
        kept = [i for i, one in enumerate(zip(organs, kinds, strict=True)) if sizes[one] >= SMALLEST_CLASS]
        rows = np.array([typed[i] for i in kept])
        self.matrix: FeatureMatrix = replace(
            matrix,
            samples=tuple(matrix.samples[row] for row in rows),
            features=tuple(np.array(matrix.features)[whole].tolist()),
            values=np.ascontiguousarray(matrix.values[rows][:, whole]),
            reads=None,
        )
        tissue, neoplastic = np.array([organs[i] for i in kept]), np.array([kinds[i] for i in kept])
        both = np.array([f"{organ} {kind}" for organ, kind in zip(tissue, neoplastic, strict=True)])
        self.truth: dict[str, Names] = {"neoplastic": neoplastic, "tissue": tissue, "both": both}
        self.patients = np.array([one.patient for one in self.matrix.samples])

    def told(self) -> dict[str, int]:
        """What is in it."""
        normal = int((self.truth["neoplastic"] == "-").sum())
        return {
            "samples": len(self.patients),
            "normals": normal,
            "features": len(self.matrix.features),
            "tissues": len(set(self.truth["tissue"].tolist())),
            "classes": len(set(self.truth["both"].tolist())),
        }

    def split(self, how: str, seed: int) -> tuple[Rows, Rows]:
        """Rows of training and test; no patient is in both."""
        there = {patient: self.labels[patient] for patient in self.patients.tolist()}
        if how == "sites":
            parts = split_by_site(there, seed)
            test = np.array([parts[patient] == "test" for patient in self.patients.tolist()])
            return np.flatnonzero(~test), np.flatnonzero(test)
        random = np.random.default_rng(seed)
        by_type: dict[str, list[str]] = defaultdict(list)
        for patient in sorted(there):
            by_type[there[patient].cancer_type].append(patient)
        asked: set[str] = set()
        for names in by_type.values():
            order = random.permutation(len(names))
            asked |= {names[i] for i in order[: round(TEST * len(names))]}
        test = np.array([patient in asked for patient in self.patients.tolist()])
        return np.flatnonzero(~test), np.flatnonzero(test)

    def part(self, rows: Rows) -> FeatureMatrix:
        """Some samples as a matrix of their own, so that nothing is fitted to the others."""
        samples = tuple(self.matrix.samples[row] for row in rows)
        return replace(self.matrix, samples=samples, values=self.matrix.values[rows])
