"""A cohort: which files there are, written down in a `cohort.toml` or given one by one, and how each is read."""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molsig.errors import InputError, UsageError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import TextStream, open_regular
from molsig.types import check_modality, silent

if TYPE_CHECKING:
    from molsig.ingest.genes import GeneMap
    from molsig.ingest.limits import Limits
    from molsig.types import PatientTable, Progress, Records

_MATRIX = frozenset({"orientation", "scale", "kinds", "sample_table"})
OPTIONS: Mapping[str, frozenset[str]] = {
    "rna": _MATRIX | {"layer"},
    "mirna": _MATRIX,
    "matrix": _MATRIX | {"layer"},
    "mutation": frozenset({"sample_table"}),
    "report": frozenset({"text_column", "sample_table", "ocr"}),
    "tile": frozenset({"mpp", "tile", "background", "source_mpp", "cut", "sample_table"}),
    "vectors": frozenset({"encoder", "ids", "reduce", "seed", "sample_table"}),
    "patients": frozenset({"key"}),
    "genes": frozenset(),
}
"""Kinds of source and the options each takes; they are those of the reader."""

_PATHS = ("sample_table", "ids")
_TABLES = ("rna", "mutation", "mirna", "report", "tile", "patients", "matrix", "vectors")
_ALIASES = {
    "mutations": "mutation",
    "reports": "report",
    "tiles": "tile",
    "slides": "tile",
    "clinical": "patients",
    "samples": "sample_table",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One input file.

    Attributes
    ----------
    kind
        Which reader: a key of `OPTIONS`.
    modality
        What it measures; ``patients`` or ``genes`` for the tables of these.
    path
        The file; a folder for reports, slides and tiles.
    options
        Keyword arguments of the reader.
    """

    kind: str
    modality: str
    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.options:
            if name not in OPTIONS[self.kind]:
                raise UsageError(f"{self.kind} takes no option {name!r}{_near(name, OPTIONS[self.kind])}")
        if isinstance(self.options.get("kinds"), str):
            raise UsageError(f"{self.kind}: kinds is a list, for instance ['tumour']")
        if not isinstance(self.options.get("seed", 0), int):
            raise UsageError(f"{self.kind}: seed is a whole number")


@dataclass(frozen=True, slots=True)
class Cohort:
    """Input data about many patients; see `read_cohort` and `Cohort.of`."""

    rna: Source | None = None
    mutation: Source | None = None
    mirna: Source | None = None
    report: Source | None = None
    tile: Source | None = None
    matrices: tuple[Source, ...] = ()
    vectors: tuple[Source, ...] = ()
    patients: Source | None = None
    genes: Path | None = None
    sample_table: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        rna: str | Path | None = None,
        mutations: str | Path | None = None,
        mirna: str | Path | None = None,
        reports: str | Path | None = None,
        tiles: str | Path | None = None,
        patients: str | Path | None = None,
        vectors: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        matrices: Mapping[str, str | Path | Mapping[str, Any]] | None = None,
        genes: str | Path | None = None,
        sample_table: str | Path | None = None,
        rna_options: Mapping[str, Any] | None = None,
        mirna_options: Mapping[str, Any] | None = None,
        report_options: Mapping[str, Any] | None = None,
        tile_options: Mapping[str, Any] | None = None,
        patient_options: Mapping[str, Any] | None = None,
    ) -> Cohort:
        """Build a cohort from single files.

        Parameters
        ----------
        vectors, matrices
            Modality -> file, or -> mapping with ``path`` and the options of the reader.
        sample_table
            Table of sample, patient and kind for every file.
        rna_options, mirna_options, report_options, tile_options, patient_options
            Options of the readers, see `OPTIONS`.

        Raises
        ------
        UsageError
            An option that the reader does not take, or a name that cannot be a modality.
        """
        shared = {} if sample_table is None else {"sample_table": Path(sample_table)}

        def source(
            kind: str, modality: str, path: str | Path | None, options: Mapping[str, Any] | None
        ) -> Source | None:
            given = shared if "sample_table" in OPTIONS[kind] else {}
            return None if path is None else Source(kind, modality, Path(path), {**given, **(options or {})})

        def sources(kind: str, named: Mapping[str, str | Path | Mapping[str, Any]] | None) -> tuple[Source, ...]:
            found = []
            for modality, entry in (named or {}).items():
                options = dict(entry) if isinstance(entry, Mapping) else {"path": entry}
                if "path" not in options:
                    raise UsageError(f"{kind} {modality}: no path is given")
                one = source(kind, check_modality(modality), options.pop("path"), options)
                found.append(one)
            return tuple(one for one in found if one is not None)

        return cls(
            rna=source("rna", "rna", rna, rna_options),
            mutation=source("mutation", "mutation", mutations, None),
            mirna=source("mirna", "mirna", mirna, mirna_options),
            report=source("report", "report", reports, report_options),
            tile=source("tile", "tile", tiles, tile_options),
            matrices=sources("matrix", matrices),
            vectors=sources("vectors", vectors),
            patients=source("patients", "patients", patients, patient_options),
            genes=None if genes is None else Path(genes),
            sample_table=None if sample_table is None else Path(sample_table),
        )

    def sources(self) -> tuple[Source, ...]:
        """Every source of samples, in a fixed order."""
        single = (self.rna, self.mutation, self.mirna, self.report, self.tile)
        return (*(one for one in single if one is not None), *self.matrices, *self.vectors)

    def all_sources(self) -> tuple[Source, ...]:
        """Every file that an ingest depends on: the samples, the patient table, the gene table."""
        patients = () if self.patients is None else (self.patients,)
        genes = () if self.genes is None else (Source("genes", "genes", self.genes),)
        return (*self.sources(), *patients, *genes)


def read_cohort(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Cohort:
    """Read a ``cohort.toml``; relative paths are relative to its folder.

    Paths may be absolute or lead upwards: the file is the user's own, like a command line.

    Raises
    ------
    InputError
        Not TOML, or a key that is not known; the message names the nearest known one.
    """
    with TextStream(path, limits) as stream:
        text = stream.read(limits.max_cell_chars + 1)
    if len(text) > limits.max_cell_chars:
        raise InputError(f"is longer than {limits.max_cell_chars:,} bytes", file=path)
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"is not TOML ({error})", file=path) from None
    document = {_ALIASES.get(key, key): value for key, value in document.items()}
    for key in document:
        if key not in (*_TABLES, "genes", "sample_table"):
            near = _near(key, (*_TABLES, "genes", "sample_table"))
            raise InputError(f"the key is not known{near}", file=path, column=key)
    folder = Path(path).parent
    shared = {}
    if "sample_table" in document:
        shared["sample_table"] = _path(document["sample_table"], folder, path, "sample_table")
    single = {
        kind: _source(kind, kind, document[kind], folder, path, shared)
        for kind in ("rna", "mutation", "mirna", "report", "tile", "patients")
        if kind in document
    }
    several = {
        kind: _several(kind, document[kind], folder, path, shared) for kind in ("matrix", "vectors") if kind in document
    }
    if not single and not several:
        raise InputError("names no file", file=path, hint="For instance: rna = 'expression.tsv.gz'")
    return Cohort(
        rna=single.get("rna"),
        mutation=single.get("mutation"),
        mirna=single.get("mirna"),
        report=single.get("report"),
        tile=single.get("tile"),
        matrices=several.get("matrix", ()),
        vectors=several.get("vectors", ()),
        patients=single.get("patients"),
        genes=_path(document["genes"], folder, path, "genes") if "genes" in document else None,
        sample_table=shared.get("sample_table"),
    )


def load(
    source: Source, *, genes: GeneMap | None = None, limits: Limits = DEFAULT_LIMITS, progress: Progress = silent
) -> Records | PatientTable:
    """Read one source with its reader.

    Raises
    ------
    InputError
        The file is wrong; see the reader.
    """
    options = dict(source.options)
    match source.kind:
        case "rna" | "matrix":
            from molsig.ingest.expression import read_expression

            return read_expression(
                source.path, modality=source.modality, genes=genes, limits=limits, progress=progress, **options
            )
        case "mirna":
            from molsig.ingest.mirna import read_mirna

            return read_mirna(source.path, limits=limits, progress=progress, **options)
        case "mutation":
            from molsig.ingest.mutations import read_maf

            return read_maf(source.path, genes=genes, limits=limits, progress=progress, **options)
        case "report":
            from molsig.ingest.reports import read_reports

            return read_reports(source.path, limits=limits, progress=progress, **options)
        case "tile":
            from molsig.ingest.tiles import read_tiles

            return read_tiles(source.path, limits=limits, progress=progress, **options)
        case "vectors":
            from molsig.ingest.vectors import read_vectors

            return read_vectors(source.path, modality=source.modality, limits=limits, progress=progress, **options)
        case "patients":
            from molsig.ingest.patients import read_patients

            return read_patients(source.path, limits=limits, progress=progress, **options)
    raise UsageError(f"a source of kind {source.kind!r} holds no records; the kinds are {', '.join(OPTIONS)}")


def digest_file(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Hex SHA-256 of a file's bytes, or of the names and bytes of the files in a folder (sorted, hidden ones aside)."""
    if not os.path.isdir(path):  # noqa: PTH112
        with open_regular(path, limits) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    whole = hashlib.sha256()
    names = sorted(entry.name for entry in os.scandir(path) if not entry.name.startswith(".") and not entry.is_dir())
    if len(names) > limits.max_files:
        raise InputError(f"{len(names):,} files, more than the limit of {limits.max_files:,}", file=path)
    for name in names:
        member = Path(path) / name
        digest = hashlib.sha256(b"").hexdigest() if member.stat().st_size == 0 else digest_file(member, limits=limits)
        whole.update(f"{len(name.encode())}:{name}:{digest}\n".encode())
    return whole.hexdigest()


def digest_source(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Hex SHA-256 over all files that reading a source depends on: the file, its ids, its sample table."""
    if source.kind == "tile":
        from molsig.ingest.tile_files import digest_images

        parts = [digest_images(source.path, limits)]
    else:
        parts = [digest_file(source.path, limits=limits)]
    parts += [
        f"{name}={digest_file(source.options[name], limits=limits)}" for name in _PATHS if source.options.get(name)
    ]
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _several(kind: str, entries: object, folder: Path, file: str | Path, shared: dict[str, Path]) -> tuple[Source, ...]:
    if not isinstance(entries, list):
        raise InputError("write it as an array of tables", file=file, column=kind, hint=f"[[{kind}]]")
    found = []
    for entry in entries:
        modality = entry.pop("modality", None) if isinstance(entry, dict) else None
        if not isinstance(modality, str):
            raise InputError("a modality is needed", file=file, column=kind, hint="For instance: modality = 'tile'")
        try:
            check_modality(modality)
        except UsageError as error:
            raise InputError(str(error), file=file, column=kind) from None
        found.append(_source(kind, modality, entry, folder, file, shared))
    return tuple(found)


def _source(kind: str, modality: str, entry: object, folder: Path, file: str | Path, shared: dict[str, Path]) -> Source:
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, dict) or "path" not in entry:
        raise InputError(
            "a path is needed", file=file, column=kind, hint=f"{kind} = 'FILE', or path = 'FILE' under [{kind}]"
        )
    options = dict(shared) if "sample_table" in OPTIONS[kind] else {}
    for name, value in entry.items():
        if name == "path":
            continue
        if name not in OPTIONS[kind]:
            near = _near(name, ("path", *OPTIONS[kind]))
            raise InputError(f"the key is not known{near}", file=file, column=f"{kind}.{name}")
        options[name] = _path(value, folder, file, f"{kind}.{name}") if name in _PATHS else value
    return Source(kind, modality, _path(entry["path"], folder, file, f"{kind}.path"), options)


def _path(value: object, folder: Path, file: str | Path, key: str) -> Path:
    if not isinstance(value, str) or not value:
        raise InputError("a path in quotes is needed", file=file, column=key)
    return folder / Path(value).expanduser()


def _near(name: str, known: tuple[str, ...] | frozenset[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)) or 'none'}"
