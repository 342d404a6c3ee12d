"""Landmark genes of a file of measurements: ranked on some patients, judged on others, then ranked on all.

Patients of the reference are dealt into five parts, whole submitting sites at a time where the reference knows them,
and once more one by one. The part that is nearest to a fifth of them is held out: genes are ranked and the inference of
the other genes is fitted on the rest. Which method is best (``auto``) is chosen on the next, by what the other three
teach.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.landmarks import DEFAULT, METHODS, rank_genes, stability
from molsig.errors import InputError, UsageError
from molsig.reference.landmark_report import RANDOM, SITES, LandmarkReport, SetScores
from molsig.reference.measured import labels_of, read_matrix
from molsig.retrieval.folds import group_folds, numbered
from molsig.retrieval.gene_scores import compare, score_genes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.landmark_autoencoder import Recipe
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.retrieval.gene_scores import GeneScores
    from molsig.types import FeatureMatrix, Progress

    Rows = NDArray[np.int64]

PARTS = 5
"""Parts that patients are dealt into: one is held out, one chooses where there is a choice."""
LEAST_PART, MOST_PART = 0.1, 1 / 3
"""Share of the patients that a part of whole groups has to have, and may have, to be held out."""
FEWEST_COMMON = 50
"""Genes that are no method's landmark, on which methods can be compared."""
FEWEST = 20
"""Patients that landmarks are ranked and judged on at least."""
INFERENCES = ("ridge", "dgex")
AUTO = "auto"
GROUP = "site"


@dataclass(frozen=True, slots=True)
class LandmarkOptions:
    """What is asked; see `molsig.Reference.landmarks`."""

    n: int
    method: str = DEFAULT
    compare: bool = False
    inference: str = "ridge"
    resamples: int = 0
    group: str | None = None
    modality: str | None = None
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"

    def recipe(self) -> Recipe | None:
        """How the autoencoder is trained, where that was said."""
        if self.epochs is None:
            return None
        from molsig.encoders.landmark_autoencoder import PAPER

        return replace(PAPER, epochs=self.epochs)


@dataclass(frozen=True, slots=True)
class Measurements:
    """Samples of the reference's patients, and the genes that can be landmarks.

    Attributes
    ----------
    values
        (samples, genes), NaN where not measured.
    groups
        Submitting site of each sample, ``""`` where unknown; None where the reference has no such column.
    """

    matrix: FeatureMatrix
    genes: tuple[str, ...]
    values: NDArray[np.float32]
    patients: tuple[str, ...]
    groups: tuple[str, ...] | None
    notes: tuple[str, ...]


def find_landmarks(store: Store, cohort: Cohort, how: LandmarkOptions, progress: Progress) -> LandmarkReport:
    """Rank the genes of a file; see `Reference.landmarks`."""
    if how.method not in (*METHODS, AUTO):
        raise UsageError(f"--method {how.method}: use {', '.join(METHODS)} or {AUTO}")
    if how.inference not in INFERENCES:
        raise UsageError(f"--inference {how.inference}: use {' or '.join(INFERENCES)}")
    if how.resamples == 1:
        raise UsageError("--resamples 1: one draw cannot be compared with another; draw 2 or more")
    found = measurements(store, cohort, how, progress)
    notes = list(found.notes)
    parts = _dealt(found, how, notes)
    method = how.method
    validation: dict[str, float] = {}
    if method == AUTO:
        method, validation = _chosen(found, next(iter(parts.values())), how, progress)
    others = [one for one in METHODS if one != method] if how.compare else []
    scores: list[SetScores] = []
    for held_out, part in parts.items():
        rest, held = np.flatnonzero(part != 0), np.flatnonzero(part == 0)
        scores += _compared(found, rest, held, [method, *others], held_out, how, progress)
    everything = filled(found.values, found.values)
    recipe = how.recipe()
    order = rank_genes(everything, method, n=how.n, seed=how.seed, recipe=recipe, progress=progress)
    steady = None
    if how.resamples:
        steady = stability(
            everything,
            found.patients,
            method,
            how.n,
            resamples=how.resamples,
            seed=how.seed,
            recipe=recipe,
            progress=progress,
        )
    return LandmarkReport(
        modality=found.matrix.modality,
        file=str(found.matrix.report.file),
        scale=found.matrix.scale,
        method=method,
        n=how.n,
        inference=how.inference,
        patients=len(set(found.patients)),
        samples=len(found.patients),
        genes=tuple(found.genes[i] for i in order),
        mean=everything.mean(axis=0)[order],
        deviation=everything.std(axis=0)[order],
        scores=tuple(scores),
        validation=validation,
        stability=steady,
        notes=tuple(notes),
    )


def measurements(store: Store, cohort: Cohort, how: LandmarkOptions, progress: Progress) -> Measurements:
    """Read the file: samples of stored patients, and genes that were measured in all of them and vary.

    Raises
    ------
    UsageError
        There is not one matrix, no such column of groups, or not n genes and one to tell.
    InputError
        Too few patients of the reference are in the file.
    """
    from molsig.encoders.disk import ENCODED
    from molsig.encoders.features import STEADY, choose_features

    columns = store.columns()
    if how.group is not None and how.group not in columns:
        raise UsageError(f"--group {how.group}: there is no such patient column; there are {', '.join(columns)}")
    matrix = read_matrix(store, cohort, "landmarks", modality=how.modality, progress=progress)
    stored = set(store.select_patients())
    rows = [row for row, one in enumerate(matrix.samples) if one.patient in stored]
    patients = tuple(matrix.samples[row].patient for row in rows)
    if (n := len(set(patients))) < FEWEST:
        raise InputError(
            f"landmarks are ranked on some patients and judged on others: at least {FEWEST} are needed, the reference "
            f"knows {n} of this file",
            file=matrix.report.file,
            hint="Give the file that was ingested",
        )
    notes = []
    if len(rows) < len(matrix.samples):
        notes.append(f"{len(matrix.samples) - len(rows):,} samples are of no patient of the reference: left out")
    known = replace(matrix, samples=tuple(matrix.samples[row] for row in rows), values=matrix.values[rows], reads=None)
    uses = choose_features(known)
    places = [i for i, name in enumerate(known.features) if uses[name] in (ENCODED, STEADY)]
    if len(places) < len(known.features):
        notes.append(
            f"{len(known.features) - len(places):,} of {len(known.features):,} genes are hardly expressed, do not vary "
            "or are not measured in every group of samples: left out"
        )
    if how.n >= len(places):
        raise UsageError(f"--n {how.n}: {len(places):,} genes can be landmarks, and one has to be left to tell")
    group = how.group or (GROUP if GROUP in columns else None)
    groups = None
    if group is not None:
        groups = tuple(one or "" for one in labels_of(store, known.samples, group))
    genes = tuple(known.features[i] for i in places)
    return Measurements(known, genes, known.values[:, places], patients, groups, tuple(notes))


def filled(values: NDArray[np.float32], learned: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values with the mean of the learned samples where nothing was measured."""
    mean = np.nanmean(learned, axis=0, dtype=np.float64).astype(np.float32)
    return np.where(np.isnan(values), mean, values)


def _dealt(found: Measurements, how: LandmarkOptions, notes: list[str]) -> dict[str, Rows]:
    """Part of each sample, whole groups at a time and by chance; no patient is in two parts."""
    people, first = np.unique(found.patients, return_index=True)
    whose = np.searchsorted(people, found.patients)
    alike = np.zeros(len(people), dtype=np.int64)
    parts = {}
    if found.groups is not None:
        groups = np.array(found.groups)[first]
        if len(set(numbered(groups, alone=""))) < PARTS:
            notes.append(f"fewer than {PARTS} groups of patients: none are held out whole")
        else:
            dealt = _nearest_to_a_fifth(group_folds(alike, groups, PARTS, how.seed, loosen=False))
            share = np.bincount(dealt, minlength=PARTS)[: 2 if how.method == AUTO else 1] / len(people)
            if share.min() < LEAST_PART or share.max() > MOST_PART:
                notes.append(
                    "no part of whole groups is near to a fifth of the patients, since groups are too unlike in size: "
                    "none are held out whole"
                )
            else:
                parts[SITES] = dealt[whose]
    parts[RANDOM] = group_folds(alike, None, PARTS, how.seed)[whose]
    return parts


def _nearest_to_a_fifth(parts: Rows) -> Rows:
    """The parts numbered anew, by how near each comes to a fifth of the patients."""
    order = np.argsort(np.abs(np.bincount(parts, minlength=PARTS) - len(parts) / PARTS), kind="stable")
    return np.argsort(order)[parts]


def _chosen(found: Measurements, part: Rows, how: LandmarkOptions, progress: Progress) -> tuple[str, dict[str, float]]:
    """The method with the least error on the second part, by what the third to fifth teach."""
    taught, judges = np.flatnonzero(part > 1), np.flatnonzero(part == 1)
    scores = _compared(found, taught, judges, METHODS, "", how, progress)
    common = scores[0].common_genes
    if common < FEWEST_COMMON:
        raise UsageError(
            f"--method {AUTO}: all but {common:,} of {len(found.genes):,} genes are landmarks by some method; methods "
            f"are compared on {FEWEST_COMMON} or more: ask for fewer than {how.n:,} (--n), or name a method"
        )
    errors = {one.method: one.common_mae for one in scores if one.common_mae is not None}
    return min(errors, key=lambda name: errors[name]), errors


def _compared(
    found: Measurements,
    rest: Rows,
    held: Rows,
    methods: Sequence[str],
    held_out: str,
    how: LandmarkOptions,
    progress: Progress,
) -> list[SetScores]:
    """Each method's landmarks of some samples, judged on others; the first is the one that others are compared with."""
    learned = filled(found.values[rest], found.values[rest])
    sets = {
        one: rank_genes(learned, one, n=how.n, seed=how.seed, recipe=how.recipe(), progress=progress)[: how.n]
        for one in methods
    }
    n_genes = len(found.genes)
    is_landmark = np.zeros((len(methods), n_genes), dtype=bool)
    for row, some in enumerate(sets.values()):
        is_landmark[row, some] = True
    common = np.flatnonzero(~is_landmark.any(axis=0))
    of = {one: _inferred(found, rest, held, landmarks, how, progress) for one, landmarks in sets.items()}
    scores = []
    for one, (told, by_gene) in of.items():
        summary = by_gene.summary()
        mae, pcc = (_over(n_genes, told, figure)[common] for figure in (by_gene.mae, by_gene.pcc))
        against = None
        if one != methods[0] and len(common) > 1:
            first = of[methods[0]]
            against = compare(_over(n_genes, first[0], first[1].mae)[common], mae)
        scores.append(
            SetScores(
                method=one,
                held_out=held_out,
                patients=len({found.patients[row] for row in held}),
                samples=len(held),
                genes=len(told),
                mae=summary["mae"],
                pcc=summary["pcc"],
                significant=summary["significant"],
                common_genes=len(common),
                common_mae=float(np.nanmean(mae)) if len(common) else None,
                common_pcc=float(np.nanmean(pcc)) if len(common) else None,
                against=against,
            )
        )
    return scores


def _over(n_genes: int, places: Rows, figure: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(n_genes, np.nan)
    out[places] = figure
    return out


def _inferred(
    found: Measurements, rest: Rows, held: Rows, landmarks: Rows, how: LandmarkOptions, progress: Progress
) -> tuple[Rows, GeneScores]:
    """Which genes were told from the landmarks, and how well of held-out samples."""
    from molsig.encoders.gene_inference import Ridge

    told = np.setdiff1d(np.arange(len(found.genes)), landmarks)
    given, wanted = found.values[:, landmarks], found.values[:, told]
    groups = [found.patients[row] for row in rest]
    if how.inference == "dgex":
        from molsig.encoders.deep_inference import DeepInference

        model: Ridge | DeepInference = DeepInference(seed=how.seed, device=how.device)
    else:
        model = Ridge(seed=how.seed)
    fitted = model.fit(given[rest], wanted[rest], groups, progress=progress)
    return told, score_genes(wanted[held], fitted.predict(given[held]))
