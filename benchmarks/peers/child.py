"""One engine in a process of its own: ``python -m benchmarks.peers.child ENGINE PHASE TASK FOLDER RESULT SECONDS``.

Every figure is written as soon as it is known, so that what was measured before the process is cut off is not lost.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import engines, processes
from benchmarks.peers.task import Task

if TYPE_CHECKING:
    from benchmarks.peers.engine import Engine


def build(engine: Engine, task: Task, folder: Path, told: Told) -> None:
    """Build, and weigh what lies on disk."""
    told.step("build")
    started = time.perf_counter()
    engine.build(task, folder)
    told.put(build_s=time.perf_counter() - started, disk_bytes=processes.size(folder))


def search(engine: Engine, task: Task, folder: Path, told: Told, seconds: float) -> None:
    """Open, tune, measure, and weigh what is held in memory after all queries."""
    from benchmarks.peers.measure import cells

    before = processes.memory(folder)
    told.step("open")
    started = time.perf_counter()
    engine.open(task, folder)
    engine.turn(engine.knobs[0])
    engine.one(task.tuning[0], None)
    told.put(open_s=time.perf_counter() - started, gives=engine.gives, filters=engine.filters)
    told.step("search")
    found: list[dict[str, Any]] = []
    for cell in cells(engine, task, seconds):
        found.append(asdict(cell))
        told.put(cells=found, memory_bytes=processes.memory(folder) - before)
        told.step(f"search, filter {cell.filter}")
    engine.close()


class Told:
    """The result file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def put(self, **figures: Any) -> None:
        """Add figures and write all."""
        self._said |= figures
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._said))
        fresh.rename(self._path)

    def step(self, name: str) -> None:
        """Say what is done now."""
        self.put(step=name, state="running")


def main(words: list[str]) -> int:
    """Run one phase."""
    name, phase, *places, seconds = words
    task_folder, folder, result = map(Path, places)
    told = Told(result)
    try:
        engine = engines.make(name)
    except ImportError as error:
        told.put(state="skipped", reason=f"{type(error).__name__}: {error}")
        return 0
    try:
        task = Task.load(task_folder)
        if phase == "build":
            build(engine, task, folder, told)
        else:
            search(engine, task, folder, told, float(seconds))
    except Exception as error:
        # Whatever an engine raises is its result; the trace goes to stderr.
        told.put(state="failed", reason=f"{type(error).__name__}: {str(error)[:300]}")
        raise
    told.put(state="done" if phase == "search" else "built")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
