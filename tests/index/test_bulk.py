"""Many rows at once: laid out in small groups, summed in memory as out of the file, recognised by their digests."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pytest

from molsig.errors import InputError
from molsig.index.aggregates import SHORT_RUN
from molsig.index.connection import ROW_GROUP, spill_of
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import SUM_SPACE, Encoded, SampleId


def tiles(rows: int, *, patients: int = 4, seed: int = 0) -> Encoded:
    """Tiles of a few patients, whose samples are one object each as readers make them."""
    random = np.random.default_rng(seed)
    samples = [SampleId(f"P{place}-01", f"P{place}") for place in range(patients)]
    return Encoded(
        "tile",
        "tile-test",
        tuple(samples[row % patients] for row in range(rows)),
        tuple(f"{row},{seed}" for row in range(rows)),
        random.standard_normal((rows, 768), dtype=np.float32),
        tuple(f"{seed}:{row}" for row in range(rows)),
    )


def part(encoded: Encoded, chosen: list[int]) -> Encoded:
    return replace(
        encoded,
        samples=tuple(encoded.samples[row] for row in chosen),
        items=tuple(encoded.items[row] for row in chosen),
        vectors=encoded.vectors[chosen],
        digests=tuple(encoded.digests[row] for row in chosen),
    )


def groups(store: Store) -> list[int]:
    """Rows of each row group of the embeddings."""
    with store.reading() as connection:
        found = connection.execute(
            "SELECT max(start + count) FROM pragma_storage_info('embeddings')"
            " WHERE column_name = 'id' AND segment_type <> 'VALIDITY' GROUP BY row_group_id ORDER BY row_group_id"
        ).fetchall()
    return [rows for (rows,) in found]


def test_a_commit_is_laid_out_in_small_row_groups(store: Store) -> None:
    given = tiles(2 * ROW_GROUP + 100)
    with store.writer("test") as writer:
        writer.commit([given])
    assert groups(store) == [ROW_GROUP, ROW_GROUP, 100]
    np.testing.assert_array_equal(store.vectors("tile-test")[1], given.vectors)
    assert [check for check in verify(store) if not check.ok] == []


def test_a_file_with_large_row_groups_grows_and_stays_readable_by_a_plain_connection(store: Store) -> None:
    """References of earlier versions have DuckDB's own groups of 122,880 rows."""
    old, new = tiles(ROW_GROUP + 500), tiles(ROW_GROUP + 20, seed=1)
    with store.writer("test") as writer:
        writer.commit([old])
    with duckdb.connect(str(store.database)) as plain:
        plain.execute("CREATE TABLE rewritten AS SELECT * FROM embeddings ORDER BY id")
        plain.execute("DELETE FROM embeddings")
        plain.execute("CHECKPOINT")
        plain.execute("INSERT INTO embeddings SELECT * FROM rewritten ORDER BY id")
        plain.execute("DROP TABLE rewritten")
    assert groups(store)[0] == ROW_GROUP + 500
    with store.writer("test") as writer:
        writer.commit([part(new, [0, 1, 2])])
        writer.commit([new])
    ids, vectors = store.vectors("tile-test")
    assert np.all(np.diff(ids) > 0)
    np.testing.assert_array_equal(vectors, np.concatenate([old.vectors, new.vectors]))
    with duckdb.connect(str(store.database), read_only=True) as plain:
        query = "SELECT count(*) FROM embeddings WHERE array_inner_product(vector, vector) > 0"
        assert plain.execute(query).fetchall() == [(2 * ROW_GROUP + 520,)]
    assert [check for check in verify(store) if not check.ok] == []


def test_sums_of_rows_at_hand_are_those_of_stored_rows_to_the_bit(store: Store) -> None:
    """At once, all rows are at hand; one after the other, all but the last are read back."""
    at_once = Store.create(store.path.with_name("at-once.molsig"))
    given = tiles(3 * SHORT_RUN, patients=2)
    normal = replace(part(given, [0, 2]), samples=(SampleId("P0-11", "P0", "normal"),) * 2)
    with at_once.writer("test") as writer:
        writer.commit([given, normal])
    with store.writer("test") as writer:
        for row in reversed(range(len(given.samples))):
            writer.commit([part(given, [row])])
        writer.commit([normal])
    assert at_once.rows(SUM_SPACE)["patient"].to_pylist() == ["P0", "P1"]
    stored = dict(zip(store.rows(SUM_SPACE)["patient"].to_pylist(), store.vectors(SUM_SPACE)[1], strict=True))
    for patient, vector in zip(["P0", "P1"], at_once.vectors(SUM_SPACE)[1], strict=True):
        np.testing.assert_array_equal(vector, stored[patient])
    assert [check for check in verify(at_once) if not check.ok] == []


def test_new_and_known_patients_in_one_batch_are_both_summed(store: Store) -> None:
    first, second = tiles(8, patients=2), tiles(12, patients=3, seed=1)
    with store.writer("test") as writer:
        writer.commit([first])
        writer.commit([second])
    rows = store.rows(SUM_SPACE)["patient"].to_pylist()
    sums = dict(zip(rows, store.vectors(SUM_SPACE)[1], strict=True))
    for place in range(3):
        mine = [one.vectors[[s.patient == f"P{place}" for s in one.samples]] for one in (first, second)]
        expected = np.concatenate(mine).astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(sums[f"P{place}"], expected, rtol=1e-6)


def test_what_is_stored_is_recognised_by_sample_item_and_digest(store: Store) -> None:
    given = tiles(6)
    samples = [sample.sample for sample in given.samples]
    assert store.recognised("tile-test", samples, given.items, given.digests).tolist() == [False] * 6
    with store.writer("test") as writer:
        writer.commit([part(given, [0, 1, 2, 3])])
    digests = ("other", *given.digests[1:])
    items = (given.items[0], "elsewhere", *given.items[2:])
    found = store.recognised("tile-test", samples, items, digests)
    assert found.tolist() == [False, False, True, True, False, False]
    assert not store.recognised("another", samples, given.items, given.digests).any()
    assert store.recognised("tile-test", [], [], []).tolist() == []


def test_equal_samples_need_not_be_one_object(store: Store) -> None:
    given = tiles(8, patients=2)
    apart = replace(given, samples=tuple(SampleId(s.sample, s.patient, s.kind) for s in given.samples))
    with store.writer("test") as writer:
        writer.commit([apart])
    assert store.rows("tile-test")["sample"].to_pylist() == [sample.sample for sample in given.samples]
    moved = replace(apart, samples=(*apart.samples[:-1], SampleId(apart.samples[-1].sample, "P9")))
    with store.writer("test") as writer, pytest.raises(InputError, match="two patients, 'P1' and 'P9'"):
        writer.commit([moved])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e16, -1e16])
def test_a_value_that_cannot_be_summed_is_told_with_its_row(store: Store, value: float) -> None:
    given = tiles(3000)
    given.vectors[2500, 7] = value
    with store.writer("test") as writer, pytest.raises(InputError, match=r"in row 2,501, of sample 'P0-01'"):
        writer.commit([given])
    assert store.spaces() == []


def test_what_a_writer_that_died_had_spilled_goes_with_the_next_one(store: Store) -> None:
    spilled = spill_of(store.database)
    spilled.mkdir()
    (spilled / "duckdb_temp_storage-0.tmp").write_bytes(b"vectors of patients")
    with store.writer("test"):
        assert not spilled.exists()
