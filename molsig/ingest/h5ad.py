"""AnnData files: samples are the observations, genes the variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, MissingExtraError
from molsig.ingest.orientation import RawMatrix
from molsig.ingest.samples import KIND_COLUMNS, PATIENT_COLUMNS, find_column

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.limits import Limits

_BLOCK = 1024


def read_h5ad(path: str | Path, layer: str | None, limits: Limits) -> RawMatrix:
    """Read an H5AD file, dense or sparse, from ``X`` or a layer.

    Natural logarithms that scanpy's ``log1p`` left a note of are undone.

    Raises
    ------
    InputError
        Damaged, links to other files, over the limits, no such layer, or not numbers.
    MissingExtraError
        anndata is not installed.
    """
    try:
        import anndata
    except ModuleNotFoundError:
        raise MissingExtraError("reading H5AD", "scverse") from None
    from molsig.ingest.hdf5 import check_self_contained, open_h5

    with open_h5(path, limits) as file:
        check_self_contained(file, path)
        if "X" not in file and layer is None:
            raise InputError("is an HDF5 file without X: no AnnData", file=path)
    try:
        data = anndata.read_h5ad(path, backed="r")
    except Exception as error:
        raise InputError(f"is not a proper H5AD file ({error})", file=path) from None
    try:
        limits.check_shape(data.n_obs, data.n_vars, path)
        if layer is not None and layer not in data.layers:
            raise InputError(f"has no layer {layer!r}; it has {', '.join(data.layers) or 'none'}", file=path)
        values = _dense(data.X if layer is None else data.layers[layer], (data.n_obs, data.n_vars), path)
        obs, ids = data.obs, tuple(map(str, data.obs_names))
        genes = tuple(map(str, data.var_names))
        logged = data.uns.get("log1p") if layer is None else None
        layers = tuple(data.layers)
        patients, kinds = _column(obs, PATIENT_COLUMNS), _column(obs, KIND_COLUMNS)
    finally:
        data.file.close()
    notes = [f"layers not read: {', '.join(layers)}"] if layers and layer is None else []
    if logged is not None:
        base = logged.get("base") if isinstance(logged, dict) else None
        values = _undo_log(values, None if base is None else float(np.asarray(base)))
        notes.append("log1p of scanpy undone")
    if not values.size:
        raise InputError("holds no values", file=path)
    return RawMatrix(
        file=path,
        rows=len(ids),
        sample_ids=ids,
        feature_ids=genes,
        values=values,
        patients=patients,
        kinds=kinds,
        orientation="samples-down",
        notes=tuple(notes),
        sample_row=(1).__add__,
        feature_row=lambda _: None,
        place=lambda sample, feature: (sample + 1, genes[feature]),
    )


def _dense(matrix: Any, shape: tuple[int, int], path: str | Path) -> NDArray[np.float32]:
    if matrix is None or getattr(matrix, "dtype", np.dtype(object)).kind not in "fiub":
        raise InputError("X does not hold numbers", file=path)
    values = np.empty(shape, dtype=np.float32)
    try:
        for start in range(0, shape[0], _BLOCK):
            block = matrix[start : start + _BLOCK]
            values[start : start + _BLOCK] = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"is damaged ({error})", file=path) from None
    return values


def _column(obs: Any, wanted: tuple[str, ...]) -> tuple[str | None, ...] | None:
    position = find_column([str(name) for name in obs.columns], wanted)
    if position is None:
        return None
    column = obs.iloc[:, position]
    return tuple(None if missing else str(one) for one, missing in zip(column, column.isna(), strict=True))


def _undo_log(values: NDArray[np.float32], base: float | None) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        exponents = values if base is None else values * np.float32(np.log(base))
        return np.expm1(exponents)
