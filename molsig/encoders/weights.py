"""Weights given from outside: where they may lie, which kinds of file are refused, and how they are recognised.

Nothing is ever fetched. A model is looked for by its name, in this order:

1. ``$MOLSIG_MODELS/NAME/model.safetensors`` and ``$MOLSIG_MODELS/NAME.safetensors``;
2. the cache of the Hugging Face hub (``$HF_HUB_CACHE``, ``$HF_HOME/hub``, ``~/.cache/huggingface/hub``), read as the
   plain folders that it is.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import DamagedError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

MODELS = "MOLSIG_MODELS"
"""Environment variable that names the folder in which models lie, each in a folder of its own name."""
FILE = "model.safetensors"

_PICKLED = ("pytorch_model.bin", "model.bin", "model.pth", "model.pt")

CONVERT = (
    "It can hold code that runs when it is read. On a machine where you trust it, load it by torch.load with "
    "weights_only=True, and write its tensors by safetensors.torch.save_file to model.safetensors"
)


def find_weights(name: str, repositories: Sequence[str]) -> Path | None:
    """The safetensors file of a model, or None where there is none.

    Parameters
    ----------
    name
        Folder in ``MOLSIG_MODELS``.
    repositories
        Names on the hub, ``owner/model``; a ``*`` at the end stands for anything.

    Raises
    ------
    InputError
        There is a pickle where the weights should be, or several models of the hub's cache fit.
    """
    given = os.environ.get(MODELS)
    own = [Path(given) / name] if given else []
    for folder in own:
        for file in (folder / FILE, folder.with_name(f"{name}.safetensors")):
            if file.is_file():
                return file
    folders = [folder for repository in repositories for folder in _snapshots(repository)]
    files = [folder / FILE for folder in folders if (folder / FILE).is_file()]
    if len({one.resolve() for one in files}) > 1:
        raise InputError(
            f"several models fit {name!r}: {', '.join(str(one.parent) for one in files[:4])}",
            hint="Name the file with the option for weights",
        )
    if files:
        return files[0]
    for folder in (*own, *folders):
        for pickled in _PICKLED:
            if (folder / pickled).is_file():
                raise InputError("is a pickle", file=folder / pickled, hint=CONVERT)
    return None


def _snapshots(repository: str) -> list[Path]:
    """Folders of a repository's files in the hub's cache: the revision that ``main`` stands for, else any there is."""
    found: list[Path] = []
    for place in _cache().glob(f"models--{repository.replace('/', '--')}"):
        main = place / "refs" / "main"
        revision = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
        if revision and "/" not in revision and (place / "snapshots" / revision).is_dir():
            found.append(place / "snapshots" / revision)
        elif (place / "snapshots").is_dir():
            found += sorted(one for one in (place / "snapshots").iterdir() if one.is_dir())
    return found


def _cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"


def check_safetensors(path: Path) -> None:
    """Raise `InputError` if a file is not safetensors; its name plays no part."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(f"cannot be opened: {error.strerror}", file=path) from None
    # Eight bytes of length, then JSON. A zip archive or a pickle is what torch writes.
    if head.startswith((b"PK\x03\x04", b"\x80")) and head[8:9] != b"{":
        raise InputError("is a pickle", file=path, hint=CONVERT)
    if len(head) < 9 or head[8:9] != b"{":
        raise InputError("is no safetensors file", file=path, hint="Weights are read from safetensors only")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read once as long as it does not change."""
    state = path.stat()
    return _sha256(path.resolve(), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a file, without reading them.

    Raises
    ------
    InputError
        Not safetensors, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    check_safetensors(path)
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"is damaged ({error})", file=path, hint="Copy or download it again") from None


def read_weights(path: Path, expected_sha256: str) -> dict[str, torch.Tensor]:
    """The tensors of a file that is what it was.

    Raises
    ------
    DamagedError
        It is another file than the one with `expected_sha256`.
    """
    from safetensors.torch import load_file

    if sha256_of(path) != expected_sha256:
        raise DamagedError(
            f"{path} is not the weights file that the encoder was made with: its SHA-256 is {sha256_of(path)[:12]}..., "
            f"not {expected_sha256[:12]}... Put that file there, or ingest into a reference of its own"
        )
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors
