"""Expression matrices: TSV, CSV, Parquet, GCT and H5AD to one scale and one set of gene names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.ingest.genes import GeneMap
from molsig.ingest.grid import read_parquet_grid, read_text_grid
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import TextStream, file_kind
from molsig.ingest.orientation import Orientation, orient
from molsig.ingest.samples import resolve_samples
from molsig.ingest.scale import (
    LIBRARY_GENES,
    RNA_TOTAL,
    SCALES,
    bring_to_log2,
    first_place,
    judge,
    measure,
)
from molsig.ingest.tables import read_sample_table
from molsig.types import ContractReport, FeatureMatrix, SampleKind, check_modality, silent

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.genes import Named
    from molsig.ingest.limits import Limits
    from molsig.ingest.orientation import RawMatrix
    from molsig.ingest.samples import Resolved
    from molsig.ingest.scale import (
        Judged,
        Range,
        Scale,
    )
    from molsig.types import Progress

GENE_MODALITIES = ("rna", "siamese")
"""Modalities whose features are genes; the features of others keep their names."""

_NOT_GENES = ("__", "N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous", "ERCC-0")


def read_expression(
    path: str | Path,
    *,
    modality: str = "rna",
    orientation: Orientation = "auto",
    scale: Scale = "auto",
    genes: GeneMap | None = None,
    sample_table: str | Path | None = None,
    kinds: Collection[SampleKind] | None = None,
    layer: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> FeatureMatrix:
    """Read an expression matrix, or any other matrix of samples by features.

    Parameters
    ----------
    path
        TSV, CSV, GCT (plain, gzip or zstd), Parquet or H5AD; what it is, is found out from its content.
    orientation
        Whether samples go down the rows or across the columns; ``auto`` finds out from the ids.
    scale
        What the numbers are; ``auto`` finds out from their range. ``raw`` leaves them as they are.
    genes
        Gene names to bring ids to; without it symbols stand for themselves.
    sample_table
        Table of sample, patient and kind for ids that are no TCGA barcodes.
    kinds
        Keep only samples of these kinds.
    layer
        Layer of an H5AD file to read instead of ``X``.

    Returns
    -------
    FeatureMatrix
        ``log2(x + 1)``, or ``raw``. Duplicate genes are summed on the linear scale. NaN where not measured.

    Raises
    ------
    InputError
        With file, row and column: see ``docs/formats.md``.
    MissingExtraError
        H5AD without ``molsig[scverse]``.
    """
    check_modality(modality)
    check_option("scale", scale, SCALES)
    check_option("orientation", orientation, get_args(Orientation))
    genes = genes or GeneMap()
    raw = read_raw(path, orientation, genes, layer, limits, progress)
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(
        raw.sample_ids, file=path, row_of=raw.sample_row, patients=raw.patients, kinds=raw.kinds, table=table
    )
    if kinds is not None:
        raw, resolved = keep_kinds(raw, resolved, frozenset(kinds))
    found = measure(raw.values)
    check_finite(raw, found)
    as_column = raw.orientation == "samples-down"
    if modality in GENE_MODALITIES:
        named = genes.canonical(raw.feature_ids, file=path, row_of=raw.feature_row, as_column=as_column)
        names, dropped = _genes_only(raw, named)
        notes = [*_date_notes(named), *dropped]
        id_type: str | None = named.id_type
    else:
        names, notes, id_type = tuple(one or None for one in raw.feature_ids), [], None
    judged = judge(raw, scale, found)
    slots, features, duplicates = slots_of(names)
    if not features:
        raise InputError("no feature has a name", file=path)
    whole = modality in GENE_MODALITIES and judged.scale != "raw" and len(features) >= LIBRARY_GENES
    values = bring_to_log2(raw, judged, slots, len(features), RNA_TOTAL if whole else None)
    if modality in GENE_MODALITIES:
        judged = _library_notes(judged, whole, len(features))
    return FeatureMatrix(
        modality=modality,
        samples=resolved.samples,
        features=features,
        values=values,
        scale="raw" if judged.scale == "raw" else "log2",
        report=report_of(raw, modality, resolved, judged, found, len(features), duplicates, id_type, notes),
    )


def read_raw(
    path: str | Path,
    orientation: Orientation,
    genes: GeneMap,
    layer: str | None,
    limits: Limits,
    progress: Progress,
) -> RawMatrix:
    """Read a matrix of any format with samples down, before names and units are looked at."""
    kind = file_kind(path, limits)
    if kind == "parquet":
        return orient(read_parquet_grid(path, limits), orientation, genes)
    if kind == "hdf5":
        from molsig.ingest.h5ad import read_h5ad

        return read_h5ad(path, layer, limits)
    if kind == "npy":
        raise InputError("is an array without gene names", file=path, hint="Ready vectors go in with --vectors")
    with TextStream(path, limits) as stream:
        first = stream.read_line() or b""
    if first.startswith((b"#1.2", b"#1.3")):
        from molsig.ingest.gct import read_gct

        return read_gct(path, genes, limits, progress)
    return orient(read_text_grid(path, limits, progress=progress), orientation, genes)


def slots_of(names: tuple[str | None, ...]) -> tuple[NDArray[np.intp], tuple[str, ...], int]:
    """Where each feature of the file goes: its slot among the distinct names, in order of first appearance."""
    places: dict[str, int] = {}
    slots = np.empty(len(names), dtype=np.intp)
    for i, name in enumerate(names):
        slots[i] = -1 if name is None else places.setdefault(name, len(places))
    return slots, tuple(places), int((slots >= 0).sum()) - len(places)


def check_finite(raw: RawMatrix, found: Range) -> None:
    """Raise `InputError` with the place of the first infinite value, if there is one."""
    if found.measured == 0:
        raise InputError("no value was measured", file=raw.file)
    if np.isinf(found.largest) or np.isinf(found.smallest):
        row, column = raw.place(*first_place(raw, np.isinf))
        raise InputError(
            "an infinite value, or one too large for single precision",
            file=raw.file,
            row=row,
            column=column,
            hint="Leave the cell empty if it was not measured",
        )


def report_of(
    raw: RawMatrix,
    modality: str,
    resolved: Resolved,
    judged: Judged,
    found: Range,
    features: int,
    duplicates: int,
    id_type: str | None,
    notes: list[str],
) -> ContractReport:
    """Tell what was understood of a matrix."""
    if duplicates:
        how = "averaged" if judged.scale == "raw" else "summed on the linear scale"
        notes = [*notes, f"{duplicates:,} duplicate features were {how}"]
    if found.missing:
        notes = [*notes, f"{found.missing:,} values are missing and stay missing"]
    return ContractReport(
        file=str(raw.file),
        modality=modality,
        rows=raw.rows,
        samples=len(resolved.samples),
        patients=resolved.patients,
        features=features,
        duplicates=duplicates,
        id_type=id_type,
        scale=judged.scale,
        orientation=raw.orientation,
        kinds=resolved.kinds,
        joined=resolved.joined,
        notes=(*raw.notes, *resolved.notes, *notes, *judged.notes),
        warnings=(*resolved.warnings, *judged.warnings),
    )


def _genes_only(raw: RawMatrix, named: Named) -> tuple[tuple[str | None, ...], list[str]]:
    """Leave out what is no gene: rows without a name, summary rows of counting tools, spike-ins."""
    technical = [i for i, one in enumerate(raw.feature_ids) if one.startswith(_NOT_GENES)]
    chosen = list(named.names)
    for i in technical:
        chosen[i] = None
    unnamed = sum(name is None for name in chosen) - len(technical)
    notes = []
    if technical:
        notes.append(f"{len(technical)} summary or spike-in rows left out, e.g. {raw.feature_ids[technical[0]]}")
    if unnamed:
        notes.append(f"{unnamed:,} features without a gene name left out")
    return tuple(chosen), notes


def _date_notes(named: Named) -> list[str]:
    if not named.dates:
        return []
    shown = ", ".join(f"{found} as {gene}" for _, found, gene in named.dates[:5])
    return [f"{len(named.dates)} gene names that a spreadsheet turned into dates were read right: {shown}"]


def _library_notes(judged: Judged, whole: bool, n_genes: int) -> Judged:
    if judged.scale == "raw":
        return judged
    if whole:
        note = f"each sample scaled to a sum of {RNA_TOTAL:,.0f} over its genes, then log2(x + 1)"
        return replace(judged, notes=(*judged.notes, note))
    note = f"{n_genes:,} genes are a panel: its library size is not known, so samples keep their own level"
    if judged.scale == "counts":
        return replace(judged, warnings=(*judged.warnings, f"{note}, sequencing depth included"))
    return replace(judged, notes=(*judged.notes, note))


def keep_kinds(raw: RawMatrix, resolved: Resolved, kinds: frozenset[SampleKind]) -> tuple[RawMatrix, Resolved]:
    """Leave out the samples of other kinds."""
    unknown = kinds - set(get_args(SampleKind))
    if unknown:
        raise UsageError(f"{sorted(unknown)[0]!r} is no kind of sample: use {', '.join(get_args(SampleKind))}")
    kept = [i for i, sample in enumerate(resolved.samples) if sample.kind in kinds]
    if not kept:
        raise InputError(f"no sample is {' or '.join(sorted(kinds))}", file=raw.file)
    if len(kept) == len(resolved.samples):
        return raw, resolved
    left = len(resolved.samples) - len(kept)
    first_row, place = raw.sample_row, raw.place
    return (
        replace(
            raw,
            sample_ids=tuple(raw.sample_ids[i] for i in kept),
            values=raw.values[kept],
            sample_row=lambda i: first_row(kept[i]),
            place=lambda sample, feature: place(kept[sample], feature),
        ),
        replace(
            resolved,
            samples=tuple(resolved.samples[i] for i in kept),
            notes=(*resolved.notes, f"{left:,} samples of other kinds left out"),
        ),
    )


def check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `UsageError` if an option has a value that is not known."""
    if value not in allowed:
        raise UsageError(f"{name}={value!r} is not known: use {', '.join(allowed)}")
