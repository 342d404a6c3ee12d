"""Which way round a matrix lies: samples down the rows, or across the columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from molsig.errors import InputError
from molsig.ingest.genes import ENTREZ_COLUMNS
from molsig.ingest.grid import FEATURE_COLUMNS
from molsig.ingest.samples import (
    KIND_COLUMNS,
    PATIENT_COLUMNS,
    SAMPLE_COLUMNS,
    find_column,
    parse_barcode,
    parse_kind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from molsig.ingest.genes import GeneMap
    from molsig.ingest.grid import Grid

Orientation = Literal["auto", "samples-down", "samples-across"]

_WELL_KNOWN = """
ABL1 ACTB ACTG1 AIF1 AKT1 ALB ALK APC APOE AR ARID1A ATM ATRX B2M BAP1 BCL2 BCL6 BRAF BRCA1 BRCA2 CALR CCND1 CCNE1
CD19 CD274 CD3D CD3E CD4 CD44 CD58 CD68 CD74 CD8A CDH1 CDK4 CDK6 CDKN1A CDKN2A CEACAM5 CHEK2 CLIC1 COL1A1 COL3A1
CTNNB1 CXCL8 CXCR4 DCN DNMT3A EEF1A1 EGFR EPCAM ERBB2 ERBB3 ERG ESR1 EZH2 FBXW7 FGFR1 FGFR2 FGFR3 FLT3 FN1 FOS FOXA1
FOXP3 GAPDH GATA3 GFAP GNAS GOT2 H3F3A HIF1A HLA-A HLA-B HLA-C HNF1A HPRT1 HRAS IDH1 IDH2 IFNG IL2 IL6 IRF4 JAK1 JAK2
JUN KDR KEAP1 KIT KLK3 KMT2D KRAS KRT18 KRT19 KRT5 KRT7 KRT8 LDHA MAP2K1 MAPK1 MDM2 MET MKI67 MLH1 MMP9 MPL MSH2 MSH6
MTOR MUC1 MUC16 MYC MYCN NF1 NF2 NFE2L2 NKX2-1 NOTCH1 NPM1 NRAS NTRK1 PAX8 PBRM1 PCNA PDCD1 PDGFRA PGK1 PGR PIK3CA
PIK3R1 PMS2 POLE PPIA PTEN PTMA PTPN11 PTPRC RAD51 RAF1 RB1 RET ROS1 RPL13A RPLP0 RPS6 RUNX1 S100A8 SDHA SETD2 SFTPC
SMAD4 SMARCB1 SMO SOX2 SPOP SRC STAG2 STAT3 STK11 SYP TBP TERT TET2 TFRC TG TGFB1 TMPRSS2 TNF TOP2A TP53 TP63 TSC1
TSC2 TTF1 TUBB VEGFA VHL VIM WT1 YAP1 YWHAZ
"""
WELL_KNOWN_GENES = frozenset(_WELL_KNOWN.split())
"""Genes that most panels hold some of; a list of ids with three of them is a list of genes."""

_NUMERIC_ANNOTATIONS = frozenset(ENTREZ_COLUMNS) | {
    *("length", "gene_length", "exonic_length", "width"),
    *("gc", "gc_content", "age", "year", "batch", "plate", "os", "os.time", "pfi", "pfi.time"),
}
QUANTIFICATIONS: dict[frozenset[str], str] = {
    frozenset({"unstranded", "tpm_unstranded"}): "unstranded",  # GDC, from STAR
    frozenset({"expected_count", "tpm"}): "expected_count",  # RSEM
    frozenset({"numreads", "tpm"}): "numreads",  # salmon, summarised to genes
}
"""Columns by which the output of a quantifier for one sample is known, and the one of them that holds its reads."""

MIRNA_ID = re.compile(r"hsa-(mir|miR|let|lsy)-?.+|MI(MAT)?\d{7}")
"""Ids of human miRNAs, precursor or mature, by name or by miRBase accession."""


@dataclass(frozen=True, slots=True)
class RawMatrix:
    """Samples by features as measured: ids as they stand in the file, values not yet brought to a scale.

    Attributes
    ----------
    values
        float32, shape (n_samples, n_features), NaN where missing.
    sample_row, feature_row
        Row of the file that names the i-th sample or feature; None where they are named by columns of a binary file.
    place
        (row, column) of the value of a sample and a feature, for messages.
    """

    file: str | Path
    rows: int
    sample_ids: tuple[str, ...]
    feature_ids: tuple[str, ...]
    values: NDArray[np.float32]
    patients: tuple[str | None, ...] | None
    kinds: tuple[str | None, ...] | None
    orientation: str
    notes: tuple[str, ...]
    sample_row: Callable[[int], int]
    feature_row: Callable[[int], int | None]
    place: Callable[[int, int], tuple[int, str]]


def orient(grid: Grid, orientation: Orientation, genes: GeneMap) -> RawMatrix:
    """Find the ids and lay samples down the rows.

    Raises
    ------
    InputError
        No column of ids, no numeric column, or it cannot be told which way round the table lies.
    """
    if not grid.texts:
        raise InputError(
            "no column names the rows",
            file=grid.file,
            hint="Put the sample ids (or gene ids) into a first column called 'sample' (or 'gene')",
        )
    if not grid.numbers:
        raise InputError("no column of numbers", file=grid.file, hint="Expression needs numeric columns")
    if orientation == "auto":
        orientation = _detect(grid, genes)
    return _samples_down(grid) if orientation == "samples-down" else _samples_across(grid)


def _detect(grid: Grid, genes: GeneMap) -> Orientation:
    key = _key_column(grid, (*SAMPLE_COLUMNS, *FEATURE_COLUMNS, *PATIENT_COLUMNS))
    side = [one for one in grid.texts[key] if one is not None]
    head = [grid.names[position] for position in grid.numbers]
    verdicts: dict[str, str] = {}
    barcodes = (_share(head, parse_barcode), _share(side, parse_barcode))
    if max(barcodes) > 0.5:
        verdicts["barcodes"] = "samples-across" if barcodes[0] > barcodes[1] else "samples-down"
    known = (_share(head, partial(_is_feature, genes)), _share(side, partial(_is_feature, genes)))
    if max(known) > 0.3 and min(known) < 0.5 * max(known):
        verdicts["gene ids"] = "samples-down" if known[0] > known[1] else "samples-across"
    else:
        famous = (len(WELL_KNOWN_GENES.intersection(head)), len(WELL_KNOWN_GENES.intersection(side)))
        if max(famous) >= 3 and min(famous) == 0:
            verdicts["genes"] = "samples-down" if famous[0] else "samples-across"
    name = _plain(grid.names[key])
    if name != "id":
        if name in SAMPLE_COLUMNS or name in PATIENT_COLUMNS:
            verdicts["the name of the id column"] = "samples-down"
        elif name in FEATURE_COLUMNS and name != "name":
            verdicts["the name of the id column"] = "samples-across"
    found = set(verdicts.values())
    if len(found) == 1:
        return found.pop()  # type: ignore[return-value]
    said = "; ".join(f"{what}: {way}" for what, way in verdicts.items())
    raise InputError(
        f"cannot tell whether samples go down or across ({said or 'neither names nor ids say'})",
        file=grid.file,
        row=grid.header_row,
        hint="Say orientation='samples-down' or 'samples-across', or call the id column 'sample' or 'gene'",
    )


def _samples_down(grid: Grid) -> RawMatrix:
    names = [grid.names[position] if position in grid.texts else "" for position in range(len(grid.names))]
    patient = find_column(names, PATIENT_COLUMNS)
    key = _key_column(grid, (*SAMPLE_COLUMNS, "", "__index_level_0__", *PATIENT_COLUMNS))
    ids = _ids(grid, key, "sample")
    features = [position for position in grid.numbers if _plain(grid.names[position]) not in _NUMERIC_ANNOTATIONS]
    kind = _kind_column(grid, names)
    used = {key, patient, kind, *features}
    # Not `grid` itself in the functions below: it would keep the whole table in memory.
    row_of, header_row = grid.row_of, grid.header_row
    feature_ids = tuple(grid.names[position] for position in features)
    return RawMatrix(
        file=grid.file,
        rows=grid.rows,
        sample_ids=tuple(ids),
        feature_ids=feature_ids,
        values=grid.matrix(features, transposed=False),
        patients=None if patient is None or patient == key else tuple(grid.texts[patient]),
        kinds=None if kind is None else tuple(grid.texts[kind]),
        orientation="samples-down",
        notes=_unused(grid, used),
        sample_row=row_of,
        feature_row=lambda _: header_row,
        place=lambda sample, feature: (row_of(sample), feature_ids[feature]),
    )


def _samples_across(grid: Grid) -> RawMatrix:
    key = _key_column(grid, (*FEATURE_COLUMNS, "", "__index_level_0__", "id"))
    entrez = next((p for p, name in enumerate(grid.names) if p != key and _plain(name) in ENTREZ_COLUMNS), None)
    ids = list(grid.texts[key])
    if entrez is not None and entrez in grid.texts:
        ids = [
            one if one is not None else number and f"entrez:{number}"
            for one, number in zip(ids, grid.texts[entrez], strict=True)
        ]
    samples = [position for position in grid.numbers if _plain(grid.names[position]) not in _NUMERIC_ANNOTATIONS]
    row_of, header_row = grid.row_of, grid.header_row
    sample_ids = tuple(grid.names[position] for position in samples)
    reads = _reads_of_one_sample(grid)
    if reads is not None:
        samples, sample_ids = [reads], (str(grid.file).rpartition("/")[2].partition(".")[0],)
    return RawMatrix(
        file=grid.file,
        rows=grid.rows,
        sample_ids=sample_ids,
        feature_ids=tuple(one or "" for one in ids),
        values=grid.matrix(samples, transposed=True),
        patients=None,
        kinds=None,
        orientation="samples-across",
        notes=_unused(grid, {key, entrez, *samples}),
        sample_row=lambda _: header_row or 1,
        feature_row=row_of,
        place=lambda sample, feature: (row_of(feature), sample_ids[sample]),
    )


def _reads_of_one_sample(grid: Grid) -> int | None:
    """Position of the reads in the output of a quantifier, whose columns are measures of one sample and not samples."""
    places = {_plain(grid.names[position]): position for position in grid.numbers}
    return next((places[reads] for known, reads in QUANTIFICATIONS.items() if known <= places.keys()), None)


def _key_column(grid: Grid, wanted: Sequence[str]) -> int:
    names = [grid.names[position] if position in grid.texts else "\0" for position in range(len(grid.names))]
    found = find_column(names, wanted)
    if found is not None:
        return found
    roles = (*PATIENT_COLUMNS, *KIND_COLUMNS)
    others = [position for position in grid.texts if _plain(grid.names[position]) not in roles]
    return others[0] if others else next(iter(grid.texts))


def _kind_column(grid: Grid, names: Sequence[str]) -> int | None:
    position = find_column(names, KIND_COLUMNS)
    if position is None or _plain(grid.names[position]) == "kind":
        return position
    # "sample_type" is used for many things; it is taken for the kind only where all of it reads so.
    words = {word for word in grid.texts[position] if word is not None}
    return position if all(parse_kind(word) for word in words) else None


def _ids(grid: Grid, key: int, what: str) -> list[str]:
    ids = []
    for i, one in enumerate(grid.texts[key]):
        if one is None:
            raise InputError(
                f"a {what} without an id",
                file=grid.file,
                row=grid.row_of(i),
                column=grid.names[key] or None,
                hint="Give it one, or remove the row",
            )
        ids.append(one)
    return ids


def _unused(grid: Grid, used: set[int | None]) -> tuple[str, ...]:
    names = [name or "(unnamed)" for position, name in enumerate(grid.names) if position not in used]
    if not names:
        return ()
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return (f"columns not used: {shown}",)


def _is_feature(genes: GeneMap, one: str) -> bool:
    return genes.recognises(one) or MIRNA_ID.fullmatch(one) is not None


def _share(ids: Sequence[str], test: Callable[[str], object]) -> float:
    # A few hundred ids tell as much as all of them.
    step = max(1, len(ids) // 500)
    some = ids[::step]
    return sum(bool(test(one)) for one in some) / len(some) if some else 0.0


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
