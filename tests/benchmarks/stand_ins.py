"""Engines that do what an engine should not, for the process that measures them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.peers.with_numpy import Exact

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.task import Task


class Absent(Exact):
    """Needs what nobody has."""

    needs = ("molsig_no_such_engine",)


class Hanging(Exact):
    """Never opens, and has started a server that would go on."""

    def open(self, task: Task, folder: Path) -> None:
        """Wait for good."""
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(folder)], start_new_session=True)
        time.sleep(600)


class Crashing(Exact):
    """Ends its process."""

    def open(self, task: Task, folder: Path) -> None:
        """Die."""
        os.kill(os.getpid(), signal.SIGSEGV)


class Failing(Exact):
    """Raises."""

    def open(self, task: Task, folder: Path) -> None:
        """Raise."""
        raise ValueError("the index cannot be read")
