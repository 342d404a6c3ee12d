"""Expression matrices: TSV, CSV, Parquet, GCT and H5AD to one scale and one set of gene names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.genes import GeneMap
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.matrix import read_measured, report_of, slots_of
from molsig.ingest.orientation import MIRNA_ID
from molsig.ingest.scale import LIBRARY_GENES, PANEL_GENES, PANEL_MEAN, RNA_TOTAL, bring_to_log2
from molsig.types import FeatureMatrix, check_modality, silent

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from molsig.ingest.genes import Named
    from molsig.ingest.limits import Limits
    from molsig.ingest.orientation import Orientation, RawMatrix
    from molsig.ingest.scale import Judged, Scale
    from molsig.types import Progress, SampleKind

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
    genes = genes or GeneMap()
    measured = read_measured(
        path,
        orientation=orientation,
        scale=scale,
        genes=genes,
        sample_table=sample_table,
        kinds=kinds,
        layer=layer,
        limits=limits,
        progress=progress,
    )
    raw, judged = measured.raw, measured.judged
    as_column = raw.orientation == "samples-down"
    if modality in GENE_MODALITIES:
        mirnas = sum(MIRNA_ID.fullmatch(one) is not None for one in raw.feature_ids)
        if 2 * mirnas > len(raw.feature_ids):
            raise InputError(f"{mirnas:,} features are miRNAs, not genes", file=path, hint="Give the file as miRNA")
        named = genes.canonical(raw.feature_ids, file=path, row_of=raw.feature_row, as_column=as_column)
        names, dropped = _genes_only(raw, named)
        notes = [*_date_notes(named), *dropped]
        id_type: str | None = named.id_type
    else:
        names, notes, id_type = tuple(one or None for one in raw.feature_ids), [], None
    slots, features, duplicates = slots_of(names)
    if not features:
        raise InputError("no feature has a name", file=path)
    total = None
    if modality in GENE_MODALITIES and judged.scale != "raw":
        total, told, warned = _library(judged, len(features))
        judged = replace(judged, notes=(*judged.notes, *told), warnings=(*judged.warnings, *warned))
    values = bring_to_log2(raw, judged, slots, len(features), total)
    return FeatureMatrix(
        modality=modality,
        samples=measured.resolved.samples,
        features=features,
        values=values,
        scale="raw" if judged.scale == "raw" else "log2",
        report=report_of(replace(measured, judged=judged), modality, len(features), duplicates, id_type, notes),
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


def _library(judged: Judged, n_genes: int) -> tuple[float | None, tuple[str, ...], tuple[str, ...]]:
    """The sum that each sample is scaled to, if any; a note and a warning on it."""
    if n_genes >= LIBRARY_GENES:
        return RNA_TOTAL, (f"each sample scaled to a sum of {RNA_TOTAL:,.0f} over its genes, then log2(x + 1)",), ()
    panel = f"{n_genes:,} genes are a panel, whose library size is not known"
    if judged.scale != "counts":
        return None, (f"{panel}: samples keep the level they have",), ()
    if n_genes >= PANEL_GENES:
        return PANEL_MEAN * n_genes, (f"{panel}: counts scaled to a mean of {PANEL_MEAN:,.0f} per gene",), ()
    return (
        None,
        (),
        (f"{panel}: sequencing depth stays in the counts. Give TPM or another normalised scale if you can",),
    )
