"""Processes of one engine: what they hold in memory, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

LOOKS, BETWEEN = 500, 0.01
"""So often, and so many seconds apart, it is looked whether a killed process is gone."""


def of(folder: Path) -> list[int]:
    """Processes whose command line names `folder`: the one that measures an engine and the servers it started."""
    name = os.fsencode(folder)
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if name in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def family(folder: Path) -> set[int]:
    """Those of the folder and all their children."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                # The command may hold blanks and brackets; the parent is the second word after its end.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    left = of(folder)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += parents.get(one, [])
    return found


def memory(folder: Path) -> int:
    """Bytes that the family holds for itself; pages of files, which the system can drop, are not counted."""
    total = 0
    for one in family(folder):
        with suppress(OSError):
            for line in (PROC / str(one) / "smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += 1024 * int(line.split()[1])
    return total


def end(folder: Path) -> None:
    """Kill the family, until nobody is left: one of them may start another while they are counted."""
    for _ in range(LOOKS):
        left = family(folder) - {os.getpid()}
        if not left:
            break
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(BETWEEN)


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
