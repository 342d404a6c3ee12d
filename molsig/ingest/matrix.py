"""What expression, miRNA and other measured matrices have in common: from file to samples, features and report."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.ingest.grid import read_parquet_grid, read_text_grid
from molsig.ingest.opening import TextStream, file_kind
from molsig.ingest.orientation import Orientation, orient
from molsig.ingest.samples import parse_barcode, resolve_samples
from molsig.ingest.scale import SCALES, first_place, judge, measure
from molsig.ingest.tables import read_sample_table
from molsig.types import ContractReport, SampleKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.genes import GeneMap
    from molsig.ingest.limits import Limits
    from molsig.ingest.orientation import RawMatrix
    from molsig.ingest.samples import Resolved
    from molsig.ingest.scale import Judged, Range, Scale
    from molsig.types import Progress


@dataclass(frozen=True, slots=True)
class Measured:
    """A matrix whose samples are settled and whose scale is known, before features are named and units changed."""

    raw: RawMatrix
    resolved: Resolved
    found: Range
    judged: Judged


def read_measured(
    path: str | Path,
    *,
    orientation: Orientation,
    scale: Scale,
    genes: GeneMap,
    sample_table: str | Path | None,
    kinds: Collection[SampleKind] | None,
    layer: str | None,
    limits: Limits,
    progress: Progress,
) -> Measured:
    """Read a matrix, tell its samples, and find out its scale.

    Raises
    ------
    InputError
        See `molsig.ingest.expression.read_expression`.
    """
    _check_option("scale", scale, SCALES)
    _check_option("orientation", orientation, get_args(Orientation))
    raw = _merge_repeats(_read_raw(path, orientation, genes, layer, limits, progress))
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(
        raw.sample_ids,
        file=path,
        row_of=raw.sample_row,
        as_column=raw.orientation == "samples-across",
        patients=raw.patients,
        kinds=raw.kinds,
        table=table,
    )
    found = measure(raw.values)
    _check_finite(raw, found)
    judged = judge(raw, scale, found)  # on all kinds, so that a selection never changes the units
    if kinds is not None:
        raw, resolved = _keep_kinds(raw, resolved, frozenset(kinds))
        found = measure(raw.values)
    return Measured(raw, resolved, found, judged)


def slots_of(names: tuple[str | None, ...]) -> tuple[NDArray[np.intp], tuple[str, ...], int]:
    """Where each feature of the file goes: its slot among the distinct names, in order of first appearance."""
    places: dict[str, int] = {}
    slots = np.empty(len(names), dtype=np.intp)
    for i, name in enumerate(names):
        slots[i] = -1 if name is None else places.setdefault(name, len(places))
    return slots, tuple(places), int((slots >= 0).sum()) - len(places)


def report_of(
    measured: Measured, modality: str, features: int, duplicates: int, id_type: str | None, notes: Sequence[str]
) -> ContractReport:
    """Tell what was understood of a matrix."""
    raw, resolved, judged = measured.raw, measured.resolved, measured.judged
    if duplicates:
        how = "averaged" if judged.scale == "raw" else "summed on the linear scale"
        notes = [*notes, f"{duplicates:,} duplicate features were {how}"]
    if measured.found.missing:
        notes = [*notes, f"{measured.found.missing:,} values are missing and stay missing"]
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


def _read_raw(
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


def _check_finite(raw: RawMatrix, found: Range) -> None:
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


def _keep_kinds(raw: RawMatrix, resolved: Resolved, kinds: frozenset[SampleKind]) -> tuple[RawMatrix, Resolved]:
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
    note = f"{left:,} samples of other kinds left out"
    chosen = tuple(resolved.samples[i] for i in kept)
    return _select(raw, kept), replace(resolved, samples=chosen, notes=(*resolved.notes, note))


def _check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise `UsageError` if an option has a value that is not known."""
    if value not in allowed:
        raise UsageError(f"{name}={value!r} is not known: use {', '.join(allowed)}")


def _select(raw: RawMatrix, kept: Sequence[int]) -> RawMatrix:
    """The same matrix with some of its samples."""
    row, place = raw.sample_row, raw.place
    return replace(
        raw,
        sample_ids=tuple(raw.sample_ids[i] for i in kept),
        values=raw.values[list(kept)],
        patients=None if raw.patients is None else tuple(raw.patients[i] for i in kept),
        kinds=None if raw.kinds is None else tuple(raw.kinds[i] for i in kept),
        sample_row=lambda i: row(kept[i]),
        place=lambda sample, feature: place(kept[sample], feature),
    )


def _merge_repeats(raw: RawMatrix) -> RawMatrix:
    """Leave out repetitions of a sample that say the same; `resolve_samples` refuses those that do not."""
    places: dict[str, list[int]] = defaultdict(list)
    for i, one in enumerate(raw.sample_ids):
        barcode = parse_barcode(one)
        places[one if barcode is None else barcode.full].append(i)
    repeats = {
        i
        for first, *others in places.values()
        for i in others
        if np.array_equal(raw.values[i], raw.values[first], equal_nan=True)
    }
    if not repeats:
        return raw
    kept = [i for i in range(len(raw.sample_ids)) if i not in repeats]
    note = f"{len(repeats):,} samples were there twice with the same values and are taken once"
    return replace(_select(raw, kept), notes=(*raw.notes, note))
