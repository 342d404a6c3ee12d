"""A command with a limit on the size of files, which it meets as a full disk."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence


def run_with_room(command: Sequence[str], room: int) -> subprocess.CompletedProcess[str]:
    """Run a command that can write no file longer than `room` bytes."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
