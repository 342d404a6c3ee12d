"""Results to stdout as a table or JSON, or to a file by its ending."""

from __future__ import annotations

import json
import os
import sys
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from molsig.retrieval.answer import Answer

ENDINGS = (".json", ".csv", ".parquet", ".html")
"""What answers can be written as."""

SHOWN_COLUMNS = 6
"""Patient columns a terminal table shows when the user names none."""


def note(text: str) -> None:
    """Text for people: stderr, so that stdout holds results only."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout; dates and the like as text, NaN never (it is not JSON)."""
    print(json.dumps(value, indent=2, default=str, allow_nan=False))


def print_table(title: str, rows: Sequence[dict[str, object]]) -> None:
    """A table on stdout, columns without a value left out; as wide as the terminal, or as it needs in a pipe."""
    from molsig.retrieval.answer import text

    names = [name for name in (rows[0] if rows else ()) if any(row[name] not in (None, "") for row in rows)]
    numeric = [all(isinstance(row[name], int | float) or row[name] is None for row in rows) for name in names]
    cells = [[text(row[name]) for name in names] for row in rows]
    print(title)
    if (lines := _lines(names, cells, numeric)) is not None:
        print("\n".join(lines))
    else:
        _print_rich(names, cells, numeric)


def _lines(names: list[str], cells: list[list[str]], numeric: list[bool]) -> list[str] | None:
    """The lines of a table that needs no thought; None if a cell has to be folded, measured or written otherwise.

    Loading rich takes a tenth of the time of a short command. What it would print is printed here.
    """
    if not all(cell.isascii() and cell.isprintable() for row in (names, *cells) for cell in row):
        return None
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        return None
    if not names:
        return [""]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    wide = sum(widths) + 3 * len(widths) - 1
    head = ""
    if sys.stdout.isatty():
        if wide > get_terminal_size().columns:
            return None
        head = "" if os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown") else "\033[1m"

    def line(row: list[str]) -> str:
        parts = zip(row, widths, numeric, strict=True)
        return f" {'   '.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in parts)} "

    top = line(names)
    blank, rule = " " * wide, f" {'─' * (wide - 2)} "
    return [blank, f"{head}{top}\033[0m" if head else top, rule, *map(line, cells), blank]


def _print_rich(names: list[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    # No narrower than it needs where it is not a terminal: a program reads it.
    needed = 4 * sum(max(map(len, column)) for column in zip(names, *cells, strict=True)) if names else 0
    Console(width=None if sys.stdout.isatty() else max(200, needed), highlight=False).print(table)


def print_answer(answer: Answer, columns: Sequence[str] | None) -> None:
    """Hits as a table, with the calls above and the plan below."""
    rows = answer.rows()
    fixed = {"rank", "patient", "sample", "score", "probability", "brought_by"}
    nats = {name for name in (rows[0] if rows else {}) if name.startswith("nats_")}
    hidden = {"query"} | nats | ({"sample"} if all(r["sample"] in (None, r["patient"]) for r in rows) else set())
    attributes = [
        name for name in (rows[0] if rows else {}) if name not in fixed | hidden and not name.startswith("cos_")
    ]
    if unknown := [name for name in columns or () if answer.hits and name not in attributes]:
        raise UsageError(f"--columns {unknown[0]}: there is no such patient column; there are {', '.join(attributes)}")
    shown = list(columns) if columns is not None else _most_telling(attributes, answer)
    table = [
        {name: value for name, value in row.items() if name not in hidden and (name not in attributes or name in shown)}
        for row in rows
    ]
    from molsig.retrieval.answer import said

    plan = answer.plan
    print_table(f"Patients like {answer.query} ({' + '.join(answer.modalities)})", table)
    for call in answer.calls.values():
        print(f"  {said(call)}")
    for line in answer.notes:
        print(f"  note: {line}")
    print(f"  {plan.method} search of {plan.rows:,} vectors, fusion {plan.fusion}, recall@10 {plan.recall:.3f}\n")


def check_target(path: Path | None, endings: Sequence[str] = ENDINGS, flag: str = "--output") -> None:
    """Raise `UsageError`, before any work is done, for a file that could not be written when it is; None is none."""
    if path is None:
        return
    if path.suffix.lower() not in endings:
        raise UsageError(f"{flag} {path}: give a name ending in {', '.join(endings)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{flag} {path}: {'it is a folder' if path.is_dir() else 'its folder does not exist'}")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise UsageError(f"{flag} {path}: it may not be written to")
    else:
        _check_writable(path.absolute().parent, f"{flag} {path}")


def check_folder(path: Path | None, flag: str) -> None:
    """Raise `UsageError` where a folder cannot be written to or a file stands in its place; None is none."""
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise UsageError(f"{flag} {path}: it is a file, a folder is needed")
    there = path.absolute()
    while not there.is_dir():
        there = there.parent
    _check_writable(there, f"{flag} {path}")


def _check_writable(folder: Path, what: str) -> None:
    """Make a file without a name and let it go: permissions alone do not tell of a read-only medium."""
    import tempfile

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{what}: nothing can be written to {folder} ({error.strerror})") from error


def save(answers: Sequence[Answer], path: Path) -> None:
    """Write answers in the format that the ending of `path` names, one of `ENDINGS`."""
    from molsig.retrieval.answer import documents, page

    empty = ("query", "rank", "patient", "score")
    save_as(path, lambda: documents(answers), lambda: page(answers), (one.rows() for one in answers), empty)


def save_as(
    path: Path,
    documents: Callable[[], object],
    page: Callable[[], str],
    rows_of_each: Iterable[Iterable[Mapping[str, object]]],
    empty: Sequence[str] = (),
) -> None:
    """Write what was found in the format that the ending of `path` names: documents, a page or a table.

    Parameters
    ----------
    empty
        Columns of the table where there is no row.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        path.write_text(json.dumps(documents(), indent=2, default=str, allow_nan=False) + "\n")
    elif ending == ".html":
        path.write_text(page(), encoding="utf-8")
    else:
        import pyarrow as pa
        from pyarrow import csv, parquet

        rows = [row for some in rows_of_each for row in some]
        names = list(dict.fromkeys(name for row in rows for name in row)) or list(empty)
        table = pa.table({name: [row.get(name) for row in rows] for name in names})
        if ending == ".csv":
            csv.write_csv(table, path)
        else:
            parquet.write_table(table, path)


def _most_telling(attributes: Sequence[str], answer: Answer) -> list[str]:
    """The voted columns first, then the first that are filled in for most hits."""
    from molsig.retrieval.answer import own_name

    filled = [
        name
        for name in attributes
        if name.removeprefix("patient.") not in answer.calls
        and 2 * sum(h.attributes.get(name.removeprefix("patient.")) is not None for h in answer.hits) > len(answer.hits)
    ]
    return ([own_name(column) for column in answer.calls] + filled)[:SHOWN_COLUMNS]
