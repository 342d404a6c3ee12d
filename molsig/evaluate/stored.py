"""Evaluate a reference on its own patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import NotFoundError, UsageError
from molsig.evaluate.bootstrap import DRAWS
from molsig.evaluate.methods import choose_methods
from molsig.evaluate.report import Taught
from molsig.evaluate.run import DEPTH, LEFT_OUT, MISSING, Labelled, evaluate
from molsig.retrieval.patient_vectors import load_patient_vectors
from molsig.retrieval.taught import taught_encoders
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.report import Evaluation
    from molsig.index.store import Store
    from molsig.types import Progress

GROUP = "site"
"""The column that is held out whole unless another is named."""
METERED = ("sequencer", "platform", "batch", "plate", "center", "centre", "scanner")
"""Columns that are metered wherever they are stored."""
MOST_LABELS, MOST_NUMBERS = 200, 20
"""Distinct values a column of labels may have; whole numbers in greater variety are taken for a measurement."""

ENCODERS_NOTE = (
    "encoders that this reference fitted have seen the held-out patients' data, {}; "
    "`python -m benchmarks.held_out_sites` fits encoders without them"
)


def evaluate_stored(
    store: Store,
    label: str,
    *,
    group: str | None = None,
    fusion: Sequence[str] | None = None,
    meters: Sequence[str] = (),
    folds: int = 5,
    seed: int = 0,
    missing: Sequence[float] = MISSING,
    depth: int | None = DEPTH,
    left_out: int | Sequence[str] = LEFT_OUT,
    draws: int = DRAWS,
    workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Ask every method about every stored patient with a label.

    Parameters
    ----------
    store
        The reference's truth.
    label
        Categorical patient column to call.
    group
        Column whose values are held out whole; `GROUP`, if it is stored, by default.
    fusion
        Methods: fusions, or single modalities; all by default.
    meters
        Columns that neighbours should not tell, beside the group, the set of assays and `METERED`.
    folds, seed, missing, depth, left_out, draws, workers, progress
        As in `molsig.evaluate.run.evaluate`.

    Raises
    ------
    UsageError
        A column is not stored or not categorical, a method has no such name, or the folds cannot be filled.
    NotFoundError
        No stored patient has both a vector and a label.
    """
    known = store.columns()
    for flag, column in (("--label", label), ("--group", group), *(("--meter", one) for one in meters)):
        if column is not None and column not in known:
            raise UsageError(f"{flag} {column}: there is no such patient column; there are {', '.join(known)}")
    if known[label] in ("number", "date", "timestamp"):
        raise UsageError(f"--label {label}: it holds a {known[label]} per patient; a column of categories is needed")
    chosen = group or (GROUP if GROUP in known and label != GROUP else None)
    metered = [c for c in dict.fromkeys([*meters, *(c for c in METERED if c in known)]) if c not in (chosen, label)]
    vectors = load_patient_vectors(store)
    columns = _columns(store, vectors.patients, [label, *([chosen] if chosen else []), *metered])
    labels = columns[label]
    if not (labels != "").any():
        raise NotFoundError(f"no stored patient has both a vector and a {label}")
    most = MOST_NUMBERS if known[label] == "integer" else MOST_LABELS
    if (n := len(np.unique(labels[labels != ""]))) > most:
        raise UsageError(f"--label {label}: {n:,} distinct values are too many for labels; {most} are the most")
    found = evaluate(
        Labelled(vectors, labels, columns[chosen] if chosen else None, {name: columns[name] for name in metered}),
        choose_methods(fusion, vectors, labels != "", seed),
        label=label,
        group=chosen,
        folds=folds,
        seed=seed,
        missing=missing,
        depth=depth,
        left_out=left_out,
        draws=draws,
        workers=workers,
        progress=progress,
    )
    taught, notes = _taught(store, found)
    some = ", ".join(one.space for one in taught)
    seen = f"{some} with their labels, others without" if taught else "without their labels"
    warnings = (one.warning for one in taught)
    return replace(found, notes=(*warnings, *notes, ENCODERS_NOTE.format(seen), *found.notes), taught=taught)


def _taught(store: Store, found: Evaluation) -> tuple[tuple[Taught, ...], tuple[str, ...]]:
    """Encoders that have learned values of the label that was called, and what is to be said of others that learned."""
    modalities, label = set(store.active_spaces()), found.settings.label
    out, notes = [], []
    for one in taught_encoders(store):
        methods = tuple(name for name in found.methods if name == one.modality or name not in modalities)
        if not methods:
            continue
        if known := one.known(found.cohort.labels):
            warning = (
                f"WARNING: {one.space} has learned {len(known)} of the {len(found.cohort.labels)} values of {label} "
                f"from labels of stored patients, likely of held-out ones too: the figures of {', '.join(methods)} "
                f"are then better than for new patients. To measure, encode {one.modality} without labels "
                f"(`--network {one.modality}=vae`), or by an encoder that was told labels of other patients only"
            )
            out.append(Taught(one.space, one.modality, known, methods, warning))
        else:
            notes.append(
                f"{one.space} has learned types of these patients ({', '.join(one.types[:3])}, ...): as far as "
                f"{label} goes with them it is told better than of new patients"
            )
    return tuple(out), tuple(notes)


def _columns(store: Store, patients: Sequence[str], names: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Patient columns as text in the order of `patients`, "" where missing."""
    table = store.attributes(patients, names)
    place = {patient: row for row, patient in enumerate(table["patient"].to_pylist())}
    order = [place[patient] for patient in patients]
    held = {name: table[name].to_pylist() for name in names}
    return {
        name: np.array(["" if (value := held[name][row]) is None else str(value) for row in order], dtype=str)
        for name in names
    }
