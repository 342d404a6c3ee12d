"""What is committed is what is read, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from molsig.errors import DamagedError, InputError, LockedError, NotFoundError, UsageError
from molsig.index import schema
from molsig.index.connection import writing
from molsig.index.store import Store
from molsig.types import SUM_SPACE, Encoded, SampleId
from tests.room import run_with_room


def test_what_is_committed_is_read_back_bit_for_bit(store: Store, encoded) -> None:
    rna, mutation = encoded(["A", "B", "C"]), encoded(["B", "C"], modality="mutation", seed=1)
    with store.writer("test") as writer:
        result = writer.commit([rna, mutation])
    assert result.added == {"rna": 3, "mutation": 2}
    assert (result.skipped, result.replaced, result.conflicts) == (0, 0, ())
    ids, vectors = store.vectors("rna-test")
    np.testing.assert_array_equal(vectors, rna.vectors)
    rows = store.rows("rna-test")
    assert rows["patient"].to_pylist() == ["A", "B", "C"]
    assert rows["sample"].to_pylist() == ["A-01", "B-01", "C-01"]
    _, some = store.vectors("rna-test", ids[[2, 0, 2]])
    np.testing.assert_array_equal(some, rna.vectors[[2, 0, 2]])
    table, of_b = store.embeddings_of("B")
    assert table["modality"].to_pylist() == ["rna", "mutation"]
    np.testing.assert_array_equal(of_b, [rna.vectors[1], mutation.vectors[0]])
    assert store.stored("rna-test").num_rows == 3
    assert store.patient_ids() == ["A", "B", "C"]


def test_the_sum_leaves_normal_tissue_and_inactive_spaces_out(store: Store, encoded) -> None:
    rna, normal = encoded(["A", "B"]), encoded(["A", "D"], kind="normal", seed=1)
    mutation, second = encoded(["A"], modality="mutation", seed=2), encoded(["A", "B"], space="rna-second", seed=3)
    with store.writer("test") as writer:
        writer.commit([rna, normal, mutation, second])
        rows = store.rows(SUM_SPACE)
        assert rows["patient"].to_pylist() == ["A", "B"]
        _, sums = store.vectors(SUM_SPACE)
        np.testing.assert_allclose(sums, [rna.vectors[0] + mutation.vectors[0], rna.vectors[1]], atol=1e-5)
        assert {info.space: info.active for info in store.spaces()} == {
            "mutation-test": True,
            "rna-second": False,
            "rna-test": True,
            "sum": False,
        }
        before = store.rows(SUM_SPACE)["id"].to_pylist()
        writer.activate("rna-second")
        rows = store.rows(SUM_SPACE)
        assert rows["patient"].to_pylist() == ["A", "B"]
        assert not set(before) & set(rows["id"].to_pylist()), "a changed aggregate is a new row"
        _, sums = store.vectors(SUM_SPACE)
        np.testing.assert_allclose(sums, [second.vectors[0] + mutation.vectors[0], second.vectors[1]], atol=1e-5)
        snapshot = store.snapshot()
        writer.activate("rna-second")
        assert store.snapshot() == snapshot


def test_a_replay_changes_nothing(store: Store, encoded) -> None:
    batch = [encoded(["A", "B"]), encoded(["A"], modality="mutation")]
    with store.writer("test") as writer:
        first = writer.commit(batch)
        again = writer.commit(batch)
    assert again.skipped == 3
    assert again.added == {}
    assert again.snapshot == first.snapshot == store.snapshot()


def test_a_record_that_differs_is_a_conflict_until_it_may_replace(store: Store, encoded) -> None:
    old, new = encoded(["A", "B"]), encoded(["A", "B"], seed=1)
    new = replace(new, digests=("other", old.digests[1]))
    with store.writer("test") as writer:
        writer.commit([old])
        kept = writer.commit([new])
        assert [(c.sample, c.what, c.given) for c in kept.conflicts] == [("A-01", "record", "other")]
        np.testing.assert_array_equal(store.vectors("rna-test")[1], old.vectors)
        ids_before = store.rows("rna-test")["id"].to_pylist()
        replaced = writer.commit([new], replace=True)
    assert (replaced.replaced, replaced.skipped, replaced.added, replaced.conflicts) == (1, 1, {}, ())
    ids, vectors = store.vectors("rna-test")
    assert ids[0] == ids_before[1]
    assert ids[1] > max(ids_before), "ids are never used again"
    np.testing.assert_array_equal(vectors, [old.vectors[1], new.vectors[0]])
    np.testing.assert_array_equal(store.embeddings_of("A")[1][0], new.vectors[0])


def test_the_kind_of_a_stored_sample_is_corrected_by_replace_only(store: Store, encoded) -> None:
    tumour = encoded(["A"])
    normal = replace(tumour, samples=(SampleId("A-01", "A", "normal"),))
    with store.writer("test") as writer:
        writer.commit([tumour])
        kept = writer.commit([normal])
        assert [(c.sample, c.what, c.stored, c.given) for c in kept.conflicts] == [("A-01", "kind", "tumour", "normal")]
        assert store.rows(SUM_SPACE).num_rows == 1
        writer.commit([normal], replace=True)
    assert store.rows("rna-test")["kind"].to_pylist() == ["normal"]
    assert store.rows(SUM_SPACE).num_rows == 0


@pytest.mark.parametrize("replacing", [False, True])
def test_repeats_within_a_batch_count_as_if_they_came_one_after_the_other(
    store: Store, encoded, replacing: bool
) -> None:
    twice = encoded(["A", "A", "A"])
    twice = replace(twice, digests=("1", "1", "2"))
    with store.writer("test") as writer:
        result = writer.commit([twice], replace=replacing)
    assert result.added == {"rna": 1}
    assert (result.skipped, len(result.conflicts)) == ((2, 0) if replacing else (1, 1))
    np.testing.assert_array_equal(store.vectors("rna-test")[1], twice.vectors[[2 if replacing else 0]])


def test_a_bad_batch_is_refused_whole(store: Store, encoded) -> None:
    good = encoded(["A", "B"])
    broken = good.vectors.copy()
    broken[1, 5] = np.nan
    with store.writer("test") as writer:
        with pytest.raises(InputError, match="'B-01'"):
            writer.commit([good, replace(good, space="other", vectors=broken)])
        with pytest.raises(InputError, match="shape"):
            writer.commit([replace(good, vectors=good.vectors[:, :700])])
        with pytest.raises(UsageError, match="items"):
            writer.commit([replace(good, items=("",))])
        with pytest.raises(InputError, match="empty id"):
            writer.commit([replace(good, samples=(SampleId("", "A"), SampleId("B", "B")))])
        with pytest.raises(UsageError, match="'sum'"):
            writer.commit([replace(good, space="sum")])
        with pytest.raises(InputError, match="two patients"):
            writer.commit([replace(good, samples=(SampleId("S", "A"), SampleId("S", "B")))])
        assert store.snapshot() == 0
        writer.commit([good])
        with pytest.raises(InputError, match=r"'A-01' is stored for patient 'A' and given for 'Z'"):
            writer.commit([replace(good, samples=(SampleId("A-01", "Z"), SampleId("B-01", "B")))])
        with pytest.raises(UsageError, match="holds rna vectors"):
            writer.commit([replace(good, modality="mirna")])
    assert store.snapshot() == 1
    assert store.patient_ids() == ["A", "B"]


def test_hostile_names_are_stored_as_they_are(store: Store, encoded) -> None:
    names = ["x'; DROP TABLE embeddings; --", 'a"b', "ü\n\t", "../../etc", "%s", "NULL"]
    spaces = ["a/b", "..", "UPPER", "tile:UNI@lift 1024→768", "x" * 150]
    with store.writer("test") as writer:
        writer.commit([encoded(names, space=space, modality=f"m{place}") for place, space in enumerate(spaces)])
        writer.build_indexes()
    assert store.patient_ids() == sorted(names)
    assert {info.space for info in store.spaces() if info.generation} == {*spaces, "sum"}
    inside = {path.resolve() for path in store.index_dir.rglob("*.structure")}
    assert len(inside) == len(spaces) + 1
    assert all(path.parent.parent == store.index_dir.resolve() for path in inside)


def test_a_second_writer_is_told_who_holds_the_reference(store: Store) -> None:
    told = "import sys; from molsig.index.store import Store\nwith Store.open(sys.argv[1]).writer('other'): pass"
    with store.writer("molsig ingest"):
        with pytest.raises(LockedError, match="molsig ingest"), store.writer("again"):
            pass
        done = subprocess.run([sys.executable, "-c", told, store.path], capture_output=True, text=True, check=False)
        assert "LockedError" in done.stderr
        assert "`molsig ingest` (process" in done.stderr
        held = json.loads((store.path / "writer.lock").read_text())
        assert set(held) == {"pid", "host", "command", "since"}
    assert subprocess.run([sys.executable, "-c", told, store.path], check=False).returncode == 0


def test_a_writer_waits_as_long_as_it_is_told(store: Store) -> None:
    entered = threading.Event()

    def hold() -> None:
        with store.writer("first"):
            entered.set()
            threading.Event().wait(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with store.writer("second", timeout=10):
        pass
    thread.join()


def test_readers_in_threads_and_processes_go_on_during_an_ingest(store: Store, encoded) -> None:
    program = (
        "import sys\nfrom molsig.index.store import Store\nstore = Store.open(sys.argv[1])\nseen = []\n"
        "while not seen or seen[-1] < 15:\n"
        "    n, m = store.rows('rna-test').num_rows, store.rows('sum').num_rows\n"
        "    assert n <= m or m >= seen[-1] if seen else True\n"
        "    seen.append(n)\n"
        "assert seen == sorted(seen)"
    )
    reader = subprocess.Popen([sys.executable, "-c", program, store.path], stderr=subprocess.PIPE, text=True)
    problems: list[BaseException] = []
    finished = threading.Event()

    def read() -> None:
        try:
            while not finished.is_set():
                with store.reading() as connection:
                    rows, sums = (
                        connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]  # noqa: S608
                        for table in ("embeddings", "aggregates")
                    )
                assert rows == sums, "a reader saw half a commit"
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    with store.writer("test") as writer:
        for number in range(15):
            writer.commit([encoded([f"P{number}"], seed=number)])
    finished.set()
    for thread in threads:
        thread.join()
    assert not problems
    _, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors


def test_many_threads_may_open_and_close_at_once(store: Store, encoded) -> None:
    """Connections of one process share a database instance, which DuckDB lets others join before it is ready."""
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B"])])
    ids = np.array(store.rows("rna-test")["id"].to_pylist())
    problems: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(10):
                store.vectors("rna-test", ids)
                store.attributes(["A"])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_open_tells_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no reference"):
        Store.open(tmp_path / "none.molsig")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DamagedError, match="not a molsig reference"):
        Store.open(tmp_path / "empty")
    with pytest.raises(UsageError, match="exists and is not"):
        Store.create(tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "reference.duckdb").write_text("not a database" * 1000)
    with pytest.raises(DamagedError, match="DuckDB cannot open it"):
        Store.open(tmp_path / "text")
    (tmp_path / "other").mkdir()
    with duckdb.connect(str(tmp_path / "other" / "reference.duckdb")) as connection:
        connection.execute("CREATE TABLE x (y INT)")
    with pytest.raises(DamagedError, match="holds other tables"):
        Store.open(tmp_path / "other")
    with pytest.raises(UsageError, match="already"):
        Store.create(Store.create(tmp_path / "twice.molsig").path)


def test_a_newer_format_is_named(store: Store) -> None:
    with writing(store.database) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    with pytest.raises(DamagedError, match=f"format 99, this molsig reads formats up to {schema.newest_format()}"):
        Store.open(store.path)


def test_unknown_names_are_answered_with_near_ones(store: Store, encoded) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded(["TCGA-02-0001"])])
    with pytest.raises(NotFoundError, match="did you mean 'TCGA-02-0001'"):
        store.embeddings_of("TCGA-02-001")
    with pytest.raises(NotFoundError, match="no row 77"):
        store.vectors("rna-test", np.array([77]))
    assert store.stored("never").num_rows == 0
    assert store.vectors("never")[1].shape == (0, 768)


def test_encoders_genes_and_ingests(store: Store) -> None:
    card = {"name": "rna-vae", "genes": 90}
    genes = pa.table({"symbol": ["TP53", "KRAS"], "length": [19149, 45684]})
    with store.writer("test") as writer:
        writer.put_encoder("rna-1", "rna", "rna-vae", card, {"model.safetensors": "ab"})
        snapshot = store.snapshot()
        writer.put_encoder("rna-1", "rna", "rna-vae", card, {"model.safetensors": "ab"})
        assert store.snapshot() == snapshot
        with pytest.raises(UsageError, match="belongs to encoder"):
            writer.put_encoder("rna-1", "rna", "rna-vae", card, {"model.safetensors": "cd"})
        assert store.genes() is None
        writer.put_genes(genes)
        writer.put_genes(genes.slice(1))
        assert not store.has_ingest("abc")
        writer.record_ingest("abc", {"patients": 3}, ["rna.tsv"])
    assert store.encoders()[0].card == card
    assert store.genes().equals(genes.slice(1))
    assert store.has_ingest("abc")
    assert [(row.digest, row.summary, row.files) for row in store.ingests()] == [("abc", {"patients": 3}, ("rna.tsv",))]


def test_info_is_json(store: Store, encoded) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B"]), encoded(["A"], modality="mutation")])
        writer.put_patients(pa.table({"patient": ["A", "C"], "age": [3, 4]}))
        writer.build_indexes()
    told = json.loads(json.dumps(store.info()))
    assert told["format"] == schema.newest_format()
    assert told["patients"] == 3
    assert told["modalities"]["rna"] == {"space": "rna-test", "rows": 2, "patients": 2}
    assert told["columns"] == {"age": "integer"}
    assert {index["space"] for index in told["indexes"]} == {"rna-test", "mutation-test", "sum"}
    assert told["bytes"] > 10_000


def test_an_empty_reference_answers_everything(store: Store) -> None:
    assert store.spaces() == []
    assert store.rows(SUM_SPACE).num_rows == 0
    assert store.select_patients() == []
    assert store.columns() == {}
    with store.writer("test") as writer:
        assert writer.commit([]).added == {}
        assert writer.build_indexes() == []
    assert store.snapshot() == 0


def test_nothing_stays_open_between_calls(store: Store, encoded) -> None:
    """Another program can write to the file while this process holds a `Store` and has used it."""
    with store.writer("test") as writer:
        writer.commit([encoded(["A"])])
        store.rows("rna-test")
        program = f"import duckdb; duckdb.connect({str(store.database)!r}).execute('CHECKPOINT')"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_huge_or_oddly_typed_vector_is_handled(store: Store) -> None:
    samples = (SampleId("S", "P"),)
    with store.writer("test") as writer:
        with pytest.raises(InputError, match="beyond"):
            writer.commit([Encoded("rna", "r", samples, ("",), np.full((1, 768), 1e20, np.float32), ("d",))])
        strided = np.zeros((768, 1), np.float64).T + 0.5
        writer.commit([Encoded("rna", "r", samples, ("",), strided, ("d",))])
    assert store.vectors("r")[1].dtype == np.float32


def test_sums_of_many_and_few_rows_are_right(store: Store) -> None:
    """Patients with a handful of rows and one with hundreds of tiles, committed in pieces."""
    random = np.random.default_rng(4)
    counts = {"A": 1, "B": 5, "C": 16, "D": 17, "E": 300}
    expected = {}
    with store.writer("test") as writer:
        for patient, count in counts.items():
            vectors = random.standard_normal((count, 768), dtype=np.float32)
            expected[patient] = vectors.astype(np.float64).sum(axis=0)
            for part in (slice(None, None, 2), slice(1, None, 2)):
                items = tuple(f"{item:03d}" for item in range(count))[part]
                samples = (SampleId(f"{patient}-01", patient),) * len(items)
                writer.commit([Encoded("tile", "tiles", samples, items, vectors[part], items)])
    rows = store.rows(SUM_SPACE)["patient"].to_pylist()
    assert sorted(rows) == sorted(counts)
    for patient, vector in zip(rows, store.vectors(SUM_SPACE)[1], strict=True):
        np.testing.assert_allclose(vector, expected[patient], atol=1e-4)
    assert {info.space: info.rows for info in store.spaces()} == {"tiles": 339, "sum": 5}


def test_duckdb_draws_nothing_where_python_is_interactive(store: Store) -> None:
    """Its bars would stand in the output of a notebook, among ours."""
    program = (
        "import sys\nfrom pathlib import Path\nimport duckdb\nfrom molsig.index.connection import reading, writing\n"
        "for connect in (reading, writing):\n    with connect(Path(sys.argv[1])) as connection:\n"
        "        print(connection.execute(\"SELECT current_setting('enable_progress_bar')\").fetchall())\n"
        "print(duckdb.connect().execute(\"SELECT current_setting('enable_progress_bar')\").fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.database)], capture_output=True, text=True, check=True
    )
    # The last line is what DuckDB does by itself.
    assert done.stdout.split() == ["[(False,)]", "[(False,)]", "[(True,)]"]


_CREATE = """
import sys
from molsig.index.store import Store
Store.create(sys.argv[1])
"""


@pytest.mark.parametrize("room", [4_096, 20_000, 50_000, 300_000])
def test_a_disk_without_room_for_a_new_reference_is_told(tmp_path: Path, room: int) -> None:
    path = tmp_path / "full.molsig"
    done = run_with_room([sys.executable, "-c", _CREATE, str(path)], room)
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]
    assert "disk is full" in done.stderr
    assert not (path / schema.DATABASE).exists(), "half a database is none"
    assert Store.create(path).patient_ids() == []
