"""What pages of markers, landmarks and explanations have in common: figures and tables, pictures in a folder."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from molsig.evaluate.marker_pictures import standing_alone
from molsig.evaluate.page import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def document(
    title: str,
    lead: str,
    notes: Sequence[str],
    sections: Iterable[tuple[str, str]],
    *,
    verb: str = "markers",
    style: str = "",
) -> str:
    """A whole page without scripts or outside links; sections are a heading, as text, and what is below, as HTML."""
    said = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{STYLE}{style}</style></head><body>"
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(lead)}</p>"
        + (f"<div class='notes'><ul>{said}</ul></div>" if notes else "")
        + "".join(f"<h2>{escape(heading)}</h2>{body}" for heading, body in sections)
        + f"<footer>molsig {verb}. Research use only.</footer></body></html>\n"
    )


def figure(picture: str, caption: str) -> str:
    """A picture and what is to be seen in it, as text."""
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def listing(head: Sequence[str], rows: Iterable[Sequence[object]], *, words: Sequence[str] = ()) -> str:
    """A table; the columns named in `words` hold text and are set to the left."""
    at = ["left" if name in words else "right" for name in head]

    def line(tag: str, cells: Iterable[object]) -> str:
        parts = zip(cells, at, strict=True)
        return "".join(f"<{tag} style='text-align:{side}'>{escape(str(one))}</{tag}>" for one, side in parts)

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{line('th', head)}</tr>{body}</table></div>"


def save_pictures(pictures: Mapping[str, str | None], folder: Path, *, verb: str = "markers") -> list[Path]:
    """Write pictures, by what they are called, as SVG files into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures.items():
        if picture is not None:
            written.append(folder / f"{verb}-{name}.svg")
            written[-1].write_text(standing_alone(picture), encoding="utf-8")
    return written
