"""Manifests: which files belong to the generation of a space, what it covers and what they hash to.

A manifest carries a checksum over itself, and the hash and size of the files it names. Whatever does not match is
treated as absent: the index is derived and can be built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import DamagedError
from molsig.index.faults import reached

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 3
STRUCTURE, FACTS, VECTORS = ".structure", ".rows", ".vectors"
"""Endings of a generation's files."""
STRUCTURES = {2: ".faiss", MANIFEST_FORMAT: STRUCTURE}
"""Formats that are read, and how the file of the structure ends in each: before the third all were files of faiss."""

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file beside the manifest: its name, bytes and hash."""

    name: str
    size: int
    sha256: str

    def read(self, folder: Path) -> NDArray[np.uint8]:
        """Return its bytes, uint8 (n,).

        Raises
        ------
        DamagedError
            It is not the file that was written.
        FileNotFoundError
            There is no such file.
        """
        data = np.fromfile(folder / self.name, dtype=np.uint8)
        if len(data) != self.size or hashlib.sha256(data.data).hexdigest() != self.sha256:
            raise DamagedError(f"{folder / self.name}: not the file that was written, its hash does not match")
        return data


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """What a manifest says of a generation.

    Attributes
    ----------
    reference
        Identity of the reference it was built from.
    generation
        Counts up with each build of the space.
    structure
        The file of the structure, which proposes rows.
    facts
        The file of the rows' ids, lengths and checksums.
    vectors
        Name of the file that begins with their vectors, each under its checksum; a later generation may append to it.
    rows, high_water, snapshot
        How many rows it holds: every row of the space with an id up to `high_water` as of `snapshot`.
    method, chosen
        Which structure, and ``auto`` unless it was asked for.
    parameters
        What the structure was built with.
    trained_on
        Rows of the space when its cells or its centre were learned.
    depth, effort
        Rows proposed for ten neighbours and the effort of the search, as tuned when it was built: see `Structure`.
    recall, recall_queries
        Recall@10 against exact search at these, and of how many rows it was measured.
    """

    reference: str
    space: str
    generation: int
    structure: NamedFile
    facts: NamedFile
    vectors: str
    rows: int
    high_water: int
    snapshot: int
    dims: int
    method: str
    chosen: str
    parameters: dict[str, int]
    trained_on: int
    depth: int
    effort: int
    recall: float
    recall_queries: int
    seed: int
    faiss: str
    built: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return self.structure.size + self.facts.size + self.rows * 4 * self.dims

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all its files."""
        return (self.structure.name, self.facts.name, self.vectors)

    def summary(self) -> dict[str, Any]:
        """Return what ``molsig info`` tells of it."""
        told = ("space", "generation", "method", "rows", "recall", "depth", "effort", "snapshot", "size", "built")
        return {name: getattr(self, name) for name in told}


def folder_of(index_dir: Path, space: str) -> Path:
    """Return the folder of a space: its name where that is a safe one on every file system, else quoted and hashed."""
    if _PLAIN.fullmatch(space):
        return index_dir / space
    quoted = urllib.parse.quote(space.lower(), safe="").lstrip(".")[:80]
    return index_dir / f"{quoted}-{hashlib.sha256(space.encode()).hexdigest()[:12]}"


def read_manifest(index_dir: Path, space: str) -> GenerationInfo | None:
    """Return the manifest of a space, or None where there is none.

    Raises
    ------
    DamagedError
        It is not what was written.
    """
    path = folder_of(index_dir, space) / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        told = json.loads(text)
        checksum = told.pop("checksum")
        version = told.pop("format")
        if checksum != _checksum(told | {"format": version}):
            raise ValueError("its checksum does not match")
        if version not in STRUCTURES:
            raise ValueError(f"its format is {version}, not {MANIFEST_FORMAT}: molsig index builds it anew")
        structure, facts = (NamedFile(**told.pop(name)) for name in ("structure", "facts"))
        info = GenerationInfo(structure=structure, facts=facts, **told)
        if text != _serialised(info, version):
            raise ValueError("it is not as it was written")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: damaged manifest: {error}") from error
    endings = zip(info.files, (STRUCTURES[version], FACTS, VECTORS), strict=True)
    if info.space != space or any("/" in name or not name.endswith(ending) for name, ending in endings):
        raise DamagedError(f"{path}: the manifest belongs to something else, space {info.space!r}")
    return info


def generation_info(index_dir: Path, space: str) -> GenerationInfo | None:
    """Return the manifest of a space, or None where there is none or it is damaged."""
    try:
        return read_manifest(index_dir, space)
    except DamagedError:
        return None


def write_manifest(index_dir: Path, info: GenerationInfo) -> None:
    """Put a manifest in place of the one before, whole or not at all."""
    folder = folder_of(index_dir, info.space)
    fresh = folder / f"{MANIFEST}.new"
    reached("manifest.write")
    write_synced(fresh, _serialised(info))
    reached("manifest.rename")
    fresh.rename(folder / MANIFEST)
    sync_directory(folder)


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a file and wait until it is on disk."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def sync_file(path: Path) -> None:
    """Wait until a file is on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on disk."""
    sync_file(path)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _serialised(info: GenerationInfo, version: int = MANIFEST_FORMAT) -> bytes:
    told = asdict(info) | {"format": version}
    return json.dumps(told | {"checksum": _checksum(told)}, indent=1, sort_keys=True).encode() + b"\n"


def _checksum(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
