"""Parquet under limits: the shape is looked at before anything is unpacked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from molsig.errors import InputError
from molsig.ingest.opening import file_kind, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from molsig.ingest.limits import Limits


def read_parquet_batches(path: str | Path, limits: Limits) -> tuple[pa.Schema, int, Iterator[pa.RecordBatch]]:
    """Open a Parquet file: its schema, its number of rows, and its rows in batches.

    Raises
    ------
    InputError
        Not a Parquet file, damaged, or over the limits.
    """
    import pyarrow.parquet as pq

    if file_kind(path, limits) != "parquet":
        raise InputError("is not a Parquet file", file=path)
    open_regular(path, limits).close()
    with _damage_told(path):
        # Else a column of a row group is read as a whole: all vectors of a file, as most are written.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        metadata = file.metadata
        schema = file.schema_arrow
        names = schema.names
        unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    limits.check_shape(metadata.num_rows, metadata.num_columns, path)
    longest = max(map(len, names), default=0)
    if longest > limits.max_cell_chars:
        raise InputError(f"a column has a name of {longest:,} characters", file=path)
    if unpacked > limits.max_unpacked_bytes:
        raise InputError(
            f"unpacks to {unpacked:,} bytes, more than the limit of {limits.max_unpacked_bytes:,}", file=path
        )
    # A row of many columns takes more than its bytes, a list in one column takes no less.
    row_bytes = max(16 * metadata.num_columns, unpacked // max(1, metadata.num_rows), 1)
    return schema, metadata.num_rows, _batches(file, path, metadata.num_rows, max(256, _BATCH_BYTES // row_bytes))


_BATCH_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 16


def _batches(file: Any, path: str | Path, rows: int, at_once: int) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(batch_size=at_once)
    seen = 0
    while True:
        with _damage_told(path):
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=True)  # offsets and UTF-8: a file may hold anything
        if batch is None:
            break
        seen += batch.num_rows
        yield batch
    if seen != rows:
        raise InputError(f"is damaged: {seen:,} rows, and its metadata speaks of {rows:,}", file=path)


@contextmanager
def _damage_told(path: str | Path) -> Iterator[None]:
    """Turn what Arrow says of a broken file into an `InputError`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = f"is damaged or not a proper Parquet file ({error})"
        raise InputError(problem, file=path, hint="Write or copy it again") from None
