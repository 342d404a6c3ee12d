"""``molsig verify``: is everything on disk what was written, and does it agree with itself?

Each check reads what it speaks of in full. Nothing is changed and no model is loaded: an encoder's files are hashed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from molsig.errors import DamagedError, MissingExtraError, MolsigError
from molsig.index.aggregates import sums
from molsig.index.arrays import integers, integers_to_arrow, vectors_from_arrow
from molsig.index.batches import KINDS, LARGEST
from molsig.index.counters import counters
from molsig.index.exact import search_exact
from molsig.index.generations import coverage, standing_of, unusable
from molsig.index.hits import Ranked
from molsig.index.manifest import MANIFEST, folder_of, read_manifest, sha256_of
from molsig.index.opened import OpenGeneration
from molsig.index.reads import encoders_of, spaces_of
from molsig.index.rows_file import checksums
from molsig.index.schema import format_of, newest_format
from molsig.index.scoring import directions
from molsig.index.structure import K
from molsig.index.view import load_view
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from molsig.index.store import Store

BLOCK_ROWS = 50_000
SUM_TOLERANCE = 1e-5
"""An aggregate may differ from the sum of its rows by this share of its length; the sums are made in one order, so in
practice they are equal."""

SPOT_QUERIES = 20
SPOT_RECALL = 0.9


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it holds, and what was counted or what is wrong."""

    name: str
    ok: bool
    detail: str


def verify(store: Store) -> list[Check]:
    """Check a whole reference and return what was found, the sound and the unsound.

    The checks are named ``format``, ``database``, ``rows``, ``vectors``, ``aggregates``, ``index SPACE``,
    ``encoder SPACE``. Where the database itself cannot be read the others are left out.
    """
    try:
        with store.reading() as connection:
            checks = [_checked("format", partial(_format, store, connection))]
            database = _checked("database", partial(_database, connection))
            checks.append(database)
            if not database.ok or not checks[0].ok:
                return checks
            checks.append(_checked("rows", partial(_rows, connection)))
            checks.append(_checked("vectors", partial(_vectors, connection)))
            checks.append(_checked("aggregates", partial(_aggregates, connection)))
            encoders = encoders_of(connection)
    except MolsigError as error:
        return [Check("database", False, str(error))]
    checks += _indexes(store)
    for row in encoders:
        folder = store.encoders_dir / row.space
        if row.files_sha256:
            checks.append(_checked(f"encoder {row.space}", partial(_encoder, folder, row.files_sha256)))
    return checks


def _checked(name: str, look: Callable[[], str]) -> Check:
    """Return the check that `look` makes: its words if it holds, those of the error if not."""
    try:
        return Check(name, True, look())
    except FileNotFoundError as error:
        return Check(name, False, f"{error.filename} is missing; if an index was being built, verify once more")
    except (DamagedError, duckdb.Error) as error:
        return Check(name, False, str(error).split("\n\n")[0])


def _format(store: Store, connection: duckdb.DuckDBPyConnection) -> str:
    found = format_of(connection, store.path)
    if found != newest_format():
        raise DamagedError(f"format {found}, expected {newest_format()}")
    return f"format {found}"


def _database(connection: duckdb.DuckDBPyConnection) -> str:
    """Read every table; DuckDB checks the checksum of each block it reads."""
    tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    rows = 0
    for table in tables:
        told = f"SELECT count(*), bit_xor(hash(t)) FROM {table} t"  # noqa: S608
        rows += connection.execute(told).fetchall()[0][0]
    return f"{len(tables)} tables, {rows:,} rows read"


_ROW_PROBLEMS = {
    "the commit counter is not one row": "SELECT 1 FROM (SELECT count(*) AS n FROM state) WHERE n <> 1",
    "row ids used twice": (
        "SELECT id FROM (SELECT id FROM embeddings UNION ALL SELECT id FROM aggregates) GROUP BY id HAVING count(*) > 1"
    ),
    "row ids that were never given out": (
        "SELECT id FROM (SELECT id FROM embeddings UNION ALL SELECT id FROM aggregates)"
        " WHERE id < 0 OR id >= (SELECT next_id FROM state)"
    ),
    "records stored twice": "SELECT 1 FROM embeddings GROUP BY space, sample, item HAVING count(*) > 1",
    "embeddings without their sample": (
        "SELECT 1 FROM embeddings e ANTI JOIN samples s ON s.sample = e.sample AND s.patient = e.patient"
    ),
    "embeddings without their space": "SELECT 1 FROM embeddings e ANTI JOIN spaces p ON p.space = e.space",
    "samples without their patient": "SELECT 1 FROM samples s ANTI JOIN patients p ON p.patient = s.patient",
    "samples stored twice": "SELECT 1 FROM samples GROUP BY sample HAVING count(*) > 1",
    "samples of an unknown kind": f"SELECT 1 FROM samples WHERE kind NOT IN {KINDS}",  # noqa: S608
    "patients stored twice": "SELECT 1 FROM patients GROUP BY patient HAVING count(*) > 1",
    "patient columns without their patient": "SELECT 1 FROM attributes a ANTI JOIN patients p ON p.patient = a.patient",
    "patients with several rows of columns": "SELECT 1 FROM attributes GROUP BY patient HAVING count(*) > 1",
    "predictions without their patient": "SELECT 1 FROM predictions a ANTI JOIN patients p ON p.patient = a.patient",
    "predictions of a column stored twice": "SELECT 1 FROM predictions GROUP BY patient, field HAVING count(*) > 1",
    "aggregates without their patient": "SELECT 1 FROM aggregates a ANTI JOIN patients p ON p.patient = a.patient",
    "patients with several aggregates": "SELECT 1 FROM aggregates GROUP BY patient HAVING count(*) > 1",
    "spaces stored twice": "SELECT 1 FROM spaces GROUP BY space HAVING count(*) > 1",
    "modalities with several active spaces": (
        "SELECT 1 FROM spaces WHERE active GROUP BY modality HAVING count(*) > 1"
    ),
    "rows of commits that never were": (
        "SELECT 1 FROM (SELECT snapshot FROM embeddings UNION ALL SELECT snapshot FROM aggregates)"
        " WHERE snapshot > (SELECT snapshot FROM state)"
    ),
}


def _rows(connection: duckdb.DuckDBPyConnection) -> str:
    problems = []
    for told, query in _ROW_PROBLEMS.items():
        found = connection.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0]  # noqa: S608
        if found:
            problems.append(f"{told}: {found:,}")
    if problems:
        raise DamagedError("; ".join(problems))
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM samples), (SELECT count(*) FROM embeddings)"
    ).fetchall()[0]
    return "{:,} patients, {:,} samples, {:,} embeddings".format(*counts)


def _vectors(connection: duckdb.DuckDBPyConnection) -> str:
    _, last = counters(connection)
    read = 0
    for table in ("embeddings", "aggregates"):
        for start in range(0, last, BLOCK_ROWS):
            found = connection.sql(
                f"SELECT id, vector FROM {table} WHERE id >= ? AND id < ?",  # noqa: S608
                params=[start, start + BLOCK_ROWS],
            ).to_arrow_table()
            vectors = vectors_from_arrow(found["vector"])
            read += len(vectors)
            if vectors.shape != (found.num_rows, DIM):
                raise DamagedError(f"vectors of {table} are not {DIM} long")
            # An aggregate of many rows may be larger than any one of them.
            sound = np.isfinite(vectors) if table == "aggregates" else np.abs(vectors) <= LARGEST
            bad = ~sound.all(axis=1)
            if bad.any():
                raise DamagedError(
                    f"{int(bad.sum())} vectors of {table} are not finite, row {found['id'][int(bad.argmax())]}"
                )
    return f"{read:,} vectors of {DIM} finite values"


def _aggregates(connection: duckdb.DuckDBPyConnection) -> str:
    """Sum every patient's rows again and compare."""
    patients = connection.sql("SELECT patient FROM patients").to_arrow_table()["patient"]
    summed = 0
    wrong: list[str] = []
    for names, parts, vectors in sums(connection, patients):
        connection.register("summed", pa.table({"patient": names, "place": integers_to_arrow(np.arange(len(names)))}))
        stored = connection.sql(
            "SELECT s.place AS place, a.parts AS parts, a.vector AS vector FROM summed s"
            " JOIN aggregates a ON a.patient = s.patient ORDER BY 1"
        ).to_arrow_table()
        connection.unregister("summed")
        places = integers(stored["place"])
        off = np.linalg.norm(vectors_from_arrow(stored["vector"]).astype(np.float64) - vectors[places], axis=1)
        same = (integers(stored["parts"]) == parts[places]) & (
            off <= SUM_TOLERANCE * np.linalg.norm(vectors[places].astype(np.float64), axis=1)
        )
        sound = np.zeros(len(names), bool)
        sound[places[same]] = True
        summed += len(names)
        wrong += names.take(integers_to_arrow(np.flatnonzero(~sound))).to_pylist()
    count = connection.execute("SELECT count(*) FROM aggregates").fetchall()[0][0]
    if wrong:
        raise DamagedError(
            f"{len(wrong)} of {summed:,} patients have no aggregate or a wrong one, the first is {wrong[0]!r}"
        )
    if count != summed:
        raise DamagedError(f"{count - summed} aggregates are of patients without a row to sum")
    return f"{summed:,} aggregates equal the sums of their rows (tolerance {SUM_TOLERANCE:g} of their length)"


def _indexes(store: Store) -> Iterator[Check]:
    with store.reading() as connection:
        spaces = [info.space for info in spaces_of(connection, store.index_dir)]
    owned = {folder_of(store.index_dir, space): space for space in spaces}
    for space in spaces:
        yield _checked(f"index {space}", partial(_index, store, space))
    leftover = []
    for folder in sorted(store.index_dir.iterdir()) if store.index_dir.is_dir() else []:
        names = _named(store, owned[folder]) if folder in owned else set()
        leftover += [path.name for path in folder.iterdir() if path.name not in names] if folder.is_dir() else []
    if leftover:
        yield Check("index files", True, f"{len(leftover)} left by a writer that died; the next one removes them")


def _named(store: Store, space: str) -> set[str]:
    try:
        info = read_manifest(store.index_dir, space)
    except DamagedError:
        return {MANIFEST}
    return {MANIFEST} if info is None else {MANIFEST, *info.files}


def _index(store: Store, space: str) -> str:
    info = read_manifest(store.index_dir, space)
    if info is None:
        return "not built: searches are exact"
    folder = folder_of(store.index_dir, space)
    for name in info.files:
        if not (folder / name).is_file():
            raise DamagedError(f"{folder / name}: the file its manifest names is missing")
    path = folder / info.structure.name
    if path.stat().st_size != info.structure.size or sha256_of(path) != info.structure.sha256:
        raise DamagedError(f"{path}: not the file that was written, its hash does not match")
    generation = OpenGeneration(store.index_dir, info)
    generation.file.check_all()
    with store.reading() as connection:
        standing = standing_of(connection, space)
    if problem := unusable(info, standing):
        raise DamagedError(f"{path}: {problem}")
    return _compare(store, space, generation, path)


def _compare(store: Store, space: str, generation: OpenGeneration, path: Path) -> str:
    """Hold a generation against the truth: the rows it covers, their vectors, and what it finds for some of them."""
    from molsig.index.approximate import Placed, search_structure

    # Without the generation: its vectors are read from the truth.
    view = load_view(store, space, memory=1 << 40)
    assert view is not None
    info, file = generation.info, generation.file
    state = coverage(info, view.ids)
    told = f"generation {info.generation}, {info.method}, {info.rows:,} rows, {state.tail:,} newer, {state.dead:,} gone"
    covered = view.ids[: len(view.ids) - state.tail]
    places = np.searchsorted(file.ids, covered)
    if len(covered) and (places[-1] >= len(file) or not np.array_equal(file.ids[places], covered)):
        raise DamagedError(f"{path}: lacks rows that it should cover")
    for rows, vectors, _ in view.vectors.blocks(None):
        same = rows[rows < len(covered)]
        if not np.array_equal(checksums(covered[same], vectors[: len(same)]), file.facts.sums[places[same]]):
            raise DamagedError(f"{path.with_name(info.vectors)}: its vectors are not those of the truth")
    try:
        structure = generation.structure()
    except MissingExtraError:
        return f"{told}; hash matches; not searched, faiss is not installed"
    if structure.rows != info.rows:
        raise DamagedError(f"{path}: {structure.rows:,} rows, {info.rows:,} were written")
    chosen = np.sort(np.random.default_rng(0).choice(len(view.ids), min(SPOT_QUERIES, len(view.ids)), replace=False))
    vectors = view.vectors.take(chosen)
    vectors = vectors[np.any(vectors != 0, axis=1)]
    if not len(vectors):
        return told
    wanted = directions(vectors)
    exact = Ranked.of(view, len(wanted), search_exact(view, None, wanted, K), K)
    found, short = search_structure(Placed.of(view, generation), vectors, K, None)
    proposed = Ranked.of(view, len(wanted), found, K)
    hits = total = 0
    for query in range(len(wanted)):
        truth = exact.scores[exact.queries == query]
        # A row that scores as high as the last exact one is as good as it.
        scores = truth if query in short else proposed.scores[proposed.queries == query]
        hits += int((scores >= truth[-1]).sum())
        total += len(truth)
    if hits < min(SPOT_RECALL, info.recall - 0.1) * total:
        raise DamagedError(f"{path}: finds {hits} of {total} neighbours of {len(vectors)} stored rows")
    return f"{told}; hash matches; found {hits} of {total} neighbours"


def _encoder(folder: Path, files: Mapping[str, str]) -> str:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path}: missing")
        if sha256_of(path) != expected:
            raise DamagedError(f"{path}: not the file that was written, its hash does not match")
    return f"{len(files)} files match their hashes"
