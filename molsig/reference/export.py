"""Vectors of a reference out to a file, with provenance and patient columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import MissingExtraError, NotFoundError, UsageError
from molsig.index.attributes import PREDICTED
from molsig.index.patient_columns import told_as
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from molsig.index.store import Store

ENDINGS = (".parquet", ".csv", ".h5ad")


def export(store: Store, output: Path, *, space: str, where: str | None) -> dict[str, Any]:
    """Write one row per vector of `space` (a modality, a space or ``sum``), patients limited by `where`.

    Parquet keeps the vector as one list column, CSV as columns ``v0`` to ``v767``, H5AD as X with the rest in obs.
    """
    if output.suffix.lower() not in ENDINGS:
        raise UsageError(f"--output {output}: give a name ending in {', '.join(ENDINGS)}")
    name = _resolve(store, space)
    rows = store.rows(name)
    if where is not None:
        rows = rows.filter(pc.is_in(rows["patient"], pa.array(store.select_patients(where), pa.string())))
    if rows.num_rows == 0:
        raise NotFoundError(f"space {name} has no vector" + ("" if where is None else f" that meets {where!r}"))
    attributes = store.attributes(sorted(set(rows["patient"].to_pylist())))
    table = rows.join(attributes, "patient", right_suffix="_of_patient")
    for predicted in _predicted(store.predictions()):
        table = table.join(predicted, "patient")
    table = table.sort_by("id")
    _, vectors = store.vectors(name, table["id"].to_numpy())
    _write(table, vectors, output)
    return {"space": name, "rows": table.num_rows, "file": str(output)}


def _resolve(store: Store, space: str) -> str:
    spaces = store.spaces()
    for one in spaces:
        if space == one.space or (space == one.modality and one.active):
            return one.space
    have = ", ".join(one.space for one in spaces) or "none"
    raise UsageError(f"--space {space}: there is no such space or modality (there are: {have})")


def _predicted(stored: pa.Table) -> Iterator[pa.Table]:
    """The predictions of each column, by patient, under names that no recorded column can have."""
    for field in pc.unique(stored["field"]).to_pylist():
        some = stored.filter(pc.equal(stored["field"], field)).drop_columns(["field"])
        yield some.rename_columns(
            [
                name if name == "patient" else f"{PREDICTED}{field}" + ("" if name == "value" else f":{name}")
                for name in some.column_names
            ]
        )


def _write(table: pa.Table, vectors: Any, output: Path) -> None:
    ending = output.suffix.lower()
    ours = {".parquet": {"vector"}, ".csv": {f"v{column}" for column in range(DIM)}}.get(ending, set())
    table = table.rename_columns([told_as(name, ours) for name in table.column_names])
    if ending == ".parquet":
        from pyarrow import parquet

        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)
        parquet.write_table(table.append_column("vector", flat), output)
    elif ending == ".csv":
        from pyarrow import csv

        for column in range(DIM):
            table = table.append_column(f"v{column}", pa.array(vectors[:, column]))
        csv.write_csv(table, output)
    else:
        try:
            import anndata
        except ImportError:
            raise MissingExtraError(f"writing {output.name}", "scverse") from None
        obs = table.to_pandas().set_index(table["id"].to_pandas().astype(str).rename("row"))
        for column in obs.select_dtypes(include="object").columns:
            obs[column] = obs[column].astype("category")
        anndata.AnnData(X=vectors, obs=obs.drop(columns="id")).write_h5ad(output)
