"""Files into a reference: read, fit or load the encoders, encode, commit patient by patient, index."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from molsig.errors import UsageError
from molsig.index.attributes import PatientChange
from molsig.index.schema import DATABASE
from molsig.index.store import Store
from molsig.ingest.cohort import digest_source, load
from molsig.reference.encoding import ReadyVectors, gene_map, install_encoder, load_encoders, unique_modalities
from molsig.types import FeatureMatrix, MutationSet, PatientTable, TextSet, VectorSet, silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.index.batches import Conflict
    from molsig.index.writer import Writer
    from molsig.ingest.cohort import Cohort
    from molsig.types import ContractReport, Progress

FEW_PATIENTS = 100
"""Patients below which an encoder's training is warned of."""

BATCH_PATIENTS = 1024
"""Patients per transaction: small enough to lose little when killed, large enough for a fast commit."""


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
    """How to ingest; the same for every modality. See `molsig.Reference.ingest`."""

    dry_run: bool = False
    replace: bool = False
    allow_missing: bool = False
    include_silent: bool = False
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"


def ingest(path: Path, cohort: Cohort, options: IngestOptions, progress: Progress = silent) -> IngestReport:
    """Bring a cohort into the reference at `path`, which is made only once every file has been found good."""
    start = time.perf_counter()
    if not cohort.all_sources():
        raise UsageError("nothing to ingest: name at least one file")
    # A folder without the database is new, foreign, or what a killed creation left: `Store.create` tells which.
    store = Store.open(path) if (path / DATABASE).exists() else None
    digest = _digest(cohort, options)
    if store is not None and not options.dry_run and store.has_ingest(digest):
        with store.writer("ingest", progress=progress) as writer:
            writer.build_indexes(progress=progress)
        patients = next((done.summary["patients"] for done in store.ingests() if done.digest == digest), 0)
        return _timed(start, IngestReport(patients=patients, unchanged=True))

    genes = gene_map(store, cohort)
    modal: list[FeatureMatrix | MutationSet | VectorSet] = []
    contracts: list[ContractReport] = []
    table: PatientTable | None = None
    for source in cohort.all_sources():
        if source.kind == "genes":
            continue
        progress(f"read {source.path.name}", 0, None)
        records = load(source, genes=genes, progress=progress)
        if isinstance(records, PatientTable):
            table = records
        elif not isinstance(records, TextSet):
            modal.append(records)
        elif options.dry_run:
            contracts.append(records.report)
        else:
            raise UsageError(
                f"{source.path}: this version has no sentence encoder for reports. Check the file with --dry-run, or "
                "bring vectors of a model of your own: --vectors report=FILE"
            )
    unique_modalities(modal)
    encoders = {} if store is None else load_encoders(store, [one.modality for one in modal], options.device)
    for one in modal:
        known = isinstance(one, FeatureMatrix | MutationSet) and one.modality in encoders
        contracts.append(encoders[one.modality].contract(one) if known else one.report)
    patients = {sample.patient for one in modal for sample in one.samples}
    if table is not None:
        stored = set() if store is None else set(store.select_patients())
        joined = sum(patient in patients or patient in stored for patient in table.table["patient"].to_pylist())
        contracts.append(replace(table.report, joined=joined))
    report = IngestReport(patients=len(patients), contracts=tuple(contracts), dry_run=options.dry_run)
    if options.dry_run:
        return _timed(start, report)

    store = store or Store.create(path)
    with store.writer("ingest", progress=progress) as writer:
        if genes is not None and cohort.genes is not None:
            writer.put_genes(genes.table)
        change = PatientChange() if table is None else writer.put_patients(table.table, replace=options.replace)
        was = set(encoders)
        sources = [_encoder(store, writer, one, encoders, options, progress) for one in modal]
        report = replace(report, warnings=_few(sources, was))
        report = _commit(store, writer, modal, sources, options, progress, report)
        writer.build_indexes(progress=progress)
        report = _timed(start, _with_columns(report, change))
        # What was left out has to be tried again, and what was replaced is no longer what earlier files said.
        if not report.conflicts:
            summary = {key: value for key, value in asdict(report).items() if key not in {"contracts", "warnings"}}
            files = [source.path.name for source in cohort.all_sources()]
            writer.record_ingest(digest, summary, files, supersedes=options.replace)
        writer.checkpoint()
    return _timed(start, report)


def _few(encoders: Sequence[Encoder | ReadyVectors], known: set[str]) -> tuple[str, ...]:
    """Warn of encoders that have just been trained on hardly any patients: the reference keeps them."""
    fresh = [e for e in encoders if not isinstance(e, ReadyVectors) and e.modality not in known]
    return tuple(
        f"the {e.modality} encoder was trained on only {e.card.n_patients} patients: its neighbours mean little. Make "
        "a new reference from a larger cohort and query it with these files instead"
        for e in fresh
        if e.card.n_patients < FEW_PATIENTS
    )


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
    records: FeatureMatrix | MutationSet | VectorSet,
    encoders: dict[str, Encoder],
    options: IngestOptions,
    progress: Progress,
) -> Encoder | ReadyVectors:
    """What turns these records into vectors: the reference's encoder, a new one, or nothing for ready vectors."""
    if isinstance(records, VectorSet):
        ready = ReadyVectors(records)
        writer.put_encoder(ready.space, ready.modality, ready.space, ready.card(), {})
        return ready
    if records.modality not in encoders:
        from molsig.encoders.encoder import fit_encoder

        encoders[records.modality] = fit_encoder(
            records,
            seed=options.seed,
            epochs=options.epochs,
            device=options.device,
            include_silent=options.include_silent and isinstance(records, MutationSet),
            progress=progress,
        )
        install_encoder(store, writer, encoders[records.modality])
    return encoders[records.modality]


def _commit(
    store: Store,
    writer: Writer,
    modal: Sequence[FeatureMatrix | MutationSet | VectorSet],
    encoders: Sequence[Encoder | ReadyVectors],
    options: IngestOptions,
    progress: Progress,
    report: IngestReport,
) -> IngestReport:
    """Encode and commit what is not stored yet, whole patients at a time."""
    pending, skipped = [], 0
    for one, encoder in zip(modal, encoders, strict=True):
        rows, same = _new_rows(store, one, encoder)
        pending.append((one, encoder, rows))
        skipped += same
    patients = sorted({patient for _, _, rows in pending for patient in rows})
    added = dict.fromkeys((one.modality for one in modal), 0)
    replaced = 0
    conflicts: list[Conflict] = []
    for begin in range(0, len(patients), BATCH_PATIENTS):
        progress("encode and commit", begin, len(patients))
        batch = []
        for one, encoder, rows in pending:
            chosen = [row for patient in patients[begin : begin + BATCH_PATIENTS] for row in rows.get(patient, ())]
            if chosen:
                batch.append(encoder.encode(one, rows=chosen, allow_missing=options.allow_missing))
        result = writer.commit(batch, replace=options.replace)
        for modality, n in result.added.items():
            added[modality] += n
        skipped += result.skipped
        replaced += result.replaced
        conflicts += result.conflicts
    progress("encode and commit", len(patients), len(patients))
    warnings = report.warnings
    if conflicts:
        warnings += (
            f"{len(conflicts):,} samples are stored with other values and were left as they are, the first is "
            f"{conflicts[0].sample} in {conflicts[0].space}. Give --replace to take the new ones",
        )
    return replace(
        report,
        added=added,
        skipped=skipped,
        replaced=replaced,
        conflicts=len(conflicts),
        warnings=warnings,
        device=next((e.card.device for e in encoders if not isinstance(e, ReadyVectors)), None),
        encoders={one.modality: encoder.space for one, encoder in zip(modal, encoders, strict=True)},
    )


def _new_rows(
    store: Store, records: FeatureMatrix | MutationSet | VectorSet, encoder: Encoder | ReadyVectors
) -> tuple[dict[str, list[int]], int]:
    """Rows that are not stored with the same input, by patient, and how many are."""
    stored = store.stored(encoder.space)
    keys = zip(stored["sample"].to_pylist(), stored["item"].to_pylist(), strict=True)
    known = dict(zip(keys, stored["digest"].to_pylist(), strict=True))
    items = records.items if isinstance(records, VectorSet) else ("",) * len(records.samples)
    rows: dict[str, list[int]] = {}
    same = 0
    for row, digest in enumerate(encoder.digests(records)):
        sample = records.samples[row]
        if known.get((sample.sample, items[row])) == digest:
            same += 1
        else:
            rows.setdefault(sample.patient, []).append(row)
    return rows, same


def _digest(cohort: Cohort, options: IngestOptions) -> str:
    """One hash over the content of every input file and all that changes what is stored."""
    files = [
        [source.kind, source.modality, sorted(source.options.items()), digest_source(source)]
        for source in cohort.all_sources()
    ]
    settings = [options.replace, options.allow_missing, options.include_silent, options.seed, options.epochs]
    return hashlib.sha256(json.dumps([files, settings], default=str).encode()).hexdigest()


def _timed(start: float, report: IngestReport) -> IngestReport:
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return replace(report, seconds=round(time.perf_counter() - start, 3), peak_mb=round(peak, 1))
