"""Names close to one that does not exist, for error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def near(name: str, names: Sequence[str]) -> str:
    """Return ``; did you mean ...?`` with the names closest to `name`, or nothing."""
    import difflib

    lowered = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.75)
    return f"; did you mean {' or '.join(repr(lowered[other]) for other in close)}?" if close else ""
