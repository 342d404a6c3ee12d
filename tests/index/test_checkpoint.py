"""A checkpoint that somebody died in: put back before anybody reads, whatever the half-written blocks hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from molsig.errors import DamagedError, LockedError, UsageError
from molsig.index.checkpoint import log_of, put_back, undo_of
from molsig.index.connection import reading
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import Encoded, SampleId
from tests.room import run_with_room

HEADERS = 12_288
BLOCK = 262_144

_CHILD = """
import sys
import numpy as np
from molsig.index.store import Store
from molsig.types import Encoded, SampleId

samples = tuple(SampleId(f"{sys.argv[2]}{i}-01", f"{sys.argv[2]}{i}") for i in range(40))
vectors = np.random.default_rng(1).standard_normal((40, 768)).astype(np.float32)
with Store.open(sys.argv[1]).writer("test") as writer:
    writer.commit([Encoded("rna", "rna-test", samples, ("",) * 40, vectors, tuple(s.sample for s in samples))])
"""


def commit_and_die(path: Path, name: str, step: str = "") -> int:
    """Let a child commit 40 patients and die at a step."""
    environment = {**os.environ, **({"MOLSIG_FAULT": step} if step else {})}
    return subprocess.run([sys.executable, "-c", _CHILD, str(path), name], env=environment, check=False).returncode


def metadata_blocks(database: Path) -> list[int]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return [number for (number,) in connection.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()]


def tear(database: Path, *, seed: int = 0) -> None:
    """Leave in every metadata block what a write that was cut short may leave: the end of it is something else."""
    random = np.random.default_rng(seed)
    blocks = metadata_blocks(database)
    assert blocks
    with database.open("r+b") as file:
        for number in blocks:
            start = int(random.integers(1, BLOCK // 4096)) * 4096
            file.seek(HEADERS + number * BLOCK + start)
            file.write(random.bytes(BLOCK - start))


def unreadable(database: Path) -> bool:
    try:
        duckdb.connect(str(database), read_only=True).close()
    except duckdb.Error:
        return True
    return False


@pytest.fixture
def torn(store: Store) -> Store:
    """A reference whose second commit is acknowledged and whose checkpoint was cut short."""
    assert commit_and_die(store.path, "A") == 0
    assert not log_of(store.database).exists()
    assert commit_and_die(store.path, "B", "checkpoint.begin") == -9
    tear(store.database)
    assert unreadable(store.database)
    return store


def names(store: Store) -> set[str]:
    return {patient[0] for patient in store.patient_ids()}


def test_a_reader_puts_back_what_was_torn(torn: Store) -> None:
    assert names(torn) == {"A", "B"}
    assert len(torn.patient_ids()) == 80
    assert not undo_of(torn.database).exists()
    assert [check for check in verify(torn) if not check.ok] == []
    assert not unreadable(torn.database)


def test_a_writer_puts_back_what_was_torn_and_goes_on(torn: Store) -> None:
    assert commit_and_die(torn.path, "C") == 0
    assert names(torn) == {"A", "B", "C"}
    assert not undo_of(torn.database).exists()
    assert not log_of(torn.database).exists()
    assert [check for check in verify(torn) if not check.ok] == []


def test_dying_again_and_again_in_a_checkpoint_loses_nothing(store: Store) -> None:
    for turn, name in enumerate("ABCDEF"):
        assert commit_and_die(store.path, name, "checkpoint.begin") == -9
        tear(store.database, seed=turn)
        assert names(store) == set("ABCDEF"[: turn + 1])
    assert [check for check in verify(store) if not check.ok] == []


def test_a_checkpoint_that_was_through_is_kept(store: Store) -> None:
    assert commit_and_die(store.path, "A", "checkpoint.end") == -9
    assert undo_of(store.database).exists()
    assert not log_of(store.database).exists()
    before = store.database.read_bytes()
    assert names(store) == {"A"}
    assert store.database.read_bytes() == before
    assert not undo_of(store.database).exists()


@pytest.mark.parametrize("step", ["checkpoint.write", "checkpoint.rename"])
def test_a_copy_that_was_not_finished_counts_for_nothing(store: Store, step: str) -> None:
    assert commit_and_die(store.path, "A", step) == -9
    assert names(store) == {"A"}
    assert commit_and_die(store.path, "B") == 0
    assert names(store) == {"A", "B"}
    assert not [file.name for file in store.path.iterdir() if ".undo" in file.name]


def test_a_damaged_copy_is_told(torn: Store) -> None:
    undo = undo_of(torn.database)
    content = bytearray(undo.read_bytes())
    content[len(content) // 2] ^= 1
    undo.write_bytes(content)
    before = torn.database.read_bytes()
    with pytest.raises(DamagedError, match="undo: damaged"):
        torn.patient_ids()
    assert torn.database.read_bytes() == before


def test_nothing_is_put_back_under_another_program(torn: Store) -> None:
    """Another program that has the file open for writing may be rewriting those blocks."""
    program = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\nsys.stdin.read()"
    )
    before = torn.database.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", program, str(torn.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockedError, match="open in another program"):
            torn.patient_ids()
        other.communicate()
    assert torn.database.read_bytes() == before
    assert names(torn) == {"A", "B"}


def test_one_who_may_not_write_is_told_what_to_do(torn: Store) -> None:
    plain = Path.open

    def refuse(path: Path, mode: str = "r") -> object:
        if "+" in mode:
            raise PermissionError(13, "Permission denied")
        return plain(path, mode)

    with pytest.MonkeyPatch.context() as patch:
        # Permissions do not hold the superuser, who runs tests in containers.
        patch.setattr(Path, "open", refuse)
        with pytest.raises(UsageError, match="molsig verify"):
            put_back(torn.database)
    assert names(torn) == {"A", "B"}


def test_a_disk_that_fills_during_a_checkpoint_is_told_and_loses_nothing(store: Store) -> None:
    """The log and the copy fit, the blocks of the database do not."""
    room = store.database.stat().st_size + BLOCK // 2
    done = run_with_room([sys.executable, "-c", _CHILD, str(store.path), "A"], room)
    assert done.returncode == 1
    assert "the disk is full, what was committed stays in its log" in done.stderr
    assert log_of(store.database).stat().st_size
    assert undo_of(store.database).exists()
    assert names(store) == {"A"}
    assert commit_and_die(store.path, "B") == 0
    assert names(store) == {"A", "B"}
    assert [check for check in verify(store) if not check.ok] == []


def test_a_checkpoint_without_room_leaves_the_log(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed stays committed, and the next writer writes it into the file."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    samples = (SampleId("A0-01", "A0"),)
    record = Encoded("rna", "rna-test", samples, ("",), np.ones((1, 768), np.float32), ("d",))
    with store.writer("test") as writer:
        with monkeypatch.context() as patch:
            patch.setattr("molsig.index.checkpoint.write_whole", full)
            with pytest.raises(OSError, match="No space left"):
                writer.commit([record])
        assert log_of(store.database).exists()
        assert names(store) == {"A"}
        writer.checkpoint()
    assert not log_of(store.database).exists()
    with reading(store.database) as connection:
        assert connection.execute("SELECT count(*) FROM embeddings").fetchall() == [(1,)]
