"""The comparison with other engines: its answers, its figures, and what becomes of engines that do not behave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import processes
from benchmarks.peers.engines import ENGINES
from benchmarks.peers.measure import TARGETS, recall
from benchmarks.peers.supervise import run
from benchmarks.peers.table import cell_of, exponents, markdown
from benchmarks.peers.task import WIDTHS, K, Task, make

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = 2000


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers") / "task"
    make(folder, ROWS, 30, seed=3)
    return folder


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))


def test_the_truth_is_the_nearest_that_meet_the_condition(task: Path) -> None:
    held = Task.load(task)
    draw = held.columns["draw"].to_numpy()
    for name, width in WIDTHS.items():
        kept = np.arange(ROWS) if width is None else np.flatnonzero(draw < width)
        assert width is None or len(kept) == ROWS * width // 1000
        scores = held.queries.astype(np.float64) @ held.base[kept].T.astype(np.float64)
        best = kept[np.argsort(-scores, axis=1, kind="stable")[:, :K]]
        found = held.truth[f"queries/{name}"]
        assert np.array_equal(found[:, : best.shape[1]], best)
        assert (found[:, best.shape[1] :] == -1).all()
    assert np.allclose(np.linalg.norm(held.base, axis=1), 1, atol=1e-6)


def test_recall_counts_what_can_be_found() -> None:
    truth = np.array([[4, 7, -1], [1, 2, 3]])
    assert recall([[7, 4], [3, 9, 1]], truth) == pytest.approx(4 / 5)
    assert recall([[4, 7]], truth) == 1.0
    assert recall([[]], np.array([[-1, -1]])) == 1.0


@pytest.mark.parametrize("name", ["exact", "molsig", "molsig-answers", "faiss-flat", "faiss-hnsw-fp16"])
def test_an_engine_is_measured_in_every_cell(name: str, task: Path, tmp_path: Path) -> None:
    found = run(name, task, budget=120, scratch=tmp_path, seconds=0.1)
    assert found["state"] == "done", found
    assert {"engine", "build_s", "open_s", "disk_bytes", "memory_bytes", "gives"} <= found.keys()
    assert [(c["filter"], c["target"]) for c in found["cells"]] == [(f, t) for f in WIDTHS for t in TARGETS]
    assert all(c["p50_ms"] <= c["p99_ms"] and c["batch_qps"] > 0 for c in found["cells"])
    for target in TARGETS:
        cell = cell_of(found, "none", target)
        assert cell is not None
        assert cell["recall"] >= target - 0.02
    if name != "faiss-hnsw-fp16":
        assert all(c["recall"] == 1.0 and c["reached"] for c in found["cells"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("Absent", "skipped", "No module named 'molsig_no_such_engine'"),
        ("Crashing", "crashed", "SIGSEGV during: open"),
        ("Failing", "failed", "ValueError: the index cannot be read"),
    ],
)
@pytest.mark.usefixtures("stand_ins")
def test_an_engine_that_does_not_work_is_told_of(
    kind: str, state: str, reason: str, task: Path, tmp_path: Path
) -> None:
    found = run(f"stand_ins:{kind}", task, budget=60, scratch=tmp_path)
    assert found["state"] == state
    assert reason in found["reason"]
    assert "cells" not in found


@pytest.mark.usefixtures("stand_ins")
def test_an_engine_that_hangs_is_cut_off_with_its_servers(task: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    found = run("stand_ins:Hanging", task, budget=6, scratch=tmp_path)
    assert time.monotonic() - started < 30
    assert found["state"] == "cut off"
    assert found["reason"] == "over 6 s, during: open"
    assert found["build_s"] > 0
    assert processes.of(tmp_path) == []


@pytest.mark.usefixtures("stand_ins")
def test_a_run_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["--rows", "1000", "--queries", "5", "--engines", "stand_ins:Hanging", "--scratch", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.peers", *words], cwd=ROOT)
    try:
        until = time.monotonic() + 60
        while len(processes.of(tmp_path)) < 3:
            assert time.monotonic() < until, "the engine and its server never came up"
            time.sleep(0.1)
        process.terminate()
        assert process.wait(30) == 143
    finally:
        process.kill()
    assert processes.of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_table_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--rows", "1000,2000", "--engines", "exact", "--queries", "20", "--seconds", ".05", "--json"]
    assert command.main([*words, "--output", str(out), "--scratch", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "peers.json").read_text())
    assert [size["rows"] for size in document["sizes"]] == [1000, 2000]
    assert document["exponents"].keys() == {"exact"}
    assert (out / "peers.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "peers.md").read_text()
    assert text.count("| exact | 1.000 |") == 2 * len(TARGETS) * len(WIDTHS)


def test_exponents_are_the_slopes_of_logarithms() -> None:
    def size(rows: int) -> dict[str, Any]:
        cell = {"filter": "none", "target": 0.99, "reached": True, "p50_ms": rows**0.5, "batch_qps": rows**-1.0}
        return {"rows": rows, "engines": [{"engine": "one", "state": "done", "build_s": rows**1.5, "cells": [cell]}]}

    found = exponents({"targets": [0.95, 0.99], "sizes": [size(rows) for rows in (1000, 10_000, 100_000)]})
    assert found["one"] == pytest.approx({"p50": 0.5, "batch": 1.0, "build": 1.5})


def test_what_was_not_reached_is_said_and_ranked_last() -> None:
    def engine(name: str, reached: bool, rate: float) -> dict[str, Any]:
        cell = {"filter": "none", "target": 0.99, "reached": reached, "recall": 0.9, "qps": 1.0, "p50_ms": 1.0}
        built = {"engine": name, "state": "done", "build_s": 1.0, "disk_bytes": 1}
        return built | {"cells": [cell | {"p99_ms": 1.0, "batch_qps": rate}]}

    engines = [engine("quick but wrong", False, 9e9), engine("right", True, 10.0)]
    engines.append({"engine": "gone", "state": "skipped", "reason": "No module named 'gone'"})
    text = markdown({"targets": [0.99], "sizes": [{"rows": 1000, "engines": engines}]})
    assert text.index("| right |") < text.index("| quick but wrong | 0.900 (not reached) |")
    assert "- gone: skipped, No module named 'gone'" in text


def test_every_engine_is_a_module_of_its_own() -> None:
    modules = {spec.partition(":")[0] for spec in ENGINES.values()}
    assert modules == {f"benchmarks.peers.{path.stem}" for path in Path(command.__file__).parent.glob("with_*.py")}
