"""Files into a reference: read, fit or load the encoders, encode, commit patient by patient, index."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from molsig.encoders.encoder import Encoder, fit_encoder
from molsig.errors import UsageError
from molsig.ingest.cohort import Cohort, digest_source, load
from molsig.ingest.genes import GeneMap
from molsig.reference.encoding import install_encoder, load_active_encoders, select, vector_digests
from molsig.types import Encoded, FeatureMatrix, MutationSet, PatientTable, TextSet, VectorSet, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from molsig.index.store import Store, Writer
    from molsig.types import ContractReport, Progress

BATCH_PATIENTS = 1024
"""Patients per transaction: small enough to lose little when killed, large enough for a fast commit."""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    `added` counts stored vectors per modality, `skipped` those that were there already with the same content, `conflicts`
    those that were there with other content and were left as they are (`replaced` when replacing was asked for).
    `unchanged` says that this very ingest had been done before. `contracts` is what each reader understood.
    """

    patients: int
    added: Mapping[str, int]
    skipped: int
    replaced: int
    conflicts: tuple[str, ...]
    seconds: float
    peak_mb: float
    unchanged: bool = False
    dry_run: bool = False
    device: str | None = None
    contracts: tuple[ContractReport, ...] = ()
    warnings: tuple[str, ...] = ()
    encoders: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`."""
        return asdict(self) | {"added": dict(self.added), "encoders": dict(self.encoders)}

    def __repr__(self) -> str:
        if self.unchanged:
            return f"<IngestReport: nothing to do, done before, {self.seconds:.1f} s>"
        added = ", ".join(f"{n:,} {m}" for m, n in self.added.items()) or "nothing"
        return f"<IngestReport: {added} added for {self.patients:,} patients, {self.seconds:.1f} s>"


@dataclass(frozen=True)
class IngestOptions:
    """How to ingest; the same for every modality."""

    dry_run: bool = False
    replace: bool = False
    allow_missing: bool = False
    include_silent: bool = False
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"


def ingest(store: Store, cohort: Cohort, options: IngestOptions, progress: Progress = silent) -> IngestReport:
    """Bring a cohort into a reference. See `molsig.Reference.ingest`."""
    start = time.perf_counter()
    digest = _digest(cohort, options)
    if not options.dry_run and store.has_ingest(digest):
        with store.writer("ingest", progress=progress) as writer:
            writer.build_indexes(progress=progress)
        return _report(start, unchanged=True)

    # Read everything before anything is written: a bad file must not leave half an ingest behind.
    genes = _gene_map(store, cohort)
    records = [load(source, genes=genes, progress=progress) for source in cohort.sources()]
    for one in records:
        if isinstance(one, TextSet) and not options.dry_run:
            raise UsageError(
                f"{one.report.file}: this version has no sentence encoder for reports. Check the file with --dry-run, or "
                "bring vectors of your own model: --vectors report=FILE"
            )
    table = load(cohort.patients, genes=genes, progress=progress) if cohort.patients else None
    modal = [one for one in records if not isinstance(one, PatientTable)]
    encoders = load_active_encoders(store, [one.modality for one in modal], options.device)
    contracts = [
        encoders[one.modality].contract(one) if one.modality in encoders and _is_encodable(one) else one.report
        for one in modal
    ]
    known = {sample.patient for one in modal for sample in one.samples}
    if isinstance(table, PatientTable):
        contracts.append(_joined(table, known | set(store.patient_ids())))
    if options.dry_run:
        return _report(start, dry_run=True, contracts=tuple(contracts), patients=len(known))

    with store.writer("ingest", progress=progress) as writer:
        if cohort.genes is not None and genes is not None:
            writer.put_genes(genes.table)
        if isinstance(table, PatientTable):
            writer.put_patients(table.table)
        for one in modal:
            if _is_encodable(one) and one.modality not in encoders:
                fitted = fit_encoder(
                    one,
                    seed=options.seed,
                    epochs=options.epochs,
                    device=options.device,
                    include_silent=options.include_silent,
                    progress=progress,
                )
                install_encoder(store, writer, fitted)
                encoders[one.modality] = fitted
        report = _commit_all(store, writer, modal, encoders, options, progress)
        writer.build_indexes(progress=progress)
        used = {m: e.space for m, e in encoders.items()}
        result = _report(
            start,
            patients=len(known),
            contracts=tuple(contracts),
            device=next((e.card.device for e in encoders.values()), None),
            encoders=used,
            **report,
        )
        summary = {key: value for key, value in result.to_dict().items() if key not in {"contracts", "conflicts"}}
        writer.record_ingest(digest, summary, [source.path.name for source in cohort.all_sources()])
        writer.checkpoint()
    return result


def _commit_all(
    store: Store,
    writer: Writer,
    modal: Sequence[FeatureMatrix | MutationSet | VectorSet],
    encoders: Mapping[str, Encoder],
    options: IngestOptions,
    progress: Progress,
) -> dict[str, Any]:
    """Encode and commit what is not stored yet, whole patients at a time."""
    pending: list[tuple[FeatureMatrix | MutationSet | VectorSet, str, tuple[str, ...], dict[str, list[int]]]] = []
    skipped = 0
    for one in modal:
        encoder = encoders.get(one.modality)
        space = one.encoder if isinstance(one, VectorSet) else encoders[one.modality].space
        digests = vector_digests(one) if isinstance(one, VectorSet) else encoders[one.modality].digests(one)
        items = one.items if isinstance(one, VectorSet) else ("",) * len(one.samples)
        stored = _stored(store, space)
        rows: dict[str, list[int]] = {}
        for row, (sample, item) in enumerate(zip(one.samples, items, strict=True)):
            if stored.get((sample.sample, item)) == digests[row]:
                skipped += 1
            else:
                rows.setdefault(sample.patient, []).append(row)
        pending.append((one, space, digests, rows))
        if isinstance(one, VectorSet):
            install_encoder(store, writer, one)
        del encoder
    patients = sorted({patient for *_, rows in pending for patient in rows})
    added: dict[str, int] = {one.modality: 0 for one, *_ in pending}
    replaced, conflicts = 0, []
    for done, group in _groups(patients):
        progress("encode and commit", done, len(patients))
        batch = []
        for one, space, digests, rows in pending:
            chosen = [row for patient in group for row in rows.get(patient, ())]
            if chosen:
                batch.append(_encode(one, space, digests, chosen, encoders, options))
        result = writer.commit(batch, replace=options.replace)
        for modality, n in result.added.items():
            added[modality] = added.get(modality, 0) + n
        skipped += result.skipped
        replaced += result.replaced
        conflicts += result.conflicts
    progress("encode and commit", len(patients), len(patients))
    warnings = []
    if conflicts:
        warnings.append(
            f"{len(conflicts):,} samples are stored with other values and were left as they are, first {conflicts[0]}; "
            "give --replace to take the new ones"
        )
    return {
        "added": added,
        "skipped": skipped,
        "replaced": replaced,
        "conflicts": tuple(conflicts),
        "warnings": tuple(warnings),
    }


def _encode(
    one: FeatureMatrix | MutationSet | VectorSet,
    space: str,
    digests: tuple[str, ...],
    rows: list[int],
    encoders: Mapping[str, Encoder],
    options: IngestOptions,
) -> Encoded:
    if isinstance(one, VectorSet):
        return select(one, rows, space, digests)
    return encoders[one.modality].encode(one, rows=rows, allow_missing=options.allow_missing)


def _stored(store: Store, space: str) -> dict[tuple[str, str], str]:
    table = store.stored(space)
    keys = zip(table["sample"].to_pylist(), table["item"].to_pylist(), strict=True)
    return dict(zip(keys, table["digest"].to_pylist(), strict=True))


def _groups(patients: list[str]) -> Iterator[tuple[int, list[str]]]:
    for start in range(0, len(patients), BATCH_PATIENTS):
        yield start, patients[start : start + BATCH_PATIENTS]


def _is_encodable(records: object) -> bool:
    return isinstance(records, FeatureMatrix | MutationSet)


def _gene_map(store: Store, cohort: Cohort) -> GeneMap | None:
    if cohort.genes is not None:
        from molsig.ingest.genes import read_gene_map

        return read_gene_map(cohort.genes)
    table = store.genes()
    return None if table is None else GeneMap.from_table(table)


def _joined(table: PatientTable, known: set[str]) -> ContractReport:
    from dataclasses import replace

    ids = table.table["patient"].to_pylist()
    return replace(table.report, joined=sum(patient in known for patient in ids))


def _digest(cohort: Cohort, options: IngestOptions) -> str:
    """One hash over the content of every input file and all that changes what is stored."""
    parts = [[source.kind, source.modality, sorted(source.options.items()), digest_source(source)] for source in cohort.all_sources()]
    settings = [options.replace, options.allow_missing, options.include_silent, options.seed, options.epochs]
    return hashlib.sha256(json.dumps([parts, settings], default=str).encode()).hexdigest()


def _report(start: float, **fields: Any) -> IngestReport:
    defaults: dict[str, Any] = {"patients": 0, "added": {}, "skipped": 0, "replaced": 0, "conflicts": ()}
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    seconds = time.perf_counter() - start
    return IngestReport(**(defaults | fields), seconds=round(seconds, 3), peak_mb=round(peak, 1))
