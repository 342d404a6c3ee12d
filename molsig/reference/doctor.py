"""`molsig doctor`: what this machine and a reference lack, each with the line that mends it."""

from __future__ import annotations

import shutil
import stat
import sys
from dataclasses import asdict, dataclass
from importlib import metadata, util
from typing import TYPE_CHECKING, Any, Literal

from molsig.errors import MolsigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from molsig.index.store import Store

Status = Literal["PASS", "WARN", "FAIL"]
FREE_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    status: Status
    name: str
    found: str
    mend: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def examine(reference: Path | None = None) -> list[Finding]:
    """Look over the machine and, where one is named, a reference. Nothing is changed."""
    findings = list(_machine())
    if reference is not None:
        findings += _reference(reference)
    return findings


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("PASS" if supported else "WARN", "Python", version, None if supported else "use Python 3.11 to 3.13")
    for package in ("duckdb", "numpy", "pyarrow", "safetensors"):
        yield _package(package)
    yield _faiss()
    yield _torch()
    yield _compiled()
    for module, extra, reads in (("anndata", "scverse", "H5AD files"), ("h5py", "h5", "H5 vectors")):
        there = util.find_spec(module) is not None
        yield Finding(
            "PASS",
            f"{reads} (optional)",
            _version(module) if there else "not installed",
            None if there else f"pip install 'molsig[{extra}]'",
        )


def _package(name: str) -> Finding:
    if util.find_spec(name) is None:
        return Finding("FAIL", name, "not installed", "pip install --upgrade molsig")
    return Finding("PASS", name, _version(name))


def _faiss() -> Finding:
    builds = [name for name in ("faiss-cpu", "faiss-gpu") if _version(name) != "unknown version"]
    if len(builds) > 1:
        return Finding(
            "FAIL", "faiss", "both faiss-cpu and faiss-gpu", "pip uninstall faiss-cpu faiss-gpu; install one"
        )
    if util.find_spec("faiss") is None:
        return Finding(
            "FAIL", "faiss", "not installed: large references are searched slowly", "pip install 'molsig[cpu]'"
        )
    return Finding("PASS", "faiss", " ".join([*builds, *(_version(name) for name in builds)]) or "found")


def _torch() -> Finding:
    if util.find_spec("torch") is None:
        return Finding("FAIL", "torch", "not installed: nothing can be encoded", "pip install torch")
    from molsig.encoders.device import choose_device

    device = choose_device("auto")
    return Finding("PASS", "torch", f"{_version('torch')}, encodes on {device}")


def _compiled() -> Finding:
    from molsig.index.cosines import best_of_rows
    from molsig.index.pca_sq8 import compiled

    if best_of_rows() is None or not compiled():
        return Finding(
            "WARN",
            "compiled parts",
            "not built, or of another version: scores are the same, searches take longer",
            "install molsig again, where a C compiler (gcc or clang) is at hand",
        )
    return Finding("PASS", "compiled parts", "built")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown version"


def _reference(path: Path) -> Iterator[Finding]:
    from molsig.index.store import Store
    from molsig.index.verify import verify

    if not path.exists():
        yield Finding("FAIL", "reference", f"nothing at {path}", f"molsig ingest {path} --rna FILE")
        return
    try:
        store = Store.open(path)
    except MolsigError as error:
        yield Finding("FAIL", "reference", str(error), "restore the folder from a backup, or ingest again")
        return
    facts = store.info()
    yield Finding("PASS", "reference", f"{facts['patients']:,} patients, format {facts['format']}")
    yield _privacy(path)
    free = shutil.disk_usage(path).free / 1e9
    need = max(FREE_DISK_GB, 2 * facts["bytes"] / 1e9)
    yield Finding(
        "PASS" if free > need else "WARN",
        "disk",
        f"{free:,.1f} GB free",
        None if free > need else f"free {need:,.1f} GB: a rebuild writes beside what it replaces",
    )
    for check in verify(store):
        mend = None if check.ok else _mend(check.name, path)
        yield Finding("PASS" if check.ok else "FAIL", check.name, check.detail, mend)
    yield from _labels(store, path)


def _privacy(path: Path) -> Finding:
    others = path.stat().st_mode & (stat.S_IRWXO)
    if others:
        return Finding(
            "WARN", "privacy", "other users of this machine can read the reference", f"chmod -R o-rwx {path}"
        )
    return Finding("PASS", "privacy", "closed to other users")


def _mend(check: str, path: Path) -> str:
    if check.startswith(("index", "generation")):
        return f"molsig index {path}   (indexes are derived: they are rebuilt from the truth)"
    return "restore the folder from a backup, or ingest again"


def _labels(store: Store, path: Path) -> Iterator[Finding]:
    if not store.columns():
        yield Finding(
            "WARN", "patient columns", "none: --where and --vote need some", f"molsig ingest {path} --clinical FILE"
        )
