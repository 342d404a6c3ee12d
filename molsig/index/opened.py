"""A generation as it is searched: its rows mapped at once, its structure read when it is first asked for."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from molsig.errors import DamagedError
from molsig.index.manifest import FACTS, folder_of
from molsig.index.rows_file import RowFacts, RowsFile
from molsig.index.structure import faiss, from_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.index.manifest import GenerationInfo
    from molsig.index.structure import Structure

LONG = 48_000
"""Bytes of what is known of the rows of a generation, at which they are about 2,000: fewer are searched exactly."""


def load_ahead(index_dir: Path) -> None:
    """Begin to load faiss in another thread where an index is so long that a search is likely to want it.

    That takes as long as the database takes to tell the rows of two spaces, while Python waits for it.
    """

    def load() -> None:
        # A file may go while it is looked at. Whatever is wrong with faiss is told by the search that wants it.
        with suppress(Exception):
            if any(file.stat().st_size > LONG for file in index_dir.glob(f"*/*{FACTS}")):
                faiss()

    threading.Thread(target=load, name="load faiss", daemon=True).start()


class OpenGeneration:
    """The files of a generation. Threads may share it.

    Attributes
    ----------
    info
        Its manifest.
    file
        Its rows: their numbers are those that the structure proposes.
    """

    def __init__(self, index_dir: Path, info: GenerationInfo) -> None:
        """Map the rows.

        Raises
        ------
        DamagedError
            A file is not what was written.
        FileNotFoundError
            One is missing.
        """
        self.info = info
        self._folder = folder_of(index_dir, info.space)
        facts = RowFacts.read(self._folder, info.facts)
        self.file = RowsFile.open(self._folder / info.vectors, facts)
        if len(self.file) != info.rows:
            raise DamagedError(f"{self._folder / info.facts.name}: {len(self.file):,} rows, {info.rows:,} were written")
        self._lock = threading.Lock()
        self._structure: Structure | None = None

    def structure(self) -> Structure:
        """Return the structure.

        Raises
        ------
        DamagedError
            Its file is not what was written.
        FileNotFoundError
            There is no such file.
        MissingExtraError
            faiss is not installed.
        """
        with self._lock:
            if self._structure is None:
                # Its hash is looked at: FAISS itself accepts most flipped bits.
                self._structure = from_bytes(self.info.method, self.info.structure.read(self._folder))
            return self._structure
