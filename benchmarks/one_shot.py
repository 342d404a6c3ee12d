"""Typing by one example of types no training has seen: ``python -m benchmarks.one_shot --data DIR --output DIR``.

Each cohort is a JSON file in ``--output``, which grows: what is in it is not measured again. ``--table`` prints all of
them as Markdown. Training and unseen types share none, and neither do their patients. Everything that is fitted (which
genes are kept, standardisation, whitening, networks) is fitted on the training types' primary tumours alone. Episodes
are the same for all methods of a cohort.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.one_shot_cohorts import COHORTS, at_most
from benchmarks.one_shot_sheet import Sheet, questions, table
from molsig.encoders.choice import METRICS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.metric import LEAST, MetricEncoder, fit_metric
from molsig.encoders.metric_training import ContrastiveSettings, SiameseSettings
from molsig.evaluate.episodes import EPISODES, cosine, euclidean
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.one_shot_cohorts import OneShotCohort
    from molsig.encoders.encoder import Encoder
    from molsig.evaluate.episodes import PairScore


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
    choice = ModelChoice(networks={cohort.matrix.modality: network})
    return fit_encoder(cohort.matrix, rows=trained, labels=labels, seed=seed, device="cpu", choice=choice)


PLANS: dict[str, tuple[str, Any]] = {
    "whitened": ("whitened", None),
    "contrastive": ("contrastive", None),
    "siamese": ("siamese", None),
    "VAE": ("vae", None),
    "contrastive, random start": ("contrastive", ContrastiveSettings(rate=1e-3, whitened_start=False)),
    "siamese, free head": ("siamese", SiameseSettings(monotone=False)),
}
"""Network and settings by what the table calls it."""
USUAL = ("whitened", "contrastive", "siamese", "VAE")
SEEDLESS = ("whitened",)
HEADS = ("head of features (the paper's)", "head of vectors")


def names_of(plan: str) -> list[str]:
    """Methods that one fit gives."""
    heads = HEADS if PLANS[plan][0] == "siamese" else ()
    return [f"{plan}: {one}" for one in ("cosine of 768", *heads)]


def fitted_scores(
    cohort: OneShotCohort, rows: NDArray[np.int64], seed: int, plan: str
) -> tuple[list[PairScore], float]:
    """Scores of pairs of `rows` in the order of `names_of`, and seconds of processor time that the fit took."""
    network, settings = PLANS[plan]
    start = time.process_time()
    encoder = fitted(cohort, network, seed, settings)
    seconds = time.process_time() - start
    vectors = encoder.encode(cohort.matrix, rows=rows.tolist(), allow_missing=True).vectors
    scores = [cosine(vectors)]
    if network == "siamese":
        assert isinstance(encoder, MetricEncoder)
        scores += [_feature_head(encoder, cohort, rows), _vector_head(encoder, vectors)]
    return scores, seconds


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


def measure(cohort: OneShotCohort, seeds: int, plans: Sequence[str], file: Path) -> None:
    """All methods on one cohort; what is known is written after each."""
    rows = at_most(cohort.rows(cohort.unseen), cohort.types)
    if cohort.asked is not None and cohort.standing is not None:
        rows = np.union1d(*(at_most(some, cohort.types) for some in (cohort.asked, cohort.standing)))
    place = {int(row): i for i, row in enumerate(rows)}
    asked, standing = (
        None if some is None else [place[row] for row in some.tolist() if row in place]
        for some in (cohort.asked, cohort.standing)
    )
    told = {
        "name": cohort.name,
        "told": cohort.told,
        "training": cohort.training,
        "unseen": cohort.unseen,
        "training_samples": len(cohort.rows(cohort.training)),
        "test_samples": len(rows),
        "features": f"{len(cohort.matrix.features):,}",
    }
    patients = [cohort.matrix.samples[row].patient for row in rows]
    sheet = Sheet(file, told, questions(cohort.types[rows].tolist(), patients, cohort.ways, asked, standing))
    for name, score in raw_methods(cohort, rows):
        if not sheet.has([name], 0):
            sheet.note(name, 0, score, 0.0)
    for seed in range(max(1, seeds)):
        for plan in plans:
            names = names_of(plan)
            if sheet.has(names, seed) or (plan in SEEDLESS and seed) or (plan not in SEEDLESS and not seeds):
                continue
            scores, seconds = fitted_scores(cohort, rows, seed, plan)
            for name, score in zip(names, scores, strict=True):
                sheet.note(name, seed, score, seconds)
            for name, head in zip(names[1:], scores[1:], strict=True):
                sheet.remark(
                    f"Neighbours by cosine and the choice of {name}", seed, agreement(scores[0], head, len(rows))
                )


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results, one JSON a cohort")
    parser.add_argument("--cohort", nargs="+", choices=sorted(COHORTS), default=list(COHORTS))
    parser.add_argument("--seeds", type=int, default=3, help="of the networks; 0 for what needs no seed alone")
    parser.add_argument("--method", nargs="+", choices=sorted(PLANS), default=USUAL, help="those that are fitted")
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    files = [options.output / f"{name}.json" for name in options.cohort]
    if not options.table:
        if options.data is None or not (options.data / "tcga").is_dir():
            print(f"skipped: the real cohorts are not at {options.data}")
            return
        options.output.mkdir(parents=True, exist_ok=True)
        for name, file in zip(options.cohort, files, strict=True):
            measure(COHORTS[name](options.data), options.seeds, options.method, file)
    else:
        for file in files:
            if file.exists():
                print(table(json.loads(file.read_text())))
        print(f"{EPISODES:,} episodes each.")


if __name__ == "__main__":
    main()
