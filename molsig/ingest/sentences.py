"""Running text becomes sentences: pysbd finds the boundaries, rules of pathology reports mend them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from molsig.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_WORDS = 3
LEAST_LETTERS = 12
LONGEST = 1_500
"""A piece with fewer words or letters is no sentence of its own; one of more characters is cut."""

DOUBTFUL = 300
"""Characters from which on a piece with quotes is looked at again."""

WINDOW = 1_000
"""Characters that pysbd sees at once: its time grows faster than the length of the text."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:[Aa]pprox|[Dd]r|[Mm]rs?|[Mm]s|[Pp]rof|[Cc]a|vs|VS|[Ff]igs?|e\.g|i\.e|[Cc]f|incl|resp|"
    r"[Aa]nt|[Pp]ost|[Ss]up|[Ii]nf|[Ll]at|[Mm]ed|[Dd]ist|[Pp]rox|[Mm]ax|[Mm]in|[Dd]iam|[Dd]ept|[Rr]ef|[Ss]pec|[Ss]urg|"
    r"[Cc]yto|[Hh]x|[Dd]x|[Rr]x|[Tt]x|[Ww]t|St|[Nn]os?(?=\.\s+[#\d])|et al)\.\s*$"
)
_GOES_ON = re.compile(r"[,;:)\]]|[\"'](?:[\s.,;:)]|$)|\((?!\w{1,2}\)|[A-Z][a-z]+ )")
"""How no sentence starts: closing marks, and brackets, but for those of items ("(B)") and of whole sentences."""
_QUOTES = re.compile(r"[\"'\u2018\u2019\u201c\u201d]")
_QUOTES_AND_BRACKETS = re.compile(r"[\"'\u2018\u2019\u201c\u201d()]")
_CUTS = (re.compile(r"[.!?;]\s"), re.compile(r"[:,)]\s"), re.compile(r"\s"))


class Splitter:
    """Cuts running text into sentences.

    Raises
    ------
    MissingExtraError
        pysbd is not installed.
    """

    def __init__(self) -> None:
        try:
            import pysbd
        except ModuleNotFoundError:
            raise MissingExtraError("reading reports", "reports") from None
        self._pysbd: Any = pysbd.Segmenter(language="en", clean=False)

    def split(self, text: str) -> list[str]:
        """Cut running text (paragraphs one a line, see `molsig.ingest.running_text`) into sentences in reading order.

        * Boundaries are those of pysbd (Sadvilkar and Neumann, 2020, doi 10.18653/v1/2020.nlposs-1.15), looked for
          in windows of about `WINDOW` characters, and paragraphs.
        * None is behind an abbreviation of clinical writing ("approx.", "Dr.", "No. 3"), and none before a
          closing mark or a remark in brackets. A long piece with quotes is looked at again without them.
        * A piece with fewer than `LEAST_WORDS` words of two letters or `LEAST_LETTERS` letters (item letters, "AF1.",
          headings, "Normal.") is joined to the sentence that follows it, the last one to the one before.
        * A sentence over `LONGEST` characters is cut behind the last stop or semicolon in its second half, else behind
          a comma, colon or bracket there, else at a space, else anywhere.

        The letters of all sentences in order are the letters of the text.
        """
        pieces = [
            piece
            for paragraph in text.split("\n")
            for long_piece in _between(paragraph, self._boundaries(paragraph))
            for piece in self._without_quotes(long_piece)
            if piece
        ]
        return [part for sentence in _joined(pieces) for part in _cut(sentence)]

    def _without_quotes(self, piece: str) -> Iterator[str]:
        """Look again at a long piece with its quotes hidden: one that never closes holds sentences together.

        So does a bracket, and brackets are hidden where one is without its other half.
        """
        marks = _QUOTES if piece.count("(") == piece.count(")") else _QUOTES_AND_BRACKETS
        if len(piece) <= DOUBTFUL or not marks.search(piece):
            yield piece
        else:
            yield from _between(piece, self._boundaries(marks.sub("_", piece)))

    def _boundaries(self, paragraph: str) -> Iterator[int]:
        start = 0
        while start < len(paragraph):
            window = paragraph[start : start + WINDOW]
            last = start + WINDOW >= len(paragraph)
            found = [start + place for place in self._starts(window) if _may_start(window, place)]
            if not last:
                # What comes last in the window may go on behind it, so the next window begins there.
                yield from found[:-1]
                start = found[-1] if found else start + _last_space(window)
                if found:
                    yield start
            else:
                yield from found
                return

    def _starts(self, window: str) -> list[int]:
        """Where pysbd starts sentences in a window, the first aside; what it changed in a text is no boundary."""
        starts = []
        place = 0
        for sentence in self._pysbd.processor(window).process():
            words = sentence.strip()
            found = window.find(words, place) if words else -1
            if found < 0:
                continue
            if found > 0:
                starts.append(found)
            place = found + len(words)
        return starts


def _may_start(window: str, place: int) -> bool:
    # The end of what comes before is enough for an abbreviation, and keeps the search short.
    return not _GOES_ON.match(window, place) and not _ABBREVIATION.search(window[max(0, place - 20) : place])


def _last_space(window: str) -> int:
    return window.rfind(" ", len(window) // 2) + 1 or len(window)


def _between(paragraph: str, boundaries: Iterator[int]) -> Iterator[str]:
    start = 0
    for boundary in boundaries:
        yield paragraph[start:boundary].strip()
        start = boundary
    yield paragraph[start:].strip()


def is_fragment(piece: str) -> bool:
    """Whether a piece has too few words or letters to be a sentence of its own."""
    return len(_WORD.findall(piece)) < LEAST_WORDS or sum(map(str.isalpha, piece)) < LEAST_LETTERS


def _joined(pieces: list[str]) -> list[str]:
    sentences: list[str] = []
    held = ""
    for piece in pieces:
        held = f"{held} {piece}" if held else piece
        if not is_fragment(held):
            sentences.append(held)
            held = ""
    if held and sentences:
        sentences[-1] += f" {held}"
    elif held:
        sentences.append(held)
    return sentences


def _cut(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST:
        place = LONGEST
        for cut in _CUTS:
            places = [found.end() for found in cut.finditer(sentence, LONGEST // 2, LONGEST)]
            if places:
                place = places[-1]
                break
        yield sentence[:place].strip()
        sentence = sentence[place:].strip()
    yield sentence
