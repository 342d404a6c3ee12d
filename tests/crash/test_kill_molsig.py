"""`molsig ingest` itself killed at random moments: reading, training, encoding, committing, switching, indexing."""

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
SWITCHES = 8


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


def rna_in_use(place: Path) -> tuple[str, set[str]]:
    """The one RNA space that answers queries, and the samples in it."""
    store = Store.open(place)
    (space,) = (info.space for info in store.spaces() if info.modality == "rna" and info.active)
    return space, set(store.stored(space)["sample"].to_pylist())


@pytest.mark.crash
def test_a_new_encoder_takes_over_at_once_or_not_at_all(cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    place = tmp_path / "killed.molsig"
    command = [sys.executable, "-m", "molsig", "ingest", str(place), "--rna", str(cohort_files.rna), "--epochs", "4"]
    subprocess.run(command, check=True, capture_output=True)
    chance = random.Random(12)
    killed = switched = 0
    longest = 0.0
    for seed in range(1, SWITCHES + 1):
        before, samples = rna_in_use(place)
        again = [*command, "--new-encoder", "rna", "--seed", str(seed)]
        if seed > 1:
            child = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            # Late rather than early: encoding, committing and switching come after the training.
            time.sleep(longest * chance.uniform(0.5, 1.05))
            child.send_signal(signal.SIGKILL)
            _, said = child.communicate()
            assert child.returncode in (0, -signal.SIGKILL), said
            killed += child.returncode != 0
            now, held = rna_in_use(place)
            assert held == samples, "a sample is in no space, or in one of another encoder"
            switched += now != before
            broken = [check for check in verify(Store.open(place)) if not check.ok]
            assert broken == []
        start = time.monotonic()
        done = subprocess.run(again, capture_output=True, text=True, check=False)
        longest = max(longest, time.monotonic() - start)
        assert done.returncode == 0, done.stderr
        after, held = rna_in_use(place)
        assert after != before
        assert held == samples
    assert killed > 0
    print(f"\n{killed} of {SWITCHES - 1} switches were killed, {switched} had been made by then; verify clean")
