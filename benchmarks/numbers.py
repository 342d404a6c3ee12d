"""Votes on numeric columns for patients of unseen hospitals: ``python -m benchmarks.numbers --data DIR --cache DIR``.

Age, survival time and mutational burden (`molsig.ingest.tmb`). Encoders were fitted on the patients outside the test
part (`benchmarks.cohort_vectors` keeps the vectors); weights and the errors of votes are learned on the same patients,
whole sites at a time, and the test patients are asked. Printed are the mean absolute error beside that of the mean of
all stored patients, and for intervals at 80, 90 and 95 % the share of patients inside and the mean width, once for all
patients and once without mutations (which hold the burden itself).

``--part validation`` asks the validation patients instead, with the training patients stored: for choosing.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cohort_vectors import cohort
from benchmarks.held_out_sites import READERS, SPLITS
from molsig.ingest.tmb import mutational_burden
from molsig.retrieval.neighbourhood import blocks
from molsig.retrieval.numbers import LOOKED_AT, VOTERS, fit_numbers
from molsig.retrieval.patient_vectors import nearest_rows
from molsig.retrieval.weighted import fit_weighted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from benchmarks.cohort_vectors import SplitCohort
    from molsig.retrieval.numbers import NumberVote
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]

COLUMNS = ("age", "OS.time")
ERRORS = (0.2, 0.1, 0.05)


def numbers_of(data: Path, patients: Iterable[str]) -> dict[str, Array]:
    """Clinical columns and burden by name, one value per patient, NaN where unknown."""
    names = list(patients)
    with (data / "tcga" / "clinical.tsv").open(newline="", encoding="utf-8") as file:
        rows = {row["patient"]: row for row in csv.DictReader(file, delimiter="\t")}
    out = {
        column: np.array([float(rows[one][column]) if rows[one][column] else np.nan for one in names])
        for column in COLUMNS
    }
    burden = mutational_burden(READERS["mutation"](data))
    of = dict(zip(burden["patient"].to_pylist(), burden["tmb"].to_pylist(), strict=True))
    out["tmb"] = np.array([of.get(one, np.nan) for one in names])
    return out


def asked(vote: NumberVote, found: Array, truth: Array, plain: float) -> dict[str, Any]:
    """Figures over queries, their neighbours' values, nearest first, (n, looked at), NaN where unknown."""
    rows = [(row[~np.isnan(row)][:VOTERS], value) for row, value in zip(found, truth, strict=True)]
    rows = [(values, value) for values, value in rows if len(values) and not np.isnan(value)]
    value = np.array([one for _, one in rows])
    mean = np.array([values.mean() for values, _ in rows])
    out: dict[str, Any] = {
        "patients": len(rows),
        "error": float(np.abs(mean - value).mean()),
        "of_the_overall_mean": float(np.abs(plain - value).mean()),
    }
    for error in ERRORS:
        ends = np.array([vote.interval(values, error) for values, _ in rows])
        inside = (ends[:, 0] <= value) & (value <= ends[:, 1])
        out[f"coverage {1 - error:g}"] = float(inside.mean())
        out[f"width {1 - error:g}"] = float((ends[:, 1] - ends[:, 0]).mean())
    return out


def measure(
    found: SplitCohort, vectors: PatientVectors, columns: dict[str, Array], part: str, seed: int
) -> dict[str, Any]:
    """All figures of one split and one set of modalities."""
    stored = found.part != "test" if part == "test" else found.part == "train"
    some = vectors.matrix_present().any(axis=1)
    inside, outside = np.flatnonzero(stored & some), np.flatnonzero((found.part == part) & some)
    gallery, queries = vectors.take(inside), vectors.take(outside)
    weighted = fit_weighted(gallery, seed=seed)
    votes = fit_numbers(
        gallery, weighted, {name: one[inside] for name, one in columns.items()}, found.sites[inside], seed=seed
    )
    left, right = weighted.fused(queries), weighted.fused(gallery)
    near = np.concatenate(
        [nearest_rows(left[block] @ right.T, LOOKED_AT)[0] for block in blocks(len(left), len(right))]
    )
    return {
        name: asked(vote, columns[name][inside][near], columns[name][outside], float(np.nanmean(columns[name][inside])))
        | {"out_of_fold_error": vote.error}
        for name, vote in votes.items()
    }


def spread(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds, and in brackets the largest minus the smallest."""
    return {
        column: {
            figure: f"{np.mean([row[column][figure] for row in rows]):.4g} "
            f"({np.ptp([row[column][figure] for row in rows]):.2g})"
            for figure in rows[0][column]
        }
        for column in rows[0]
    }


def main() -> None:
    """Print one JSON document: every seed, and mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--cache", type=Path, required=True, help="folder of `benchmarks.cohort_vectors`")
    parser.add_argument("--model", help="folder of the text model; no reports without")
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=["site"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    options = parser.parse_args()
    told: dict[str, Any] = {}
    columns: dict[str, Array] = {}
    for split in options.split:
        rows: dict[str, list[dict[str, Any]]] = {"all modalities": [], "without mutations": []}
        for seed in range(options.seeds):
            found = cohort(options.data, options.cache, split, seed, model=options.model)
            columns = numbers_of(options.data, found.vectors.patients)
            kept = [one for one in found.vectors.modalities if one != "mutation"]
            for name, vectors in (("all modalities", found.vectors), ("without mutations", found.vectors.only(kept))):
                rows[name].append(measure(found, vectors, columns, options.part, seed))
        told[split] = {name: {"seeds": some, "mean (spread)": spread(some)} for name, some in rows.items()}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
