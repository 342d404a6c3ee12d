"""Gene names that a spreadsheet turned into dates: SEPT2 -> 2-Sep, MARCH1 -> 1-Mar, DEC1 -> 1-Dec."""

from __future__ import annotations

import datetime as dt
import re

RENAMED = (
    {f"SEPT{n}": f"SEPTIN{n}" for n in (*range(1, 13), 14)}
    | {f"MARCH{n}": f"MARCHF{n}" for n in range(1, 12)}
    | {"MARC1": "MTARC1", "MARC2": "MTARC2", "SEP15": "SELENOF", "DEC1": "DELEC1"}
)
"""Symbols that HGNC renamed in 2020 because spreadsheets took them for dates."""

_MARCH = {"mar", "march", "mrz", "mär", "maer", "märz", "mars", "marzo", "mrt", "maart", "março"}
_SEPTEMBER = {"sep", "sept", "september", "septembre", "septiembre", "set", "settembre", "setembro"}
_DECEMBER = {"dec", "dez", "december", "dezember", "déc", "décembre", "dic", "diciembre", "dicembre", "dezembro"}
_OTHERS = (
    *("jan", "january", "januar", "feb", "february", "februar", "fév", "avr", "apr", "april", "avril", "may", "mai"),
    *("maj", "mei", "mag", "jun", "june", "juni", "juin", "giu", "jul", "july", "juli", "juil", "lug", "aug", "august"),
    *("août", "ago", "oct", "october", "okt", "oktober", "ott", "nov", "november"),
)
_WORD_MONTHS = {
    **dict.fromkeys(_MARCH, 3),
    **dict.fromkeys(_SEPTEMBER, 9),
    **dict.fromkeys(_DECEMBER, 12),
    **dict.fromkeys(_OTHERS, 0),
}

_DAY_MONTH = re.compile(r"(\d{1,2})[-./ ]{1,2}([^\W\d_]{3,10})\.?([-./ ]\d{2,4})?")
_MONTH_DAY = re.compile(r"([^\W\d_]{3,10})\.?[-./ ]{1,2}(\d{1,2})")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})([ T]00:00:00(\.0+)?)?")
_SLASHED = re.compile(r"\d{1,2}[/.]\d{1,2}[/.](\d{2}|\d{4})")
_EPOCH = dt.date(1899, 12, 30)
_ERRORS = {"#NAME?", "#REF!", "#VALUE!", "#N/A", "#DIV/0!", "#NUM!", "#NULL!"}


def gene_of_date(name: str) -> tuple[str, ...] | None:
    """Genes that a date may have been, in their present symbols; None if `name` is no date.

    One gene means it can be read right; several or none mean that it cannot be told.
    """
    if name in _ERRORS:
        return ()
    if match := _DAY_MONTH.fullmatch(name):
        return _genes(match[2], int(match[1]))
    if match := _MONTH_DAY.fullmatch(name):
        return _genes(match[1], int(match[2]))
    if match := _ISO.fullmatch(name):
        return _genes_of(int(match[2]), int(match[3]))
    return () if _SLASHED.fullmatch(name) else None


def genes_of_serial(name: str) -> tuple[str, ...] | None:
    """Genes that a spreadsheet's day number (44075 is 1 September 2020) may have been; None if it is none of theirs.

    Only days of March, September and December since 1990 that a gene is named after are taken for such.
    """
    if not (name.isascii() and name.isdigit() and len(name) == 5):
        return None
    day = _EPOCH + dt.timedelta(days=int(name))
    return (_genes_of(day.month, day.day) or None) if 1990 <= day.year <= 2035 else None


def _genes(word: str, number: int) -> tuple[str, ...] | None:
    month = _WORD_MONTHS.get(word.lower())
    return None if month is None else _genes_of(month, number)


def _genes_of(month: int, number: int) -> tuple[str, ...]:
    family = {3: ("MARCH", "MARC"), 9: ("SEPT", "SEP"), 12: ("DEC",)}.get(month, ())
    return tuple(RENAMED[f"{stem}{number}"] for stem in family if f"{stem}{number}" in RENAMED)
