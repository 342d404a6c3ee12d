"""Why a patient of a reference is the neighbour of another: who they are, what they share, what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import NotFoundError, UsageError
from molsig.reference.explained_files import Files
from molsig.reference.explained_modality import Rows, explain_modality
from molsig.reference.querying import stored_queries
from molsig.retrieval.explanation import Explanation
from molsig.retrieval.route import TUMOUR_KINDS, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.encoder import Encoder
    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.retrieval.answer import Answer
    from molsig.retrieval.learned import Learned
    from molsig.types import Progress

PAIRS = 3
"""Pairs of sentences or tiles."""


@dataclass(frozen=True)
class Asked:
    """How a pair is to be explained; see `molsig.reference.Reference.explain`."""

    hit: str
    patient: str | None
    cohort: Cohort
    hit_cohort: Cohort | None
    modalities: tuple[str, ...] | None
    top: int
    seed: int
    allow_missing: bool
    device: str
    choice: ModelChoice


def explain(
    store: Store,
    searcher: Searcher,
    asked: Asked,
    find: Callable[[Query], Answer],
    learned: Learned | None,
    *,
    shelf: EncoderShelf,
    progress: Progress,
) -> Explanation:
    """Explain a pair.

    Parameters
    ----------
    find
        Answers a query with the hit and nobody else.
    learned
        What the answer's fusion rests on, if anything was learned.
    """
    if asked.top < 1:
        raise UsageError(f"--top {asked.top}: at least 1 feature is told")
    if asked.patient == asked.hit:
        raise UsageError(f"{asked.hit} is both the query and the hit: name two patients")
    known = set(store.patient_ids())
    if asked.hit not in known:
        store.embeddings_of(asked.hit)  # Says who is meant, perhaps.
    if asked.patient is not None and asked.patient in known:
        name = asked.patient
        query, rows = _stored(store, searcher, name, asked.modalities)
        files = None
    else:
        only = None if asked.patient is None else (asked.patient, asked.hit)
        files = Files.read(store, asked.cohort, asked.hit_cohort, None, only, progress)
        name = _who(asked, files)
        query, rows = (
            _stored(store, searcher, name, asked.modalities)
            if name in known
            else _of_files(store, files, name, asked, shelf, progress)
        )
    kinds = ("normal",) if query.normal else TUMOUR_KINDS
    held = _rows_of(store, asked.hit, kinds)
    if asked.modalities is not None:
        held = {modality: rows for modality, rows in held.items() if modality in asked.modalities}
    both = [modality for modality in query.spaces if modality in held]
    if not both:
        have = ", ".join(held) or ("none of normal tissue" if query.normal else "none of a tumour")
        raise NotFoundError(
            f"{name} and {asked.hit} have no modality in common: {name} has {', '.join(query.spaces)}; {asked.hit} "
            f"has {have}"
        )
    if files is None:
        files = Files.read(store, asked.cohort, asked.hit_cohort, both, (name, asked.hit), progress)
    answer = find(query)
    if not answer.hits:
        raise NotFoundError(f"{asked.hit} cannot be found by a query for {name}, so there is nothing to explain")
    hit = answer.hits[0]
    encoders = _encoders(store, both, asked, shelf)
    shared = [
        explain_modality(
            store,
            searcher.view(query.spaces[modality]),
            encoders.get(modality),
            files,
            (name, rows[modality]),
            (asked.hit, held[modality]),
            modality=modality,
            kinds=kinds,
            nats=hit.nats.get(modality),
            top=asked.top,
            pairs=PAIRS,
            seed=asked.seed,
            progress=progress,
        )
        for modality in both
    ]
    evidence = learned.evidence if learned is not None and answer.plan.fusion == "evidence" else None
    given = {one.modality for of in (asked.cohort, asked.hit_cohort) if of is not None for one in of.sources()}
    left_out = set() if asked.modalities is None else given - set(asked.modalities)
    notes = [f"the {m} file was not looked at: --modality leaves it out" for m in sorted(left_out)]
    notes += [
        f"the {m} file says nothing here: not both of them have {m}" for m in sorted(given - set(both) - left_out)
    ]
    records = store.records([one for one in (name, asked.hit) if one in known])
    return Explanation(
        query=name,
        hit=asked.hit,
        stored=name in known,
        query_attributes=records.get(name, {}),
        hit_attributes=records[asked.hit],
        fusion=answer.plan.fusion,
        score=hit.score,
        probability=hit.probability,
        chance=None if evidence is None else float(np.exp(evidence.chance)),
        nats=hit.nats,
        brought_by=hit.brought_by,
        label=None if evidence is None or learned is None else learned.label,
        call=None if evidence is None else next(iter(answer.calls.values()), None),
        shared=tuple(sorted(shared, key=lambda one: -(one.nats if one.nats is not None else -np.inf))),
        only_query=tuple(m for m in query.spaces if m not in held),
        only_hit=tuple(m for m in held if m not in query.spaces),
        notes=(*answer.notes, *notes),
    )


def _who(asked: Asked, files: Files) -> str:
    """Id of the query, who is in the files."""
    there = files.patients()
    if asked.patient is not None:
        if asked.patient in there:
            return asked.patient
        told = f" nor in the files ({len(there):,} patients)" if there else ""
        raise NotFoundError(f"{asked.patient} is not stored{told}; give its files (--rna FILE ...) or another id")
    others = [one for one in there if one != asked.hit]
    if len(others) == 1:
        return others[0]
    if not there:
        raise UsageError("who is asked about? Give --patient ID, or the files of a new patient (--rna FILE ...)")
    if not others:
        raise UsageError(f"the files hold {asked.hit} alone, which is the hit: give --patient ID")
    raise UsageError(
        f"the files hold {len(others):,} patients beside the hit ({', '.join(others[:3])} ...): say with --patient "
        "which one is asked about"
    )


def _stored(
    store: Store, searcher: Searcher, patient: str, modalities: Sequence[str] | None
) -> tuple[Query, dict[str, Rows]]:
    query = stored_queries(store, [patient], modalities, "auto", searcher)[0]
    held = _rows_of(store, patient, ("normal",) if query.normal else TUMOUR_KINDS)
    return query, {modality: held[modality] for modality in query.spaces}


def _rows_of(store: Store, patient: str, kinds: Sequence[str]) -> dict[str, Rows]:
    """What is stored of a patient, by modality, in the spaces in use."""
    active = set(store.active_spaces().values())
    table, vectors = store.embeddings_of(patient)
    held: dict[str, list[int]] = {}
    listed = table.to_pylist()
    for number, row in enumerate(listed):
        if row["space"] in active and row["kind"] in kinds:
            held.setdefault(row["modality"], []).append(number)
    return {
        modality: Rows(
            tuple(listed[i]["sample"] for i in some), tuple(listed[i]["item"] for i in some), vectors[some], True
        )
        for modality, some in held.items()
    }


def _of_files(
    store: Store, files: Files, patient: str, asked: Asked, shelf: EncoderShelf, progress: Progress
) -> tuple[Query, dict[str, Rows]]:
    """The query of a patient who is in the files only."""
    from molsig.reference.encoding import ReadyVectors, encoder_for, load_encoders
    from molsig.types import VectorSet

    wanted = [m for m in files.given if asked.modalities is None or m in asked.modalities]
    kinds: tuple[str, ...] = TUMOUR_KINDS
    found = {m: some for m in wanted if (some := files.rows(m, patient, kinds)) is not None}
    if not found:
        kinds = ("normal",)
        found = {m: some for m in wanted if (some := files.rows(m, patient, kinds)) is not None}
    if not found:
        raise NotFoundError(f"the files have nothing of {patient} in {', '.join(asked.modalities or ())}")
    encoders = load_encoders(store, found, asked.device, asked.choice, shelf)
    rows: dict[str, Rows] = {}
    spaces: dict[str, str] = {}
    warnings: list[str] = []
    for modality, (records, chosen) in found.items():
        if isinstance(records, VectorSet):
            encoded = ReadyVectors(records).encode(records, rows=chosen)
        else:
            encoded = encoder_for(encoders, modality).encode(
                records, rows=chosen, allow_missing=asked.allow_missing, progress=progress
            )
        rows[modality] = Rows(tuple(one.sample for one in encoded.samples), encoded.items, encoded.vectors, False)
        spaces[modality] = encoded.space
        warnings += records.report.warnings
    query = Query(
        name=patient,
        vectors={modality: one.vectors for modality, one in rows.items()},
        spaces=spaces,
        normal=kinds == ("normal",),
        notes=tuple(warnings),
    )
    return query, rows


def _encoders(store: Store, modalities: Sequence[str], asked: Asked, shelf: EncoderShelf) -> Mapping[str, Encoder]:
    from molsig.reference.encoding import load_encoders

    active = store.active_spaces()
    found = load_encoders(store, modalities, asked.device, asked.choice, shelf)
    return {modality: one for modality, one in found.items() if active.get(modality) == one.space}
