"""What an annotation is made of: who can be told about and by which methods, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.retrieval.evidence_fit import FEWEST_OF_A_CLASS, MOST_MODALITIES
from molsig.retrieval.intervals import cut, interval_names
from molsig.types import FeatureMatrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.retrieval.annotation import Annotator
    from molsig.retrieval.taught import Taught
    from molsig.types import Progress

METHODS = ("neighbours", "network", "forest")
FEWEST = 100
"""Patients with a value below which nothing is learned of a column."""
MOST_LABELS = 200


@dataclass(frozen=True, slots=True)
class AnnotationOptions:
    """What is asked for; see `Reference.annotate`."""

    field: str
    method: str | None = None
    cuts: tuple[float, ...] = ()
    modalities: tuple[str, ...] | None = None
    patients: tuple[str, ...] = ()
    recorded: bool = False
    group: str | None = None
    error: float = 0.1
    seed: int = 0
    device: str = "auto"
    write: bool = False
    explain: bool = False


@dataclass(frozen=True, eq=False)
class Subjects:
    """Who can be told about, by which methods, from what, and which of the encoders behind it were told labels.

    `features` are the names of what was measured; empty where the methods are given vectors.
    """

    patients: tuple[str, ...]
    methods: Sequence[Annotator]
    source: Mapping[str, Any]
    notes: tuple[str, ...]
    taught: tuple[Taught, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Column:
    """What is recorded: rows with a value to learn from, their codes (labels) or numbers, rows without one."""

    known: NDArray[np.int64]
    codes: NDArray[np.int64]
    numbers: NDArray[np.float64] | None
    classes: tuple[str, ...]
    missing: NDArray[np.int64]
    recorded: Sequence[str | None]
    notes: tuple[str, ...]


def of_vectors(store: Store, how: AnnotationOptions) -> Subjects:
    """All patients with vectors; network and forest take the weighted fusion of these."""
    from molsig.retrieval.annotate_forest import Forest
    from molsig.retrieval.annotate_neighbours import Neighbours
    from molsig.retrieval.patient_vectors import load_patient_vectors
    from molsig.retrieval.taught import taught_encoders
    from molsig.retrieval.weighted import fit_weighted

    if not store.active_spaces():
        raise UsageError(f"{store.path}: no vector is stored, so nothing can be predicted")
    vectors = load_patient_vectors(store, how.modalities)
    most = sorted(vectors.modalities, key=lambda one: -int(vectors.present[one].sum()))[:MOST_MODALITIES]
    vectors = vectors.only([one for one in vectors.modalities if one in most])
    vectors = vectors.take(np.flatnonzero(vectors.matrix_present().any(axis=1)))
    fused = fit_weighted(vectors, seed=how.seed).fused(vectors)
    wanted = METHODS if how.method == "auto" else (how.method or "neighbours",)
    methods: list[Annotator] = []
    for name in wanted:
        if name == "neighbours":
            methods.append(Neighbours(vectors, fused))
        else:
            methods.append(_network(fused, how) if name == "network" else Forest(fused, how.seed))
    spaces = store.active_spaces()
    told = f"stored vectors of {', '.join(vectors.modalities)}"
    notes = [f"predicted from {told}, of {len(vectors):,} patients"]
    if set(wanted) - {"neighbours"}:
        notes.append("network and forest were given the fused vectors: no file of measurements was named")
    used = {one: spaces[one] for one in vectors.modalities}
    source = {"inputs": told, "spaces": used, "file_sha256": None}
    taught = tuple(one for one in taught_encoders(store) if one.space in used.values())
    return Subjects(vectors.patients, methods, source, tuple(notes), taught)


def of_file(store: Store, cohort: Cohort, how: AnnotationOptions, progress: Progress) -> Subjects:
    """The patients of one file of measurements."""
    from molsig.ingest.cohort import digest_file
    from molsig.reference.measured import read_source
    from molsig.retrieval.annotate_forest import Forest
    from molsig.retrieval.annotate_inputs import measured_by_patient

    if how.method == "neighbours":
        raise UsageError("--method neighbours looks at the stored vectors: give no file, or another method")
    sources = [one for one in cohort.sources() if how.modalities is None or one.modality in how.modalities]
    if len(sources) != 1:
        given = ", ".join(one.modality for one in cohort.sources())
        raise UsageError(f"give one file of measurements, or --modality where there are several (given: {given})")
    matrix = read_source(store, cohort, sources[0], progress)
    if not isinstance(matrix, FeatureMatrix):
        raise UsageError(f"{matrix.report.file} holds no matrix of measurements: give --rna, --mirna or --matrix")
    measured = measured_by_patient(matrix)
    wanted = ("network", "forest") if how.method == "auto" else (how.method or "forest",)
    methods = [
        _network(measured.values, how) if one == "network" else Forest(measured.values, how.seed) for one in wanted
    ]
    told = f"{sources[0].modality} of {sources[0].path.name}"
    notes = [*matrix.report.warnings, f"predicted from {len(measured.features):,} features of {told}"]
    if measured.only_normal:
        notes.append(f"{measured.only_normal:,} patients with samples of normal tissue only were left out")
    source = {"inputs": told, "spaces": {}, "file_sha256": digest_file(sources[0].path)}
    return Subjects(measured.patients, methods, source, tuple(notes), features=measured.features)


def _network(values: NDArray[np.float32], how: AnnotationOptions) -> Annotator:
    from molsig.encoders.device import choose_device
    from molsig.retrieval.annotate_network import Network

    network = Network(values, how.seed, device=choose_device(how.device))
    if not how.explain:
        return network
    from molsig.retrieval.annotate_explain import KeptNetworks

    return KeptNetworks(network)


def column_of(store: Store, patients: Sequence[str], field: str, kind: str, how: AnnotationOptions) -> Column:
    """What is recorded of some patients.

    Raises
    ------
    UsageError
        The column is no label and no number.
    InputError
        Too few patients have a value.
    """
    if kind in ("date", "timestamp"):
        raise UsageError(f"--field {field}: it holds a {kind}; labels and numbers can be predicted")
    numeric = kind in ("integer", "number")
    if how.cuts and not numeric:
        raise UsageError(f"--field {field}: it holds {kind}, which cannot be cut into intervals")
    values = store.attributes(patients, [field])[field].to_pylist()
    # As tables that are written tell it.
    told = (lambda one: str(one).lower()) if kind == "boolean" else str
    recorded = [None if one is None or one == "" else told(one) for one in values]
    known = np.flatnonzero([one is not None for one in recorded])
    _check_enough(len(known), len(patients), f"a recorded {field}")
    missing = np.flatnonzero([one is None for one in recorded])
    if numeric:
        numbers = np.array([float(values[row]) for row in known.tolist()])
        if np.ptp(numbers) == 0:
            raise InputError(f"every recorded {field} is {numbers[0]:g}: there is nothing to learn")
        if not how.cuts:
            quarters = cut(numbers, np.unique(np.quantile(numbers, [0.25, 0.5, 0.75])).tolist())
            return Column(known, quarters, numbers, (), missing, recorded, ())
        names = interval_names(how.cuts)
        codes = cut(numbers, how.cuts)
    else:
        names = tuple(sorted({recorded[row] or "" for row in known.tolist()}))
        if len(names) > MOST_LABELS:
            raise UsageError(f"--field {field}: {len(names):,} distinct values are too many for labels")
        codes = np.searchsorted(names, [recorded[row] or "" for row in known.tolist()])
    sizes = np.bincount(codes, minlength=len(names))
    kept = np.flatnonzero(sizes >= FEWEST_OF_A_CLASS)
    if len(kept) < 2:
        raise InputError(f"fewer than two values of {field} have {FEWEST_OF_A_CLASS} patients each to learn from")
    some = np.isin(codes, kept)
    common = f"a {field} that {FEWEST_OF_A_CLASS} or more patients have"
    _check_enough(int(some.sum()), len(patients), common)
    notes: tuple[str, ...] = ()
    if not some.all():
        rare = ", ".join(names[one] for one in np.flatnonzero((sizes > 0) & (sizes < FEWEST_OF_A_CLASS)).tolist())
        notes = (f"never predicted, with fewer than {FEWEST_OF_A_CLASS} patients each: {rare}",) if rare else ()
    classes = tuple(names[one] for one in kept.tolist())
    return Column(known[some], np.searchsorted(kept, codes[some]), None, classes, missing, recorded, notes)


def _check_enough(n: int, among: int, of_what: str) -> None:
    if n < FEWEST:
        raise InputError(
            f"{n:,} of {among:,} patients have {of_what}; at least {FEWEST} are needed to learn from and to measure on",
            hint="Give the file that was ingested, or a patient table with `molsig ingest REF --clinical FILE`",
        )
