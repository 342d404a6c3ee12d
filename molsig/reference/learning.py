"""Learn how a reference's modalities are to be fused, and keep it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.retrieval.learned import Learned, load_all, save
from molsig.retrieval.patient_vectors import load_patient_vectors
from molsig.types import SUM_SPACE, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.index.verify import Check
    from molsig.retrieval.shelf import Shelf
    from molsig.types import Progress

LABEL = "cancer_type"
"""The column whose evidence is learned and used where none is named."""
GROUPS = "site"
FEWEST = 200
"""Patients with a label from which on an ingest learns by itself; of fewer there is little to learn."""
GROWTH = 0.05
"""Share by which a modality's vectors must have grown or shrunk for an ingest to learn again."""


def learn(
    store: Store, *, label: str | None, groups: str | None, seed: int = 0, progress: Progress = silent
) -> Learned:
    """Learn weights, and the evidence for a label column if one is given; write it into the reference.

    Raises
    ------
    UsageError
        No such column, or nothing is stored.
    InputError
        Too few patients have a label or a modality.
    """
    from molsig.retrieval.evidence_fit import fit_evidence
    from molsig.retrieval.numbers import fit_numbers
    from molsig.retrieval.weighted import fit_weighted

    known = store.columns()
    for option, column in (("--label", label), ("--group", groups)):
        if column is not None and column not in known:
            raise UsageError(f"{option} {column}: there is no such patient column; there are {', '.join(known)}")
    spaces = store.active_spaces()
    if not spaces:
        raise UsageError(f"{store.path}: no vector is stored, so nothing can be learned")
    snapshot = store.snapshot()
    vectors = load_patient_vectors(store)
    evidence = None
    grouped = None if groups is None else _column(store, vectors.patients, groups)
    if label is not None:
        labels = _column(store, vectors.patients, label)
        evidence = fit_evidence(vectors, labels, grouped, seed=seed, progress=progress)
    weighted = fit_weighted(vectors, seed=seed)
    numeric = [name for name, kind in known.items() if kind in ("integer", "number") and name != label]
    learned = Learned(
        label,
        groups,
        spaces,
        rows_in_use(store),
        weighted,
        evidence,
        fit_numbers(vectors, weighted, _numbers(store, vectors.patients, numeric), grouped, seed=seed),
        seed,
        snapshot,
        datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
    save(learned, store.path)
    return learned


def rows_in_use(store: Store) -> dict[str, int]:
    """How many vectors the active space of each modality holds."""
    return {one.modality: one.rows for one in store.spaces() if one.active and one.space != SUM_SPACE}


def learn_if_due(store: Store, *, seed: int, progress: Progress) -> tuple[bool, tuple[str, ...]]:
    """Learn `LABEL` where enough patients have one and nothing was learned of the vectors as they are.

    Returns
    -------
    learned : bool
        Whether it was due.
    notes : tuple of str
        Why it could not be learned.
    """
    columns = store.columns()
    rows = rows_in_use(store)
    if LABEL not in columns or len(rows) == 0:
        return False, ()
    held, _ = load_all(store.path)
    spaces = store.active_spaces()
    for one in held:
        same = one.label == LABEL and dict(one.spaces) == spaces
        if same and all(abs(one.rows[m] - n) <= GROWTH * n for m, n in rows.items()):
            return False, ()
    labels = _column(store, store.patient_ids(), LABEL)
    if (labels != "").sum() < FEWEST:
        return False, ()
    try:
        learn(store, label=LABEL, groups=GROUPS if GROUPS in columns else None, seed=seed, progress=progress)
    except InputError as error:
        return False, (f"nothing was learned of {LABEL}: {error}",)
    return True, ()


def learned_for(
    store: Store, shelf: Shelf, votes: Sequence[str], fusion: str
) -> tuple[Learned | None, tuple[str, ...]]:
    """What was learned that suits a query, and what the user should know of it.

    The first voted column that something was learned for, else `LABEL`, else any, else weights without a label. What
    was learned on other encoders, or cannot be read, is passed over and told.
    """
    if fusion in ("sum", "single"):
        return None, ()
    held, damaged = shelf.all()
    notes = [f"{said}. Answered without it" for said in damaged]
    if not held:
        return None, tuple(notes)
    spaces = store.active_spaces()
    usable = [one for one in held if one.fits(spaces)]
    if not usable:
        names = ", ".join(one.label or "weights" for one in held)
        notes.append(f"what was learned of {names} is of other encoders and is not used; again: molsig learn")
        return None, tuple(notes)
    wanted = [*votes, LABEL]
    return min(usable, key=lambda one: wanted.index(one.label) if one.label in wanted else len(wanted)), tuple(notes)


def check_learned(store: Store) -> list[Check]:
    """Whether the files of what was learned are what was written; nothing where there is none."""
    from molsig.index.verify import Check

    held, damaged = load_all(store.path)
    if not held and not damaged:
        return []
    names = ", ".join(one.label or "weights" for one in held)
    return [Check("fusion", not damaged, "; ".join(damaged) or f"{names}: hashes match")]


def told(learned: Learned) -> dict[str, Any]:
    """What was learned, as plain JSON types."""
    out: dict[str, Any] = {
        "label": learned.label,
        "groups": learned.groups,
        "weights": {m: round(w, 4) for m, w in learned.weighted.weights.items()},
        "spaces": dict(learned.spaces),
        "seed": learned.seed,
        "created": learned.created,
    }
    if learned.numbers:
        out["numbers"] = {
            name: {"mean_absolute_error": round(one.error, 4), "of_the_overall_mean": round(one.plain_error, 4)}
            for name, one in learned.numbers.items()
        }
    if (model := learned.evidence) is not None:
        out["classes"] = list(model.classes)
        nats = model.information.round(3).tolist()
        out["modalities"] = {modality: {"information_nats": nats[i]} for i, modality in enumerate(model.modalities)}
        out["joint"] = None if model.joint is None else list(model.joint.modalities)
        out["held_out"] = {name: round(value, 4) for name, value in model.scores.items()}
    return out


def _column(store: Store, patients: Sequence[str], column: str) -> NDArray[np.str_]:
    values = store.attributes(patients, [column])[column].to_pylist()
    return np.array(["" if one is None else str(one) for one in values], dtype=np.str_)


def _numbers(store: Store, patients: Sequence[str], columns: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    if not columns:
        return {}
    table = store.attributes(patients, columns)
    return {
        name: np.array([np.nan if one is None else float(one) for one in table[name].to_pylist()]) for name in columns
    }
