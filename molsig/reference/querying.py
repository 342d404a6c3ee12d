"""Stored patients and files of new samples as queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.index.names import names_at
from molsig.retrieval.route import TUMOUR_KINDS, Query, check_kind
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.choice import ModelChoice
    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.retrieval.answer import Answer
    from molsig.retrieval.taught import Taught
    from molsig.types import Encoded, Progress


def stored_queries(
    store: Store,
    patients: Sequence[str],
    modalities: Sequence[str] | None,
    kind: str,
    searcher: Searcher | None = None,
) -> list[Query]:
    """Queries made of what is stored of each patient, who is left out of their own answer.

    A patient is asked about by their tumour samples; by their normal ones if they have no other, or if `kind` is
    ``normal``. Any other `kind` chooses what is searched, not what is asked. Spaces that the `searcher` has at hand are
    not read again.
    """
    check_kind(kind)
    spaces = store.space_names()
    known = {info.modality for info in spaces}
    for modality in modalities or ():
        if modality not in known:
            raise UsageError(f"--modality {modality}: nothing of it is stored; there are {', '.join(sorted(known))}")
    # A reference whose encoder was replaced keeps the old vectors too; only those in use are asked about.
    active = {info.space: info.modality for info in spaces if info.active}
    at_hand = None if searcher is None else _at_hand(searcher, active, patients)
    if at_hand is None:
        table, vectors = store.embeddings_of(patients)
        held = table.to_pylist()
    else:
        held, vectors = at_hand
    rows: dict[str, list[int]] = {}
    for number, row in enumerate(held):
        if row["space"] in active:
            rows.setdefault(row["patient"], []).append(number)
    return [_stored_query(patient, held, rows.get(patient, []), vectors, modalities, kind) for patient in patients]


def _at_hand(
    searcher: Searcher, active: Mapping[str, str], patients: Sequence[str]
) -> tuple[list[dict[str, Any]], NDArray[np.float32]] | None:
    """Rows by id and vectors of patients from what the searcher holds; None if it lacks a space or a patient."""
    held: list[dict[str, Any]] = []
    parts = []
    for space, modality in active.items():
        view = searcher.held(space)
        if view is None:
            return None
        positions = view.positions_of(set(patients))
        said = {"space": space, "modality": modality}
        told = (view.ids[positions].tolist(), names_at(view.patients, view.codes[positions]), view.kinds_at(positions))
        held += [{"id": i, "patient": patient, "kind": kind} | said for i, patient, kind in zip(*told, strict=True)]
        parts.append(view.vectors.take(positions))
    if not set(patients) <= {row["patient"] for row in held}:
        return None
    order = sorted(range(len(held)), key=lambda number: held[number]["id"])
    return [held[number] for number in order], np.concatenate(parts)[order]


def _stored_query(
    patient: str,
    held: list[dict[str, Any]],
    rows: list[int],
    vectors: NDArray[np.float32],
    modalities: Sequence[str] | None,
    kind: str,
) -> Query:
    if not rows:
        raise NotFoundError(f"{patient} has patient columns but no vector: none of its assays has been ingested")
    normal = kind == "normal" or all(held[row]["kind"] == "normal" for row in rows)
    kinds = ("normal",) if normal else TUMOUR_KINDS
    chosen: dict[str, list[int]] = {}
    for row in rows:
        if held[row]["kind"] in kinds and (modalities is None or held[row]["modality"] in modalities):
            chosen.setdefault(held[row]["modality"], []).append(row)
    if not chosen:
        stored = ", ".join(sorted({f"{held[row]['modality']} ({held[row]['kind']})" for row in rows}))
        raise NotFoundError(f"{patient} has no vector of what was asked for; stored: {stored}")
    return Query(
        name=patient,
        vectors={modality: vectors[some] for modality, some in chosen.items()},
        spaces={modality: held[some[0]]["space"] for modality, some in chosen.items()},
        normal=normal,
        exclude=(patient,),
        stored=True,
    )


def vector_query(store: Store, name: str, vectors: Mapping[str, NDArray[np.float32]]) -> Query:
    """A query made of vectors that are encoded already, each taken for one of its modality's space in use.

    Raises
    ------
    UsageError
        A modality is not stored, or none is given.
    InputError
        A vector is not finite or not 768 long.
    """
    spaces = store.active_spaces()
    if not vectors:
        raise UsageError("no vector is given; name at least one modality")
    given: dict[str, NDArray[np.float32]] = {}
    for modality, block in vectors.items():
        if modality not in spaces:
            raise UsageError(f"no {modality} vectors are stored; there are {', '.join(sorted(spaces))}")
        rows = np.atleast_2d(np.asarray(block, dtype=np.float32))
        if rows.ndim != 2 or rows.shape[1] != DIM or not len(rows) or not np.isfinite(rows).all():
            raise InputError(f"{modality}: vectors of shape {np.shape(block)}; finite ones of (n, {DIM}) are needed")
        given[modality] = rows
    return Query(name=name, vectors=given, spaces={modality: spaces[modality] for modality in given})


def file_queries(
    store: Store,
    cohort: Cohort,
    modalities: Sequence[str] | None,
    *,
    allow_missing: bool,
    exclude_self: bool,
    device: str,
    choice: ModelChoice,
    progress: Progress,
    shelf: EncoderShelf | None = None,
) -> list[Query]:
    """Queries made of the samples in some files.

    One query per sample where the files are of one modality; one per patient and tissue (normal or not) where several
    modalities are to be joined.
    """
    from molsig.ingest.cohort import load
    from molsig.reference.encoding import ReadyVectors, encoder_for, gene_map, load_encoders, unique_modalities
    from molsig.types import PatientTable, VectorSet

    genes = gene_map(store, cohort)
    sources = [one for one in cohort.sources() if modalities is None or one.modality in modalities]
    records = [load(source, genes=genes, progress=progress) for source in sources]
    if not records:
        raise UsageError("no file to query with: name one of --rna, --mutations, --mirna, --matrix, --vectors")
    unique_modalities(records)
    encoders = load_encoders(store, [one.modality for one in sources], device, choice, shelf)
    encoded: list[Encoded] = []
    for one in records:
        if isinstance(one, PatientTable):
            raise UsageError(f"{one.report.file}: a patient table is nothing to query with")
        if isinstance(one, VectorSet):
            encoded.append(ReadyVectors(one).encode(one))
            continue
        encoder = encoder_for(encoders, one.modality)
        encoded.append(encoder.encode(one, allow_missing=allow_missing, progress=progress))
    warnings = tuple(line for one in records for line in one.report.warnings)
    stored = set(store.select_patients())
    return _join(encoded, stored, exclude_self, warnings)


def _join(encoded: Sequence[Encoded], stored: set[str], exclude_self: bool, warnings: tuple[str, ...]) -> list[Query]:
    several = len({one.modality for one in encoded}) > 1
    members: dict[tuple[str, bool], dict[int, list[int]]] = {}
    for number, one in enumerate(encoded):
        for row, sample in enumerate(one.samples):
            key = (sample.patient if several else sample.sample, sample.kind == "normal")
            members.setdefault(key, {}).setdefault(number, []).append(row)
    queries = []
    for (name, normal), rows in members.items():
        patient = _patient(encoded, rows)
        notes = (
            (f"{patient} is stored too and may be among the hits",) if patient in stored and not exclude_self else ()
        )
        queries.append(
            Query(
                name=name,
                vectors={encoded[number].modality: encoded[number].vectors[chosen] for number, chosen in rows.items()},
                spaces={encoded[number].modality: encoded[number].space for number in rows},
                normal=normal,
                exclude=(patient,) if exclude_self else (),
                notes=notes + warnings,
            )
        )
    return queries


def _patient(encoded: Sequence[Encoded], rows: dict[int, list[int]]) -> str:
    number, chosen = next(iter(rows.items()))
    return encoded[number].samples[chosen[0]].patient


def said_of_taught(query: Query, answer: Answer, taught: Sequence[Taught]) -> list[str]:
    """What is to be known of calls on a label that an encoder of the query's modalities has learned."""
    out = []
    for one in (each for each in taught if each.modality in query.vectors):
        for column, call in answer.calls.items():
            # Neighbours may all have one label.
            if not one.known(call.classes, least=1):
                continue
            if query.stored:
                out.append(
                    f"the {one.modality} encoder has learned {column} from stored patients, maybe from {query.name} "
                    "too: the call is surer than of a new patient"
                )
            elif call.probability is not None:
                out.append(
                    f"the {one.modality} encoder has learned {column} from the patients that probabilities were "
                    "calibrated on: they are somewhat too sure"
                )
    return out
