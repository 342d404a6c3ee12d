"""Which modalities, and how many vectors of each, a sum was made of: ``python -m benchmarks.composition REFERENCE``.

The experiments of doi 10.1101/2025.05.14.653900 (Identification of Component Embeddings) on a reference's own vectors:
sums of 3 to 10 vectors of any patients (``simple``) or of patients of one cancer type (``specific``), an isolation
model per sample count and one composite model, and a part of the constituents replaced by Gaussian noise (``logistic``
and ``network`` learn from clean sums). All learn ``simple`` sums and are asked about both kinds. Patients are split
80/20 and 80/20 again; no patient is on two sides. Methods:

- ``logistic``: the study's baseline, a logistic regression per modality on the sum;
- ``network``: the study's recogniser, which sees the sum alone; a modality is there from the count that does best on
  sums of validation patients;
- ``molsig``: the Gaussian likelihood of the sum and a network that sees energies in bands say together what is there.

``logistic`` and ``network`` learn as many sums as in the study: 15,000 of a count for an isolation model, 90,000 for a
composite one; ``molsig`` as many as ``molsig compose`` takes.

Printed: MCC of presence by modality and sample count, mean over the seeds (new splits, draws and models) and largest
minus smallest; precision, recall and F1 of rows with and without the modality, and balanced accuracy; ``--json`` keeps
all of it, ``--picture`` draws it, and ``--scores FILE ...`` prints and draws what was kept. ``--pool FILE.npz`` takes
arrays ``NAME`` (n, 768) and ``NAME_patient`` (n,) in place of a reference.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.composition_table import COUNTS, draw, summary, table
from molsig.index.store import Store
from molsig.retrieval.composition_fit import PER_COUNT, fit_recogniser, learnable, training_sums
from molsig.retrieval.composition_scores import count_scores, matthews, presence_scores
from molsig.retrieval.pool import Pool, load_pool, split_patients
from molsig.retrieval.recogniser import LogisticBaseline, train_counter
from molsig.retrieval.sampling import sample_modalities, with_noise
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.sampling import Sums

    Method = Callable[[NDArray[np.float32]], tuple[NDArray[np.bool_], NDArray[np.int64]]]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def logistic(pool: Pool, counts: Sequence[int], per_count: int, seed: int) -> Method:
    """The study's baseline."""
    train = pool.of_patients(split_patients(pool, seed).train)
    vectors, found, _ = training_sums(train, counts, per_count, 0.0, seed)
    model = LogisticBaseline.fit(vectors, found > 0)

    def answer(asked: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        there = model.predict(asked)
        return there, there.astype(np.int64)

    return answer


def network(pool: Pool, counts: Sequence[int], per_count: int, seed: int) -> Method:
    """The study's recogniser."""
    parts = split_patients(pool, seed)
    vectors, found, _ = training_sums(pool.of_patients(parts.train), counts, per_count, 0.0, seed)
    held, held_found, _ = training_sums(pool.of_patients(parts.validation), counts, per_count // 5, 0.0, seed + 1)
    model = train_counter(vectors, found, held, held_found, seed=seed, progress=silent)
    said = model.predict(held)
    grid = np.arange(0.1, 1.0, 0.05)
    edges = np.array(
        [
            grid[np.argmax([matthews(said[:, m] > edge, held_found[:, m] > 0) or 0.0 for edge in grid])]
            for m in range(found.shape[1])
        ]
    )

    def answer(asked: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        estimate = model.predict(asked)
        there = estimate > edges
        return there, np.where(there, np.maximum(1, np.rint(estimate)), 0).astype(np.int64)

    return answer


def likelihood(pool: Pool, counts: Sequence[int], per_count: int, seed: int) -> Method:
    """What `molsig compose` does."""
    model = fit_recogniser(pool, counts=counts, per_count=per_count, seed=seed)

    def answer(asked: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        found = np.array([list(one.counts.values()) for one in model.recognise(asked)], np.int64)
        return found > 0, found

    return answer


METHODS = {"logistic": logistic, "network": network, "molsig": likelihood}


def score(method: Method, asked: Sequence[Sums]) -> list[dict[str, Any]]:
    """All scores of one method on each of some sets of sums, which it is asked about at once."""
    there, counts = method(np.concatenate([sums.vectors for sums in asked]))
    scores = []
    for sums, end in zip(asked, np.cumsum([len(sums) for sums in asked]).tolist(), strict=True):
        part, truth = slice(end - len(sums), end), sums.counts[:, 0]
        presence = presence_scores(there[part], truth > 0, sums.modalities)
        scores.append(
            {
                "presence": [one.to_dict() for one in presence],
                "counts": count_scores(counts[part], truth, sums.modalities),
            }
        )
    return scores


def run(
    pool: Pool, types: Sequence[str | None] | None, options: argparse.Namespace, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """All experiments with one seed, model after model: one row per sampling, sample count and noise."""
    kept, _ = learnable(pool)
    pool = pool.only(kept)
    test = pool.of_patients(split_patients(pool, seed).test)
    asked = {("simple", n, 0.0): sample_modalities(test, n, options.queries, seed=seed + n) for n in COUNTS}
    for n in COUNTS if types is not None else ():
        asked["specific", n, 0.0] = sample_modalities(test, n, options.queries, seed=seed + n, within=types)
    for n in COUNTS:
        for share in SHARES:
            asked["simple", n, share] = with_noise(asked["simple", n, 0.0], test, share, seed=seed + n)
    for name in options.methods:
        sizes = (PER_COUNT, PER_COUNT) if name == "molsig" else (options.per_count, options.isolation)
        for training in options.training:
            models = [(COUNTS, sizes[0])] if training == "composite" else [((n,), sizes[1]) for n in COUNTS]
            seconds = 0.0
            for counts, size in models:
                start = time.perf_counter()
                model = METHODS[name](pool, counts, size, seed)
                seconds += time.perf_counter() - start
                # Noise is asked of composite models only.
                chosen = {
                    (sampling, n, share): sums
                    for (sampling, n, share), sums in asked.items()
                    if n in counts and (training == "composite" or not share)
                }
                yield [
                    {"seed": seed, "method": name, "training": training, "sampling": sampling, "n": n, "noise": share}
                    | one
                    for (sampling, n, share), one in zip(chosen, score(model, list(chosen.values())), strict=True)
                ]
            print(f"seed {seed}: {name}, {training}: trained in {seconds:.0f} s", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """Read the vectors and run all experiments with every seed."""
    types: list[str | None] | None = None
    if options.pool is not None:
        arrays = np.load(options.pool, allow_pickle=False)
        names = [name for name in arrays if f"{name}_patient" in arrays]
        pool = Pool.of({n: arrays[n] for n in names}, {n: arrays[f"{n}_patient"] for n in names})
    else:
        store = Store.open(options.reference)
        pool = load_pool(store)
        if options.label in store.columns():
            types = store.attributes(list(pool.patients), [options.label])[options.label].to_pylist()
    print(f"{pool.patients_per_modality()}", file=sys.stderr)
    for seed in options.seeds:
        yield from run(pool, types, options, seed)


def main() -> None:
    """Run the experiments and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, nargs="?")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--label", default="cancer_type", help="column of the types of `specific` sums")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    trainings = ("composite", "isolation")
    parser.add_argument("--training", nargs="+", choices=trainings, default=list(trainings))
    parser.add_argument("--per-count", type=int, default=11_250, help="sums of each count for a composite model")
    parser.add_argument("--isolation", type=int, default=15_000, help="sums for an isolation model")
    parser.add_argument("--queries", type=int, default=300, help="sums asked about, per experiment and sample count")
    parser.add_argument("--picture", type=Path, help="draw MCC against the sample count here")
    parser.add_argument("--scores", type=Path, nargs="+", help="files written with --json, in place of new experiments")
    parser.add_argument("--json", type=Path, help="write all scores here")
    options = parser.parse_args()
    if sum(one is not None for one in (options.reference, options.pool, options.scores)) != 1:
        parser.error("give a reference, --pool or --scores")
    if options.scores is not None:
        rows = [row for file in options.scores for row in json.loads(file.read_text())]
    else:
        rows = []
        for some in measure(options):
            rows += some
            if options.json is not None:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    print()
    print(summary(rows))
    if options.picture is not None:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
