"""How few features keep one-shot typing: ``python -m benchmarks.markers --data DIR --output FILE``.

Rankings are made, and the number of features chosen, on the training types; the unseen types judge. Cohorts and
episodes are those of `benchmarks.one_shot`. What is in the file is not measured again, seed by seed; ``--table``
prints it as Markdown. Of how many pairs a saliency needs tells `benchmarks.marker_pairs`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.one_shot import fitted
from benchmarks.one_shot_cohorts import COHORTS, at_most, mirna_metastases
from benchmarks.one_shot_sheet import spread
from molsig.encoders.metric import LEAST
from molsig.evaluate.episodes import answer_episodes, cosine, draw_episodes, euclidean
from molsig.evaluate.marker_selection import (
    accuracies,
    by_anova,
    by_discrimination,
    by_variance,
    fewest,
    forward_selection,
    sizes_up_to,
)
from molsig.retrieval.markers import rank_markers
from molsig.retrieval.metastatic import metastatic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.one_shot_cohorts import OneShotCohort
    from molsig.evaluate.episodes import Episodes

    Rows = NDArray[np.int64]

MOST = 100
WIDEST = 200
CANDIDATES = 300
SIZES = (10, 20, 50, 100, 150, 200)
REFITTED = (50, 100, 150, 200)
PAIRS = 300
KNOWN = ("21", "122", "205", "9", "200a", "200b", "200c", "141", "429", "10b", "194", "192", "203", "375", "196")
"""miRNAs of tissues and tumours that reviews name first; mature numbers, arms and loci left away."""


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="JSON of the results")
    parser.add_argument("--cohort", nargs="+", choices=sorted(COHORTS), default=["mirna-rare", "rna-3556"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="matched pairs of each type; 3,000 in the paper")
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.output.read_text())))
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    told = json.loads(options.output.read_text()) if options.output.exists() else {}
    if "metastases" not in told and any(name.startswith("mirna") for name in options.cohort):
        told["metastases"] = metastases(mirna_metastases(options.data))
    for name in options.cohort:
        for found in measure(COHORTS[name](options.data), options.seeds, options.pairs, told.get(name)):
            told[name] = found
            options.output.write_text(json.dumps(told, indent=1))


def measure(cohort: OneShotCohort, seeds: int, pairs: int, before: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Rankings and what their first features reach, after each seed that is not in `before`."""
    vectors: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    matrix = cohort.matrix
    labels = [one if one in cohort.training else None for one in cohort.types.tolist()]
    trained = cohort.rows(cohort.training)
    unseen = at_most(cohort.rows(cohort.unseen), cohort.types)
    some = at_most(trained, cohort.types)
    told: dict[str, Any] = before or {"name": cohort.name, "ways": cohort.ways, "methods": {}, "seconds": {}}
    for seed in range(len(told["methods"].get("all features", ())), seeds):
        encoders = {name: fitted(cohort, name, seed) for name in ("whitened", "siamese")}
        features = list(encoders["whitened"].features)
        assert features == list(encoders["siamese"].features)
        x_known, x_new = (encoders["whitened"].network_inputs(matrix, rows) for rows in (some, unseen))
        x_trained = encoders["whitened"].network_inputs(matrix, trained)
        columns = np.array([matrix.features.index(name) for name in features])
        known = questions(cohort, some, (max(cohort.ways),), 20_000, seed)[max(cohort.ways)]
        few = questions(cohort, some, (max(cohort.ways),), 2_000, seed + 100)[max(cohort.ways)]
        asked = questions(cohort, unseen, cohort.ways, 20_000, seed + 1)
        rankings: dict[str, Rows] = {}
        for name, encoder in encoders.items():
            start = time.perf_counter()
            found = rank_markers(encoder, matrix, labels, pairs=pairs, seed=seed)
            rankings[f"saliency, {name}"] = found.ranking()
            told["seconds"].setdefault(f"saliency, {name}", []).append(time.perf_counter() - start)
            print(f"{cohort.name} {seed}: {name}: {[features[i] for i in found.ranking()[:10]]}", flush=True)
        start = time.perf_counter()
        first = rankings["saliency, whitened"][:CANDIDATES]
        rankings["forward selection"] = forward_selection(x_known, few, first, MOST)
        told["seconds"].setdefault("forward selection", []).append(time.perf_counter() - start)
        types = cohort.types[trained].tolist()
        rankings["discrimination"] = by_discrimination(x_trained, types, WIDEST)
        rankings["ANOVA F"] = by_anova(x_trained, types)
        rankings["variance"] = by_variance(matrix.values[trained][:, columns])
        rankings["random"] = np.random.default_rng(seed).permutation(len(features))
        everything = np.arange(len(features))
        for name, ranking in {"all features": everything, **rankings}.items():
            sizes = [len(features)] if name == "all features" else [n for n in SIZES if n <= len(ranking)]
            held = told["methods"].setdefault(name, [])
            run: dict[str, Any] = {"sizes": sizes, "known": accuracies(x_known, ranking, sizes, known).tolist()}
            for ways, episodes in asked.items():
                run[f"cosine {ways}"] = accuracies(x_new, ranking, sizes, episodes).tolist()
                run[f"euclidean {ways}"] = [
                    answer_episodes(episodes, euclidean(x_new[:, ranking[:n]]), draws=1).accuracy for n in sizes
                ]
            run["refitted known"], refits = [], []
            for n in sizes:
                if n not in REFITTED and n < len(features):
                    run["refitted known"].append(None)
                    refits.append(dict.fromkeys(asked))
                    continue
                taken = np.sort(columns[ranking[:n]])
                if taken.tobytes() not in vectors:
                    vectors[taken.tobytes()] = refitted(cohort, taken, some, unseen)
                mine, theirs = vectors[taken.tobytes()]
                run["refitted known"].append(answer_episodes(known, cosine(mine), draws=1).accuracy)
                refits.append({w: answer_episodes(e, cosine(theirs), draws=1).accuracy for w, e in asked.items()})
            for ways in asked:
                run[f"refitted {ways}"] = [one[ways] for one in refits]
            run["top"] = [features[i] for i in ranking[: MOST if name != "all features" else 0]]
            held.append(run)
            ways = max(cohort.ways)
            print(
                f"{cohort.name} {seed}: {name} {sizes}: known {rounded(run['known'])}, cosine "
                f"{rounded(run[f'cosine {ways}'])}, refitted {rounded(run[f'refitted {ways}'])}",
                flush=True,
            )
        if not seed:
            sizes = sizes_up_to(len(features))
            ranking = rankings["saliency, whitened"]
            on_known = accuracies(x_known, ranking, sizes, known)
            told["curve"] = {
                "sizes": sizes,
                "known": on_known.tolist(),
                "unseen": accuracies(x_new, ranking, sizes, asked[max(cohort.ways)]).tolist(),
                "chosen": fewest(sizes, on_known),
            }
        yield told


def rounded(values: list[float | None]) -> list[float | None]:
    """To three places, for the log."""
    return [None if one is None else round(one, 3) for one in values]


def questions(
    cohort: OneShotCohort, rows: Rows, ways: tuple[int, ...], episodes: int, seed: int
) -> dict[int, Episodes]:
    """One-shot episodes among some rows."""
    types = cohort.types[rows].tolist()
    patients = [cohort.matrix.samples[row].patient for row in rows]
    return {n: draw_episodes(types, patients, ways=n, episodes=episodes, seed=seed) for n in ways}


def refitted(
    cohort: OneShotCohort, columns: Rows, some: Rows, unseen: Rows
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors, of training and of unseen types, of the whitening fitted to some features alone."""
    matrix = replace(
        cohort.matrix,
        features=tuple(cohort.matrix.features[i] for i in columns),
        values=np.ascontiguousarray(cohort.matrix.values[:, columns]),
    )
    encoder = fitted(replace(cohort, matrix=matrix), "whitened", 0)
    known, new = (encoder.encode(matrix, rows=rows.tolist(), allow_missing=True).vectors for rows in (some, unseen))
    return known, new


def metastases(cohort: OneShotCohort) -> dict[str, Any]:
    """Features that tell metastases from primary tumours of the same types, and how well, whole patients held out."""
    rows = np.flatnonzero(np.isin(cohort.types, cohort.unseen))
    samples = [cohort.matrix.samples[row] for row in rows.tolist()]
    types = cohort.types[rows].tolist()
    found = metastatic(cohort.matrix.values[rows], cohort.matrix.features, samples, types, least=LEAST)
    whole = found.whole
    return {
        "types": whole.types,
        "significant": int((whole.q < 0.05).sum()),
        "features": len(whole.q),
        "auc": {str(one.features): [one.auc, one.low, one.high] for one in found.telling},
        "top": [
            [found.features[i], float(whole.difference[i]), float(whole.t[i]), float(whole.q[i])]
            for i in whole.ranking()[:20]
        ],
    }


def known_among(names: list[str]) -> tuple[list[str], list[str]]:
    """Which of `KNOWN` are among some precursors (hsa-mir-200a, hsa-mir-9-2), and which are not."""
    numbers = {name.lower().removeprefix("hsa-").removeprefix("mir-") for name in names}
    stems = {one.rpartition("-")[0] if "-" in one else one for one in numbers} | numbers
    there = [one for one in KNOWN if one in stems or f"{one}a" in stems or f"{one}b" in stems]
    return there, [one for one in KNOWN if one not in there]


def table(told: dict[str, Any]) -> str:
    """Markdown of all that was measured."""
    lines: list[str] = []
    for one in (told[name] for name in told if name != "metastases"):
        ways = max(one["ways"])
        lines += [f"### {one['name']}, {ways}-way, one shot", ""]
        for title, key in (
            ("1-NN cosine", f"cosine {ways}"),
            ("1-NN Euclidean", f"euclidean {ways}"),
            ("whitening refitted", f"refitted {ways}"),
            ("whitening refitted, training types (what is chosen by)", "refitted known"),
        ):
            lines += [f"| {title} | " + " | ".join(map(str, SIZES)) + " | all |", "|---|" + "---:|" * (len(SIZES) + 1)]
            for name, runs in one["methods"].items():
                cells = {n: cell([run[key][i] for run in runs]) for i, n in enumerate(runs[0]["sizes"])}
                row = [cells.get(n, "") for n in SIZES] if name != "all features" else [""] * len(SIZES)
                last = next(iter(cells.values())) if name == "all features" else ""
                lines.append(f"| {name} | {' | '.join(row)} | {last} |")
            lines.append("")
        if one["name"].startswith("miRNA"):
            lines += ["| ranking | known among its first 100, seed 0 | not |", "|---|---|---|"]
            for name, runs in one["methods"].items():
                if runs[0]["top"]:
                    there, gone = known_among(runs[0]["top"])
                    lines.append(f"| {name} | {len(there)}: {', '.join(there)} | {', '.join(gone)} |")
            lines.append("")
    return "\n".join(lines)


def cell(values: list[float | None]) -> str:
    """Mean and half the range over seeds; empty where nothing was measured."""
    some = [one for one in values if one is not None]
    return spread(some) if some else ""


if __name__ == "__main__":
    main()
