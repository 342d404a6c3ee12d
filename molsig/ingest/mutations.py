"""Somatic mutations in MAF: which sample has a mutation in which gene, and whether it changes the protein."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.errors import InputError
from molsig.ingest.delimited import line_of, stream_columns
from molsig.ingest.dialect import MISSING, sniff
from molsig.ingest.genes import GeneMap
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.samples import resolve_samples
from molsig.ingest.tables import read_sample_table
from molsig.types import ContractReport, MutationSet, silent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits
    from molsig.types import Progress

GENE, CLASS, SAMPLE = "Hugo_Symbol", "Variant_Classification", "Tumor_Sample_Barcode"

ALTERING = frozenset(
    {
        *("Missense_Mutation", "Nonsense_Mutation", "Nonstop_Mutation", "Translation_Start_Site", "Splice_Site"),
        *("Frame_Shift_Del", "Frame_Shift_Ins", "In_Frame_Del", "In_Frame_Ins", "Fusion", "Splice_Site_SNP"),
        *("Start_Codon_SNP", "Start_Codon_Del", "Start_Codon_Ins", "Stop_Codon_Del", "Stop_Codon_Ins"),
        *("De_novo_Start_InFrame", "De_novo_Start_OutOfFrame", "Splice_Site_Del", "Splice_Site_Ins"),
    }
)
"""Classes that change the protein."""

SILENT = frozenset(
    {
        *("Silent", "Synonymous", "Intron", "5'UTR", "3'UTR", "5'Flank", "3'Flank", "IGR", "RNA", "lincRNA"),
        *("Splice_Region", "Targeted_Region", "COULD_NOT_DETERMINE", "5UTR", "3UTR", "5Flank", "3Flank"),
    }
)
"""Classes that leave the protein as it is, or lie outside of it."""

_ALTERING = frozenset(map(str.casefold, ALTERING))
_SILENT = frozenset(map(str.casefold, SILENT))
_COMPACT_ROWS = 4_000_000


def read_maf(
    path: str | Path,
    *,
    genes: GeneMap | None = None,
    sample_table: str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> MutationSet:
    """Read a MAF file (plain, gzip or zstd) in bounded memory.

    Columns are found by name: ``Hugo_Symbol``, ``Variant_Classification``, ``Tumor_Sample_Barcode``; the others are not
    read. Silent variants are kept and flagged. Rows without a gene name are counted and left out; their samples stay.

    Parameters
    ----------
    genes
        Gene names to bring symbols to.
    sample_table
        Table of sample, patient and kind for ids that are no TCGA barcodes.

    Raises
    ------
    InputError
        With file and row: a missing column, a ragged row, a variant without a sample, a header repeated further down.
    """
    dialect = sniff(path, limits)
    positions = {name: _position(dialect.header, name, path, dialect.header_line) for name in (GENE, CLASS, SAMPLE)}
    kind = pa.dictionary(pa.int32(), pa.string())
    types = {positions[name]: kind for name in sorted(positions, key=positions.__getitem__)}
    codes = {name: _Codes() for name in positions}
    pairs: list[NDArray[np.int64]] = []
    held = rows = 0
    for batch in stream_columns(path, dialect, types, limits, progress=progress):
        gene, variant, sample = (
            codes[name].encode(batch.column(str(positions[name])), rows) for name in (GENE, CLASS, SAMPLE)
        )
        rows += batch.num_rows
        pairs.append(_distinct(sample << 40 | variant << 32 | gene))
        held += len(pairs[-1])
        if held > _COMPACT_ROWS:
            pairs = [_distinct(np.concatenate(pairs))]
            held = len(pairs[0])
    if not rows:
        raise InputError("holds a header and no variants", file=path)
    row_of = partial(line_of, path, dialect, limits=limits)
    distinct = _distinct(np.concatenate(pairs))
    del pairs
    return _assemble(path, codes, distinct, rows, row_of, genes or GeneMap(), sample_table, limits)


@dataclass
class _Codes:
    """The distinct values of a column in order of appearance, and the record each was first seen in."""

    values: dict[str, int] = field(default_factory=dict)
    first: list[int] = field(default_factory=list)

    def encode(self, column: pa.DictionaryArray, records_before: int) -> NDArray[np.int64]:
        indices = column.indices.to_numpy(zero_copy_only=False)
        words = column.dictionary.to_pylist()
        first = np.zeros(len(words), dtype=np.int64)
        first[indices[::-1]] = np.arange(len(indices))[::-1]  # the last to be written is the first to occur
        translate = np.zeros(len(words), dtype=np.int64)
        for i in np.argsort(first, kind="stable"):
            code = self.values.setdefault(words[i].strip(), len(self.values))
            if code == len(self.first):
                self.first.append(records_before + int(first[i]))
            translate[i] = code
        return np.asarray(translate[indices])


def _distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted distinct keys; several times as fast here as `numpy.unique`, which hashes."""
    keys.sort()
    return keys[np.flatnonzero(np.diff(keys, prepend=-1))]


def _assemble(
    path: str | Path,
    codes: dict[str, _Codes],
    distinct: NDArray[np.int64],
    rows: int,
    row_of: partial[int],
    genes: GeneMap,
    sample_table: str | Path | None,
    limits: Limits,
) -> MutationSet:
    silent_classes, warnings = _classes(path, codes[CLASS], row_of)
    ids = list(codes[SAMPLE].values)
    firsts = codes[SAMPLE].first
    for one, first in zip(ids, firsts, strict=True):
        if one == SAMPLE or one in MISSING:
            problem = "the header is repeated here" if one == SAMPLE else "a variant without a sample"
            raise InputError(problem, file=path, row=row_of(first), column=SAMPLE, hint="Remove the row")
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(ids, file=path, row_of=lambda i: row_of(firsts[i]), table=table, unique=False)
    names = list(codes[GENE].values)
    named = genes.canonical(names, file=path, row_of=lambda i: row_of(codes[GENE].first[i]))
    samples = sorted(set(resolved.samples), key=lambda sample: sample.sample)
    symbols = sorted({name for name in named.names if name is not None})
    sample_slot = {sample: i for i, sample in enumerate(samples)}
    gene_slot = {symbol: i for i, symbol in enumerate(symbols)}
    to_sample = np.array([sample_slot[sample] for sample in resolved.samples], dtype=np.int64)
    to_gene = np.array([-1 if name is None else gene_slot[name] for name in named.names], dtype=np.int64)
    gene = to_gene[distinct & 0xFFFFFFFF]
    quiet = silent_classes[distinct >> 32 & 0xFF]
    sample = to_sample[distinct >> 40]
    kept = gene >= 0
    final = _distinct(sample[kept] << 33 | gene[kept] << 1 | quiet[kept])
    unnamed = [name for name, target in zip(names, named.names, strict=True) if target is None]
    notes = list(resolved.notes)
    if unnamed:
        notes.append(f"variants without a gene name ({', '.join(map(repr, unnamed[:5]))}) left out")
    if named.dates:
        shown = ", ".join(f"{found} as {symbol}" for _, found, symbol in named.dates[:5])
        notes.append(f"{len(named.dates)} gene names that a spreadsheet turned into dates were read right: {shown}")
    still = int((final & 1).sum())
    notes.append(
        f"{len(final) - still:,} sample-gene pairs with a protein-altering variant, {still:,} with a silent one"
    )
    merged = len(names) - len(unnamed) - len(symbols)
    return MutationSet(
        samples=tuple(samples),
        genes=tuple(symbols),
        sample_index=(final >> 33).astype(np.int32),
        gene_index=(final >> 1 & 0xFFFFFFFF).astype(np.int32),
        silent=(final & 1).astype(np.bool_),
        report=ContractReport(
            file=str(path),
            modality="mutation",
            rows=rows,
            samples=len(samples),
            patients=resolved.patients,
            features=len(symbols),
            duplicates=merged,
            id_type=named.id_type,
            kinds=resolved.kinds,
            joined=resolved.joined,
            notes=tuple(notes),
            warnings=(*resolved.warnings, *warnings),
        ),
    )


def _classes(path: str | Path, codes: _Codes, row_of: partial[int]) -> tuple[NDArray[np.int64], list[str]]:
    """For each class whether it is silent; an unknown one counts as silent, with a warning."""
    if len(codes.values) > 0xFF:
        odd = list(codes.values)[0xFF]
        raise InputError(
            f"over 255 different variant classes, such as {odd!r}: this is another column",
            file=path,
            row=row_of(codes.first[0xFF]),
            column=CLASS,
        )
    quiet, warnings = [], []
    for word, first in zip(codes.values, codes.first, strict=True):
        plain = word.casefold()
        quiet.append(plain not in _ALTERING)
        if plain not in _ALTERING and plain not in _SILENT:
            warnings.append(f"row {row_of(first)}: {CLASS} {word!r} is not known and counts as silent")
    return np.array(quiet, dtype=np.int64), warnings


def _position(header: tuple[str, ...], name: str, path: str | Path, row: int) -> int:
    plain = [one.strip().casefold() for one in header]
    places = [i for i, one in enumerate(plain) if one == name.casefold()]
    if len(places) == 1:
        return places[0]
    problem = f"there are {len(places)} columns of this name" if places else "the column is missing"
    raise InputError(
        problem, file=path, row=row, column=name, hint=f"A MAF file needs {GENE}, {CLASS} and {SAMPLE}, once each"
    )
