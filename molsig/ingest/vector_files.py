"""The files that ready vectors come in: Parquet, NPY with ids beside it, H5."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, MissingExtraError, UsageError
from molsig.ingest.mapped import blocks, release, room
from molsig.ingest.opening import TextStream, file_kind, open_regular
from molsig.ingest.parquet import read_parquet_batches
from molsig.ingest.samples import KIND_COLUMNS, PATIENT_COLUMNS, SAMPLE_COLUMNS, find_column
from molsig.ingest.tables import read_records_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits

ITEM_COLUMNS = ("item", "tile", "tile_id", "sentence", "position", "coords")
ENCODER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_VECTOR_NAMES = ("vectors", "vector", "embeddings", "embedding", "features", "feats", "x")


@dataclass(frozen=True, slots=True)
class Ready:
    """Vectors and ids as they stand in a file; `encoder` is the name that the file gives, if any."""

    vectors: NDArray[np.float32]
    samples: list[str]
    patients: list[str | None] | None
    kinds: list[str | None] | None
    items: list[str]
    encoder: str | None
    notes: tuple[str, ...] = ()


def read_parquet(path: str | Path, ids: str | Path | None, limits: Limits) -> Ready:
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
    if rows == 0:
        raise InputError("holds no vectors", file=path)
    vectors = np.empty((0, 0), np.float32)
    words: dict[int, list[str | None]] = {i: [] for i in texts}
    before = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        if lists:
            part = _from_lists(path, batch.column(lists[0]), before, schema.names[lists[0]], limits)
        else:
            columns = [batch.column(i).cast(pa.float32()).to_numpy(zero_copy_only=False) for i in numbers]
            part = np.column_stack(columns)
        if before == 0:
            limits.check_shape(rows, part.shape[1], path)
            vectors = room(rows, part.shape[1], path)
        if part.shape[1] != vectors.shape[1]:
            widths = sorted((part.shape[1], vectors.shape[1]))
            raise InputError(f"vectors of different lengths: {widths[0]}, {widths[1]}", file=path)
        vectors[before : before + len(part)] = part
        release(vectors)
        for i in texts:
            words[i] += _as_words(path, batch.column(i), schema.names[i])
        before += batch.num_rows
    names = [schema.names[i] for i in texts]
    ready = _with_ids(path, vectors, names, [words[i] for i in texts], (1).__add__)
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
    if len(lengths) and not lengths[0]:
        raise InputError("a vector without numbers", file=path, row=before + 1, column=name)
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


def read_npy(path: str | Path, ids: str | Path | None, limits: Limits) -> Ready:
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


def _as_matrix(path: str | Path, array: Any, limits: Limits, name: str | None = None) -> NDArray[np.float32]:
    shape: tuple[int, ...] = getattr(array, "shape", ())
    dtype = getattr(array, "dtype", np.dtype(object))
    batch = len(shape) == 3 and shape[0] == 1
    if batch:
        # Slide tools write one batch of tiles: (1, tiles, dimensions).
        shape = shape[1:]
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"an array of shape {shape}, and (vectors, dimensions) is needed", file=path, column=name)
    if dtype.kind not in "fiu":
        raise InputError(f"an array of {dtype}, and numbers are needed", file=path, column=name)
    rows, width = map(int, shape)
    limits.check_shape(rows, width, path)
    if isinstance(array, np.ndarray) and dtype == np.float32 and array.flags.c_contiguous:
        return np.asarray(array).reshape(rows, width)
    vectors = room(rows, width, path)
    with np.errstate(over="ignore"):
        for start, part in blocks(vectors):
            some = slice(start, start + len(part))
            try:
                part[:] = array[0, some] if batch else array[some]
            except OSError as error:
                raise _damaged(path, error) from None
    return vectors


def read_h5(path: str | Path, ids: str | Path | None, limits: Limits) -> Ready:
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
        vectors = _as_matrix(path, arrays[name], limits, name)
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


def _whole(path: str | Path, dataset: Any, limits: Limits) -> Any:
    shape = dataset.shape
    cells = int(np.prod(shape, dtype=np.float64)) if shape else 0
    if cells > limits.max_cells:
        raise InputError(f"{cells:,} numbers, more than the limit of {limits.max_cells:,}", file=path)
    try:
        return dataset[()]
    except OSError as error:
        raise _damaged(path, error) from None


def _damaged(path: str | Path, error: OSError) -> InputError:
    return InputError(f"is damaged ({error})", file=path)


def _h5_words(path: str | Path, dataset: Any, name: str, limits: Limits) -> list[str | None]:
    kind = dataset.dtype
    if kind.kind not in "OSUiu":
        return [None] * len(dataset)
    values = _whole(path, dataset, limits)
    return [one.decode("utf-8", errors="replace") if isinstance(one, bytes) else str(one) for one in values]


def _with_ids_of(path: str | Path, vectors: NDArray[np.float32], ids: str | Path, limits: Limits) -> Ready:
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
) -> Ready:
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
    return Ready(
        vectors=vectors,
        samples=[str(one) for one in words[key]],
        patients=None if patient is None or patient == key else words[patient],
        kinds=None if kind is None else words[kind],
        items=[""] * len(vectors) if item is None else [one or "" for one in words[item]],
        encoder=None,
        notes=(f"columns not used: {', '.join(unused[:8])}",) if unused else (),
    )


def _named(ready: Ready, said: str) -> Ready:
    return replace(ready, encoder=said) if ENCODER_NAME.fullmatch(said) else ready
