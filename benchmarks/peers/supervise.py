"""Runs one engine in processes of its own, within a time, whatever becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.peers import processes

ROOT = Path(__file__).resolve().parents[2]
LAST_WORDS = 300


def run(name: str, task: Path, *, budget: float, scratch: Path, seconds: float = 1.5) -> dict[str, Any]:
    """Build and search with one engine; return what is known of it.

    Parameters
    ----------
    name
        Of the engine.
    task
        Folder that `benchmarks.peers.task.make` wrote.
    budget
        Seconds for both phases.
    scratch
        Folder for what it builds; removed afterwards.
    seconds
        Time for the single queries of a cell, and for its batch.

    Returns
    -------
    dict
        ``state`` is ``done``, ``skipped``, ``failed``, ``crashed`` or ``cut off``, ``reason`` says more, and there are
        the figures that were known by then.
    """
    place = Path(tempfile.mkdtemp(prefix="peer-", dir=scratch))
    result = place / "result.json"
    folder = place / "built"
    folder.mkdir()
    end = time.monotonic() + budget
    known: dict[str, Any] = {}
    try:
        for phase in ("build", "search"):
            code, words = _phase([name, phase, str(task), str(folder), str(result), str(seconds)], end)
            known = json.loads(result.read_text()) if result.exists() else {}
            if code is None:
                known |= {"state": "cut off", "reason": f"over {budget:g} s, during: {known.get('step', phase)}"}
            elif known.get("state") not in ("built", "done", "skipped", "failed"):
                known |= {"state": "crashed", "reason": f"{_how(code)} during: {known.get('step', phase)}; {words}"}
            if known["state"] != "built":
                break
    finally:
        processes.end(folder)
        shutil.rmtree(place, ignore_errors=True)
    known.pop("step", None)
    return {"engine": name, **known}


def _phase(words: list[str], end: float) -> tuple[int | None, str]:
    """Exit code of the process, None if its time ran out, and the end of what it said."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "ANONYMIZED_TELEMETRY": "False",
        "TQDM_DISABLE": "1",
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.child", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        code: int | None = None
        try:
            code = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Its own session: whatever it started and left ends with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_WORDS))
        return code, said.read().decode(errors="replace").strip()


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
