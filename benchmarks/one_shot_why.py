"""Why the Siamese network falls short of a whitening: ``python -m benchmarks.one_shot_why --data DIR``.

What each part of the network is worth on types it has not seen (miRNA, rare types unseen), one change at a time: no
training at all, the classifier's stage alone, each length of the pairs' stage, another order of the genes, inputs that
are whitened first, the free head of the paper. Beside each, the share of held-back pairs of the training types that its
head gets right: what it has learned of those.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.one_shot_cohorts import COHORTS, MOST_OF_TYPE, at_most
from molsig.encoders.metric import LEAST
from molsig.encoders.metric_training import SiameseSettings, train_siamese
from molsig.encoders.siamese_network import pair_logits
from molsig.encoders.whitening import within_class_whitening
from molsig.evaluate.episodes import answer_episodes, cosine, draw_episodes, euclidean
from molsig.types import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.encoders.siamese_network import Siamese
    from molsig.evaluate.episodes import Episodes

DEFAULT = "classifier 200, pairs 200 (the default)"
PLANS: dict[str, SiameseSettings] = {
    "not trained": SiameseSettings(classify_steps=0, pair_steps=0, project_steps=0),
    "classifier only, 200 steps": SiameseSettings(pair_steps=0, project_steps=0),
    DEFAULT: SiameseSettings(project_steps=0),
    "no classifier, pairs 200": SiameseSettings(classify_steps=0, project_steps=0),
    "classifier 200, pairs 800": SiameseSettings(pair_steps=800, project_steps=0),
    "classifier 600, pairs 200": SiameseSettings(classify_steps=600, project_steps=0),
    "free head, pairs 200": SiameseSettings(project_steps=0, monotone=False),
}
RUNS = [("", name) for name in PLANS] + [("genes shuffled, ", DEFAULT), ("whitened input, ", DEFAULT)]
"""Inputs and plan of each row; genes stand in the order of the file unless it is said otherwise."""


def main() -> None:
    """Parse the arguments, measure, print a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="mirna-rare")
    parser.add_argument("--row", nargs="+", type=int, choices=range(1, len(RUNS) + 1), help="these networks alone")
    options = parser.parse_args()
    cohort = COHORTS[options.cohort](options.data)
    rows = at_most(cohort.rows(cohort.unseen), cohort.types)
    trained = cohort.rows(cohort.training)
    patients = [cohort.matrix.samples[row].patient for row in rows]
    ways = min(6, max(cohort.ways))
    episodes = draw_episodes(cohort.types[rows].tolist(), patients, ways=ways, seed=1)
    values = cohort.matrix.values
    mean, deviation = values[trained].mean(axis=0), values[trained].std(axis=0)
    kept = ~((mean < LEAST) & (deviation < LEAST)) & (deviation > 1e-6)

    def standardised(some: NDArray[np.int64]) -> NDArray[np.float32]:
        return ((values[some] - mean) / np.maximum(deviation, 1e-6))[:, kept].clip(-5, 5)

    # A tenth of the training types' tumours is held back, to tell what was learned of these types.
    order = np.random.default_rng(0).permutation(trained)
    back, fit = order[: len(order) // 10], order[len(order) // 10 :]
    _, kinds = np.unique(cohort.types[fit], return_inverse=True)
    white = within_class_whitening(standardised(fit), kinds)[: int(kept.sum())].T.astype(np.float32)
    white /= (standardised(fit) @ white).std()
    shuffled = np.random.default_rng(1).permutation(int(kept.sum()))
    inputs = {
        "": np.eye(int(kept.sum()), dtype=np.float32),
        "genes shuffled, ": np.eye(int(kept.sum()), dtype=np.float32)[:, shuffled],
        "whitened input, ": white,
    }
    print(f"{cohort.name}: {ways}-way on unseen types, at most {MOST_OF_TYPE} tumours each\n")
    print("| network | 1-NN cosine of features | Euclidean | head | head, training types | s |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in ("", "whitened input, "):
        x = standardised(rows) @ inputs[name]
        found = [answer_episodes(episodes, one, draws=2).accuracy for one in (cosine(x), euclidean(x))]
        print(f"| {name or 'standardised input, '}no network | {found[0]:.3f} | {found[1]:.3f} | | | |", flush=True)
    for before, name in [RUNS[row - 1] for row in options.row] if options.row else RUNS:
        start = time.process_time()
        x = np.ascontiguousarray(standardised(fit) @ inputs[before])
        settings = PLANS[name]
        network, _ = train_siamese(x, kinds, settings, seed=0, device="cpu", progress=silent, name=name)
        seconds = time.process_time() - start
        unseen = _row(network, standardised(rows) @ inputs[before], episodes)
        pairs = _known(network, standardised(back[:400]) @ inputs[before], cohort.types[back[:400]])
        print(f"| {before}{name} | {unseen} | {pairs:.3f} | {seconds:.0f} |", flush=True)


def _row(network: Siamese, x: NDArray[np.float32], episodes: Episodes) -> str:
    import torch

    with torch.inference_mode():
        features = network.cnn(torch.from_numpy(np.ascontiguousarray(x)))
        plain = features.numpy()
        scores = [cosine(plain), euclidean(plain)]
        scores.append(lambda a, b: pair_logits(network.head, features[a], features[b]).numpy())
        return " | ".join(f"{answer_episodes(episodes, one, draws=2).accuracy:.3f}" for one in scores)


def _known(network: Siamese, x: NDArray[np.float32], types: NDArray[np.str_]) -> float:
    """Balanced share of pairs that the head calls right."""
    import torch

    with torch.inference_mode():
        features = network.cnn(torch.from_numpy(np.ascontiguousarray(x)))
        alike = pair_logits(network.head, features, features).numpy() > 0
    same, pairs = types[:, None] == types, ~np.eye(len(types), dtype=bool)
    return float((alike[same & pairs].mean() + (~alike[~same]).mean()) / 2)


if __name__ == "__main__":
    main()
