"""HDF5 files without surprises: nothing in them may lead to another file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molsig.errors import InputError
from molsig.ingest.opening import file_kind, open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.ingest.limits import Limits

_MAX_OBJECTS = 10_000


def open_h5(path: str | Path, limits: Limits) -> Any:
    """Open an HDF5 file for reading; a context manager as `h5py.File` is.

    Raises
    ------
    InputError
        It is not HDF5, is damaged, or is over the limits.
    """
    import h5py

    if file_kind(path, limits) != "hdf5":
        raise InputError("is not an HDF5 file", file=path)
    open_regular(path, limits).close()
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"is damaged, or not a proper HDF5 file ({error})", file=path) from None


def check_self_contained(file: Any, path: str | Path) -> None:
    """Raise `InputError` if a link or a dataset leads out of the file, or if links run in circles without end."""
    import h5py

    groups, seen, count = [("", file)], {file.id}, 0
    while groups:
        prefix, group = groups.pop()
        for name in group:
            count += 1
            where = f"{prefix}/{name}"
            if count > _MAX_OBJECTS:
                raise InputError(f"holds over {_MAX_OBJECTS:,} objects", file=path)
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise InputError(f"the link leads to another file, {link.filename!r}", file=path, column=where)
            if isinstance(link, h5py.SoftLink):
                raise InputError("a soft link, which is not followed", file=path, column=where)
            try:
                one = group[name]
            except (KeyError, OSError) as error:
                raise InputError(f"is damaged ({error})", file=path, column=where) from None
            if isinstance(one, h5py.Dataset) and (one.external or one.is_virtual):
                raise InputError("the dataset lies in another file", file=path, column=where)
            if isinstance(one, h5py.Group) and one.id not in seen:
                seen.add(one.id)
                groups.append((where, one))
