"""Which modalities, and how many vectors of each, a sum was made of: ``python -m benchmarks.composition REFERENCE``.

The experiments of doi 10.1101/2025.05.14.653900 (Identification of Component Embeddings) on a reference's own vectors:
sums of 3 to 10 vectors of any patients (``simple``) or of patients of one cancer type (``specific``), an isolation
model per sample count and one composite model, and a part of the constituents replaced by Gaussian noise (``logistic``
and ``network`` learn from clean sums). Patients are split 80/20 and 80/20 again; no patient is on two sides.
Methods:

- ``logistic``: the study's baseline, a logistic regression per modality on the sum;
- ``network``: the study's recogniser, which sees the sum alone; a modality is there from the count that does best on
  sums of validation patients;
- ``molsig``: the Gaussian likelihood of the sum says what is there, the network that is told so counts.

Printed: MCC of presence by modality and sample count; with ``--json`` also precision, recall and F1 of rows with and
without the modality, balanced accuracy and counts. ``--pool FILE.npz`` takes arrays ``NAME`` (n, 768) and
``NAME_patient`` (n,) in place of a reference.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.store import Store
from molsig.retrieval.composition_fit import fit_recogniser, learnable, training_sums
from molsig.retrieval.composition_scores import count_scores, matthews, presence_scores
from molsig.retrieval.pool import Pool, load_pool, split_patients
from molsig.retrieval.recogniser import LogisticBaseline, train_counter
from molsig.retrieval.sampling import sample_modalities, with_noise
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.sampling import Sums

    Method = Callable[[NDArray[np.float32]], tuple[NDArray[np.bool_], NDArray[np.int64]]]

COUNTS = tuple(range(3, 11))
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


def score(method: Method, sums: Sums) -> dict[str, Any]:
    """All scores of one method on some sums."""
    truth = sums.counts[:, 0]
    there, counts = method(sums.vectors)
    return {
        "presence": [one.to_dict() for one in presence_scores(there, truth > 0, sums.modalities)],
        "counts": count_scores(counts, truth, sums.modalities),
    }


def run(pool: Pool, types: Sequence[str | None] | None, options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """All experiments with one seed, one row per method, training, sampling, sample count and noise."""
    kept, _ = learnable(pool)
    pool = pool.only(kept)
    test = pool.of_patients(split_patients(pool, seed).test)
    asked = {("simple", n, 0.0): sample_modalities(test, n, options.queries, seed=seed + n) for n in COUNTS}
    for n in COUNTS if types is not None else ():
        asked["specific", n, 0.0] = sample_modalities(test, n, options.queries, seed=seed + n, within=types)
    for n in COUNTS:
        for share in SHARES:
            asked["simple", n, share] = with_noise(asked["simple", n, 0.0], test, share, seed=seed + n)
    rows: list[dict[str, Any]] = []
    for name in options.methods:
        start = time.perf_counter()
        composite = METHODS[name](pool, COUNTS, options.per_count, seed)
        for (sampling, n, share), sums in asked.items():
            key = {"seed": seed, "method": name, "training": "composite", "sampling": sampling, "n": n, "noise": share}
            rows.append(key | score(composite, sums))
        for n in COUNTS:
            alone = METHODS[name](pool, (n,), options.isolation, seed)
            key = {"seed": seed, "method": name, "training": "isolation", "sampling": "simple", "n": n, "noise": 0.0}
            rows.append(key | score(alone, asked["simple", n, 0.0]))
        print(f"seed {seed}: {name}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean MCC over the seeds, one line per experiment and modality, one column per sample count."""
    lines = [
        f"{'method':<9} {'training':<10} {'sampling':<9} {'noise':>5} {'modality':<10} "
        + "".join(f"{n:>7}" for n in COUNTS)
    ]
    keys = dict.fromkeys((r["method"], r["training"], r["sampling"], r["noise"]) for r in rows)
    for method, training, sampling, noise in keys:
        chosen = [
            r
            for r in rows
            if (r["method"], r["training"], r["sampling"], r["noise"]) == (method, training, sampling, noise)
        ]
        head = f"{method:<9} {training:<10} {sampling:<9} {noise:>5.1f} "
        for m, one in enumerate(chosen[0]["presence"]):
            cells = []
            for n in COUNTS:
                known = [r["presence"][m]["mcc"] for r in chosen if r["n"] == n]
                told = [mcc for mcc in known if mcc is not None]
                cells.append(f"{np.mean(told):7.3f}" if told else "      -")
            lines.append(f"{head}{one['modality']:<10} " + "".join(cells))
        exact = [np.mean([r["counts"]["all"]["exact"] for r in chosen if r["n"] == n]) for n in COUNTS]
        if method != "logistic":
            lines.append(f"{head}{'all exact':<10} " + "".join(f"{share:7.3f}" for share in exact))
    return "\n".join(lines)


def main() -> None:
    """Run the experiments and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, nargs="?")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--label", default="cancer_type", help="column of the types of `specific` sums")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--per-count", type=int, default=1500, help="sums of each count for a composite model")
    parser.add_argument("--isolation", type=int, default=4000, help="sums for an isolation model")
    parser.add_argument("--queries", type=int, default=500, help="sums asked about, per experiment and sample count")
    parser.add_argument("--json", type=Path, help="write all scores here")
    options = parser.parse_args()
    if (options.reference is None) == (options.pool is None):
        parser.error("give a reference or --pool")
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
    rows = [row for seed in options.seeds for row in run(pool, types, options, seed)]
    print(table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
