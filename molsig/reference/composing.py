"""What summed vectors were made of, by a recogniser that is fitted once and kept with the reference."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import DamagedError, NotFoundError, UsageError
from molsig.index.verify import Check
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.retrieval.composition import Composition, Recogniser
    from molsig.types import Progress

RECIPE = 2
"""Raised when recognisers are fitted in another way: kept ones are then not used any more."""

GROWTH = 0.2
"""A recogniser is fitted anew when a space has grown or shrunk by more than this share since."""


@dataclass(frozen=True)
class Composed:
    """One vector taken apart.

    Attributes
    ----------
    query
        The patient, or ``vector 1``, ``vector 2`` ... of those given.
    found
        What it is made of.
    stored
        For a patient: the vectors of each modality that are in their sum.
    """

    query: str
    found: Composition
    stored: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        found = asdict(self.found)
        found["intervals"] = {name: list(one) for name, one in self.found.intervals.items()}
        found["notes"] = list(self.found.notes)
        return {"query": self.query, **found, "stored": None if self.stored is None else dict(self.stored)}


@dataclass(frozen=True)
class ComposeReport:
    """Answers, and the card of the recogniser that gave them; `fitted` says whether it was made for this question."""

    answers: tuple[Composed, ...]
    card: Mapping[str, Any]
    fitted: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        keys = ("hash", "modalities", "left_out", "counts", "spaces", "snapshot", "patients", "seed")
        return {
            "answers": [one.to_dict() for one in self.answers],
            "recogniser": {key: self.card[key] for key in keys} | {"fitted": self.fitted},
            "notes": list(self.notes),
        }


def compose(
    store: Store,
    vectors: NDArray[np.float32] | None,
    patients: Sequence[str],
    *,
    refit: bool,
    seed: int,
    per_count: int,
    progress: Progress,
) -> ComposeReport:
    """Take vectors, or the sums of stored patients, apart; see `Reference.compose`."""
    if (vectors is None) == (not patients):
        raise UsageError("give either vectors or patients")
    from molsig.retrieval.composition import checked

    stored: list[dict[str, int] | None]
    if vectors is None:
        sums, stored = _stored_sums(store, patients)
        names = list(patients)
    else:
        sums = checked(vectors)
        names = [f"vector {i}" for i in range(1, len(sums) + 1)]
        stored = [None] * len(names)
    recogniser, card, fitted, notes = _recogniser(store, refit, seed, per_count, progress)
    found = recogniser.recognise(sums)
    if patients:
        notes += ("stored patients may be among those the recogniser learnt from",)
    answers = tuple(Composed(*one) for one in zip(names, found, stored, strict=True))
    return ComposeReport(answers, card, fitted, notes)


def check_recognisers(store: Store) -> list[Check]:
    """Whether the files of recognisers are what was written; nothing where there are none."""
    folders = sorted(one for one in (store.path / "recognisers").glob("*") if not one.name.startswith("."))
    if not folders:
        return []
    from molsig.retrieval.recogniser_disk import load_recogniser, read_card

    damaged = []
    for folder in folders:
        try:
            if read_card(folder) is not None:
                load_recogniser(folder)
        except DamagedError as error:
            damaged.append(str(error))
    return [Check("recognisers", not damaged, "; ".join(damaged) or f"{len(folders)}: hashes match")]


def _stored_sums(store: Store, patients: Sequence[str]) -> tuple[NDArray[np.float32], list[dict[str, int] | None]]:
    from molsig.retrieval.aggregate import aggregate

    active = {one.space for one in store.spaces() if one.active}
    rows, block = store.embeddings_of(patients)
    summed = np.array(
        [
            space in active and kind != "normal"
            for space, kind in zip(rows["space"].to_pylist(), rows["kind"].to_pylist(), strict=True)
        ],
        bool,
    )
    owner = np.array(rows["patient"].to_pylist(), dtype=object)
    modality = np.array(rows["modality"].to_pylist(), dtype=object)
    sums, counts = [], []
    for patient in patients:
        chosen = summed & (owner == patient)
        if not chosen.any():
            raise NotFoundError(f"patient {patient!r} has no vector that a sum could hold")
        sums.append(aggregate([block[chosen]]))
        kinds, numbers = np.unique(modality[chosen].astype(str), return_counts=True)
        counts.append({str(kind): int(number) for kind, number in zip(kinds, numbers, strict=True)})
    return np.stack(sums), [*counts]


def _recogniser(
    store: Store, refit: bool, seed: int, per_count: int, progress: Progress
) -> tuple[Recogniser, Mapping[str, Any], bool, tuple[str, ...]]:
    """The kept recogniser of the active spaces, or a new one."""
    from molsig.retrieval.composition_fit import fit_recogniser
    from molsig.retrieval.pool import load_pool
    from molsig.retrieval.recogniser_disk import load_recogniser, read_card, save_recogniser

    spaces = {one.modality: one for one in store.spaces() if one.active and one.space != SUM_SPACE}
    if not spaces:
        raise UsageError(f"{store.path} holds no vectors to learn from")
    identity = {"recipe": RECIPE, "seed": seed, "spaces": {name: one.space for name, one in sorted(spaces.items())}}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = store.path / "recognisers" / name
    rows = {modality: one.rows for modality, one in sorted(spaces.items())}
    card = None if refit else read_card(folder)
    if card is not None and all(abs(rows[key] - n) <= GROWTH * n for key, n in card["rows"].items()):
        recogniser, card = load_recogniser(folder)
        return recogniser, card, False, _told(recogniser)
    snapshot = store.snapshot()
    pool = load_pool(store, seed=seed)
    recogniser = fit_recogniser(pool, per_count=per_count, seed=seed, progress=progress)
    about = identity | {
        "hash": name,
        "snapshot": snapshot,
        "rows": rows,
        "per_count": per_count,
        "patients": len(np.unique(pool.patient)),
    }
    notes = _told(recogniser)
    try:
        card = save_recogniser(recogniser, folder, about)
    except OSError as error:
        notes += (f"the recogniser could not be kept in {folder} ({error.strerror}): it will be fitted again",)
        card = about | {
            "modalities": list(recogniser.modalities),
            "left_out": dict(recogniser.left_out),
            "counts": list(recogniser.counts),
        }
    return recogniser, card, True, notes


def _told(recogniser: Recogniser) -> tuple[str, ...]:
    from molsig.retrieval.composition_fit import FEWEST_PATIENTS

    return tuple(
        f"{name} is not among what is recognised: {n} patients have it, {FEWEST_PATIENTS} are needed"
        for name, n in recogniser.left_out.items()
    )
