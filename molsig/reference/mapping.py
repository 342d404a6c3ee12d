"""The map of a modality of a reference: fitted once and kept, who lives where, where new samples land."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.map_encoder import DeepMap
from molsig.errors import InputError, UsageError
from molsig.reference.map_report import MapReport, classes_of
from molsig.reference.map_shelf import kept_map
from molsig.reference.measured import check_label, labels_of, read_source
from molsig.retrieval.landing import STRANGE, Landing, NodeLabels
from molsig.retrieval.taught import taught_encoders
from molsig.types import ContractReport, FeatureMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Encoder
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort, Source
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.retrieval.activation import Activations, CrowdedNode
    from molsig.types import Progress, SampleId

FEWEST = 20
"""Samples that a map needs."""
FEWEST_JUDGED = round(1 / (1 - STRANGE))
"""Samples kept back from the fit from which on one can be stranger than `STRANGE` of them and itself."""
CROWDED = 12
"""Nodes where three or more classes meet that are looked at."""


def draw_map(
    store: Store,
    cohort: Cohort,
    label: str,
    *,
    modality: str | None,
    query: Cohort | None,
    network: str,
    epochs: int | None,
    seed: int,
    refit: bool,
    device: str,
    progress: Progress,
    shelf: EncoderShelf,
) -> MapReport:
    """Map the samples of a reference and land those of a query on it; see `Reference.map`."""
    from molsig.reference.encoding import load_encoders

    check_label(store, label)
    source = _source(cohort, modality)
    modality = modality or source
    assert modality is not None
    base = load_encoders(store, [modality], device, None, shelf).get(modality)
    notes: list[str] = []
    stored = set(store.select_patients())
    matrix: FeatureMatrix | None = None
    taught: tuple[str, ...] = ()
    if source is not None:
        matrix = _measured(store, cohort, modality, progress)
        known = [row for row, one in enumerate(matrix.samples) if one.patient in stored]
        if len(known) < len(matrix.samples):
            notes.append(f"{len(matrix.samples) - len(known):,} samples are of no patient of the reference: left out")
        matrix = _rows(matrix, known)
        told = str(matrix.report.file)
    else:
        taught = next((one.types for one in taught_encoders(store) if one.modality == modality), ())
        if taught:
            notes.append(
                f"the {modality} encoder was told {len(taught)} labels of stored patients: the map of its vectors has "
                "not been made without looking at labels"
            )
        vectors = _stored(store, modality)
        told = f"stored vectors of {vectors.report.file}"
        matrix = None if isinstance(base, DeepMap) and not refit else vectors
    if isinstance(base, DeepMap) and not refit:
        encoder, fitted = base, False
        notes.append(f"the encoder in use for {modality} is a map, and is drawn; --refit fits one of its own")
        if matrix is not None:
            notes += base.contract(matrix).warnings
        found = base.encode(matrix, progress=progress).vectors if matrix else vectors.values
        samples = (matrix or vectors).samples
    else:
        assert matrix is not None
        if len(matrix.samples) < FEWEST:
            raise InputError(f"a map needs at least {FEWEST} samples, there are {len(matrix.samples)}", file=told)
        encoder, fitted, more = kept_map(store, matrix, network, epochs, seed, refit, device, progress)
        notes += more
        found, samples = encoder.encode(matrix, allow_missing=True, progress=progress).vectors, matrix.samples
    nodes, distances = encoder.place(found)
    types = labels_of(store, samples, label)
    if missing := sum(one is None for one in types):
        notes.append(f"{missing:,} of {len(types):,} samples have no {label}")
    classes = classes_of(samples, types)
    living = NodeLabels.of(nodes, classes, len(encoder.nodes))
    landings: tuple[Landing, ...] = ()
    if query is not None:
        landings, told_of = _land(store, query, encoder, base, modality, living, source, progress)
        notes += [one for one in told_of if one not in notes]
    if again := len({one.sample for one in landings} & {one.sample for one in samples}):
        notes.append(f"{again:,} of the samples asked about live on the map themselves and count among the members")
    explained: Activations | None = None
    crowded: tuple[CrowdedNode, ...] = ()
    if source is not None and matrix is not None and any(classes):
        from molsig.retrieval.activation import activations

        some = living.crowded()[:CROWDED].tolist()
        explained, crowded = activations(encoder, matrix, classes, nodes, some, seed=seed, progress=progress)
    elif source is None:
        notes.append("inputs are not at hand: what the map rests on is told where the file is given again")
    return MapReport(
        encoder,
        label,
        told,
        samples,
        types,
        nodes,
        distances,
        landings,
        explained,
        crowded,
        fitted,
        taught,
        tuple(notes),
    )


def _source(cohort: Cohort, modality: str | None) -> str | None:
    """Modality of the one file that is mapped; None where no file is given."""
    sources = [one.modality for one in cohort.sources() if modality is None or one.modality == modality]
    if not cohort.sources() and modality is not None:
        return None
    if len(sources) != 1:
        given = ", ".join(one.modality for one in cohort.sources()) or "none"
        raise UsageError(
            "one modality is mapped: give --modality, and for a map of measurements, which a reference does not keep, "
            f"its file, such as --mirna FILE (given: {given})"
        )
    return sources[0]


def _measured(store: Store, cohort: Cohort, modality: str, progress: Progress) -> FeatureMatrix:
    records = read_source(store, cohort, _source_of(cohort, modality), progress)
    if not isinstance(records, FeatureMatrix):
        raise UsageError(f"{records.report.file} holds no matrix of measurements; leave it out to map stored vectors")
    return records


def _source_of(cohort: Cohort, modality: str) -> Source:
    return next(one for one in cohort.sources() if one.modality == modality)


def _rows(matrix: FeatureMatrix, rows: Sequence[int]) -> FeatureMatrix:
    some = np.array(rows, dtype=np.int64)
    return replace(
        matrix,
        samples=tuple(matrix.samples[row] for row in some),
        values=matrix.values[some],
        reads=None if matrix.reads is None else matrix.reads[some],
    )


def _stored(store: Store, modality: str) -> FeatureMatrix:
    """Stored vectors of a modality as a matrix, one row a sample."""
    from molsig.types import SampleId

    space = next((one.space for one in store.spaces() if one.active and one.modality == modality), None)
    if space is None:
        have = ", ".join(sorted(store.active_spaces())) or "nothing"
        raise UsageError(f"--modality {modality}: the reference has no vectors of it; it has {have}")
    rows = store.rows(space)
    _, vectors = store.vectors(space, rows["id"].to_numpy())
    whose = zip(rows["sample"].to_pylist(), rows["patient"].to_pylist(), rows["kind"].to_pylist(), strict=True)
    return _of_vectors(modality, [SampleId(*one) for one in whose], vectors, space)


def _of_vectors(modality: str, samples: Sequence[SampleId], vectors: NDArray[np.float32], told: str) -> FeatureMatrix:
    """Vectors as a matrix, one row a sample: their mean, where a sample has several."""
    _, first, owner = np.unique([one.sample for one in samples], return_index=True, return_inverse=True)
    total = np.zeros((len(first), vectors.shape[1]))
    np.add.at(total, owner, vectors)
    values = (total / np.bincount(owner)[:, None]).astype(np.float32)
    single = tuple(samples[row] for row in first.tolist())
    report = ContractReport(told, modality, len(samples), len(single), len({one.patient for one in single}))
    return FeatureMatrix(modality, single, tuple(f"unit {i}" for i in range(vectors.shape[1])), values, "raw", report)


def _land(
    store: Store,
    query: Cohort,
    encoder: DeepMap,
    base: Encoder | None,
    modality: str,
    living: NodeLabels,
    source: str | None,
    progress: Progress,
) -> tuple[tuple[Landing, ...], list[str]]:
    """Where the samples of a query land, and what to know of it."""
    records = read_source(store, query, _source_of(query, modality), progress)
    if source is None and encoder is not base:
        if base is None:
            raise UsageError(f"the vectors of {modality} were given ready: new samples have no encoder")
        encoded = base.encode(records, progress=progress)
        records = _of_vectors(modality, encoded.samples, encoded.vectors, str(records.report.file))
    notes = list(encoder.contract(records).warnings)
    if encoder.judged < FEWEST_JUDGED:
        notes.append(
            f"{encoder.judged:,} samples were kept back from the fit, which are too few to say of any that no node "
            f"fits: {FEWEST_JUDGED} would do"
        )
    found = encoder.encode(records, progress=progress)
    nodes, distances = encoder.place(found.vectors)
    strange = encoder.strangeness(distances, encoder.node_errors(records, np.arange(len(nodes))))
    labels, columns = living.labels(), encoder.lattice[1]
    landings = tuple(
        Landing(
            one.sample,
            one.patient,
            node // columns,
            node % columns,
            distance,
            strangeness,
            strangeness <= STRANGE,
            labels[node] if strangeness <= STRANGE else None,
            living.members(node),
        )
        for one, node, distance, strangeness in zip(
            found.samples, nodes.tolist(), distances.tolist(), strange.tolist(), strict=True
        )
    )
    return landings, notes
