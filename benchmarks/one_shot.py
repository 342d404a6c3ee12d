"""Typing by one example of types no training has seen: ``python -m benchmarks.one_shot --data DIR --output DIR``.

Each cohort is a JSON file in ``--output``; ``--table`` prints all of them as Markdown. Training and unseen types share
none, and neither do their patients. Everything that is fitted (which genes are kept, standardisation, whitening,
networks) is fitted on the training types' primary tumours alone. Episodes are the same for all methods of a cohort.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.one_shot_cohorts import COHORTS
from molsig.encoders.choice import METRICS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.metric import LEAST, MetricEncoder, fit_metric
from molsig.encoders.metric_training import ContrastiveSettings, SiameseSettings
from molsig.evaluate.episodes import EPISODES, answer_episodes, cosine, draw_episodes, euclidean
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.one_shot_cohorts import OneShotCohort
    from molsig.encoders.encoder import Encoder
    from molsig.evaluate.episodes import PairScore

    Plan = tuple[str, str, Any]

PAPER = {6: 0.8967, 8: 0.8732, 10: 0.8459}
"""CancerSiamese with 19 training types on log2 FPKM of 4,858 genes: other data, for orientation only."""

VAE_EPOCHS = 15
SHOTS = (5,)
MOST_OF_TYPE = 100
"""Tumours of an unseen type that episodes are drawn from: the paper's head takes every pair through a network."""


def raw_methods(cohort: OneShotCohort, rows: NDArray[np.int64]) -> Iterator[tuple[str, PairScore]]:
    """Methods without a network, each with its score of pairs of `rows`."""
    trained = cohort.rows(cohort.training)
    known = cohort.matrix.values[trained].astype(np.float64)
    whole = ~np.isnan(cohort.matrix.values).any(axis=0)
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    varied = whole & (deviation > 1e-6)
    kept = varied & ~((mean < LEAST) & (deviation < LEAST))
    for name, genes in (("", varied), (", kept genes", kept)):
        x = ((cohort.matrix.values[rows] - mean) / np.maximum(deviation, 1e-6))[:, genes]
        yield f"1-NN Euclidean{name}", euclidean(x)
        yield f"1-NN cosine{name}", cosine(x)
    x = ((cohort.matrix.values[rows] - mean) / np.maximum(deviation, 1e-6))[:, kept].clip(-5, 5)
    a = ((known - mean) / np.maximum(deviation, 1e-6))[:, kept].clip(-5, 5)
    _, singular, directions = np.linalg.svd(a, full_matrices=False)
    n = min(100, int((singular > 1e-3 * singular[0]).sum()))
    yield f"1-NN cosine, {n} principal components, whitened", cosine(x @ directions[:n].T / singular[:n])
    # In the space of principal components, so that thousands of genes take no longer than hundreds.
    most = min(400, int((singular > 1e-3 * singular[0]).sum()))
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1)
    lda.fit(a @ directions[:most].T, cohort.types[trained])
    yield "1-NN cosine, shrunken LDA", cosine(lda.transform(x @ directions[:most].T))


def fitted(cohort: OneShotCohort, network: str, seed: int, settings: Any = None) -> Encoder:
    """An encoder of the house, fitted on the training types."""
    trained = cohort.rows(cohort.training).tolist()
    labels = [one if one in cohort.training else None for one in cohort.types.tolist()]
    if settings is not None:
        metric = next(one for one in METRICS if one == network)
        return fit_metric(
            cohort.matrix,
            labels,
            metric=metric,
            seed=seed,
            epochs=None,
            device="cpu",
            alignment=None,
            learnt=trained,
            all_features=False,
            progress=silent,
            settings=settings,
        )
    epochs = VAE_EPOCHS if network == "vae" else None
    choice = ModelChoice(networks={cohort.matrix.modality: network})
    return fit_encoder(
        cohort.matrix, rows=trained, labels=labels, seed=seed, epochs=epochs, device="cpu", choice=choice
    )


ONCE: tuple[Plan, ...] = (("whitened", "whitened", None),)
SEEDED: tuple[Plan, ...] = (("contrastive", "contrastive", None), ("siamese", "siamese", None))
EXTRA: tuple[Plan, ...] = (
    ("contrastive, random start", "contrastive", ContrastiveSettings(rate=1e-3, whitened_start=False)),
    ("siamese, free head", "siamese", SiameseSettings(monotone=False)),
    ("VAE", "vae", None),
)


def fitted_methods(
    cohort: OneShotCohort, rows: NDArray[np.int64], seed: int, plans: tuple[Plan, ...]
) -> Iterator[tuple[str, PairScore, float]]:
    """Methods that are trained: name, score of pairs of `rows`, seconds of training."""
    for name, network, settings in plans:
        start = time.perf_counter()
        encoder = fitted(cohort, network, seed, settings)
        seconds = time.perf_counter() - start
        vectors = encoder.encode(cohort.matrix, rows=rows.tolist(), allow_missing=True).vectors
        yield f"{name}: cosine of 768", cosine(vectors), seconds
        if network == "siamese" and isinstance(encoder, MetricEncoder):
            yield f"{name}: head of features (the paper's)", _feature_head(encoder, cohort, rows), seconds
            yield f"{name}: head of vectors", _vector_head(encoder, vectors), seconds


def _feature_head(encoder: MetricEncoder, cohort: OneShotCohort, rows: NDArray[np.int64]) -> PairScore:
    import torch

    from molsig.encoders.siamese_network import pair_logits

    network = encoder._network()
    with torch.inference_mode():
        inputs = torch.from_numpy(encoder._inputs(cohort.matrix, rows))
        features = torch.cat([network.cnn(part) for part in inputs.split(512)])

    def score(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = pair_logits(network.head, features[a], features[b]).numpy()
        return found

    return score


def _vector_head(encoder: MetricEncoder, vectors: NDArray[np.float32]) -> PairScore:
    return lambda a, b: encoder.pair_logits(vectors[a], vectors[b]).astype(np.float32)


def agreement(cosine_score: PairScore, head_score: PairScore, n: int) -> dict[str, float]:
    """How well the neighbours by cosine are those of the head: share of queries with the same first, and the recall."""
    rows = np.random.default_rng(0).permutation(n)[:600]
    near, head = cosine_score(rows, rows), head_score(rows, rows)
    np.fill_diagonal(near, -np.inf)
    np.fill_diagonal(head, -np.inf)
    first = head.argmax(axis=1)
    order = np.argsort(-near, axis=1)
    found = order == first[:, None]
    return {
        "same first": float(found[:, 0].mean()),
        "first among 10": float(found[:, :10].any(axis=1).mean()),
        "first among 50": float(found[:, :50].any(axis=1).mean()),
    }


def measure(cohort: OneShotCohort, seeds: int, extra: bool, file: Path) -> None:
    """All methods on one cohort; what is known is written after each seed."""
    rows = at_most(cohort.rows(cohort.unseen), cohort.types)
    if cohort.asked is not None and cohort.standing is not None:
        rows = np.union1d(*(at_most(some, cohort.types) for some in (cohort.asked, cohort.standing)))
    place = {int(row): i for i, row in enumerate(rows)}
    types = cohort.types[rows].tolist()
    patients = [cohort.matrix.samples[row].patient for row in rows]
    asked = None if cohort.asked is None else [place[row] for row in cohort.asked.tolist() if row in place]
    standing = None if cohort.standing is None else [place[row] for row in cohort.standing.tolist() if row in place]
    start = time.perf_counter()
    most = max(cohort.ways)
    plans = [(f"{ways}-way, 1", ways, 1, patients) for ways in cohort.ways]
    plans += [(f"{most}-way, {shots}", most, shots, patients) for shots in SHOTS]
    # With the hospital in the place of the patient no support sample is of the query's hospital, a batch of its own.
    hospitals = [one.split("-")[1] for one in patients]
    placed = {(types[i], hospitals[i]) for i in (range(len(types)) if standing is None else standing)}
    several = min(most, sum(n > 1 for n in Counter(kind for kind, _ in placed).values()))
    plans.append((f"{several}-way, other hospital, 1", several, 1, hospitals))
    questions = {
        name: draw_episodes(types, apart, ways=ways, shots=shots, queries=asked, supports=standing, seed=1)
        for name, ways, shots, apart in plans
    }
    told: dict[str, Any] = {
        "name": cohort.name,
        "told": cohort.told,
        "training": cohort.training,
        "unseen": cohort.unseen,
        "training_samples": len(cohort.rows(cohort.training)),
        "test_samples": len(rows),
        "features": len(cohort.matrix.features),
        "draw_seconds": round(time.perf_counter() - start, 3),
        "methods": {},
        "agreement": {},
    }

    def note(name: str, score: PairScore, seconds: float) -> None:
        held = told["methods"].setdefault(name, {"seconds": [], "results": {}})
        held["seconds"].append(round(seconds, 2))
        for column, episodes in questions.items():
            begun = time.perf_counter()
            found = answer_episodes(episodes, score, draws=200)
            held["results"].setdefault(column, []).append(
                {
                    "accuracy": found.accuracy,
                    "patients": found.patients,
                    "types": found.types,
                    "by_type": found.by_type,
                    "seconds": round(time.perf_counter() - begun, 3),
                }
            )
        best = [np.mean([one["accuracy"] for one in runs]) for runs in held["results"].values()]
        print(f"{cohort.name}: {name}: {', '.join(f'{one:.3f}' for one in best)} ({seconds:.1f} s)", flush=True)

    for name, score in raw_methods(cohort, rows):
        note(name, score, 0.0)
    for name, score, seconds in fitted_methods(cohort, rows, 0, ONCE):
        note(name, score, seconds)
    file.write_text(json.dumps(told, indent=1))
    for seed in range(seeds):
        scores: dict[str, PairScore] = {}
        for name, score, seconds in fitted_methods(cohort, rows, seed, SEEDED):
            scores[name] = score
            note(name, score, seconds)
        for head in ("head of features (the paper's)", "head of vectors"):
            told["agreement"].setdefault(head, []).append(
                agreement(scores["siamese: cosine of 768"], scores[f"siamese: {head}"], len(rows))
            )
        file.write_text(json.dumps(told, indent=1))
    if extra:
        for name, score, seconds in fitted_methods(cohort, rows, 0, EXTRA):
            note(name, score, seconds)
            file.write_text(json.dumps(told, indent=1))


def at_most(rows: NDArray[np.int64], types: NDArray[np.str_]) -> NDArray[np.int64]:
    """So many rows of each type, always the same ones, in order."""
    random = np.random.default_rng(0)
    parts = [random.permutation(rows[types[rows] == one])[:MOST_OF_TYPE] for one in np.unique(types[rows])]
    return np.sort(np.concatenate(parts))


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a table for each cohort."""
    lines: list[str] = []
    told_of_paper = {f"{ways}-way, 1" for ways in PAPER}
    for one in found:
        columns = list(next(iter(one["methods"].values()))["results"])
        one_shot = [name for name in columns if name.endswith("-way, 1")]
        lines += [
            f"### {one['name']}",
            "",
            f"{one['told']}. Trained on {len(one['training'])} types ({one['training_samples']:,} tumours: "
            f"{', '.join(one['training'])}); unseen {', '.join(one['unseen'])} ({one['test_samples']:,} samples); "
            f"{one['features']:,} features.",
            "",
            "| method | " + " | ".join(f"{name} shot" for name in columns) + " | 95 % over patients | over types | s |",
            "|---|" + "---:|" * (len(columns) + 3),
        ]
        for name, held in one["methods"].items():
            cells = []
            for column in columns:
                values = [run["accuracy"] for run in held["results"][column]]
                spread = f" ±{(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            last = held["results"][[c for c in columns if c in one_shot][-1]][0]
            types = "" if last["types"] is None else f"{last['types'][0]:.3f} to {last['types'][1]:.3f}"
            interval = f"{last['patients'][0]:.3f} to {last['patients'][1]:.3f}"
            lines.append(f"| {name} | {' | '.join(cells)} | {interval} | {types} | {np.mean(held['seconds']):.1f} |")
        published = [f"{PAPER[int(one.split('-')[0])]:.3f}" if one in told_of_paper else "" for one in columns]
        if any(published):
            lines.append(f"| CancerSiamese as published, on other data | {' | '.join(published)} | | | |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results, one JSON a cohort")
    parser.add_argument("--cohort", nargs="+", choices=sorted(COHORTS), default=list(COHORTS))
    parser.add_argument("--seeds", type=int, default=3, help="of the networks; 0 for what needs no seed alone")
    parser.add_argument("--extra", action="store_true", help="free head, random start, VAE as well")
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    files = [options.output / f"{name}.json" for name in options.cohort]
    if not options.table:
        if options.data is None or not (options.data / "tcga").is_dir():
            print(f"skipped: the real cohorts are not at {options.data}")
            return
        options.output.mkdir(parents=True, exist_ok=True)
        for name, file in zip(options.cohort, files, strict=True):
            measure(COHORTS[name](options.data), options.seeds, options.extra, file)
    else:
        print(table([json.loads(file.read_text()) for file in files if file.exists()]))
        print(f"{EPISODES:,} episodes each.")


if __name__ == "__main__":
    main()
