"""Sex, age and tissue from miRNA: the study's network and forest, and neighbours, beside chance and cancer type alone.

    python -m benchmarks.annotate --data ../shared/data --reference tumours.molsig --out found.jsonl \
        [--field sex] [--method forest] [--seed 0]
    python -m benchmarks.annotate --table found.jsonl

After Fiosina et al., Deep learning for sRNA metadata (accuracy there: tissue 96.5 %, sex 77 %, age in two intervals
77.2 %, in four 63.5 %, in 5 random folds over samples of 350 data sets; tissue of a data set left out 83.1 %). Here
patients never cross folds, and whole submitting sites are held out beside. One line of JSON is added to `--out` for
each field, method and seed, with the processor time it took; a network's fit takes about a minute of one core, and
there are ten of them for each line: `--first-fold` makes it two, of the first fold of each validation, uncalibrated.
Neighbours are looked for among the reference's vectors of miRNA, and of all modalities; its encoders have seen all
patients. Network and forest see the file alone, scaled and filtered on the training folds.

Accuracy is that of the likeliest label after calibration. "Even" is the call that takes all labels for equally common,
which is what a forest's votes are after drawing the classes down. ± is half the range over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.ingest.mirna import read_mirna
from molsig.retrieval.annotate_forest import Forest
from molsig.retrieval.annotate_inputs import measured_by_patient
from molsig.retrieval.annotate_neighbours import Neighbours
from molsig.retrieval.annotate_network import Network
from molsig.retrieval.annotation import HELD_OUT, RANDOM, predict_labels, predict_numbers, schemes_of
from molsig.retrieval.annotation_scores import commonest_elsewhere, mean_elsewhere, score_calls, score_numbers
from molsig.retrieval.heads import class_log_prior
from molsig.retrieval.intervals import AGE_CUTS, cut, interval_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.annotation import Annotator

TISSUES = {
    "adrenal gland": "ACC PCPG",
    "bile duct": "CHOL",
    "bladder": "BLCA",
    "blood": "LAML",
    "brain": "GBM LGG",
    "breast": "BRCA",
    "cervix": "CESC",
    "colon and rectum": "COAD READ",
    "eye": "UVM",
    "head and neck": "HNSC",
    "kidney": "KICH KIRC KIRP",
    "liver": "LIHC",
    "lung": "LUAD LUSC",
    "lymph node": "DLBC",
    "oesophagus": "ESCA",
    "ovary": "OV",
    "pancreas": "PAAD",
    "pleura": "MESO",
    "prostate": "PRAD",
    "skin": "SKCM",
    "soft tissue": "SARC",
    "stomach": "STAD",
    "testis": "TGCT",
    "thymus": "THYM",
    "thyroid": "THCA",
    "uterus": "UCEC UCS",
}
FIELDS = ("sex", "age in 2", "age in 3", "age in 4", "age", "tissue")
METHODS = ("neighbours, miRNA", "neighbours, all modalities", "forest", "network")
STUDY = {"sex": "77", "age in 2": "77.2", "age in 4": "63.5", "tissue": "96.5 (site out 83.1)"}
SCHEMES = (HELD_OUT, RANDOM)
FEWEST = 5
"""Patients of a label below which it is left out."""


class Cohort:
    """miRNA of patients with their columns, and the reference's vectors of the same patients."""

    def __init__(self, data: Path, reference: Path | None) -> None:
        self.measured = measured_by_patient(read_mirna(data / "tcga" / "mirna_counts.parquet"))
        with (data / "tcga" / "clinical.tsv").open(newline="", encoding="utf-8") as file:
            rows = {row["patient"]: row for row in csv.DictReader(file, delimiter="\t")}
        of = {code: tissue for tissue, codes in TISSUES.items() for code in codes.split()}
        self.columns = {
            name: np.array([rows.get(patient, {}).get(name, "") for patient in self.measured.patients])
            for name in ("cancer_type", "site", "sex", "age")
        }
        self.columns["tissue"] = np.array([of.get(one, "") for one in self.columns["cancer_type"]])
        self.reference = reference

    def truth(self, field: str) -> tuple[NDArray[np.int64], NDArray[Any], tuple[str, ...]]:
        """Rows with a value, the values or label codes, and the labels' names (none for a number)."""
        name, _, pieces = field.partition(" in ")
        text = self.columns[name]
        if name != "age":
            counts = Counter(text.tolist())
            names = sorted(one for one in counts if one and counts[one] >= FEWEST)
            rows = np.flatnonzero(np.isin(text, names))
            return rows, np.searchsorted(names, text[rows]), tuple(names)
        rows = np.flatnonzero(text != "")
        years = text[rows].astype(np.float64)
        rows, years = rows[np.isfinite(years)], years[np.isfinite(years)]
        if not pieces:
            return rows, years, ()
        cuts = AGE_CUTS[int(pieces)]
        return rows, cut(years, cuts), interval_names(cuts)

    def method(self, name: str, seed: int) -> tuple[Annotator, dict[str, int]]:
        """A method, and the row of each patient it knows."""
        if not name.startswith("neighbours"):
            made: Annotator = (Network if name == "network" else Forest)(self.measured.values, seed=seed)
            return made, {patient: row for row, patient in enumerate(self.measured.patients)}
        from molsig.index.store import Store
        from molsig.retrieval.patient_vectors import load_patient_vectors
        from molsig.retrieval.weighted import fit_weighted

        if self.reference is None:
            raise SystemExit("neighbours are looked for in a reference: --reference tumours.molsig")
        vectors = load_patient_vectors(Store.open(self.reference), ["mirna"] if name.endswith("miRNA") else None)
        fused = fit_weighted(vectors, seed=seed).fused(vectors)
        return Neighbours(vectors, fused), {patient: row for row, patient in enumerate(vectors.patients)}


def measure(cohort: Cohort, field: str, name: str, seed: int, first_fold: bool) -> dict[str, Any]:
    """Both validations of one method on one field."""
    started = time.process_time()
    method, row_of = cohort.method(name, seed)
    rows, truth, names = cohort.truth(field)
    # The same patients for every method: those of the file, as far as the method knows them.
    there = np.array([cohort.measured.patients[row] in row_of for row in rows.tolist()])
    rows, truth = rows[there], truth[there]
    known = np.array([row_of[cohort.measured.patients[row]] for row in rows.tolist()])
    codes = truth if names else cut(truth, np.quantile(truth, [0.25, 0.5, 0.75]))
    schemes = schemes_of(codes, cohort.columns["site"][rows], seed=seed)
    beside = {"commonest": np.full(len(rows), ""), "cancer type alone": cohort.columns["cancer_type"][rows]}
    nobody = np.zeros(0, dtype=np.int64)
    if first_fold:
        said = {scheme: _first(method, known, truth, len(names), fold) for scheme, fold in schemes.items()}
        scores: dict[str, Any] = dict.fromkeys(schemes)
    elif names:
        found = predict_labels(method, known, truth, len(names), nobody, schemes, error=0.1, progress=say)
        scores, even = {scheme: asdict(one) for scheme, one in found.scores.items()}, found.raw
        said = {scheme: told.probabilities.argmax(axis=1) for scheme, told in found.known.items()}
    else:
        found = predict_numbers(method, known, truth, nobody, schemes, error=0.1, progress=say)
        scores = {scheme: asdict(one) for scheme, one in found.scores.items()}
        said = {scheme: told.estimates for scheme, told in found.known.items()}
    schemes_told = {}
    for scheme, fold in schemes.items():
        first = fold == 0
        told: dict[str, Any] = {"method": scores[scheme], "first fold": _scored(truth, said[scheme], first, names)}
        if names and not first_fold:
            told["even"] = _scored(truth, even[scheme], fold >= 0, names)
        for kind, column in beside.items():
            plain = (
                commonest_elsewhere(column, truth, fold, len(names)) if names else mean_elsewhere(column, truth, fold)
            )
            told[kind] = _scored(truth, plain, fold >= 0, names)
            told[f"{kind}, first fold"] = _scored(truth, plain, first, names)
        schemes_told[scheme] = told
    seconds = round(time.process_time() - started, 1)
    return {
        "field": field, "method": name, "seed": seed, "patients": len(rows), "labels": names, "schemes": schemes_told,
        "processor_seconds": seconds,
    }  # fmt: skip


def _first(
    method: Annotator, known: NDArray[np.int64], truth: NDArray[Any], n_classes: int, fold: NDArray[np.int64]
) -> NDArray[Any]:
    """Likeliest labels, or estimates, for the first fold; nothing meant elsewhere."""
    taught, asked = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)
    out = np.full(len(truth), -1, dtype=truth.dtype)
    if n_classes:
        evidence = method.tell(known[taught], truth[taught], n_classes, known[asked])
        out[asked] = (evidence[0] + class_log_prior(truth[taught], n_classes)).argmax(axis=1)
    else:
        out[asked] = method.estimate(known[taught], truth[taught], known[asked])[0]
    return out


def _scored(
    truth: NDArray[Any], said: NDArray[Any], among: NDArray[np.bool_], names: tuple[str, ...]
) -> dict[str, Any]:
    """Scores of labels or estimates for some patients."""
    if names:
        return asdict(score_calls(truth[among], said[among], np.ones(int(among.sum()), dtype=bool)))
    return asdict(score_numbers(truth[among], said[among]))


def say(step: str, done: int, total: int | None) -> None:
    print(f"{step}: {done} of {total}, {time.process_time():.0f} s of processor", file=sys.stderr, flush=True)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: a row for each field and method, sites held out beside random folds, all folds beside the first."""
    out = []
    for field in FIELDS:
        some = [one for one in lines if one["field"] == field]
        if not some:
            continue
        numbers = not some[0]["labels"]
        what = "mean error in years / correlation" if numbers else "accuracy / balanced"
        held = "sites out: held by 90 % intervals, width" if numbers else "sites out: told one label, right; sets hold"
        out += [
            f"{field}, {some[0]['patients']:,} patients: {what}",
            "",
            f"| | sites out | random | first fold, sites out | random | {held} | CPU s |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for kind in ("commonest", "cancer type alone"):
            cells = [_cell([some[0]], scheme, key) for key in (kind, f"{kind}, first fold") for scheme in SCHEMES]
            title = "mean of all" if numbers and kind == "commonest" else kind
            out.append(f"| {title} | {' | '.join(cells)} | | |")
        for name in METHODS:
            runs = [one for one in some if one["method"] == name]
            if runs:
                out += _rows(name, runs)
        if field in STUDY:
            out.append(f"| the study's network, its own data | | {STUDY[field]} | | | | |")
        out.append("")
    return "\n".join(out)


def _rows(name: str, runs: list[dict[str, Any]]) -> list[str]:
    whole = [one for one in runs if one["schemes"]["random"]["method"] is not None]
    cells = [_cell(whole, scheme, "method") for scheme in SCHEMES]
    cells += [_cell(runs, scheme, "first fold") for scheme in SCHEMES]
    seconds = " and ".join(f"{one['processor_seconds']:,.0f}" for one in runs)
    out = [f"| {name} | {' | '.join(cells)} | {_certain(whole)} | {seconds} |"]
    if whole and whole[0]["labels"]:
        even = [_cell(whole, scheme, "even") for scheme in SCHEMES]
        out.append(f"| {name}, even | {' | '.join(even)} | | | | |")
    return out


def _certain(runs: list[dict[str, Any]]) -> str:
    sites = [one["schemes"][SCHEMES[0]]["method"] for one in runs]
    if not sites:
        return ""
    mean = {
        key: float(np.mean([one[key] for one in sites if one[key] is not None] or [np.nan]))
        for key in sites[0]
        if key in ("covered", "width", "told", "told_right")
    }
    if "width" in mean:
        return f"{mean['covered']:.3f}, {mean['width']:.0f} years"
    right = "" if np.isnan(mean["told_right"]) else f", {mean['told_right']:.3f}"
    return f"{mean['told']:.1%}{right}; {mean['covered']:.3f}"


def _cell(runs: list[dict[str, Any]], scheme: str, key: str) -> str:
    if not runs:
        return ""
    scores = [one["schemes"][scheme][key] for one in runs]
    keys = ("accuracy", "balanced") if runs[0]["labels"] else ("error", "correlation")
    return " / ".join("" if scores[0][k] is None else _spread([one[k] for one in scores]) for k in keys)


def _spread(values: list[float]) -> str:
    text = f"{np.mean(values):.3f}" if np.mean(values) <= 1 else f"{np.mean(values):.2f}"
    return text if len(values) == 1 else f"{text} ±{np.ptp(values) / 2:.3f}"


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real cohorts")
    parser.add_argument("--reference", type=Path, help="reference with miRNA vectors of the same patients")
    parser.add_argument("--out", type=Path, default=Path("annotate.jsonl"), help="lines of JSON are added here")
    parser.add_argument("--field", action="append", choices=FIELDS, help="all by default")
    parser.add_argument("--method", action="append", choices=METHODS, help="all by default")
    parser.add_argument("--seed", action="append", type=int, help="of folds and methods; 0 by default")
    parser.add_argument("--table", type=Path, help="print what was measured into this file, and measure nothing")
    parser.add_argument("--first-fold", action="store_true", help="fit only for the first fold of each validation")
    options = parser.parse_args()
    if options.table is not None:
        print(table([json.loads(line) for line in options.table.read_text().splitlines()]))
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    cohort = Cohort(options.data, options.reference)
    lines = []
    for seed in options.seed or [0]:
        for field in options.field or FIELDS:
            for name in options.method or METHODS:
                lines.append(measure(cohort, field, name, seed, options.first_fold))
                with options.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
