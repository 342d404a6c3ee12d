"""Whose specimen is it: TCGA barcodes, patient columns and sample tables become `SampleId`s."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.types import SampleId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from molsig.types import SampleKind

_BARCODE = re.compile(r"(TCGA[-.][A-Z0-9]{2}[-.][A-Z0-9]{4})([-.](\d{2})([A-Z])?([-.][A-Z0-9.-]+)?)?", re.IGNORECASE)
_SHORT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-\d{2}[A-Z]?")

_TUMOUR: SampleKind = "tumour"
_NORMAL: SampleKind = "normal"
_METASTASIS: SampleKind = "metastasis"
_RECURRENCE: SampleKind = "recurrence"
_OTHER: SampleKind = "other"

_CODES: dict[str, SampleKind] = {
    **dict.fromkeys(("01", "03", "05", "09"), _TUMOUR),
    **dict.fromkeys(("02", "04", "40"), _RECURRENCE),
    **dict.fromkeys(("06", "07"), _METASTASIS),
    **dict.fromkeys(("10", "11", "12", "13", "14"), _NORMAL),
}

KIND_WORDS: dict[str, SampleKind] = {
    word: kind
    for kind, words in (
        (_TUMOUR, "tumour|tumor|primary|cancer|primary tumor|primary tumour|primary solid tumor|t|tp"),
        (_TUMOUR, "additional - new primary|primary blood derived cancer - peripheral blood"),
        (_TUMOUR, "primary blood derived cancer - bone marrow"),
        (_NORMAL, "normal|adjacent normal|solid tissue normal|healthy|control|n|nt|nb"),
        (_NORMAL, "blood derived normal|bone marrow normal|buccal cell normal"),
        (_METASTASIS, "metastasis|metastatic|metastatic tumor|metastatic tumour|additional metastatic|tm"),
        (_RECURRENCE, "recurrence|recurrent|relapse|recurrent tumor|recurrent tumour|recurrent solid tumor|tr"),
        (_RECURRENCE, "recurrent blood derived cancer - peripheral blood"),
        (_RECURRENCE, "recurrent blood derived cancer - bone marrow"),
        (_OTHER, "other|cell line|cell lines|xenograft|organoid"),
    )
    for word in words.split("|")
}
"""What a column of sample kinds may say, in lower case."""

PATIENT_COLUMNS = (
    "patient",
    "patient_id",
    "patientid",
    "bcr_patient_barcode",
    "case_id",
    "case_submitter_id",
    "cases.submitter_id",
    "submitter_id",
    "participant",
    "participant_id",
    "case",
    "subject",
    "subject_id",
)
SAMPLE_COLUMNS = (
    "sample",
    "sample_id",
    "sampleid",
    "sample_name",
    "samples",
    "tumor_sample_barcode",
    "sample_barcode",
    "bcr_sample_barcode",
    "sample_submitter_id",
    "barcode",
    "aliquot",
    "aliquot_id",
    "specimen",
    "specimen_id",
    "id",
)
KIND_COLUMNS = ("kind", "sample_type", "sample_kind")


@dataclass(frozen=True, slots=True)
class Barcode:
    """A TCGA barcode taken apart: `sample` is its first 16 characters, or all of it if shorter."""

    patient: str
    sample: str
    full: str
    kind: SampleKind


def parse_barcode(text: str) -> Barcode | None:
    """Take a TCGA barcode apart; dots in place of dashes (as R makes them) and lower case are understood.

    >>> parse_barcode("TCGA-OR-A5J1-01A-11R-A29S-07").sample
    'TCGA-OR-A5J1-01A'
    """
    match = _BARCODE.fullmatch(text)
    if match is None:
        return None
    full = text.upper().replace(".", "-")
    kind: SampleKind = "tumour" if match[3] is None else _CODES.get(match[3], "other")
    short = _SHORT.match(full)
    return Barcode(full[:12], full if short is None else short[0], full, kind)


def find_column(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Position of the first of `wanted` among column names, case and blanks aside."""
    plain = [name.strip().lower().replace(" ", "_") for name in names]
    return next((plain.index(name) for name in wanted if name in plain), None)


def parse_kind(word: str) -> SampleKind | None:
    """The kind that a word of a sample table means, or None."""
    return KIND_WORDS.get(word.strip().lower())


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Sample -> (patient, kind) as the user wrote it down; kind is None where the table does not say."""

    file: str
    rows: Mapping[str, tuple[str, SampleKind | None]]

    def find(self, sample: str, barcode: Barcode | None) -> tuple[str, SampleKind | None] | None:
        """Look a sample up by its id, or by the first 16 characters of its barcode."""
        found = self.rows.get(sample)
        if found is None and barcode is not None:
            found = self.rows.get(barcode.full) or self.rows.get(barcode.sample)
        return found


@dataclass(frozen=True, slots=True)
class Resolved:
    """Samples in the order of their ids, and what is worth telling about them."""

    samples: tuple[SampleId, ...]
    joined: int | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def kinds(self) -> dict[str, int]:
        return dict(sorted(Counter(sample.kind for sample in self.samples).items()))

    @property
    def patients(self) -> int:
        return len({sample.patient for sample in self.samples})


def resolve_samples(
    ids: Sequence[str],
    *,
    file: str | Path,
    row_of: Callable[[int], int],
    as_column: bool = False,
    patients: Sequence[str | None] | None = None,
    kinds: Sequence[str | None] | None = None,
    table: SampleTable | None = None,
    unique: bool = True,
) -> Resolved:
    """Turn the ids of a file into samples.

    The patient is, in this order: what the sample table says, what the file's own patient column says, the first 12
    characters of a TCGA barcode, the sample id itself. The kind likewise; a tumour where nothing says otherwise. A
    sample is named by the first 16 characters of its barcode; aliquots that share them keep their full barcodes.

    Parameters
    ----------
    row_of
        Gives the row (or, for samples across, the header row) of the i-th id, for messages.
    as_column
        Whether the ids are column names, so that messages name the column.
    unique
        Whether an id may occur only once.

    Raises
    ------
    InputError
        An empty or repeated id, a patient column that contradicts the barcode, a kind that is not known.
    """
    # A sample may have thousands of tiles: what is said of it is read once, in the row it is first said in.
    barcodes = {one: parse_barcode(one) for one in dict.fromkeys(ids)}
    _check_ids(ids, barcodes, file, row_of, as_column, unique)
    aliquots = Counter(short for _, short in {(b.full, b.sample) for b in barcodes.values() if b is not None})
    made: dict[tuple[str, str | None, str | None], tuple[SampleId, bool]] = {}
    samples: list[SampleId] = []
    found = 0
    for i, key in enumerate(zip(ids, patients or repeat(None), kinds or repeat(None), strict=False)):
        known = made.get(key)
        if known is None:
            one, given, word = key
            barcode = barcodes[one]
            name = one
            if barcode is not None:
                name = barcode.full if aliquots[barcode.sample] > 1 else barcode.sample
            patient = one if barcode is None else barcode.patient
            kind: SampleKind = "tumour" if barcode is None else barcode.kind
            if given:
                patient = _given_patient(given, barcode, file, row_of, i)
            if word:
                kind = _given_kind(word, file, row_of, i)
            entry = None if table is None else table.find(one, barcode)
            if entry is not None:
                patient, kind = entry[0], entry[1] or kind
            known = made[key] = SampleId(name, patient, kind), entry is not None
        samples.append(known[0])
        found += known[1]
    notes, warnings = [], []
    several = sum(n for n in aliquots.values() if n > 1)
    if several and unique:
        notes.append(f"{several:,} aliquots share a sample with another one and keep their full barcodes")
    if table is not None and found < len(ids):
        warnings.append(f"{len(ids) - found:,} of {len(ids):,} samples are not in {table.file}")
    return Resolved(tuple(samples), found if table is not None else None, tuple(notes), tuple(warnings))


def _check_ids(
    ids: Sequence[str],
    barcodes: Mapping[str, Barcode | None],
    file: str | Path,
    row_of: Callable[[int], int],
    as_column: bool,
    unique: bool,
) -> None:
    seen: dict[str, int] = {}
    for i, one in enumerate(ids) if unique else _firsts(ids):
        barcode = barcodes[one]
        if not one.strip():
            raise InputError("a sample without an id", file=file, row=row_of(i), hint="Give it one, or remove it")
        if len(one) > 256:
            raise InputError(f"a sample id of {len(one):,} characters", file=file, row=row_of(i))
        key = one if barcode is None else barcode.full
        if unique and key in seen:
            first = "" if as_column else f", first in row {row_of(seen[key])}"
            raise InputError(
                f"sample {one!r} is there twice{first}, and not with the same values",
                file=file,
                row=row_of(i),
                column=one if as_column else None,
                hint="Keep one of them, or give them different ids and a sample table that joins them to one patient",
            )
        seen[key] = i


def _firsts(ids: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each distinct id with the place it first stands at."""
    places: dict[str, int] = {}
    for i, one in enumerate(ids):
        places.setdefault(one, i)
    for one, i in places.items():
        yield i, one


def _given_patient(given: str, barcode: Barcode | None, file: str | Path, row_of: Callable[[int], int], i: int) -> str:
    other = parse_barcode(given)
    if other is None:
        return given
    if barcode is not None and other.patient != barcode.patient:
        raise InputError(
            f"the patient column says {given!r}, the barcode {barcode.full!r} says {barcode.patient!r}",
            file=file,
            row=row_of(i),
            hint="Correct one of them",
        )
    return other.patient


def _given_kind(word: str, file: str | Path, row_of: Callable[[int], int], i: int) -> SampleKind:
    kind = parse_kind(word)
    if kind is None:
        raise InputError(
            f"{word!r} is no kind of sample",
            file=file,
            row=row_of(i),
            hint="Use tumour, normal, metastasis, recurrence or other",
        )
    return kind
