"""Parquet under limits: the shape is looked at before anything is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    with open_regular(path, limits), _damage(path):
        file = pq.ParquetFile(path)
        metadata = file.metadata
        schema = file.schema_arrow
    limits.check_shape(metadata.num_rows, metadata.num_columns, path)
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > limits.max_unpacked_bytes:
        raise InputError(
            f"unpacks to {unpacked:,} bytes, more than the limit of {limits.max_unpacked_bytes:,}", file=path
        )
    return schema, metadata.num_rows, _batches(file, path, max(256, (1 << 22) // max(1, metadata.num_columns)))


def _batches(file: object, path: str | Path, rows: int) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(batch_size=rows)  # type: ignore[attr-defined]
    while True:
        with _damage(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


class _damage:  # noqa: N801
    """Turn what Arrow says of a broken file into an `InputError`."""

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pa.ArrowException | OSError) and not isinstance(error, InputError):
            raise InputError(
                f"is damaged or not a proper Parquet file ({error})", file=self._path, hint="Write or copy it again"
            ) from None
