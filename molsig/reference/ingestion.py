"""Files into a reference: read, fit or load the encoders, encode, commit patient by patient, index."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from molsig.encoders.choice import ModelChoice
from molsig.errors import UsageError
from molsig.index.attributes import PatientChange
from molsig.index.schema import DATABASE
from molsig.index.store import Store
from molsig.ingest.cohort import digest_source, load
from molsig.reference.committing import commit_records
from molsig.reference.encoding import (
    ReadyVectors,
    gene_map,
    install_encoder,
    load_encoders,
    remember_place,
    unique_modalities,
)
from molsig.reference.fitting import check_label, learning_types, make_encoder
from molsig.types import MutationSet, PatientTable, TextSet, VectorSet, silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.index.writer import Writer
    from molsig.ingest.cohort import Cohort
    from molsig.types import ContractReport, Progress, Records

TISSUE = "cancer_type"
"""Patient column that tells the tumour type, where there is one."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Attributes
    ----------
    patients
        Patients in the files that have an assay.
    added
        Vectors stored, by modality.
    skipped, replaced, conflicts
        Vectors that were there already with the same input; that were stored anew; that differ from what is stored and
        were left out.
    unchanged
        This very ingest had been done before.
    contracts
        What each reader understood.
    encoders
        Space that each modality was encoded into.
    columns
        Patients whose columns are new, changed and unchanged.
    learned
        Whether it was learned how to fuse the modalities.
    """

    patients: int = 0
    added: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    replaced: int = 0
    conflicts: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    unchanged: bool = False
    dry_run: bool = False
    device: str | None = None
    contracts: tuple[ContractReport, ...] = ()
    warnings: tuple[str, ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    learned: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`."""
        return asdict(self)

    def __repr__(self) -> str:
        if self.unchanged:
            return f"<IngestReport: nothing to do, done before, {self.seconds:.1f} s>"
        added = ", ".join(f"{n:,} {modality}" for modality, n in self.added.items()) or "nothing"
        return f"<IngestReport: {added} added for {self.patients:,} patients, {self.seconds:.1f} s>"


@dataclass(frozen=True)
class IngestOptions:
    """How to ingest; the same for every modality. See `molsig.Reference.ingest`.

    `label` is the patient column that networks learn from which need types; `TISSUE` where it is None. Where it is not
    None, a matrix whose network is not named gets one that learns from it.
    """

    dry_run: bool = False
    replace: bool = False
    allow_missing: bool = False
    include_silent: bool = False
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"
    choice: ModelChoice = field(default_factory=ModelChoice)
    new_encoders: tuple[str, ...] = ()
    learn: bool = True
    label: str | None = None


def ingest(path: Path, cohort: Cohort, options: IngestOptions, progress: Progress = silent) -> IngestReport:
    """Bring a cohort into the reference at `path`, which is made only once every file has been found good."""
    start = time.perf_counter()
    if not cohort.all_sources():
        raise UsageError("nothing to ingest: name at least one file")
    # A folder without the database is new, foreign, or what a killed creation left: `Store.create` tells which.
    store = Store.open(path) if (path / DATABASE).exists() else None
    # Hashing large files takes as long as reading them: a new reference does both at once.
    hashing = ThreadPoolExecutor(1)
    digest = hashing.submit(_digest, cohort, options)
    hashing.shutdown(wait=False)
    if store is not None and not options.dry_run and store.has_ingest(digest.result()):
        with store.writer("ingest", progress=progress) as writer:
            writer.build_indexes(progress=progress)
        patients = next((done.summary["patients"] for done in store.ingests() if done.digest == digest.result()), 0)
        # It may have been killed after its record was written and before it had learned.
        return _timed(start, _learned(store, IngestReport(patients=patients, unchanged=True), options, progress))

    genes = gene_map(store, cohort)
    modal: list[Records] = []
    contracts: list[ContractReport] = []
    table: PatientTable | None = None
    for source in cohort.all_sources():
        if source.kind == "genes":
            continue
        progress(f"read {source.path.name}", 0, None)
        records = load(source, genes=genes, progress=progress)
        if isinstance(records, PatientTable):
            table = records
        else:
            modal.append(records)
    unique_modalities(modal)
    if options.label is not None:
        options = replace(options, choice=learning_types(options.choice, modal))
    kept = [one.modality for one in modal if one.modality not in options.new_encoders]
    if odd := sorted(set(options.new_encoders) - {one.modality for one in modal if not isinstance(one, VectorSet)}):
        raise UsageError(f"--new-encoder {odd[0]}: no file of it is given to encode anew")
    encoders = {} if store is None else load_encoders(store, kept, options.device, options.choice)
    for one in modal:
        known = not isinstance(one, VectorSet) and one.modality in encoders
        contracts.append(encoders[one.modality].contract(one) if known else one.report)
    patients = {sample.patient for one in modal for sample in one.samples}
    if table is not None:
        stored = set() if store is None else set(store.select_patients())
        joined = sum(patient in patients or patient in stored for patient in table.table["patient"].to_pylist())
        contracts.append(replace(table.report, joined=joined))
    report = IngestReport(patients=len(patients), contracts=tuple(contracts), dry_run=options.dry_run)
    if options.dry_run:
        return _timed(start, report)

    columns = {*(() if store is None else store.columns()), *(() if table is None else table.table.column_names)}
    for one in modal:
        if one.modality not in encoders:
            check_label(one, options.label or TISSUE, columns, options.choice)
    # A text model that is not there is told before anything is written.
    made = {
        one.modality: make_encoder(one, ({}, {}), options, progress)
        for one in modal
        if isinstance(one, TextSet) and one.modality not in encoders
    }
    store = store or Store.create(path)
    tissue = _values(store, table, TISSUE)
    labels = _values(store, table, options.label) if options.label else tissue
    with store.writer("ingest", progress=progress) as writer:
        if genes is not None and cohort.genes is not None:
            writer.put_genes(genes.table)
        change = PatientChange() if table is None else writer.put_patients(table.table, replace=options.replace)
        told: list[str] = []
        told_of = (tissue, labels)
        sources = [_encoder(store, writer, one, encoders, made, told_of, options, told, progress) for one in modal]
        report = replace(report, warnings=tuple(told))
        report = _commit(store, writer, modal, sources, options, progress, report)
        burdens = [_burden(store, writer, one, table, options) for one in modal if isinstance(one, MutationSet)]
        report = replace(report, warnings=report.warnings + tuple(line for line in burdens if line))
        _switch(store, writer, sources, options)
        writer.build_indexes(progress=progress)
        report = _timed(start, _with_columns(report, change))
        # What was left out has to be tried again, and what was replaced is no longer what earlier files said.
        if not report.conflicts:
            summary = {key: value for key, value in asdict(report).items() if key not in {"contracts", "warnings"}}
            files = [source.path.name for source in cohort.all_sources()]
            writer.record_ingest(digest.result(), summary, files, supersedes=options.replace)
        writer.checkpoint()
    return _timed(start, _learned(store, report, options, progress))


def _learned(store: Store, report: IngestReport, options: IngestOptions, progress: Progress) -> IngestReport:
    """Learn how to fuse where that is due; the vectors are safe by now, and readers need not wait."""
    from molsig.reference.learning import learn_if_due

    if not options.learn:
        return report
    learned, notes = learn_if_due(store, seed=options.seed, progress=progress)
    return replace(report, learned=learned, warnings=report.warnings + notes)


def _values(store: Store, table: PatientTable | None, column: str) -> dict[str, str]:
    """What a column says by patient, from the patient table at hand and what is stored."""
    known: dict[str, str] = {}
    if column in store.columns():
        stored = store.attributes(store.select_patients(), [column])
        known |= dict(zip(stored["patient"].to_pylist(), stored[column].to_pylist(), strict=True))
    if table is not None and column in table.table.column_names:
        known |= dict(zip(table.table["patient"].to_pylist(), table.table[column].to_pylist(), strict=True))
    return {patient: str(one) for patient, one in known.items() if one is not None}


def _burden(
    store: Store, writer: Writer, mutations: MutationSet, table: PatientTable | None, options: IngestOptions
) -> str | None:
    """Store the mutational burden as patient columns; the user's own columns of these names stay as they are."""
    from molsig.ingest.tmb import COLUMNS, mutational_burden

    if table is not None and (own := sorted(set(COLUMNS) & set(table.table.column_names))):
        return f"the patient table has a column {own[0]!r} of its own: mutational burden was not added"
    counted = mutational_burden(mutations, include_silent=options.include_silent)
    change = writer.put_patients(counted, replace=options.replace)
    if change.conflicts:
        return (
            f"{change.conflicts:,} patients are stored with another mutational burden, which was kept: it is counted "
            "over the samples of one file. Give --replace to take the new one if this file has all their samples"
        )
    return None


def _switch(store: Store, writer: Writer, sources: Sequence[Encoder | ReadyVectors], options: IngestOptions) -> None:
    """Let the spaces of new encoders take the place of the old ones, each in one transaction.

    Raises
    ------
    UsageError
        The files lack samples that are stored: they would vanish from every answer. Nothing is switched.
    """
    spaces = {one.space: one for one in store.spaces()}
    fresh = [one.space for one in sources if one.modality in options.new_encoders]
    for space in fresh:
        modality = spaces[space].modality
        old = next(one.space for one in spaces.values() if one.modality == modality and one.active)
        lacking = sorted(_keys(store, old) - _keys(store, space))
        if lacking:
            raise UsageError(
                f"--new-encoder {modality}: {len(lacking):,} stored rows are not in the files, the first is "
                f"{lacking[0][0]}. The new vectors are stored as {space} and not in use; {old} stays. Give files that "
                "hold every stored sample"
            )
    for space in fresh:
        writer.activate(space)


def _keys(store: Store, space: str) -> set[tuple[str, str]]:
    held = store.stored(space)
    return set(zip(held["sample"].to_pylist(), held["item"].to_pylist(), strict=True))


def _with_columns(report: IngestReport, change: PatientChange) -> IngestReport:
    """Add what became of the patient columns."""
    warnings = report.warnings
    if change.conflicts:
        warnings += (
            f"{change.conflicts:,} patients have other values in their columns than those stored, which were kept. "
            "Give --replace to take the new ones",
        )
    return replace(
        report,
        columns={"new": change.new, "changed": change.changed, "unchanged": change.unchanged},
        conflicts=report.conflicts + change.conflicts,
        warnings=warnings,
    )


def _encoder(
    store: Store,
    writer: Writer,
    records: Records,
    encoders: dict[str, Encoder],
    made: Mapping[str, tuple[Encoder, tuple[str, ...]]],
    known: tuple[Mapping[str, str], Mapping[str, str]],
    options: IngestOptions,
    told: list[str],
    progress: Progress,
) -> Encoder | ReadyVectors:
    """What turns these records into vectors: the reference's encoder, a new one, or nothing for ready vectors."""
    if isinstance(records, VectorSet):
        ready = ReadyVectors(records)
        writer.put_encoder(ready.space, ready.modality, ready.space, ready.card(), {})
        return ready
    if records.modality not in encoders:
        beforehand = made.get(records.modality)
        encoders[records.modality], lines = beforehand or make_encoder(records, known, options, progress)
        told += lines
        install_encoder(store, writer, encoders[records.modality])
    remember_place(store, encoders[records.modality], options.choice)
    return encoders[records.modality]


def _commit(
    store: Store,
    writer: Writer,
    modal: Sequence[Records],
    encoders: Sequence[Encoder | ReadyVectors],
    options: IngestOptions,
    progress: Progress,
    report: IngestReport,
) -> IngestReport:
    """Encode and commit what is not stored yet, whole patients at a time."""
    done = commit_records(
        store,
        writer,
        modal,
        encoders,
        replace=options.replace,
        allow_missing=options.allow_missing,
        progress=progress,
    )
    conflicts = done.conflicts
    warnings = report.warnings
    if conflicts:
        warnings += (
            f"{len(conflicts):,} samples are stored with other values and were left as they are, the first is "
            f"{conflicts[0].sample} in {conflicts[0].space}. Give --replace to take the new ones",
        )
    return replace(
        report,
        added=done.added,
        skipped=done.skipped,
        replaced=done.replaced,
        conflicts=len(conflicts),
        warnings=warnings,
        device=next(
            (e.card.device for e in encoders if not isinstance(e, ReadyVectors) and e.card.device != "none"), None
        ),
        encoders={one.modality: encoder.space for one, encoder in zip(modal, encoders, strict=True)},
    )


def _digest(cohort: Cohort, options: IngestOptions) -> str:
    """One hash over the content of every input file and all that changes what is stored."""
    files = [
        [source.kind, source.modality, sorted(source.options.items()), digest_source(source)]
        for source in cohort.all_sources()
    ]
    settings: list[object] = [
        options.replace,
        options.allow_missing,
        options.include_silent,
        options.seed,
        options.epochs,
        asdict(options.choice),
        options.new_encoders,
    ]
    # Added only where it is said, so that what earlier versions recorded is still recognised.
    if options.label is not None:
        settings.append(options.label)
    return hashlib.sha256(json.dumps([files, settings], default=str).encode()).hexdigest()


def _timed(start: float, report: IngestReport) -> IngestReport:
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return replace(report, seconds=round(time.perf_counter() - start, 3), peak_mb=round(peak, 1))
