"""What `molsig compose` says of sums and of what is none: ``python -m benchmarks.composition_verdicts REFERENCE``.

A recogniser is fitted as `molsig compose` does and asked about patients that it has not learnt from: sums of 1 to 10
vectors; the same turned, with their numbers shuffled, three times as long and 1 long; Gaussian noise; sums of 5 with a
part replaced by noise; and patients' own sums, with and without a modality of which they have many vectors.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.store import Store
from molsig.retrieval.composition_fit import COUNTS, fit_recogniser, learnable
from molsig.retrieval.pool import load_pool, split_patients
from molsig.retrieval.sampling import NOISE, count_codes, sample_modalities, sum_rows, with_noise
from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.pool import Pool

MANY = 3
"""Vectors of one modality from which a patient counts as having many."""


def odd_vectors(test: Pool, queries: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Vectors to ask about, by what they are; `queries` of each."""
    rng = np.random.default_rng(seed)
    share = queries // len(COUNTS)
    sums = np.concatenate([sample_modalities(test, n, share, seed=seed + n).vectors for n in COUNTS])
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    five = sample_modalities(test, 5, queries, seed=seed)
    turn = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    noise = rng.standard_normal(sums.shape).astype(np.float32) * (length.mean() / np.sqrt(DIM)).astype(np.float32)
    return {
        "sums of 1 to 10": sums,
        "sums, turned": sums @ turn,
        "sums, shuffled": sums[:, rng.permutation(DIM)],
        "sums, times 3": 3 * sums,
        "sums, 1 long": sums / length,
        "noise": noise,
    } | {f"sums of 5, {part:.0%} noise": with_noise(five, test, part, seed=seed).vectors for part in (0.2, 0.4, 0.6)}


def own_sums(test: Pool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Each patient's own sum, and the counts in it, (patients, modalities)."""
    order = np.argsort(test.patient, kind="stable")
    patients, start, size = np.unique(test.patient[order], return_index=True, return_counts=True)
    rows = np.full((len(patients), size.max()), NOISE)
    place = np.arange(len(order)) - np.repeat(start, size)
    rows[np.repeat(np.arange(len(patients)), size), place] = order
    width = len(test.modalities)
    counts = count_codes(np.where(rows == NOISE, width, test.modality[rows]), width + 1)[:, :width]
    return sum_rows(test.vectors, rows), counts


def main() -> None:
    """Fit, ask and print a line for each kind of vector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pool = load_pool(Store.open(options.reference), seed=options.seed)
    pool = pool.only(learnable(pool)[0])
    recogniser = fit_recogniser(pool, seed=options.seed)
    test = pool.of_patients(split_patients(pool, options.seed).test)
    for name, vectors in odd_vectors(test, options.queries, options.seed).items():
        said = Counter(one.verdict for one in recogniser.recognise(vectors))
        print(f"{name:<36}" + ", ".join(f"{verdict} {n / len(vectors):.3f}" for verdict, n in said.most_common()))
    vectors, truth = own_sums(test)
    many = (truth >= MANY).any(axis=1)
    for name, chosen in ((f"own sums, under {MANY} of each", ~many), (f"own sums, {MANY} or more of one", many)):
        rows = np.flatnonzero(chosen)[: options.queries]
        if not len(rows):
            continue
        answers = recogniser.recognise(vectors[rows])
        found = np.array([list(one.counts.values()) for one in answers])
        said = Counter(one.verdict for one in answers)
        print(
            f"{name:<36}"
            + ", ".join(f"{verdict} {n / len(rows):.3f}" for verdict, n in said.most_common())
            + f"; modalities right {((found > 0) == (truth[rows] > 0)).all(axis=1).mean():.3f}"
            f", counts too {(found == truth[rows]).all(axis=1).mean():.3f}"
        )


if __name__ == "__main__":
    main()
