"""miRNA reads per precursor or mature miRNA, as log2 of counts per million."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from molsig.errors import InputError
from molsig.ingest.expression import check_finite, check_option, keep_kinds, read_raw, report_of, slots_of
from molsig.ingest.genes import GeneMap
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.orientation import MIRNA_ID, Orientation
from molsig.ingest.samples import resolve_samples
from molsig.ingest.scale import MIRNA_TOTAL, SCALES, bring_to_log2, judge, measure
from molsig.ingest.tables import read_sample_table
from molsig.types import FeatureMatrix, silent

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.scale import Scale
    from molsig.types import Progress, SampleKind

LIBRARY_MIRNAS = 100
"""miRNAs from which on the sum of a sample is its library."""


def read_mirna(
    path: str | Path,
    *,
    orientation: Orientation = "auto",
    scale: Scale = "auto",
    sample_table: str | Path | None = None,
    kinds: Collection[SampleKind] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> FeatureMatrix:
    """Read miRNA expression: same formats and options as `molsig.ingest.expression.read_expression`.

    Features keep their ids (``hsa-mir-21``, ``hsa-miR-21-5p``, ``MIMAT0000076``). Each sample is scaled to one million
    over what was measured in it; a miRNA that was not measured stays NaN, for an absent column can give away the tumour
    type.

    Returns
    -------
    FeatureMatrix
        ``log2(counts per million + 1)``.

    Raises
    ------
    InputError
        With file, row and column; also where fewer than half of the features are human miRNAs.
    """
    check_option("scale", scale, SCALES)
    check_option("orientation", orientation, get_args(Orientation))
    raw = read_raw(path, orientation, GeneMap(), None, limits, progress)
    known = sum(MIRNA_ID.fullmatch(one) is not None for one in raw.feature_ids)
    if known * 2 < len(raw.feature_ids):
        raise InputError(
            f"{known:,} of {len(raw.feature_ids):,} features are human miRNAs (hsa-mir-..., MI..., MIMAT...)",
            file=path,
            hint="Give gene expression as rna, or say the orientation",
        )
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(
        raw.sample_ids, file=path, row_of=raw.sample_row, patients=raw.patients, kinds=raw.kinds, table=table
    )
    if kinds is not None:
        raw, resolved = keep_kinds(raw, resolved, frozenset(kinds))
    found = measure(raw.values)
    check_finite(raw, found)
    judged = judge(raw, scale, found)
    slots, features, duplicates = slots_of(tuple(one if MIRNA_ID.fullmatch(one) else None for one in raw.feature_ids))
    whole = judged.scale != "raw" and len(features) >= LIBRARY_MIRNAS
    values = bring_to_log2(raw, judged, slots, len(features), MIRNA_TOTAL if whole else None)
    notes = []
    if known < len(raw.feature_ids):
        notes.append(f"{len(raw.feature_ids) - known:,} features that are no human miRNA left out")
    if whole:
        notes.append(
            f"each sample scaled to a sum of {MIRNA_TOTAL:,.0f} over what was measured in it, then log2(x + 1)"
        )
    elif judged.scale != "raw":
        notes.append(
            f"{len(features)} miRNAs are a panel: its library size is not known, so samples keep their own level"
        )
    return FeatureMatrix(
        modality="mirna",
        samples=resolved.samples,
        features=features,
        values=values,
        scale="raw" if judged.scale == "raw" else "log2",
        report=report_of(raw, "mirna", resolved, judged, found, len(features), duplicates, "mirna", notes),
    )
