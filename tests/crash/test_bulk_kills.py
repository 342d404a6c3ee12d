"""A commit of many thousand vectors killed while DuckDB is already writing them to their place in the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from crash_checks import KILLED, acknowledged, finish, start
from crash_cohort import BULK_PATIENTS, BULK_SPACE, BULK_TILES, bulk_sums

from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import SUM_SPACE

KILLS = 40
STEPS = ("commit.begin", "commit.rows", "commit.before", "commit.after")


def hold_bulk(store: Store, log: Path) -> None:
    """Every acknowledged batch is there, a patient has all tiles or none, and every sum is that of its rows."""
    with store.reading() as connection:
        found = connection.execute("SELECT patient, count(*) FROM embeddings WHERE space = ? GROUP BY 1", [BULK_SPACE])
        counts = dict(found.fetchall())
    assert set(counts.values()) <= {BULK_TILES}, "a torn patient"
    batches = {int(patient[1:6]) for patient in counts}
    assert len(counts) == BULK_PATIENTS * len(batches), "a torn batch"
    assert set(map(int, acknowledged(log, "batch"))) <= batches, "an acknowledged batch is lost"
    assert [check for check in verify(store) if not check.ok] == []


def kill_bulk(folder: Path, kills: int) -> None:
    """Kill commits at and after each step, then let them end; what was written in vain is used again."""
    path, log = folder / "bulk.molsig", folder / "log"
    chance = random.Random(3)
    Store.create(path)
    killed = 0
    for turn in range(3 * kills):
        if killed == kills:
            break
        # The insert itself comes after `commit.begin` and takes most of the time.
        step = STEPS[0] if turn % 2 else chance.choice(STEPS)
        fault = f"{step}:1:{chance.uniform(0, 600):.0f}" if turn % 4 else step
        killed += finish(start("bulk", path, log, turn // 4, turn // 4 + 1, fault=fault)) == KILLED
        hold_bulk(Store.open(path), log)
    assert killed == kills
    last = turn // 4 + 1
    assert finish(start("bulk", path, log, 0, last)) == 0
    store = Store.open(path)
    hold_bulk(store, log)
    assert sorted(set(map(int, acknowledged(log, "batch")))) == list(range(last))
    sums = dict(zip(store.rows(SUM_SPACE)["patient"].to_pylist(), store.vectors(SUM_SPACE)[1], strict=True))
    for patient, expected in bulk_sums(last - 1).items():
        assert (sums[patient] == expected).all()
    one = BULK_PATIENTS * BULK_TILES * 4 * 768
    with store.reading() as connection:
        query = "SELECT block_size * used_blocks, block_size * total_blocks FROM pragma_database_size()"
        (used, total), *_ = connection.execute(query).fetchall()
    # Ids, digests and sums take some hundredths of what the vectors do; one dead commit would be as much as `one`.
    assert used < 1.03 * last * one + (16 << 20), "rows of dead commits are still in use"
    assert total < (last + 2) * one, "space of dead commits is not used again"


def test_a_few_kills_of_a_bulk_commit(tmp_path: Path) -> None:
    kill_bulk(tmp_path, 4)


@pytest.mark.crash
def test_a_bulk_commit_killed_again_and_again(tmp_path: Path) -> None:
    kill_bulk(tmp_path, KILLS)
