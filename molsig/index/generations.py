"""Generations: derived from the truth, written whole or not at all, thrown away without regret.

A generation covers every row of its space up to a high-water mark. Its files are written under temporary names, fsynced
and renamed, then its manifest the same way; those before go only after the manifest names the new ones. Whoever dies in
between leaves files that no manifest names, and the next writer removes them. Building is in `building`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.arrays import integers
from molsig.index.connection import first
from molsig.index.counters import counters
from molsig.index.manifest import MANIFEST, folder_of, generation_info
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from molsig.index.manifest import GenerationInfo
    from molsig.index.store import Store


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a generation stands to the truth: `rows` of the space, of which `tail` are newer; `dead` rows of its own."""

    rows: int
    tail: int
    dead: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Identity of the reference, its snapshot, and the last one that purged rows of a space."""

    reference: str
    snapshot: int
    purged: int


def standing_of(connection: duckdb.DuckDBPyConnection, space: str) -> Standing | None:
    """Return what a generation of a space has to agree with, or None for a space that does not exist."""
    found = first(
        connection,
        "SELECT (SELECT value FROM meta WHERE key = 'reference'), purged FROM spaces WHERE space = ?",
        [space],
    )
    return None if found is None else Standing(found[0], counters(connection)[0], found[1])


def unusable(info: GenerationInfo, standing: Standing | None) -> str | None:
    """Return why a generation may not answer for this state of the truth, or None."""
    if standing is None:
        return "its space is gone"
    if info.reference != standing.reference:
        return "it belongs to another reference"
    if info.snapshot < standing.purged:
        return "it still holds rows of forgotten patients"
    if info.snapshot > standing.snapshot:
        return "it is newer than the database, which was put back from a copy"
    return None


def coverage(info: GenerationInfo, ids: NDArray[np.int64]) -> Coverage:
    """Return how a generation stands to the row ids of its space; `dead` is negative if it lacks rows."""
    covered = int(np.searchsorted(ids, info.high_water, side="right"))
    return Coverage(len(ids), len(ids) - covered, info.rows - covered)


def ids_of(connection: duckdb.DuckDBPyConnection, space: str) -> NDArray[np.int64]:
    """Return the row ids of a space, sorted."""
    if space == SUM_SPACE:
        found = connection.sql("SELECT id FROM aggregates ORDER BY id")
    else:
        found = connection.sql("SELECT id FROM embeddings WHERE space = ? ORDER BY id", params=[space])
    return integers(found.to_arrow_table()["id"])


def clean(store: Store) -> None:
    """Remove what no manifest names, and every generation that may not answer any more."""
    if not store.index_dir.is_dir():
        return
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT space FROM spaces WHERE space IN (SELECT space FROM embeddings)"
            " OR (space = ? AND EXISTS (SELECT 1 FROM aggregates))",
            [SUM_SPACE],
        ).fetchall()
        named: dict[Path, tuple[str, ...] | None] = {}
        for (space,) in rows:
            info = generation_info(store.index_dir, space)
            usable = info is not None and unusable(info, standing_of(connection, space)) is None
            named[folder_of(store.index_dir, space)] = info.files if info is not None and usable else None
    for folder in store.index_dir.iterdir():
        if not folder.is_dir():
            continue
        files = named.get(folder)
        if folder not in named:
            shutil.rmtree(folder)
        elif files is None or not all((folder / file).is_file() for file in files):
            # The vectors go before the manifest that tells of them.
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == MANIFEST):
                entry.unlink()
        else:
            for entry in folder.iterdir():
                if entry.name not in (MANIFEST, *files):
                    entry.unlink()
