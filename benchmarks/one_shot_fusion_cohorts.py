"""Cohorts of `benchmarks.one_shot_fusion`: patients with three assays, of types that are learned and of others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.held_out_sites import READERS
from benchmarks.one_shot_cohorts import at_most, whole_mirna
from benchmarks.splits import read_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.splits import Label
    from molsig.types import FeatureMatrix, MutationSet

    Records = FeatureMatrix | MutationSet

MODALITIES = ("rna", "mirna", "mutation")
FEWEST = 20
"""Patients with all assays below which a type is not asked about."""
LEARNED = 30
"""Patients with any assay below which a type is not learned."""


@dataclass(frozen=True)
class FusionCohort:
    """Patients with assays: those who are learned from, and those who are asked about.

    Attributes
    ----------
    records
        By modality.
    labels
        Type and site of each patient.
    learned, asked
        Patients; those asked about have all the modalities.
    """

    name: str
    told: str
    records: Mapping[str, Records]
    labels: Mapping[str, Label]
    training: tuple[str, ...]
    unseen: tuple[str, ...]
    learned: tuple[str, ...]
    asked: tuple[str, ...]


def cohort(
    data: Path, unseen_of: Callable[[list[str], Mapping[str, int]], list[str]], name: str, told: str
) -> FusionCohort:
    """Patients with primary tumours; `unseen_of` chooses from the types by size, given how many have all assays."""
    labels = read_labels(data / "tcga" / "clinical.tsv")
    records: dict[str, Records] = {one: READERS[one](data) for one in MODALITIES}
    records["mirna"] = whole_mirna(data)[0]
    have = [
        {one.patient for one in records[m].samples if one.kind == "tumour" and one.patient in labels}
        for m in MODALITIES
    ]
    any_of, all_of = set.union(*have), set.intersection(*have)
    sizes = Counter(labels[one].cancer_type for one in sorted(all_of))
    order = [kind for kind, n in sizes.most_common() if n >= FEWEST]
    unseen = unseen_of(order, sizes)
    broad = Counter(labels[one].cancer_type for one in sorted(any_of))
    training = [kind for kind, n in broad.most_common() if n >= LEARNED and kind not in unseen]
    there = np.array(sorted(one for one in all_of if labels[one].cancer_type in unseen))
    types = np.array([labels[one].cancer_type for one in there])
    return FusionCohort(
        name,
        told,
        records,
        labels,
        tuple(training),
        tuple(unseen),
        tuple(sorted(one for one in any_of if labels[one].cancer_type in training)),
        tuple(there[at_most(np.arange(len(there)), types)].tolist()),
    )


COHORTS: dict[str, Callable[[Path], FusionCohort]] = {
    "fusion-rare": lambda data: cohort(
        data,
        lambda order, _: order[-10:],
        "RNA, miRNA and mutations, rare types",
        "the 10 types with fewest such patients (20 or more) unseen",
    ),
    "fusion-common": lambda data: cohort(
        data,
        lambda order, sizes: [kind for kind in order if sizes[kind] >= 80][1::2],
        "RNA, miRNA and mutations, commoner types",
        "every second by size of the types with 80 such patients or more unseen",
    ),
}


def samples_of(records: Records, patients: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the primary tumours of some patients, and whose each is, as a place among the patients."""
    place = {patient: i for i, patient in enumerate(patients)}
    of = np.array([place.get(one.patient, -1) if one.kind == "tumour" else -1 for one in records.samples])
    rows = np.flatnonzero(of >= 0)
    return rows, of[rows]
