"""What has to hold of a reference whenever its writer died, and how a child is started and killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from crash_cohort import SPACES, Batch

from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import SUM_SPACE

CHILD = Path(__file__).with_name("crash_child.py")
KILLED = -9


def command(action: str, path: Path, log: Path, first: int = 0, last: int = 1) -> list[str]:
    """The child's command line."""
    return [sys.executable, str(CHILD), action, str(path), str(log), "--from", str(first), "--to", str(last)]


def start(
    action: str, path: Path, log: Path, first: int = 0, last: int = 1, *, fault: str | None = None
) -> subprocess.Popen[str]:
    """Start a child, to die at `fault` if one is given."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"MOLSIG_FAULT": fault} if fault else {})}
    return subprocess.Popen(
        command(action, path, log, first, last),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen[str], *, timeout: float = 120) -> int:
    """Wait for a child; anything but success or SIGKILL is an error of its own."""
    _, errors = child.communicate(timeout=timeout)
    assert child.returncode in (0, KILLED), errors
    return child.returncode


def acknowledged(log: Path, what: str) -> list[str]:
    """What the child told after the word `what`, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} ")]


def hold(store: Store, log: Path, *, newest: int = 3) -> int:
    """Assert what must hold after a kill, and return how many batches are stored.

    Every acknowledged batch is there unless it was forgotten; of every patient there is all or nothing; the aggregates
    of the `newest` batches are the sums of what was given, and every aggregate counts the rows it sums.
    """
    forgotten = set(acknowledged(log, "forgot"))
    stored: dict[int, set[tuple[str, str]]] = {}
    for space in SPACES.values():
        for sample in store.stored(space)["sample"].to_pylist():
            stored.setdefault(int(sample[1:6]), set()).add((space, sample))
    for number in map(int, acknowledged(log, "batch")):
        assert number in stored, f"acknowledged batch {number} is lost"
    for number, records in stored.items():
        missing = {sample[: sample.rindex("-")] for _, sample in Batch(number).records() - records}
        present = {sample[: sample.rindex("-")] for _, sample in records}
        assert not missing & present, f"torn patients {missing & present}"
        if str(number) in acknowledged(log, "batch"):
            assert missing <= forgotten | set(Batch(number).patients[:1]), f"batch {number} lacks {missing}"
        assert records <= Batch(number).records()
    _hold_aggregates(store, sorted(stored)[-newest:])
    known = set(store.columns())
    for number in map(int, acknowledged(log, "columns")):
        assert f"column {number % 7}" in known
    _hold_predictions(store, log)
    return len(stored)


def _hold_predictions(store: Store, log: Path) -> None:
    """All patients of a batch have the predictions of one turn: the last acknowledged one, or one that came after."""
    turns: dict[tuple[int, str], set[str]] = {}
    for row in store.predictions().to_pylist():
        turns.setdefault((int(row["patient"][1:6]), row["field"]), set()).add(row["value"])
    assert all(len(some) == 1 for some in turns.values()), f"torn predictions {turns}"
    for line in acknowledged(log, "predicted"):
        number, _, rest = line.partition(" ")
        field, _, turn = rest.rpartition(" ")
        (stored,) = turns[int(number), field]
        assert int(stored) >= int(turn), f"acknowledged predictions of batch {number} are lost"


def _hold_aggregates(store: Store, numbers: list[int]) -> None:
    with store.reading() as connection:
        wrong = connection.execute(
            "SELECT count(*) FROM (SELECT e.patient AS patient, count(*) AS n FROM embeddings e"
            " JOIN samples s ON s.sample = e.sample WHERE s.kind <> 'normal' GROUP BY 1) r"
            " FULL JOIN aggregates a ON a.patient = r.patient WHERE a.parts IS DISTINCT FROM r.n"
        ).fetchall()[0][0]
    assert wrong == 0, f"{wrong} aggregates do not count their rows"
    rows = store.rows(SUM_SPACE)
    for number in numbers:
        expected = Batch(number).sums()
        mine = rows.filter(pa.compute.is_in(rows["patient"], pa.array(list(expected), pa.string())))
        _, vectors = store.vectors(SUM_SPACE, mine["id"].to_numpy())
        for patient, vector in zip(mine["patient"].to_pylist(), vectors, strict=True):
            np.testing.assert_array_equal(vector, expected[patient])


def clean(store: Store) -> None:
    """Assert that verify finds nothing wrong, and nothing left behind."""
    checks = verify(store)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert not [check for check in checks if check.name == "index files"], checks
