"""SIGKILL at random times and at every named step: nothing acknowledged is lost, nothing torn, everything reopens."""

from __future__ import annotations

import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crash_child
import numpy as np
import pytest
from crash_checks import KILLED, acknowledged, clean, finish, hold, start
from crash_cohort import Batch

from molsig.index import faults, schema
from molsig.index.manifest import read_manifest
from molsig.index.opened import OpenGeneration
from molsig.index.store import Store
from molsig.retrieval.learned import load_all

RANDOM_KILLS = 200
STEP_KILLS = 20
STORED = 8
"""Batches in the reference that the named steps are tried on."""

ACTION_OF = {
    "create": "create",
    "commit": "ingest",
    "attributes": "columns",
    "predictions": "predict",
    "index": "index",
    "manifest": "index",
    "generation": "index",
    "forget": "forget",
    "compact": "forget",
    "migrate": "migrate",
    "checkpoint": "ingest",
    "fusion": "learn",
}


def told(text: str) -> None:
    print(text, file=sys.__stderr__, flush=True)


def kill_at_random(folder: Path, kills: int, *, longest: float) -> None:
    """Kill an ingest of one reference `kills` times, then let it end."""
    path, log = folder / "random.molsig", folder / "log"
    chance = random.Random(1)
    started = time.monotonic()
    done = 0
    while done < kills:
        lives = log.read_text().count("started") if log.exists() else 0
        child = start("ingest", path, log, 0, 1_000_000)
        # One in ten while it starts, the others while it writes.
        if done % 10:
            while child.poll() is None and (not log.exists() or log.read_text().count("started") == lives):
                time.sleep(0.005)
        time.sleep(chance.uniform(0, longest))
        child.kill()
        assert finish(child) == KILLED
        done += 1
        if not (path / "reference.duckdb").exists():
            continue
        stored = hold(Store.open(path), log)
        if done % 25 == 0:
            assert all(check.ok for check in crash_child.verify(Store.open(path)))
            told(f"  {done} of {kills} kills, {stored} batches stored, {time.monotonic() - started:.0f} s")
    last = max(map(int, acknowledged(log, "batch")), default=0) + 10
    assert finish(start("ingest", path, log, 0, last), timeout=300) == 0
    store = Store.open(path)
    assert hold(store, log) == last
    clean(store)
    told(f"  {kills} kills at random times, {last} batches in, {time.monotonic() - started:.0f} s")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reference with everything in it, and the log of its making."""
    folder = tmp_path_factory.mktemp("template")
    assert finish(start("ingest", folder / "reference.molsig", folder / "log", 0, STORED)) == 0
    return folder


def kill_at(step: str, template: Path, folder: Path, kills: int) -> int:
    """Kill a child at `step` or some milliseconds after it, `kills` times; return how often it was tried."""
    action = ACTION_OF[step.partition(".")[0]]
    chance = random.Random(step)
    shutil.copytree(template, folder)
    done = tried = 0
    while done < kills:
        tried += 1
        assert tried < 10 * kills, f"{step} is hardly ever reached"
        if action in ("create", "migrate"):
            shutil.rmtree(folder)
            shutil.copytree(template, folder)
        path, log = folder / "reference.molsig", folder / "log"
        if action == "create":
            path = folder / "fresh.molsig"
        # Every other time the step goes on for some milliseconds before the process dies.
        fault = step if done % 2 == 0 else f"{step}:1:{chance.uniform(0, 15):.2f}"
        number = tried % STORED if action in ("forget", "predict") else STORED + tried
        done += finish(start(action, path, log, number, number + 1, fault=fault)) == KILLED
        if action == "create":
            after_create(path, log)
        elif action == "migrate":
            after_migrate(path, log)
        else:
            hold(Store.open(path), log)
            if action == "forget":
                after_forget(path, log, Batch(number))
            if action == "learn":
                assert load_all(path)[1] == [], "what was learned is torn"
    if action not in ("create", "migrate"):
        assert finish(start("ingest", path, log, 0, STORED + tried + 1)) == 0
        hold(Store.open(path), log)
        clean(Store.open(path))
    if action == "learn":
        assert finish(start("learn", path, log)) == 0
        assert [file.name for file in (path / "fusion").iterdir()] == ["weights.safetensors"], "a leftover"
    shutil.rmtree(folder)
    return tried


def after_create(path: Path, log: Path) -> None:
    """A reference is there, empty and whole, or it can be made."""
    store = Store.open(path) if (path / "reference.duckdb").exists() else Store.create(path)
    clean(store)


def after_migrate(path: Path, log: Path) -> None:
    """Every row is still there, and the migration goes on where it stopped; run in a child that knows the formats."""
    assert finish(start("migrate", path, log)) == 0
    with Store(path).reading() as connection:
        assert schema.format_of(connection, path) == schema.newest_format() + 2
        odd = connection.execute("SELECT count(*) FROM samples WHERE barcode_length IS DISTINCT FROM 11").fetchall()
        assert odd == [(0,)]
    hold(Store(path), log)


def after_forget(path: Path, log: Path, batch: Batch) -> None:
    """The patient is there as before, or gone; once the next writer has been in, gone from every file."""
    store = Store.open(path)
    patient = batch.patients[0]
    there = patient in store.patient_ids()
    with store.writer("crash test") as writer:
        if there:
            writer.forget([patient], compact=True)
    gone = {batch.encoded()[0].vectors[0].tobytes()[i : i + 64] for i in (0, 512, 1024)}
    raw = store.database.read_bytes()
    assert not any(part in raw for part in gone), "a forgotten vector is still in the database file"
    for info in store.spaces():
        manifest = read_manifest(store.index_dir, info.space)
        if manifest is not None:
            ids = OpenGeneration(store.index_dir, manifest).file.ids
            assert np.isin(ids, store.rows(info.space)["id"].to_numpy()).all()
    with store.writer("crash test") as writer:
        writer.commit(batch.encoded())
        writer.build_indexes()


@pytest.mark.crash
def test_killed_at_random_times(tmp_path: Path) -> None:
    kill_at_random(tmp_path, RANDOM_KILLS, longest=1.4)


@pytest.mark.crash
def test_killed_at_every_named_step(template: Path, tmp_path: Path) -> None:
    def run(step: str) -> None:
        started = time.monotonic()
        tried = kill_at(step, template, tmp_path / step, STEP_KILLS)
        told(f"  {step}: {STEP_KILLS} kills in {tried} runs, {time.monotonic() - started:.0f} s")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, faults.STEPS))


def test_a_few_kills_at_random_times(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 4, longest=0.5)


@pytest.mark.parametrize("step", ["commit.rows", "manifest.rename", "forget.after", "migrate.before", "fusion.rename"])
def test_a_kill_at_a_named_step(step: str, template: Path, tmp_path: Path) -> None:
    kill_at(step, template, tmp_path / step, 1)


def test_every_step_has_an_action() -> None:
    assert {step.partition(".")[0] for step in faults.STEPS} == set(ACTION_OF)
