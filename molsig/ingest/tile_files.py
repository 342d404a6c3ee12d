"""Which image files there are, and whose: a file or a folder, file names, sub-folders, or a table beside."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.samples import (
    KIND_COLUMNS,
    PATIENT_COLUMNS,
    SAMPLE_COLUMNS,
    find_column,
    parse_barcode,
    resolve_samples,
)
from molsig.ingest.slides import SUFFIXES, slide_sha256
from molsig.ingest.tables import read_records_table, read_sample_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from molsig.ingest.limits import Limits
    from molsig.types import SampleId

FILE_COLUMNS = ("file", "filename", "file_name", "image", "slide", "tile")
TABLES = tuple(f"{stem}{ending}" for stem in ("labels", "samples", "slides", "tiles") for ending in (".tsv", ".csv"))

_WITH_UUID = re.compile(r"(TCGA-.+?)\.[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image and the specimen it shows.

    Attributes
    ----------
    prefix
        What its tiles' items start with: the file's name and a colon where its sample has several files.
    """

    path: Path
    sample: SampleId
    prefix: str


@dataclass(frozen=True, slots=True)
class Found:
    """The files in a fixed order, and what is worth telling about them."""

    files: tuple[ImageFile, ...]
    joined: int | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Beside:
    """A table in the folder that says whose a file is: file name -> (record, sample, patient, kind)."""

    path: Path
    rows: Mapping[str, tuple[int, str | None, str | None, str | None]]
    row_of: Callable[[int], int]


def image_paths(path: Path, limits: Limits) -> list[tuple[Path, str | None]]:
    """The image files that a path stands for, sorted; those of a sub-folder with its name.

    Raises
    ------
    InputError
        No image, over `limits.max_files`, or a link that leads out of the folder.
    """
    if not path.is_dir():
        return [(path, None)]
    home = path.resolve()
    entries = _entries(path)
    found: list[tuple[Path, str | None]] = [(one, None) for one in _images(entries)]
    for entry in entries:
        # A .mrxs file has its data in a folder of the same name.
        if entry.is_dir() and not path.joinpath(f"{entry.name}.mrxs").exists():
            _stay_inside(entry, home)
            found += [(one, entry.name) for one in _images(_entries(entry))]
    if len(found) > limits.max_files:
        raise InputError(f"over {limits.max_files:,} images, the limit of files", file=path)
    for one, _ in found:
        _stay_inside(one, home)
    if not found:
        endings = " ".join(sorted(SUFFIXES))
        raise InputError("the folder holds no slide and no image", file=path, hint=f"Known endings are {endings}")
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder / entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))


def _images(entries: list[Path]) -> list[Path]:
    images = [one for one in entries if one.suffix.lower() in SUFFIXES and not one.is_dir()]
    # The image files of a Hamamatsu slide start with the name of its index, and are parts of that slide.
    indexes = [one.stem for one in images if one.suffix.lower() in {".vms", ".vmu"}]
    return [
        one
        for one in images
        if one.suffix.lower() not in {".jpg", ".jpeg"} or not any(one.name.startswith(stem) for stem in indexes)
    ]


def _stay_inside(path: Path, home: Path) -> None:
    if not path.resolve().is_relative_to(home):
        raise InputError("is a link that leads out of the folder", file=path, hint="Put the file itself there")


def find_images(path: str | Path, sample_table: str | Path | None, limits: Limits) -> Found:
    """Find the images and say whose each is.

    The sample is, in this order: what a table in the folder (``labels.tsv``, ``samples.csv`` ...) says of the file, the
    name of the sub-folder, the file's own name without its ending, of which TCGA's names keep the first 16 characters.
    The patient is what `sample_table` says of that sample, else the table in the folder, else as `resolve_samples` has
    it.

    Raises
    ------
    InputError
        See `image_paths`; a table that contradicts a barcode or names a kind of sample that there is not.
    """
    place = Path(path)
    images = image_paths(place, limits)
    beside, notes = _table_beside(place, limits)
    said = [_UNSAID if beside is None else beside.rows.get(file.name, _UNSAID) for file, _ in images]
    names = [
        _short(sample or group or file.name.removesuffix(file.suffix))
        for (file, group), (_, sample, _, _) in zip(images, said, strict=True)
    ]
    resolved = resolve_samples(
        names,
        file=path if beside is None else beside.path,
        row_of=lambda i: i + 1 if beside is None or said[i][0] < 0 else beside.row_of(said[i][0]),
        patients=[patient for _, _, patient, _ in said],
        kinds=[kind for _, _, _, kind in said],
        table=None if sample_table is None else read_sample_table(sample_table, limits),
        unique=False,
    )
    _check_one_owner(images, resolved.samples)
    warnings = list(resolved.warnings)
    unnamed = sum(record < 0 for record, *_ in said)
    if beside is not None and unnamed:
        warnings.append(f"{unnamed:,} of {len(images):,} images are not in {beside.path.name}")
    of_sample = Counter(one.sample for one in resolved.samples)
    stems = Counter((one.sample, file.stem) for one, (file, _) in zip(resolved.samples, images, strict=True))
    files = []
    for one, (file, _) in zip(resolved.samples, images, strict=True):
        own = file.name if stems[one.sample, file.stem] > 1 else file.stem
        files.append(ImageFile(file, one, f"{own}:" if of_sample[one.sample] > 1 else ""))
    return Found(tuple(files), resolved.joined, (*notes, *resolved.notes), tuple(warnings))


_UNSAID: tuple[int, str | None, str | None, str | None] = (-1, None, None, None)


def _check_one_owner(images: list[tuple[Path, str | None]], samples: tuple[SampleId, ...]) -> None:
    owner: dict[str, tuple[SampleId, Path]] = {}
    for one, (file, _) in zip(samples, images, strict=True):
        first, there = owner.setdefault(one.sample, (one, file))
        if first != one:
            raise InputError(
                f"sample {one.sample!r} is of patient {one.patient!r} ({one.kind}) here, and of {first.patient!r} "
                f"({first.kind}) by {there.name}",
                file=file,
                hint="Give them different samples, or correct the table",
            )


def digest_images(path: str | Path, limits: Limits) -> str:
    """Hex SHA-256 of the names and contents of all images that a path stands for, and of the table beside them."""
    place = Path(path)
    if not place.is_dir():
        return slide_sha256(place, limits)
    whole = hashlib.sha256()
    tables = [place / name for name in TABLES if (place / name).is_file()][:1]
    for file in (*tables, *(one for one, _ in image_paths(place, limits))):
        name = file.relative_to(place).as_posix()
        content = slide_sha256(file, limits)
        whole.update(f"{len(name.encode())}:{name}:{content}\n".encode())
    return whole.hexdigest()


def _short(name: str) -> str:
    """``TCGA-BP-5195-01A-01-TS1.25c0b433-...`` -> ``TCGA-BP-5195-01A``: all slides of a sample are its own."""
    match = _WITH_UUID.fullmatch(name)
    barcode = parse_barcode(name if match is None else match[1])
    return name if barcode is None else barcode.sample


def _table_beside(folder: Path, limits: Limits) -> tuple[_Beside | None, list[str]]:
    there = [folder / name for name in TABLES if (folder / name).is_file()] if folder.is_dir() else []
    if not there:
        return None, []
    path = there[0]
    _stay_inside(path, folder.resolve())
    table = read_records_table(path, limits)
    file, sample, patient, kind = (
        find_column(table.names, names) for names in (FILE_COLUMNS, SAMPLE_COLUMNS, PATIENT_COLUMNS, KIND_COLUMNS)
    )
    if file is None or (sample is None and patient is None):
        lacking = "files" if file is None else "patients or samples"
        return None, [f"{path.name} has no column of {lacking} and is not used"]
    nothing: list[str | None] = [None] * table.data.num_rows
    columns = [nothing if one is None else table.strings(one) for one in (file, sample, patient, kind)]
    rows: dict[str, tuple[int, str | None, str | None, str | None]] = {}
    for i, (name, *entry) in enumerate(zip(*columns, strict=True)):
        if name is None:
            raise InputError("a row without a file", file=path, row=table.row_of(i), column=table.names[file])
        key = name.rpartition("/")[2]
        if key in rows and list(rows[key][1:]) != entry:
            raise InputError(f"{key!r} is there twice with different entries", file=path, row=table.row_of(i))
        rows.setdefault(key, (i, entry[0], entry[1], entry[2]))
    return _Beside(path, rows, table.row_of), [f"{path.name} says whose the images are"]
