"""What was learned of a reference, read and hashed once for as long as its files stay as they are."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from molsig.index.stamp import file_stamp
from molsig.retrieval.learned import FOLDER, load_all

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.retrieval.learned import Learned


class Shelf:
    """The learned files of one reference; one that was written, changed or removed since is noticed.

    Threads may share it.
    """

    def __init__(self, reference: Path) -> None:
        self._reference = reference
        self._folder = str(reference / FOLDER)
        self._lock = threading.Lock()
        self._stamp: tuple[object, ...] | None = None
        self._found: tuple[list[Learned], list[str]] = ([], [])

    def all(self) -> tuple[list[Learned], list[str]]:
        """As `load_all`; the same objects as the last time where no file has changed."""
        with self._lock:
            now = self._now()
            if now is None or now != self._stamp:
                self._found = load_all(self._reference)
                # What changed while it was read is read again.
                self._stamp = now if now == self._now() else None
            held, damaged = self._found
            return list(held), list(damaged)

    def _now(self) -> tuple[object, ...] | None:
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 (every query asks, and a glob costs ten times as much)
        except FileNotFoundError:
            names = []
        return file_stamp(f"{self._folder}/{name}" for name in sorted(names) if name.endswith(".safetensors"))
