"""Ready vectors out of a mapped file: bounded transactions of whole patients, and memory that does not follow them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.ingest.vectors import read_vectors
from molsig.reference import committing
from molsig.reference.encoding import ReadyVectors
from molsig.types import SUM_SPACE, VectorSet, silent

CHILD = """
import json, resource, sys
from pathlib import Path
from molsig.index.store import Store
from molsig.ingest.vectors import read_vectors
from molsig.reference import committing
from molsig.reference.encoding import ReadyVectors
from molsig.types import silent

folder = Path(sys.argv[1])
committing.BATCH_ROWS = 2048
records = read_vectors(folder / "v.npy", modality="tile", ids=folder / "ids.tsv")
store = Store.create(folder / "r.molsig")
with store.writer("test") as writer:
    done = committing.commit_records(
        store, writer, [records], [ReadyVectors(records)], replace=False, allow_missing=False, progress=silent
    )
peak = [int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(json.dumps([done.added["tile"], peak[0] / 1024]))
"""


def write(folder: Path, rows: int, tiles: int) -> VectorSet:
    """Vectors of patients with so many tiles each."""
    folder.mkdir()
    np.save(folder / "v.npy", np.random.default_rng(0).standard_normal((rows, 768), dtype=np.float32))
    lines = "".join(f"P{i // tiles:04d}-01\tP{i // tiles:04d}\t{i % tiles}\n" for i in range(rows))
    (folder / "ids.tsv").write_text(f"sample\tpatient\titem\n{lines}")
    return read_vectors(folder / "v.npy", modality="tile", ids=folder / "ids.tsv")


def commit(store: Store, records: VectorSet) -> committing.Committed:
    with store.writer("test") as writer:
        return committing.commit_records(
            store, writer, [records], [ReadyVectors(records)], replace=False, allow_missing=False, progress=silent
        )


def test_a_transaction_holds_whole_patients_and_no_more_rows_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(tmp_path / "files", 95, 10)
    at_once, bounded = Store.create(tmp_path / "once.molsig"), Store.create(tmp_path / "bounded.molsig")
    assert commit(at_once, records).added == {"tile": 95}
    monkeypatch.setattr(committing, "BATCH_ROWS", 25)
    assert commit(bounded, records).added == {"tile": 95}
    with bounded.reading() as connection:
        batches = connection.execute(
            "SELECT count(*), count(DISTINCT patient) FROM embeddings GROUP BY snapshot ORDER BY snapshot"
        ).fetchall()
        torn = connection.execute(
            "SELECT patient FROM embeddings GROUP BY 1 HAVING count(DISTINCT snapshot) > 1"
        ).fetchall()
    assert batches == [(20, 2)] * 4 + [(15, 2)]
    assert torn == []
    np.testing.assert_array_equal(bounded.vectors(records.encoder)[1], records.vectors)
    np.testing.assert_array_equal(bounded.vectors(SUM_SPACE)[1], at_once.vectors(SUM_SPACE)[1])
    assert [check for check in verify(bounded) if not check.ok] == []


def test_a_patient_with_more_rows_than_a_transaction_should_hold_is_not_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(tmp_path / "files", 90, 30)
    monkeypatch.setattr(committing, "BATCH_ROWS", 20)
    store = Store.create(tmp_path / "r.molsig")
    commit(store, records)
    assert store.snapshot() == 3
    assert store.spaces()[0].rows == 90


def test_rows_out_of_order_are_stored_with_their_own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    write(folder, 40, 4)
    order = np.random.default_rng(1).permutation(40)
    lines = (folder / "ids.tsv").read_text().splitlines()
    (folder / "ids.tsv").write_text("\n".join([lines[0], *(lines[1 + row] for row in order)]))
    records = read_vectors(folder / "v.npy", modality="tile", ids=folder / "ids.tsv")
    monkeypatch.setattr(committing, "BATCH_ROWS", 9)
    store = Store.create(tmp_path / "r.molsig")
    commit(store, records)
    rows = store.rows(records.encoder)
    keys = dict(zip(zip([s.sample for s in records.samples], records.items, strict=True), records.vectors, strict=True))
    stored = zip(rows["sample"].to_pylist(), rows["item"].to_pylist(), strict=True)
    np.testing.assert_array_equal(store.vectors(records.encoder)[1], [keys[key] for key in stored])


def test_an_ingest_that_stopped_goes_on_and_one_that_was_done_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(tmp_path / "files", 60, 10)
    store = Store.create(tmp_path / "r.molsig")
    monkeypatch.setattr(committing, "BATCH_ROWS", 20)

    def stop(step: str, done: int, total: int | None) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.writer("test") as writer:
        committing.commit_records(
            store, writer, [records], [ReadyVectors(records)], replace=False, allow_missing=False, progress=stop
        )
    assert store.spaces()[0].rows == 40
    again = commit(store, records)
    assert (again.added, again.skipped) == ({"tile": 20}, 40)
    before = store.snapshot()
    assert (commit(store, records).skipped, store.snapshot()) == (60, before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_does_not_follow_the_vectors(tmp_path: Path) -> None:
    """Twice the rows, 123 MB more of vectors: what is added is their ids and digests.

    Fewer rows will not do: up to some 40,000 a busy machine, whose threads take turns, adds up to 40 MB that stay.
    """
    peaks = []
    for rows in (40_000, 80_000):
        # The least of two: the peak of one and the same work differs by some 15 MB.
        least = []
        for attempt in range(2):
            folder = tmp_path / f"{rows}-{attempt}"
            write(folder, rows, 50)
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            added, peak = json.loads(done.stdout)
            assert added == rows
            least.append(peak)
        peaks.append(min(least))
    assert peaks[1] - peaks[0] < 50, peaks
