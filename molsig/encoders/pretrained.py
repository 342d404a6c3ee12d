"""Weights given from outside: where they are looked for, and what tells that they are the same as before.

Nothing is ever fetched. What is not on this machine is an error that says where it was looked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.encoders.weights import MODELS, sha256_of
from molsig.errors import DamagedError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Endings of weights that run code when they are read."""


def stay_offline() -> None:
    """Forbid the hub's libraries every request of this process; they read this when they are first imported."""
    os.environ.update(OFFLINE)


def find_model(given: str | Path | None, called: str, *, organisation: str, extra: str, remedy: str) -> Path:
    """Find the folder of a model: as the folder that is given, under ``MOLSIG_MODELS``, or in the hub's cache.

    Parameters
    ----------
    given
        What the user says: a folder, a name, or nothing.
    called
        Name to look for where nothing is given, such as the one an encoder's card has.
    organisation
        Owner on the hub of names that tell none.
    extra
        Extra of molsig that brings the library which knows the hub's cache.
    remedy
        What to do where the model is nowhere; the last sentence of the error.

    Raises
    ------
    UsageError
        It is in none of the places; they are listed.
    MissingExtraError
        It is in neither of the first two places and the library that knows the third is not installed.
    """
    looked = []
    if given is not None:
        folder = Path(given).expanduser()
        if folder.is_dir():
            return folder
        looked.append(f"the folder {folder}")
    name = called if given is None else str(given)
    home = os.environ.get(MODELS)
    if home:
        for part in dict.fromkeys((name, name.rpartition("/")[2])):
            folder = Path(home).expanduser() / part
            # A name leads into the folder of models; one like "/x" or "../x" was a path and is not looked for here.
            if part and ".." not in Path(part).parts and not Path(part).is_absolute():
                if folder.is_dir():
                    return folder
                looked.append(f"{folder} ({MODELS})")
    else:
        looked.append(f"{MODELS}, which is not set")
    cached, place = _in_hub_cache(name if "/" in name else f"{organisation}/{name}", extra)
    if cached is not None:
        return cached
    looked.append(place)
    raise UsageError(f"the model {name!r} is not on this machine. Looked for: {'; '.join(looked)}. {remedy}")


def _in_hub_cache(repository: str, extra: str) -> tuple[Path | None, str]:
    """The newest whole snapshot of `repository` in the hub's cache, and the words for where that is."""
    stay_offline()
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise MissingExtraError("Looking for a model in the cache of the Hugging Face hub", extra) from None
    place = f"{repository} in the hub cache {constants.HF_HUB_CACHE}"
    try:
        return Path(snapshot_download(repository, local_files_only=True)), place
    except (HFValidationError, LocalEntryNotFoundError):
        return None, place


def hash_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Hex SHA-256 of some files of a model by name. A file is read once per process, unless it changes.

    Raises
    ------
    DamagedError
        A file cannot be read.
    """
    found = {}
    for name in sorted(names):
        try:
            found[name] = sha256_of(folder / name)
        except OSError as error:
            said = f"{folder / name} cannot be read: {error.strerror}. Copy the model's folder again"
            raise DamagedError(said) from None
    return found


def compare_files(folder: Path, found: Mapping[str, str], expected: Mapping[str, str], *, owner: str) -> None:
    """Refuse a model that is not the one `owner`'s card was written with.

    Raises
    ------
    DamagedError
        Names the first file that differs, is missing or is one too many, with both hashes.
    """
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            here, there = found.get(name, "absent"), expected.get(name, "absent")
            raise DamagedError(
                f"{folder / name} is not the file that {owner} was made with: its SHA-256 is {here}, the card says "
                f"{there}. Give the folder of that very model, or encode into a new reference with this one: vectors "
                f"of two models are not comparable"
            )
