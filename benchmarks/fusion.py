"""Fusion and calls on patients of unseen hospitals: ``python -m benchmarks.fusion --data DIR --cache DIR``.

Encoders are fitted on the patients outside the test part (`benchmarks.cohort_vectors` keeps their vectors), fusion and
calls are learned on the same patients, and the test part is asked:

- P@10 and majority vote of 10 for each modality alone, ``sum``, ``weighted`` and ``evidence``, with 0 to 60 % of the
  queries' assays taken away at random, and for each set of assays that occurs;
- the call: top-1, calibration error, conformal coverage, beside logistic regressions on the raw features of each
  modality (TF-IDF for reports) whose log-probabilities are added, and one on the concatenated raw features of miRNA
  and RNA;
- known against unknown: three types drawn at random are left out of the gallery.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cohort_vectors import cohort
from benchmarks.held_out_sites import READERS, SPLITS
from benchmarks.modalities import raw_features
from benchmarks.reports import words
from molsig.evaluate.metrics import calibration_error, majority_vote, precision_at
from molsig.ingest.reports import read_reports
from molsig.retrieval.fusion import fit_fused_evidence
from molsig.retrieval.neighbourhood import blocks, unit
from molsig.retrieval.patient_vectors import drop_assays, nearest_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.cohort_vectors import SplitCohort
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]

DROPPED = (0.0, 0.2, 0.4, 0.6)
ERRORS = (0.2, 0.1, 0.05)
K = 10
LEFT_OUT = 3
FEWEST = 30
"""Queries of a set of assays below which it is not listed."""


def cosine_nearest(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """The K nearest rows by cosine."""
    left, right = unit(queries), unit(gallery)
    return np.concatenate([nearest_rows(left[block] @ right.T, K)[0] for block in blocks(len(left), len(right))])


def scores_of(rows: NDArray[np.int64], types: NDArray[np.str_], truth: NDArray[np.str_]) -> tuple[Array, NDArray[Any]]:
    """P@10 and whether the majority vote is right, per query."""
    names, code = np.unique(types, return_inverse=True)
    called = names[majority_vote(code[rows], len(names), K)]
    return precision_at(types[rows] == truth[:, None], K), called == truth


def ece(probability: Array, right: NDArray[np.bool_]) -> float:
    """Expected calibration error."""
    return float(calibration_error(probability, right)(np.ones((1, len(right))))[0])


def raw_log_probabilities(
    data: Path, found: SplitCohort, gallery: NDArray[np.int64], classes: NDArray[np.str_]
) -> tuple[dict[str, Array], dict[str, NDArray[np.float32]]]:
    """log p(type) - log p(type) by chance, from logistic regressions on raw features; and those features."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    warnings.filterwarnings("ignore", message="lbfgs failed to converge")
    place = {patient: i for i, patient in enumerate(found.vectors.patients)}
    out: dict[str, Array] = {}
    features: dict[str, NDArray[np.float32]] = {}
    for modality in found.vectors.modalities:
        present = found.vectors.present[modality]
        fitted = gallery[present[gallery]]
        if modality == "report":
            texts = words(read_reports(data / "tcga" / "reports.csv.gz"), found.vectors.patients, masked=False)
            tfidf = TfidfVectorizer(sublinear_tf=True, min_df=2).fit([texts[i] for i in fitted])
            x: Any = tfidf.transform(texts)
            strength = 100.0
        else:
            records = READERS[modality](data)
            first: dict[int, int] = {}
            for row, one in enumerate(records.samples):
                if one.kind != "normal" and one.patient in place:
                    first.setdefault(place[one.patient], row)
            known = set(fitted.tolist())
            rows = np.array([row for patient, row in first.items() if patient in known])
            raw = raw_features(records, np.sort(rows))
            x = np.zeros((len(place), raw.shape[1]), dtype=np.float32)
            x[list(first)] = raw[list(first.values())]
            features[modality] = x
            strength = 0.01
        model = LogisticRegression(C=strength, max_iter=150).fit(x[fitted], found.types[fitted])
        log_p = np.full((len(place), len(classes)), -12.0)
        log_p[:, np.searchsorted(classes, model.classes_)] = np.log(model.predict_proba(x) + 1e-6)
        prior = np.log(np.array([(found.types[fitted] == one).mean() for one in classes]) + 1e-4)
        out[modality] = np.where(present[:, None], log_p - prior, 0.0)
    return out, features


def measure(data: Path, cache: Path, model: str | None, split: str, seed: int, left_out: int) -> dict[str, Any]:
    """All figures of one split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    found = cohort(data, cache, split, seed, model=model)
    inside, outside = np.flatnonzero(found.part != "test"), np.flatnonzero(found.part == "test")
    gallery, queries = found.vectors.take(inside), found.vectors.take(outside)
    types, truth = found.types[inside], found.types[outside]
    start = time.perf_counter()
    fitted = fit_fused_evidence(gallery, types, found.sites[inside], seed=seed)
    learned = time.perf_counter() - start
    classes = np.array(fitted.classes)
    target = np.searchsorted(classes, truth).clip(0, len(classes) - 1)
    raw, features = raw_log_probabilities(data, found, inside, classes)
    log_prior = fitted.model.log_prior
    result: dict[str, Any] = {"split": split, "seed": seed, "gallery": len(inside), "queries": len(outside)}
    result["learn_s"] = round(learned, 1)
    result["weights"] = {m: round(w, 3) for m, w in fitted.weighted.weights.items()}
    for share in DROPPED:
        some = drop_assays(queries, share, 100 + seed) if share else queries
        right, by_method = _right(fitted, gallery, some, types, truth)
        probabilities = fitted.probabilities(some)
        best = classes[probabilities.argmax(axis=1)] == truth
        added = sum(raw[m][outside] * some.present[m][:, None] for m in raw) + log_prior
        by_raw = classes[np.asarray(added).argmax(axis=1)] == truth
        result[f"dropped {share:g}"] = by_method | {
            "call": float(best.mean()),
            "logistic, log-probabilities added": float(by_raw.mean()),
            "ece": ece(probabilities.max(axis=1), best),
            "coverage": {
                f"{1 - error:g}": float(fitted.sets(some, probabilities, error)[np.arange(len(target)), target].mean())
                for error in ERRORS
            },
            "set_size": {
                f"{1 - error:g}": float(fitted.sets(some, probabilities, error).sum(axis=1).mean()) for error in ERRORS
            },
        }
        if share == 0:
            result["subsets"] = _subsets(queries, right, best, by_raw)
            result["miRNA and RNA"] = _both(
                queries, inside, outside, found, features, classes, probabilities, fitted, target, LogisticRegression
            )
    rng = np.random.default_rng(seed)
    result["unknown"] = []
    both = queries.present["mirna"] & queries.present["rna"]
    for _ in range(left_out):
        names = rng.choice(np.unique(truth), LEFT_OUT, replace=False)
        kept = np.flatnonzero(~np.isin(types, names))
        without = fit_fused_evidence(gallery.take(kept), types[kept], found.sites[inside][kept], seed=seed)
        strange = without.strangeness(queries)
        new = np.isin(truth, names)
        result["unknown"].append(
            {
                "types": sorted(str(one) for one in names),
                "auroc": float(roc_auc_score(new, strange)),
                "auroc, miRNA and RNA": float(roc_auc_score(new[both], strange[both])) if new[both].any() else None,
                "called unknown, new": float((strange[new] > 0.98).mean()),
                "called unknown, known": float((strange[~new] > 0.98).mean()),
            }
        )
    return result


def _right(
    fitted: Any, gallery: PatientVectors, queries: PatientVectors, types: NDArray[np.str_], truth: NDArray[np.str_]
) -> tuple[dict[str, tuple[Array, NDArray[Any]]], dict[str, Any]]:
    """Per-query figures of each method, and their means; single modalities over the queries that have them."""
    found = {
        "sum": cosine_nearest(queries.sums(), gallery.sums()),
        "weighted": cosine_nearest(fitted.weighted.fused(queries), fitted.weighted.fused(gallery)),
        "evidence": fitted.nearest(queries, K)[0],
    }
    right = {name: scores_of(rows, types, truth) for name, rows in found.items()}
    means: dict[str, Any] = {name: {"P@10": float(p.mean()), "vote": float(v.mean())} for name, (p, v) in right.items()}
    for modality in gallery.modalities:
        held = np.flatnonzero(queries.present[modality])
        stored = np.flatnonzero(gallery.present[modality])
        rows = stored[cosine_nearest(queries.vectors[modality][held], gallery.vectors[modality][stored])]
        p, v = scores_of(rows, types, truth[held])
        full = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
        full[0][held], full[1][held] = p, v
        right[modality] = full
        means[modality] = {
            "P@10": float(p.mean()),
            "vote": float(v.mean()),
            "evidence P@10": float(right["evidence"][0][held].mean()),
            "evidence vote": float(right["evidence"][1][held].mean()),
        }
    return right, means


def _subsets(
    queries: PatientVectors, right: dict[str, tuple[Array, NDArray[Any]]], call: NDArray[Any], raw: NDArray[Any]
) -> list[dict[str, Any]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, held in enumerate(queries.matrix_present()):
        groups[" + ".join(m for m, one in zip(queries.modalities, held, strict=True) if one)].append(row)
    out = []
    for name, rows in sorted(groups.items(), key=lambda one: -len(one[1])):
        if len(rows) >= FEWEST:
            methods = ("sum", "weighted", "evidence", *(m for m in queries.modalities if m in name.split(" + ")))
            told = {
                m: {"P@10": float(right[m][0][rows].mean()), "vote": float(right[m][1][rows].mean())} for m in methods
            }
            out.append(
                {"assays": name, "queries": len(rows), "call": float(call[rows].mean()), "raw": float(raw[rows].mean())}
                | told
            )
    return out


def _both(
    queries: PatientVectors,
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    found: SplitCohort,
    features: dict[str, NDArray[np.float32]],
    classes: NDArray[np.str_],
    probabilities: Array,
    fitted: Any,
    target: NDArray[np.int64],
    regression: Any,
) -> dict[str, Any]:
    """Patients with miRNA and RNA: the call beside a logistic regression on the concatenated raw features."""
    held = queries.present["mirna"] & queries.present["rna"]
    x = np.concatenate([features["mirna"], features["rna"]], axis=1)
    taught = inside[found.vectors.present["mirna"][inside] & found.vectors.present["rna"][inside]]
    model = regression(C=0.01, max_iter=150).fit(x[taught], found.types[taught])
    truth = found.types[outside]
    best = classes[probabilities.argmax(axis=1)] == truth
    rows = np.flatnonzero(held)
    return {
        "queries": int(held.sum()),
        "call": float(best[held].mean()),
        "logistic on concatenated raw": float((model.predict(x[outside][held]) == truth[held]).mean()),
        "ece": ece(probabilities[held].max(axis=1), best[held]),
        "coverage": {
            f"{1 - e:g}": float(fitted.sets(queries, probabilities, e)[rows, target[rows]].mean()) for e in ERRORS
        },
    }


def main() -> None:
    """Print one JSON document: every split and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--cache", type=Path, required=True, help="folder of `benchmarks.cohort_vectors`")
    parser.add_argument("--model", help="folder of the text model; no reports without")
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=["site"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--left-out", type=int, default=3, help="draws of three left-out types per split")
    options = parser.parse_args()
    rows = []
    for split in options.split:
        for seed in range(options.seeds):
            row = measure(options.data, options.cache, options.model, split, seed, options.left_out)
            rows.append(row)
            print(json.dumps(row, indent=1), file=sys.stderr, flush=True)
    print(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
