"""Landmark genes by how well the others are inferred: ``python -m benchmarks.landmarks --data DIR --output FILE``.

Landmarks are ranked, and models fitted, on four fifths of the patients; the others, or whole sites, are asked. Sets of
one size are compared on the genes that are in none of them (a random draw also leaves out its own). With
``--transfer`` the models of the RSEM transcriptome are asked about the same held-out specimens as raw counts of another
pipeline. With ``--autoencoder`` the autoencoder reconstructs held-out patients by itself.

What is measured is added to FILE, work that it holds is not done again, and ``--table`` prints it as Markdown.
``--part validation`` holds out the validation patients instead and leaves the test patients alone: for choosing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.landmark_cohorts import SPLITS, other_pipeline, read, split
from benchmarks.landmark_tables import table
from molsig.encoders.alignment import align, fit_profile
from molsig.encoders.deep_inference import DeepInference
from molsig.encoders.gene_inference import Ridge, Standard
from molsig.encoders.landmark_autoencoder import fit as fit_autoencoder
from molsig.encoders.landmarks import METHODS, rank_genes
from molsig.retrieval.gene_scores import GeneScores, compare, score_genes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.landmark_cohorts import Split

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.int64]

SIZES = (100, 250, 500, 943)
KEPT = 2000
"""Leading genes of a ranking that the file of results keeps."""


def model_of(name: str, seed: int) -> Ridge | DeepInference:
    """One of the two models."""
    return Ridge(seed=seed) if name == "ridge" else DeepInference(seed=seed, device="cpu")


class Results:
    """The file of results: rows by their keys, and rankings, written after each piece of work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.held: dict[str, Any] = {"rows": {}, "rankings": {}}
        if path.exists():
            self.held = json.loads(path.read_text())

    def done(self, key: str) -> bool:
        """Whether a piece of work is there."""
        return key in self.held["rows"]

    def keep(self, key: str, row: dict[str, Any]) -> None:
        """Add a piece of work."""
        self.held["rows"][key] = row
        self.save()
        print(key, row.get("seconds"), file=sys.stderr, flush=True)

    def save(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self.held, indent=None))

    def ranking(self, key: str, one: Split, method: str, n: int, seed: int) -> Rows:
        """Leading genes by a method, ranked once for all sizes where the method does not look at the size."""
        name = f"{key}/{method}" + (f"/{n}" if method in {"greedy", "medoids"} else "")
        if name not in self.held["rankings"]:
            start = time.process_time()
            ranked = rank_genes(one.train, method, n=n, seed=seed)
            seconds = round(time.process_time() - start, 1)
            self.held["rankings"][name] = {"genes": ranked[:KEPT].tolist(), "seconds": seconds}
            self.save()
        return np.array(self.held["rankings"][name]["genes"], dtype=np.int64)


def sets_of(results: Results, key: str, one: Split, n: int, draws: int, seed: int) -> dict[str, Rows]:
    """Ranked genes of every set; random ones are numbered."""
    ranked = {m: results.ranking(key, one, m, n, seed) for m in METHODS if m != "random"}
    for draw in range(draws):
        ranked[f"random {draw}"] = rank_genes(one.train, "random", seed=1000 * seed + draw)
    return ranked


def common_of(sets: dict[str, Rows], genes: int) -> NDArray[np.bool_]:
    """Genes in none of the sets that are not drawn by chance."""
    common = np.ones(genes, dtype=bool)
    for name, chosen in sets.items():
        if not name.startswith("random"):
            common[chosen] = False
    return common


def spread_out(scores: GeneScores, targets: Rows, genes: int) -> GeneScores:
    """Scores at the places of their genes, NaN for the landmarks."""
    wide = {}
    for name in ("mae", "pcc", "above"):
        wide[name] = np.full(genes, np.nan)
        wide[name][targets] = getattr(scores, name)
    return GeneScores(**wide)


def figures(scores: GeneScores, deviation: Matrix, common: NDArray[np.bool_]) -> dict[str, Any]:
    """Means over a set's own targets and over the common ones; errors in log2 and in deviations."""
    out: dict[str, Any] = {}
    for name, kept in (("own", ~np.isnan(scores.mae)), ("common", common & ~np.isnan(scores.mae))):
        some = GeneScores(scores.mae[kept], scores.pcc[kept], scores.above[kept])
        out[name] = some.summary() | {"mae_sd": float((some.mae / deviation[kept]).mean())}
    return out


def paired(scores: dict[str, GeneScores], common: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Every two sets over the genes that neither holds, of the common ones; the first random draw stands for chance."""
    names = [name for name in scores if not name.startswith("random") or name == "random 0"]
    return [
        {
            "first": a,
            "second": b,
            **{
                figure: asdict(compare(getattr(scores[a], figure)[common], getattr(scores[b], figure)[common]))
                for figure in ("mae", "pcc")
            },
        }
        for a, b in combinations(names, 2)
    ]


def measure(one: Split, ranked: dict[str, Rows], n: int, model: str, seed: int) -> dict[str, Any]:
    """Infer all other genes of the held-out samples from each set, and compare the sets."""
    start = time.process_time()
    genes = len(one.genes)
    sets = {name: chosen[:n] for name, chosen in ranked.items()}
    common = common_of(sets, genes)
    deviation = Standard.of(one.train).deviation
    scores, out = {}, {}
    for name, chosen in sets.items():
        targets = np.setdiff1d(np.arange(genes), chosen)
        fitted = model_of(model, seed).fit(one.train[:, chosen], one.train[:, targets], one.patients)
        found = fitted.predict(one.test[:, chosen])
        scores[name] = spread_out(score_genes(one.test[:, targets], found), targets, genes)
        out[name] = figures(scores[name], deviation, common)
        if isinstance(fitted, Ridge):
            out[name]["penalty"] = fitted.penalty
        else:
            out[name]["epochs"] = fitted.history["best_epoch"]
    return {
        "genes": genes,
        "train": len(one.train),
        "test": len(one.test),
        "common": int(common.sum()),
        "sets": out,
        "paired": paired(scores, common),
        "seconds": round(time.process_time() - start, 1),
    }


def transfer(one: Split, data: Path, ranked: dict[str, Rows], n: int, model: str, seed: int) -> dict[str, Any]:
    """Infer the genes of the held-out specimens from another pipeline's values of the landmarks.

    Both pipelines' values are matched to the mean quantiles of the training samples; truth is what the other pipeline
    measured, matched in the same way, but for `as read`, where neither is.
    """
    start = time.process_time()
    other = other_pipeline(data, one)
    train, test = one.train[:, other.genes].copy(), one.test[np.ix_(other.same, other.genes)].copy()
    genes = train.shape[1]
    place = np.full(len(one.genes), -1)
    place[other.genes] = np.arange(genes)
    sets = {name: (lambda there: there[there >= 0][:n])(place[chosen]) for name, chosen in ranked.items()}
    common = common_of(sets, genes)
    profile = fit_profile(train)
    plain = train.copy()
    matched, same = align(train, profile, "quantile"), align(test, profile, "quantile")
    counts = align(other.as_read.copy(), profile, "quantile")
    by_length = align(other.per_kilobase.copy(), profile, "quantile")
    deviation = Standard.of(matched).deviation
    out: dict[str, Any] = {}
    scores: dict[str, GeneScores] = {}
    for name, chosen in sets.items():
        targets = np.setdiff1d(np.arange(genes), chosen)
        of_matched = model_of(model, seed).fit(matched[:, chosen], matched[:, targets], one.patients)
        own, theirs = Standard.of(counts), Standard.of(matched)
        shifted = own.apply(counts) * theirs.deviation + theirs.mean
        few = fit_profile(plain[:, chosen])
        of_few = align(plain[:, chosen].copy(), few, "quantile")
        of_landmarks = model_of(model, seed).fit(of_few, matched[:, targets], one.patients)
        asked = {
            "same pipeline": (of_matched.predict(same[:, chosen]), same),
            "quantiles": (of_matched.predict(counts[:, chosen]), counts),
            "quantiles of landmarks": (
                of_landmarks.predict(align(other.as_read[:, chosen].copy(), few, "quantile")),
                counts,
            ),
            "per kilobase, quantiles": (of_matched.predict(by_length[:, chosen]), by_length),
            "quantiles, cohort standardised": (of_matched.predict(shifted[:, chosen]), shifted),
        }
        if model == "ridge":
            of_plain = model_of(model, seed).fit(plain[:, chosen], plain[:, targets], one.patients)
            asked["as read"] = (of_plain.predict(other.as_read[:, chosen]), other.as_read)
        out[name] = {}
        for how, (found, truth) in asked.items():
            wide = spread_out(score_genes(truth[:, targets], found), targets, genes)
            out[name][how] = figures(wide, deviation, common)
            if how == "quantiles":
                scores[name] = wide
    return {
        "genes": genes,
        "train": len(train),
        "test": len(test),
        "types": {name: [one.types[i] for i in other.same].count(name) for name in sorted(set(one.types))},
        "common": int(common.sum()),
        "sets": out,
        "paired": paired(scores, common),
        "seconds": round(time.process_time() - start, 1),
    }


def autoencoder(one: Split, seed: int) -> dict[str, Any]:
    """The study's autoencoder on samples it has not seen."""
    start = time.process_time()
    found = fit_autoencoder(one.train, seed=seed).reconstructed(one.test)
    scores = score_genes(one.test, found)
    deviation = Standard.of(one.train).deviation
    return {
        **figures(scores, deviation, np.ones(len(deviation), dtype=bool))["own"],
        "train": len(one.train),
        "test": len(one.test),
        "seconds": round(time.process_time() - start, 1),
    }


def main() -> None:
    """Parse the arguments, measure what is not there yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/ and genes_ensembl105.tsv.gz")
    parser.add_argument("--output", type=Path, required=True, help="JSON of the results")
    parser.add_argument("--cohort", nargs="+", choices=["panel", "transcriptome"], default=["panel", "transcriptome"])
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=sorted(SPLITS))
    parser.add_argument("--model", nargs="+", choices=["ridge", "deep"], default=["ridge", "deep"])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=3, help="random sets of each size, one of them for deep models")
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--transfer", action="store_true", help="ask about the other pipeline instead")
    parser.add_argument("--autoencoder", action="store_true", help="reconstruct by the autoencoder instead")
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.output.read_text())["rows"]))
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    results = Results(options.output)
    for cohort in ["transcriptome"] if options.transfer else options.cohort:
        matrix = read(options.data, cohort)
        for how in options.split:
            for seed in range(options.seeds):
                one = split(matrix, options.data, how, seed, options.part)
                work(results, one, f"{cohort}/{how}/{options.part}/{seed}", seed, options)


def work(results: Results, one: Split, key: str, seed: int, options: argparse.Namespace) -> None:
    """Everything asked of one split."""
    if options.autoencoder:
        if not results.done(f"autoencoder/{key}"):
            results.keep(f"autoencoder/{key}", autoencoder(one, seed))
        return
    for model in options.model:
        for n in options.sizes:
            name = f"{'transfer' if options.transfer else 'inference'}/{key}/{model}/{n}"
            if results.done(name):
                continue
            ranked = sets_of(results, key, one, n, 1 if model == "deep" else options.draws, seed)
            if options.transfer:
                row = transfer(one, options.data, ranked, n, model, seed)
            else:
                row = measure(one, ranked, n, model, seed)
            results.keep(name, row)


if __name__ == "__main__":
    main()
