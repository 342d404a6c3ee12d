"""FAISS generations: derived from the truth, written whole or not at all, thrown away without regret.

A generation covers every row of its space up to a high-water mark. It is written under a temporary name, fsynced and
renamed, then its manifest the same way; the generation before goes only after the manifest names the new one. Whoever
dies in between leaves files that no manifest names, and the next writer removes them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError, UsageError
from molsig.index import hnsw
from molsig.index.arrays import integers
from molsig.index.connection import first
from molsig.index.counters import counters
from molsig.index.faults import reached
from molsig.index.manifest import (
    MANIFEST,
    GenerationInfo,
    folder_of,
    generation_info,
    read_manifest,
    sha256_of,
    sync_directory,
    write_manifest,
    write_synced,
)
from molsig.index.near import near
from molsig.types import DIM, SUM_SPACE, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.types import Progress

TAIL_SHARE = 0.10
TAIL_ROWS = 20_000
DEAD_SHARE = 0.05
"""A generation is built anew when its tail is longer than this share of the space or than `TAIL_ROWS`, or this share of
its rows is dead."""

IN_MEMORY_ROWS = 200_000
"""Spaces up to this long (600 MB) are read once for a build."""

METHODS = ("auto", "hnsw")


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


def build_indexes(
    store: Store,
    spaces: Sequence[str] | None = None,
    *,
    force: bool = False,
    method: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> list[GenerationInfo]:
    """Build the generations that are missing, damaged, outgrown or asked for; return those built.

    Called by the holder of the writer lock only.
    """
    if method not in METHODS:
        raise UsageError(f"unknown index method {method!r}: choose one of {', '.join(METHODS)}")
    known = [info.space for info in store.spaces()]
    for space in spaces or ():
        if space not in known:
            raise UsageError(f"{store.path}: no space {space!r}{near(space, known)}")
    clean(store)
    return [
        build(store, space, seed=seed, progress=progress)
        for space in (known if spaces is None else spaces)
        if force or why_build(store, space)
    ]


def why_build(store: Store, space: str) -> str | None:
    """Return why the generation of a space has to be built, or None if it serves."""
    try:
        info = read_manifest(store.index_dir, space)
    except DamagedError as error:
        return str(error)
    if info is None:
        return "there is none"
    path = folder_of(store.index_dir, space) / info.file
    if not path.is_file() or path.stat().st_size != info.size or sha256_of(path) != info.sha256:
        return f"{path}: missing, or not the file that was written"
    with store.reading() as connection:
        if problem := unusable(info, standing_of(connection, space)):
            return problem
        ids = ids_of(connection, space)
    state = coverage(info, ids)
    if state.dead < 0:
        return f"{path}: lacks rows that it should cover"
    if state.tail > min(TAIL_SHARE * state.rows, TAIL_ROWS):
        return f"{state.tail:,} of {state.rows:,} rows are newer"
    if state.dead > DEAD_SHARE * info.rows:
        return f"{state.dead:,} of {info.rows:,} rows are gone"
    return None


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


def build(store: Store, space: str, *, seed: int = 0, progress: Progress = silent) -> GenerationInfo:
    """Build and put in place the generation of a space, over all its rows."""
    with store.reading() as connection:
        ids = ids_of(connection, space)
        standing = standing_of(connection, space)
        _, next_id = counters(connection)
    assert standing is not None
    made = hnsw.build(ids, _taker(store, space, ids), seed=seed, step=f"index {space}", progress=progress)
    folder = folder_of(store.index_dir, space)
    folder.mkdir(parents=True, exist_ok=True)
    before = generation_info(store.index_dir, space)
    number = 1 + max([before.generation if before else 0, *(_number(file) for file in folder.glob("*.faiss"))])
    final = folder / f"{number:06d}.faiss"
    fresh = final.with_suffix(".faiss.new")
    reached("index.write")
    write_synced(fresh, made.data.data)
    reached("index.rename")
    fresh.rename(final)
    sync_directory(folder)
    info = GenerationInfo(
        reference=standing.reference,
        space=space,
        generation=number,
        file=final.name,
        size=len(made.data),
        sha256=made.sha256,
        rows=made.rows,
        high_water=next_id - 1,
        snapshot=standing.snapshot,
        dims=DIM,
        method=hnsw.METHOD,
        m=hnsw.LINKS,
        ef_construction=hnsw.EF_CONSTRUCTION,
        ef_search=made.ef_search,
        recall=round(made.recall, 5),
        recall_queries=made.queries,
        seed=seed,
        faiss=made.faiss,
        built=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_manifest(store.index_dir, info)
    reached("generation.delete")
    for old in folder.glob("*.faiss"):
        if old.name != info.file:
            old.unlink()
    sync_directory(folder)
    return info


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
        named: dict[Path, str | None] = {}
        for (space,) in rows:
            info = generation_info(store.index_dir, space)
            usable = info is not None and unusable(info, standing_of(connection, space)) is None
            named[folder_of(store.index_dir, space)] = info.file if info is not None and usable else None
    for folder in store.index_dir.iterdir():
        if not folder.is_dir():
            continue
        file = named.get(folder)
        if folder not in named:
            shutil.rmtree(folder)
        elif file is None or not (folder / file).is_file():
            # The vectors go before the manifest that tells of them.
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == MANIFEST):
                entry.unlink()
        else:
            for entry in folder.iterdir():
                if entry.name not in (MANIFEST, file):
                    entry.unlink()


def _taker(store: Store, space: str, ids: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """Return what gives the vectors of some rows: out of memory where they fit, read as needed otherwise."""
    if len(ids) > IN_MEMORY_ROWS:
        return lambda some: store.vectors(space, some)[1]
    _, vectors = store.vectors(space)
    return lambda some: vectors[np.searchsorted(ids, some)]


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
