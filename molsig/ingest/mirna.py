"""miRNA reads per precursor or mature miRNA, as log2 of counts per million."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.ingest.genes import GeneMap
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.matrix import read_measured, report_of, slots_of
from molsig.ingest.orientation import MIRNA_ID
from molsig.ingest.scale import MIRNA_TOTAL, bring_to_log2
from molsig.types import FeatureMatrix, silent

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.orientation import Orientation
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
    measured = read_measured(
        path,
        orientation=orientation,
        scale=scale,
        genes=GeneMap(),
        sample_table=sample_table,
        kinds=kinds,
        layer=None,
        limits=limits,
        progress=progress,
    )
    raw, judged = measured.raw, measured.judged
    names = tuple(one if MIRNA_ID.fullmatch(one) else None for one in raw.feature_ids)
    foreign = names.count(None)
    if foreign * 2 > len(names):
        raise InputError(
            f"only {len(names) - foreign:,} of {len(names):,} features are human miRNAs (hsa-mir-..., MI..., MIMAT...)",
            file=path,
            hint="Give gene expression as rna, or say the orientation",
        )
    slots, features, duplicates = slots_of(names)
    whole = judged.scale != "raw" and len(features) >= LIBRARY_MIRNAS
    reads = np.asarray(np.nansum(raw.values, axis=1, dtype=np.float64)) if judged.scale == "counts" and whole else None
    values = bring_to_log2(raw, judged, slots, len(features), MIRNA_TOTAL if whole else None)
    notes = [f"{foreign:,} features that are no human miRNA left out"] if foreign else []
    if whole:
        notes.append(f"each sample scaled to a sum of {MIRNA_TOTAL:,.0f} over what was measured, then log2(x + 1)")
    elif judged.scale != "raw":
        notes.append(f"{len(features)} miRNAs are a panel of unknown library size: samples keep their own level")
    return FeatureMatrix(
        modality="mirna",
        samples=measured.resolved.samples,
        features=features,
        values=values,
        scale="raw" if judged.scale == "raw" else "log2",
        report=report_of(measured, "mirna", len(features), duplicates, "mirna", notes),
        reads=reads,
    )
