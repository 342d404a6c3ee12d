"""Building generations: which ones have to be, all their rows or only those that are new, and into which files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError, UsageError
from molsig.index.counters import counters
from molsig.index.faults import reached
from molsig.index.generations import clean, coverage, ids_of, standing_of, unusable
from molsig.index.manifest import (
    FACTS,
    STRUCTURE,
    VECTORS,
    GenerationInfo,
    NamedFile,
    folder_of,
    generation_info,
    read_manifest,
    sync_directory,
    write_manifest,
    write_synced,
)
from molsig.index.near import near
from molsig.index.opened import OpenGeneration
from molsig.index.rows_file import RowsFile, RowsWriter
from molsig.index.structure import METHODS, K, empty, faiss, methods_for, methods_to_build, unit
from molsig.index.tuning import TARGET_RECALL, Trial
from molsig.index.whole_file import told_if_full
from molsig.types import DIM, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.index.structure import Structure
    from molsig.index.tuning import Tuned
    from molsig.types import Progress

TAIL_SHARE = 0.10
TAIL_ROWS = 4_000
DEAD_SHARE = 0.05
"""A generation is outgrown when its tail is longer than this share of the space or than `TAIL_ROWS`, or this share of
its rows is dead."""

GROWS_BY = 4
"""What was learned for some rows (cells, a centre) serves up to this many times as many."""

BLOCK_ROWS = 16_384
"""Rows in hand at a time, some 50 MB of float32 and as much again at unit length."""

FALLEN = 0.005
"""A generation that grew is built anew where its recall fell by so much, and by more than chance explains."""

HELD_OUT = 500
GROWN_HELD_OUT = 100
"""Rows that recall is measured on: of a new generation, of one that grows."""

FEW = 200
"""With fewer new rows any rows are asked for their neighbours, themselves left out."""


def build_indexes(
    store: Store,
    spaces: Sequence[str] | None = None,
    *,
    force: bool = False,
    method: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[GenerationInfo]:
    """Build or grow the generations that are missing, damaged, outgrown or asked for; return those.

    `method` is kept for the space; None leaves it as it was chosen. Called by the holder of the writer lock only.
    """
    if method is not None and method not in METHODS:
        raise UsageError(f"unknown index method {method!r}: choose one of {', '.join(METHODS)}")
    known = [info.space for info in store.spaces()]
    for space in spaces or ():
        if space not in known:
            raise UsageError(f"{store.path}: no space {space!r}{near(space, known)}")
    clean(store)
    built = []
    for space in known if spaces is None else spaces:
        before = generation_info(store.index_dir, space)
        chosen = method or (before.chosen if before is not None else "auto")
        asked = force or (before is not None and before.method not in methods_for(chosen, before.rows))
        need = Due("asked for") if asked else what_is_due(store, space)
        if need is not None:
            try:
                info = _build(store, space, chosen, need.grows, seed=seed, progress=progress)
                if info is None:
                    del need
                    info = _build(store, space, chosen, None, seed=seed, progress=progress)
                assert info is not None, "what is built anew is kept"
                built.append(info)
            except OSError as error:
                raise told_if_full(folder_of(store.index_dir, space), error) from error
    return built


@dataclass(frozen=True)
class Due:
    """Why a generation has to be built, and the one that only has to grow, if any."""

    why: str
    grows: OpenGeneration | None = None


def what_is_due(store: Store, space: str) -> Due | None:
    """Return what has to be done for the generation of a space, None if it serves. Reads all its files."""
    try:
        info = read_manifest(store.index_dir, space)
        if info is None:
            return Due("there is none")
        generation = OpenGeneration(store.index_dir, info)
        generation.file.check_all()
        generation.structure()
    except DamagedError as error:
        return Due(str(error))
    except FileNotFoundError as error:
        return Due(f"{error.filename}: missing")
    with store.reading() as connection:
        if problem := unusable(info, standing_of(connection, space)):
            return Due(problem)
        ids = ids_of(connection, space)
    state = coverage(info, ids)
    if state.dead < 0:
        return Due(f"{space}: lacks rows that it should cover")
    if state.dead > DEAD_SHARE * info.rows:
        return Due(f"{state.dead:,} of {info.rows:,} rows are gone")
    if state.tail > min(TAIL_SHARE * state.rows, TAIL_ROWS):
        rows = info.rows + state.tail
        same = info.method in methods_for(info.chosen, rows) and rows <= GROWS_BY * info.trained_on
        return Due(f"{state.tail:,} of {state.rows:,} rows are newer", generation if same else None)
    return None


def _build(
    store: Store, space: str, chosen: str, grows: OpenGeneration | None, *, seed: int, progress: Progress
) -> GenerationInfo | None:
    """Build the generation of a space over all its rows, or add to one what is new, and put it in place.

    None where one that grew finds less than before: what it learned does not serve the rows that came.
    """
    with store.reading() as connection:
        ids = ids_of(connection, space)
        standing = standing_of(connection, space)
        _, next_id = counters(connection)
    assert standing is not None
    folder = folder_of(store.index_dir, space)
    folder.mkdir(parents=True, exist_ok=True)
    before = generation_info(store.index_dir, space)
    number = 1 + max([before.generation if before else 0, *(_number(file) for file in folder.glob("0*"))])
    step = f"index {space}"
    if grows is None:
        fresh, kept, vectors = ids, None, f"{number:06d}{VECTORS}"
        structures = [empty(method, len(ids)) for method in methods_to_build(chosen, len(ids))]
    else:
        fresh, kept, vectors = ids[ids > grows.info.high_water], grows.file.facts, grows.info.vectors
        structures = [grows.structure()]
    reached("index.vectors")
    rows = RowsWriter(folder / vectors, kept)
    for done, some in _blocks(fresh):
        progress(f"{step}: vectors", done, len(fresh))
        rows.append(some, store.vectors(space, some)[1])
    facts = rows.close()
    file = RowsFile.open(folder / vectors, facts)
    start = 0 if kept is None else len(kept.ids)
    filled: list[tuple[Structure, Tuned]] = []
    for one in structures:
        tuned = _fill(one, file, start, alone=len(structures) == 1, seed=seed, step=step, progress=progress)
        if tuned is not None:
            filled.append((one, tuned))
            if one.settles and tuned.recall >= TARGET_RECALL:
                break
    structure, tuned = min(filled, key=_preference)
    if grows is not None and _fell(grows.info, tuned):
        return None
    data = structure.serialised()
    info = GenerationInfo(
        reference=standing.reference,
        space=space,
        generation=number,
        structure=_write(folder, number, STRUCTURE, data.data),
        facts=_write(folder, number, FACTS, facts.serialised()),
        vectors=vectors,
        rows=len(file),
        high_water=next_id - 1,
        snapshot=standing.snapshot,
        dims=DIM,
        method=structure.method,
        chosen=chosen,
        parameters=structure.parameters(),
        trained_on=len(ids) if grows is None else grows.info.trained_on,
        depth=tuned.depth,
        effort=tuned.effort,
        recall=round(tuned.recall, 5),
        recall_queries=tuned.queries,
        seed=seed,
        faiss=str(faiss().__version__),
        built=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_manifest(store.index_dir, info)
    reached("generation.delete")
    clean(store)
    sync_directory(folder)
    return info


def _fell(before: GenerationInfo, tuned: Tuned) -> bool:
    """Whether a generation that grew finds less than it did, by more than chance gives of so many queries."""
    wanted = min(TARGET_RECALL, before.recall)
    chance = wanted * (1 - wanted) * (1 / max(1, tuned.queries) + 1 / max(1, before.recall_queries)) / K
    return tuned.recall < wanted - max(FALLEN, 2 * math.sqrt(chance))


def _preference(filled: tuple[Structure, Tuned]) -> tuple[bool, float]:
    """The structure that finds enough comes first, then the one that has less to do."""
    structure, tuned = filled
    return tuned.recall < TARGET_RECALL, structure.cost(tuned.depth, tuned.effort)


def _write(folder: Path, number: int, ending: str, content: bytes | memoryview) -> NamedFile:
    """Write a file of a generation under a temporary name and put it in place."""
    final = folder / f"{number:06d}{ending}"
    fresh = final.with_suffix(f"{ending}.new")
    if ending == STRUCTURE:
        reached("index.write")
    write_synced(fresh, content)
    if ending == STRUCTURE:
        reached("index.rename")
    fresh.rename(final)
    sync_directory(folder)
    return NamedFile(final.name, len(content), sha256(content).hexdigest())


def _fill(
    structure: Structure, file: RowsFile, start: int, *, alone: bool, seed: int, step: str, progress: Progress
) -> Tuned | None:
    """Put the rows of a file from `start` on into a structure, and measure and tune its search.

    None where it is not `alone` and what it learned does not suit the rows.
    """
    count = len(file)
    random = np.random.default_rng(seed)
    new = count - start
    few = new < FEW
    asked = min(HELD_OUT if not start else GROWN_HELD_OUT, count if few else new // 10)
    first = 0 if few else start
    own = np.sort(first + random.choice(count - first, asked, replace=False))
    if not start and (sample := structure.sample(count)):
        progress(step, 0, count)
        # Rows that measure the search teach it nothing, as a new patient does not.
        others = np.arange(count) if few else np.delete(np.arange(count), own)
        chosen = np.sort(random.choice(others, min(sample, len(others)), replace=False))
        structure.train(unit(file.read(chosen)), seed)
        if not alone and not structure.suits:
            return None
    held_out = own if structure.holds_out and not few else own[:0]
    trial = Trial(own, file.read(own))
    for done, rows in _blocks(np.arange(count)):
        progress(step, done, count)
        vectors = unit(file.read(rows))
        there = ~np.isin(rows, held_out)
        trial.show(rows[there], vectors[there] if len(held_out) else vectors)
        add = there & (rows >= start)
        if add.any():
            structure.add(vectors[add], rows[add])
        file.let_go()
    tuned = trial.tune(structure, file)
    if len(held_out):
        structure.add(unit(file.read(held_out)), held_out)
    progress(step, count, count)
    return tuned


def _blocks(rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield how many rows were before, and the next ones."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield start, rows[start : start + BLOCK_ROWS]


def _number(path: Path) -> int:
    stem = path.name.split(".")[0]
    return int(stem) if stem.isdigit() else 0
