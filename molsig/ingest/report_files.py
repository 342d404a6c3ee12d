"""Reports that are files of their own: a PDF, or a folder of PDF and text files named by patient or sample."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.ocr import open_reader
from molsig.ingest.opening import TextStream
from molsig.ingest.pdf import read_pdf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.ocr import Ocr, PageReader
    from molsig.ingest.pdf import PdfText
    from molsig.ingest.report_tables import ReportRow
    from molsig.types import Progress

MOST_TOLD = 50
"""Files that are told one by one."""

_STEP = "read reports"


class ReportFiles:
    """Reads report files one after the other, and keeps what is worth telling of them.

    The engine for scanned pages is started when the first such page is met.
    """

    def __init__(self, ocr: Ocr, limits: Limits, progress: Progress) -> None:
        self._ocr = ocr
        self._limits = limits
        self._progress = progress
        self._reader: PageReader | None = None
        self._started = False
        self._choice: str | None = None
        self._told: list[tuple[str, str]] = []
        self._warned: list[tuple[str, str]] = []
        self._pages: Counter[str] = Counter()

    def one(self, path: Path) -> Iterator[ReportRow]:
        """Read a single PDF."""
        yield 0, _stem(path.name), None, self._pdf(path)

    def folder(self, folder: Path) -> Iterator[ReportRow]:
        """Read the ``.txt`` and ``.pdf`` files of a folder in the order of their names; the others are passed over."""
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
        if len(names) > self._limits.max_files:
            raise InputError(f"{len(names):,} files, more than the limit of {self._limits.max_files:,}", file=folder)
        reports = [name for name in names if name.lower().endswith((".txt", ".pdf"))]
        if not reports:
            raise InputError("the folder holds no .txt or .pdf file", file=folder)
        home = folder.resolve()
        for number, name in enumerate(reports):
            file = folder / name
            if not file.resolve().is_relative_to(home):
                raise InputError("is a link that leads out of the folder", file=file, hint="Put the file itself there")
            self._progress(_STEP, number, len(reports))
            if file.is_file() and file.stat().st_size == 0:
                yield number, _stem(name), None, None
            elif name.lower().endswith(".pdf"):
                yield number, _stem(name), None, self._pdf(file)
            else:
                yield number, _stem(name), None, self._text(file)
        self._progress(_STEP, len(reports), len(reports))

    @property
    def notes(self) -> list[str]:
        """Where the text of each PDF came from; of all together where there are several."""
        notes = []
        if len(self._told) > 1:
            pages = ", ".join(f"{count:,} {how}" for how, count in sorted(self._pages.items()) if count)
            notes.append(f"{len(self._told):,} PDF files, pages: {pages}")
        return notes + _first(self._told)

    @property
    def warnings(self) -> list[str]:
        """What is doubtful about the PDF files, each with its name."""
        choice = [] if self._choice is None else [self._choice]
        return choice + _first(self._warned)

    def _pdf(self, file: Path) -> str:
        found: PdfText = read_pdf(file, self._engine, self._limits)
        self._told.append((file.name, found.note))
        self._warned += [(file.name, warning) for warning in found.warnings]
        self._pages["from the text layer"] += found.layer
        self._pages[f"read by {found.engine}"] += found.scanned
        self._pages["not read"] += found.unread
        return found.text

    def _text(self, file: Path) -> str:
        most = self._limits.max_cell_chars
        with TextStream(file, self._limits) as stream:
            text = stream.read(4 * most + 4).decode("utf-8", errors="ignore")
        if len(text) > most:
            raise InputError(f"a report longer than the limit of {most:,} characters", file=file)
        return text

    def _engine(self) -> PageReader | None:
        if not self._started:
            self._reader, self._choice = open_reader(self._ocr)
            self._started = True
        return self._reader


def _stem(name: str) -> str:
    return name[:-4] if name.lower().endswith((".txt", ".pdf")) else name


def _first(told: list[tuple[str, str]]) -> list[str]:
    more = len(told) - MOST_TOLD
    return [f"{name}: {what}" for name, what in told[:MOST_TOLD]] + ([f"{more:,} more of these"] if more > 0 else [])
