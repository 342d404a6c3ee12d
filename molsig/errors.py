"""Everything molsig raises on purpose: what happened, where, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class MolsigError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 2


class UsageError(MolsigError):
    """The call itself is off: contradictory options, an unknown column, a name that does not exist."""

    exit_code = 2


class NotFoundError(MolsigError):
    """The question was fine and the answer is empty: no such patient, no row left by a filter."""

    exit_code = 1


class InputError(MolsigError):
    """A file given by the user is wrong.

    Parameters
    ----------
    problem
        What is wrong, in words.
    file
        The file it is wrong in.
    row
        1-based line of the text file, header and comment lines counted, or 1-based record of a binary one.
    column
        Name of the column, gene, dataset or key.
    hint
        What the user can do about it.
    """

    exit_code = 3

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.row = row
        self.column = column
        self.hint = hint
        super().__init__(self._message())

    def _message(self) -> str:
        place = [] if self.file is None else [self.file]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column!r}")
        text = f"{', '.join(place)}: {self.problem}" if place else self.problem
        return text if self.hint is None else f"{text}. {self.hint}"


class CoverageError(InputError):
    """A sample lacks too many of the features that an encoder was fitted on."""


class LockedError(MolsigError):
    """Another process holds the reference; the message says which."""

    exit_code = 4


class DamagedError(MolsigError):
    """Something on disk is not what was written: a hash, a size or a format does not match."""

    exit_code = 4


class MissingExtraError(MolsigError):
    """A feature needs an optional dependency; the message is the line that installs it."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: pip install 'molsig[{extra}]'")
