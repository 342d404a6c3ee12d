"""Ready vectors of any encoder, brought to 768 dimensions without bending distances where that is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, UsageError
from molsig.ingest.lift import Reduce, to_768
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.mapped import blocks
from molsig.ingest.opening import file_kind
from molsig.ingest.samples import resolve_samples
from molsig.ingest.tables import read_sample_table
from molsig.ingest.vector_files import ENCODER_NAME, read_h5, read_npy, read_parquet
from molsig.types import ContractReport, VectorSet, check_modality, silent

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.vector_files import Ready
    from molsig.types import Progress


SHORTEST = 1e-15
"""A vector has a number of at least this magnitude: of shorter ones the square is lost in float32."""


def read_vectors(
    path: str | Path,
    *,
    modality: str,
    encoder: str | None = None,
    ids: str | Path | None = None,
    reduce: Reduce | None = None,
    sample_table: str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    seed: int = 0,
    progress: Progress = silent,
) -> VectorSet:
    """Read vectors that an encoder of the user's own has made.

    768 dimensions stay as they are. Fewer are lifted by a seeded isometry: all distances, cosines and norms are kept.
    More are refused unless `reduce` says how to bring them down.

    Parameters
    ----------
    path
        Parquet (columns of ids, and one list column or many numeric columns), NPY, or H5.
    encoder
        Name of the encoder; vectors of encoders of different names never meet. By default what the file says
        (attribute or metadata ``encoder``), else ``ready-<modality>-<dimensions>d``.
    ids
        For NPY, and H5 without ids: a table with the columns sample, patient, kind, item, or a list of ids, one a line.
    reduce
        ``first`` or ``last`` 768 dimensions, or a seeded ``random`` projection on 768 orthogonal directions.
    seed
        Of the lift and of the random projection; part of the space's name.

    Returns
    -------
    VectorSet
        float32, shape (n, 768).

    Raises
    ------
    InputError
        With the row: a vector that is zero or not finite, ids that do not fit the vectors, a repeated sample and item,
        an array of objects, a link out of an H5 file.
    MissingExtraError
        H5 without ``molsig[h5]``.
    """
    check_modality(modality)
    if reduce is not None and reduce not in get_args(Reduce):
        raise UsageError(f"reduce={reduce!r} is not known: use {', '.join(get_args(Reduce))}")
    if encoder is not None and not ENCODER_NAME.fullmatch(encoder):
        raise UsageError(f"{encoder!r} cannot name an encoder: use letters, digits and . _ - +, at most 64")
    kind = file_kind(path, limits)
    if kind == "parquet":
        ready = read_parquet(path, ids, limits)
    elif kind == "npy":
        ready = read_npy(path, ids, limits)
    elif kind == "hdf5":
        ready = read_h5(path, ids, limits)
    else:
        raise InputError("is no Parquet, NPY or H5 file", file=path, hint="Save the vectors in one of these formats")
    _check_vectors(path, ready)
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(
        ready.samples,
        file=path,
        row_of=(1).__add__,
        patients=ready.patients,
        kinds=ready.kinds,
        table=table,
        unique=False,
    )
    _check_unique(path, ready)
    dims = ready.vectors.shape[1]
    name = encoder or ready.encoder or f"ready-{modality}-{dims}d"
    vectors, suffix, note = to_768(ready.vectors, reduce, seed, path)
    return VectorSet(
        modality=modality,
        samples=resolved.samples,
        items=tuple(ready.items),
        vectors=vectors,
        encoder=name + suffix,
        report=ContractReport(
            file=str(path),
            modality=modality,
            rows=len(ready.samples),
            samples=len(set(resolved.samples)),
            patients=resolved.patients,
            features=dims,
            kinds=resolved.kinds,
            joined=resolved.joined,
            notes=(*ready.notes, *resolved.notes, note),
            warnings=resolved.warnings,
        ),
    )


def _check_vectors(path: str | Path, ready: Ready) -> None:
    for start, block in blocks(ready.vectors):
        # A row with NaN has NaN for both.
        low, high = block.min(axis=1), block.max(axis=1)
        finite, zero = np.isfinite(low) & np.isfinite(high), np.maximum(-low, high) < SHORTEST
        if finite.all() and not zero.any():
            continue
        i = int(np.argmax(~finite | zero))
        short = "a vector of zeros, which has no direction"
        if low[i] or high[i]:
            short = f"a vector whose numbers are all below {SHORTEST:g}, too short to compare"
        problem = short if finite[i] else "a vector that is not finite"
        raise InputError(
            problem,
            file=path,
            row=start + i + 1,
            column=ready.samples[start + i],
            hint="Remove it, or encode it again",
        )


def _check_unique(path: str | Path, ready: Ready) -> None:
    names = pa.table({"sample": pa.array(ready.samples, pa.string()), "item": pa.array(ready.items, pa.string())})
    if names.group_by(["sample", "item"]).aggregate([]).num_rows == names.num_rows:
        return
    seen: dict[tuple[str, str], int] = {}
    for i, key in enumerate(zip(ready.samples, ready.items, strict=True)):
        if seen.setdefault(key, i) != i:
            item = f", item {key[1]!r}," if key[1] else ""
            raise InputError(
                f"sample {key[0]!r}{item} is there twice, first in row {seen[key] + 1}",
                file=path,
                row=i + 1,
                hint="Tell the parts of a sample apart by a column 'item'",
            )
