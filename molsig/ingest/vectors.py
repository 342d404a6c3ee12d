"""Ready vectors of any encoder, brought to 768 dimensions without bending distances where that is possible."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, MissingExtraError, UsageError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import TextStream, file_kind, open_regular
from molsig.ingest.parquet import read_parquet_batches
from molsig.ingest.samples import KIND_COLUMNS, PATIENT_COLUMNS, SAMPLE_COLUMNS, find_column, resolve_samples
from molsig.ingest.tables import read_records_table, read_sample_table
from molsig.types import DIM, ContractReport, VectorSet, check_modality, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits
    from molsig.types import Progress

Reduce = Literal["first", "last", "random"]

ITEM_COLUMNS = ("item", "tile", "tile_id", "sentence", "position", "coords")
_VECTOR_NAMES = ("vectors", "vector", "embeddings", "embedding", "features", "feats", "x")
_ENCODER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True, slots=True)
class _Ready:
    """Vectors and ids as they stand in a file."""

    vectors: NDArray[np.float32]
    samples: list[str]
    patients: list[str | None] | None
    kinds: list[str | None] | None
    items: list[str]
    encoder: str | None
    notes: tuple[str, ...] = ()


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
    if encoder is not None and not _ENCODER.fullmatch(encoder):
        raise UsageError(f"{encoder!r} cannot name an encoder: use letters, digits and . _ - +, at most 64")
    kind = file_kind(path, limits)
    if kind == "parquet":
        ready = _read_parquet(path, ids, limits)
    elif kind == "npy":
        ready = _read_npy(path, ids, limits)
    elif kind == "hdf5":
        ready = _read_h5(path, ids, limits)
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


def isometry(dims: int, into: int, seed: int) -> NDArray[np.float64]:
    """A matrix with orthonormal rows, shape (`dims`, `into`), `dims` <= `into`; the same for the same seed.

    The orthogonal factor of a Gaussian matrix, its signs fixed by a positive diagonal of the triangular factor (F.
    Mezzadri, How to generate random matrices from the classical compact groups, 2007).
    """
    gauss = np.random.default_rng(seed).standard_normal((into, dims))
    factor, triangle = np.linalg.qr(gauss)
    return np.asarray((factor * np.sign(np.diagonal(triangle))).T)


def to_768(
    vectors: NDArray[np.float32], reduce: Reduce | None, seed: int, file: str | Path
) -> tuple[NDArray[np.float32], str, str]:
    """Bring vectors to 768 dimensions: the vectors, what to add to the name of their space, and a note.

    Raises
    ------
    InputError
        More than 768 dimensions and no reduction named, or a reduction that leaves a vector of zeros.
    """
    dims = vectors.shape[1]
    if dims == DIM:
        return vectors, "", f"{DIM} dimensions, taken as they are"
    if dims < DIM:
        lifted = (vectors.astype(np.float64) @ isometry(dims, DIM, seed)).astype(np.float32)
        return lifted, f".lift{dims}-s{seed}", f"{dims} dimensions lifted to {DIM} by an isometry (seed {seed})"
    if reduce is None:
        raise InputError(
            f"vectors of {dims:,} dimensions, and molsig stores {DIM}",
            file=file,
            hint="Say how to bring them down: reduce='first', 'last' or 'random'; or reduce them yourself",
        )
    if reduce == "random":
        # Scaled so that lengths keep their size on average (Johnson and Lindenstrauss, 1984).
        projection = isometry(DIM, dims, seed).T * np.sqrt(dims / DIM)
        reduced = (vectors.astype(np.float64) @ projection).astype(np.float32)
        suffix = f".random{dims}-s{seed}"
    else:
        reduced = np.ascontiguousarray(vectors[:, :DIM] if reduce == "first" else vectors[:, -DIM:])
        suffix = f".{reduce}{dims}"
    zero = np.flatnonzero(~reduced.any(axis=1))
    if len(zero):
        raise InputError(f"reduce={reduce!r} leaves nothing of this vector", file=file, row=int(zero[0]) + 1)
    return reduced, suffix, f"{dims:,} dimensions brought to {DIM}: {reduce}"


def _read_parquet(path: str | Path, ids: str | Path | None, limits: Limits) -> _Ready:
    if ids is not None:
        raise UsageError("a Parquet file of vectors holds its own ids: leave ids out")
    schema, rows, batches = read_parquet_batches(path, limits)
    lists = [i for i, one in enumerate(schema) if _is_list(one.type)]
    numbers = [i for i, one in enumerate(schema) if pa.types.is_floating(one.type)]
    texts = [i for i, one in enumerate(schema) if i not in lists and i not in numbers]
    if len(lists) > 1:
        several = ", ".join(schema.names[i] for i in lists)
        raise InputError(f"{len(lists)} columns hold lists ({several}), and one vector column is needed", file=path)
    if not lists and not numbers:
        raise InputError("no list column and no numeric columns: no vectors", file=path)
    parts: list[NDArray[np.float32]] = []
    words: dict[int, list[str | None]] = {i: [] for i in texts}
    before = 0
    for batch in batches:
        if lists:
            parts.append(_from_lists(path, batch.column(lists[0]), before, schema.names[lists[0]], limits))
        else:
            columns = [batch.column(i).cast(pa.float32()).to_numpy(zero_copy_only=False) for i in numbers]
            parts.append(np.column_stack(columns))
        for i in texts:
            words[i] += _as_words(path, batch.column(i), schema.names[i])
        before += batch.num_rows
    if rows == 0:
        raise InputError("holds no vectors", file=path)
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise InputError(f"vectors of different lengths: {', '.join(map(str, sorted(widths)))}", file=path)
    names = [schema.names[i] for i in texts]
    ready = _with_ids(path, np.concatenate(parts), names, [words[i] for i in texts], (1).__add__)
    said = (schema.metadata or {}).get(b"encoder", b"").decode("utf-8", errors="replace")
    return _named(ready, said)


def _from_lists(path: str | Path, column: pa.Array, before: int, name: str, limits: Limits) -> NDArray[np.float32]:
    if column.null_count:
        row = before + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]) + 1
        raise InputError("no vector", file=path, row=row, column=name)
    lengths = np.asarray(column.value_lengths() if hasattr(column, "value_lengths") else _fixed_lengths(column))
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd):
        raise InputError(
            f"a vector of {lengths[odd[0]]} numbers, others have {lengths[0]}",
            file=path,
            row=before + int(odd[0]) + 1,
            column=name,
        )
    limits.check_shape(len(column), int(lengths[0]), path)
    values = column.flatten()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise InputError(f"the column holds {column.type}, and lists of numbers are needed", file=path, column=name)
    flat = values.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(column), int(lengths[0]))


def _fixed_lengths(column: pa.Array) -> NDArray[np.int64]:
    return np.full(len(column), column.type.list_size)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _as_words(path: str | Path, column: pa.Array, name: str) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        words: list[str | None] = column.cast(pa.large_string()).to_pylist()
    except (pa.ArrowException, NotImplementedError):
        raise InputError(f"the column holds {column.type}, neither ids nor numbers", file=path, column=name) from None
    return words


def _read_npy(path: str | Path, ids: str | Path | None, limits: Limits) -> _Ready:
    if ids is None:
        raise InputError(
            "an NPY file has no ids in it", file=path, hint="Give ids=: a table, or a list of sample ids, one a line"
        )
    open_regular(path, limits).close()
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InputError(f"is damaged, or not an array of plain numbers ({error})", file=path) from None
    return _with_ids_of(path, _as_matrix(path, array, limits), ids, limits)


def _as_matrix(path: str | Path, array: object, limits: Limits, name: str | None = None) -> NDArray[np.float32]:
    shape: tuple[int, ...] = getattr(array, "shape", ())
    dtype = getattr(array, "dtype", np.dtype(object))
    if len(shape) == 3 and shape[0] == 1:
        # Slide tools write one batch of tiles: (1, tiles, dimensions).
        array, shape = array[0], shape[1:]  # type: ignore[index]
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"an array of shape {shape}, and (vectors, dimensions) is needed", file=path, column=name)
    if dtype.kind not in "fiu":
        raise InputError(f"an array of {dtype}, and numbers are needed", file=path, column=name)
    limits.check_shape(int(shape[0]), int(shape[1]), path)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.asarray(array), dtype=np.float32)


def _read_h5(path: str | Path, ids: str | Path | None, limits: Limits) -> _Ready:
    try:
        import h5py
    except ModuleNotFoundError:
        raise MissingExtraError("reading H5", "h5") from None
    from molsig.ingest.hdf5 import check_self_contained, open_h5

    with open_h5(path, limits) as file:
        check_self_contained(file, path)
        arrays = {key.lower(): one for key, one in file.items() if isinstance(one, h5py.Dataset)}
        name = next((one for one in _VECTOR_NAMES if one in arrays), None)
        if name is None:
            raise InputError(
                f"no dataset of vectors; there are {', '.join(file) or 'none'}",
                file=path,
                hint="Call it 'vectors', 'embeddings' or 'features'",
            )
        vectors = _as_matrix(path, _whole(path, arrays[name], limits), limits, name)
        said = arrays[name].attrs.get("encoder", file.attrs.get("encoder", ""))
        columns = {
            key: _h5_words(path, one, key, limits)
            for key, one in arrays.items()
            if key != name and one.ndim == 1 and len(one) == len(vectors)
        }
        if "item" not in columns and "coords" in arrays and arrays["coords"].shape == (len(vectors), 2):
            columns["item"] = [f"{x},{y}" for x, y in arrays["coords"][()]]
    encoder = said.decode("utf-8", errors="replace") if isinstance(said, bytes) else str(said)
    if ids is not None:
        return _named(_with_ids_of(path, vectors, ids, limits), encoder)
    known = [*SAMPLE_COLUMNS, "ids", "sample_ids", "names", *PATIENT_COLUMNS]
    if find_column(list(columns), known) is None:
        stem = str(path).rpartition("/")[2].partition(".")[0]
        columns["sample"] = [stem] * len(vectors)
    for other in ("ids", "sample_ids", "names"):
        if other in columns and "sample" not in columns:
            columns["sample"] = columns.pop(other)
    return _named(_with_ids(path, vectors, list(columns), list(columns.values()), (1).__add__), encoder)


def _whole(path: str | Path, dataset: object, limits: Limits) -> object:
    shape = dataset.shape  # type: ignore[attr-defined]
    cells = int(np.prod(shape, dtype=np.float64)) if shape else 0
    if cells > limits.max_cells:
        raise InputError(f"{cells:,} numbers, more than the limit of {limits.max_cells:,}", file=path)
    try:
        return dataset[()]  # type: ignore[index]
    except OSError as error:
        raise InputError(f"is damaged ({error})", file=path) from None


def _h5_words(path: str | Path, dataset: object, name: str, limits: Limits) -> list[str | None]:
    kind = dataset.dtype  # type: ignore[attr-defined]
    if kind.kind not in "OSUiu":
        return [None] * len(dataset)  # type: ignore[arg-type]
    values = _whole(path, dataset, limits)
    return [one.decode("utf-8", errors="replace") if isinstance(one, bytes) else str(one) for one in values]  # type: ignore[attr-defined]


def _with_ids_of(path: str | Path, vectors: NDArray[np.float32], ids: str | Path, limits: Limits) -> _Ready:
    """Join vectors with the ids of another file, row by row."""
    if file_kind(ids, limits) != "parquet" and _is_list_of_ids(ids, limits):
        with TextStream(ids, limits) as stream:
            lines = stream.read().decode("utf-8").splitlines()
        words: list[list[str | None]] = [[line.strip() or None for line in lines if line.strip()]]
        names = ["sample"]
        if words[0] and (words[0][0] or "").lower() in (*SAMPLE_COLUMNS, *PATIENT_COLUMNS):
            names = [str(words[0].pop(0))]
        row_of: Callable[[int], int] = (1).__add__
    else:
        table = read_records_table(ids, limits)
        names, row_of = list(table.names), table.row_of
        words = [table.strings(i) for i in range(len(names))]
    if len(words[0]) != len(vectors):
        raise InputError(f"{len(words[0]):,} ids for {len(vectors):,} vectors of {path}", file=ids)
    return _with_ids(ids, vectors, names, words, row_of)


def _is_list_of_ids(ids: str | Path, limits: Limits) -> bool:
    with TextStream(ids, limits) as stream:
        first = (stream.read_line() or b"").decode("utf-8")
    return not any(delimiter in first for delimiter in "\t;,")


def _with_ids(
    file: str | Path,
    vectors: NDArray[np.float32],
    names: list[str],
    words: list[list[str | None]],
    row_of: Callable[[int], int],
) -> _Ready:
    sample = find_column(names, SAMPLE_COLUMNS)
    patient = find_column(names, PATIENT_COLUMNS)
    key = patient if sample is None else sample
    if key is None:
        raise InputError(
            f"no column names the sample or the patient; the columns are {', '.join(names[:12]) or 'none'}",
            file=file,
            hint="Call it 'sample'",
        )
    for i, one in enumerate(words[key]):
        if not one:
            raise InputError("a vector without a sample", file=file, row=row_of(i), column=names[key])
    kind, item = find_column(names, KIND_COLUMNS), find_column(names, ITEM_COLUMNS)
    unused = [name for i, name in enumerate(names) if i not in (sample, patient, kind, item)]
    return _Ready(
        vectors=vectors,
        samples=[str(one) for one in words[key]],
        patients=None if patient is None or patient == key else words[patient],
        kinds=None if kind is None else words[kind],
        items=[""] * len(vectors) if item is None else [one or "" for one in words[item]],
        encoder=None,
        notes=(f"columns not used: {', '.join(unused[:8])}",) if unused else (),
    )


def _named(ready: _Ready, said: str) -> _Ready:
    from dataclasses import replace

    return replace(ready, encoder=said) if _ENCODER.fullmatch(said) else ready


def _check_vectors(path: str | Path, ready: _Ready) -> None:
    for problem, rows in (
        ("a vector that is not finite", ~np.isfinite(ready.vectors).all(axis=1)),
        ("a vector of zeros, which has no direction", ~ready.vectors.any(axis=1)),
    ):
        wrong = np.flatnonzero(rows)
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                problem, file=path, row=i + 1, column=ready.samples[i], hint="Remove it, or encode it again"
            )


def _check_unique(path: str | Path, ready: _Ready) -> None:
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
