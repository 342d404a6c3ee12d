"""`molsig ingest` itself killed at random moments: reading, training, encoding, committing, indexing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.simulate import SimulatedCohort

KILLS = 16


def stored_of(place: Path) -> set[tuple[str, str]]:
    """What is acknowledged so far: (space, sample) of every row."""
    if not (place / "reference.duckdb").exists():
        return set()
    store = Store.open(place)
    spaces = [info.space for info in store.spaces() if info.space != SUM_SPACE]
    return {(space, sample) for space in spaces for sample in store.stored(space)["sample"].to_pylist()}


@pytest.mark.crash
def test_an_ingest_killed_again_and_again_is_finished_by_the_same_command(
    cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    files = ["--rna", str(cohort_files.rna), "--mutations", str(cohort_files.mutations)]
    files += ["--mirna", str(cohort_files.mirna), "--clinical", str(cohort_files.clinical), "--epochs", "8"]
    place, whole = tmp_path / "killed.molsig", tmp_path / "whole.molsig"
    command = [sys.executable, "-m", "molsig", "ingest", str(place), *files]
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "molsig", "ingest", str(whole), *files], check=True, capture_output=True)
    # Machines differ in speed. What is done is not done again, so each try is shorter than a whole ingest.
    longest = (time.monotonic() - start) / 2
    chance = random.Random(11)
    killed, before = 0, set[tuple[str, str]]()
    for _ in range(KILLS):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(chance.uniform(0.2, longest))
        child.send_signal(signal.SIGKILL)
        _, said = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), said
        killed += child.returncode != 0
        now = stored_of(place)
        assert before <= now, "a row that was there is gone"
        before = now
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stored_of(place) == stored_of(whole)
    store = Store.open(place)
    assert [check for check in verify(store) if not check.ok] == []
    print(f"\n{killed} of {KILLS} ingests were killed; {len(stored_of(place)):,} rows at the end, verify clean")
