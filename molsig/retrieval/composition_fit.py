"""Fitting a recogniser of compositions to the vectors of a reference.

Sums are drawn as in doi 10.1101/2025.05.14.653900, Embedding Aggregation, from patients split 80/20 and 80/20: on the
first part means, axes and weights are fitted; on the second variances, the epoch and all calibration; the
third is for scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.bands import Bands
from molsig.retrieval.composition import Calibration, Recogniser
from molsig.retrieval.composition_presence import fit_weights, log_odds
from molsig.retrieval.mixture import Mixture
from molsig.retrieval.pool import split_patients
from molsig.retrieval.sampling import sample_modalities, with_noise
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.pool import Pool
    from molsig.retrieval.recogniser import Counter
    from molsig.types import Progress

COUNTS = tuple(range(1, 11))
"""Vectors in the sums that are learnt. The study has 3 to 10; most patients of a cohort have one or two assays."""

FEWEST_PATIENTS = 100
"""A modality with fewer patients is left out: how its vectors spread cannot be told from so few."""

PER_COUNT = 4000
"""Sums to learn from, per count; a fifth as many for calibration, but no more than `HELD`."""

HELD = 300

NOISY = 0.2
"""Share of the sums to learn from that have a part replaced by noise."""
NOISE_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def fit_recogniser(
    pool: Pool,
    *,
    counts: Sequence[int] = COUNTS,
    per_count: int = PER_COUNT,
    seed: int = 0,
    epochs: int | None = None,
    progress: Progress = silent,
) -> Recogniser:
    """Fit a recogniser to a pool's training patients and calibrate it on its validation patients.

    The parts are those of ``split_patients(pool.only(...), seed)``; the test part is not looked at.

    Parameters
    ----------
    pool
        Vectors to learn from; modalities with fewer than `FEWEST_PATIENTS` are left out.
    counts
        Numbers of vectors per sum: one for an isolation model, several for a composite one.
    per_count
        Sums to learn from, for each of them.

    Raises
    ------
    UsageError
        No modality has enough patients.
    """
    from molsig.retrieval.recogniser import EPOCHS, train_counter

    if not counts or min(counts) < 1 or per_count < 50:
        raise UsageError("a recogniser learns sums of at least one vector, and at least 50 sums of each count")
    kept, left_out = learnable(pool)
    chosen = pool.only(kept)
    parts = split_patients(chosen, seed)
    train, held_back = chosen.of_patients(parts.train), chosen.of_patients(parts.validation)
    progress("fit likelihood", 0, None)
    mixture = Mixture.fit(train, held_back)
    progress("fit likelihood", 1, 1)
    sums = training_sums(train, counts, per_count, NOISY, seed)
    held = training_sums(held_back, counts, min(HELD, max(50, per_count // 5)), NOISY, seed + 1)
    bands = Bands.of(mixture)
    counter = train_counter(
        bands.inputs(sums[0]),
        sums[1],
        bands.inputs(held[0]),
        held[1],
        seed=seed,
        progress=progress,
        epochs=EPOCHS if epochs is None else epochs,
    )
    progress("calibrate", 0, None)
    calibration = _calibrate(mixture, bands, counter, *held)
    progress("calibrate", 1, 1)
    return Recogniser(mixture, bands, counter, calibration, tuple(counts), left_out)


def learnable(pool: Pool) -> tuple[tuple[str, ...], dict[str, int]]:
    """Modalities with enough patients, and the others with their number of patients.

    Raises
    ------
    UsageError
        None has enough.
    """
    patients = pool.patients_per_modality()
    kept = tuple(name for name, n in patients.items() if n >= FEWEST_PATIENTS)
    if not kept:
        told = ", ".join(f"{name} {n}" for name, n in patients.items()) or "none"
        raise UsageError(
            f"a composition is learnt from modalities with {FEWEST_PATIENTS} patients or more; there are {told}"
        )
    return kept, {name: n for name, n in patients.items() if name not in kept}


def training_sums(
    pool: Pool, counts: Sequence[int], per_count: int, noisy: float, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Draw sums of every count, some of them with noise in them.

    Returns
    -------
    vectors : NDArray[np.float32]
        (k, 768).
    counts : NDArray[np.int64]
        (k, m), noise not counted.
    present : NDArray[np.bool_]
        (k, m + 1), the last column for noise.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(counts) * (len(NOISE_SHARES) + 1) * 2).tolist())
    drawn = []
    for n in counts:
        spoilt = int(per_count * noisy / len(NOISE_SHARES))
        drawn.append(sample_modalities(pool, n, per_count - spoilt * len(NOISE_SHARES), seed=next(seeds)))
        drawn += [
            with_noise(sample_modalities(pool, n, spoilt, seed=next(seeds)), pool, share, seed=next(seeds))
            for share in (NOISE_SHARES if spoilt else ())
        ]
    found = np.concatenate([one.counts[:, 0] for one in drawn])
    noise = np.concatenate([one.rows.shape[2] - one.totals[:, 0] for one in drawn])
    present = np.concatenate([found > 0, noise[:, None] > 0], axis=1)
    return np.concatenate([one.vectors for one in drawn]), found, present


def _calibrate(
    mixture: Mixture,
    bands: Bands,
    counter: Counter,
    vectors: NDArray[np.float32],
    counts: NDArray[np.int64],
    present: NDArray[np.bool_],
) -> Calibration:
    presence = mixture.presence(vectors)
    estimates = counter.predict(bands.inputs(vectors))
    weights = fit_weights(log_odds(mixture, presence), estimates, counts > 0)
    error = np.stack([_spread(estimates[:, m], counts[:, m]) for m in range(counts.shape[1])])
    clean = ~present[:, -1]
    alone = np.concatenate([presence.alone, np.zeros((len(vectors), 1), bool)], axis=1)
    residuals = mixture.amounts(vectors[clean], alone[clean])[1]
    return Calibration(weights, error, np.sort(residuals), np.sort(presence.foreign_evidence[clean]))


def _spread(estimates: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Least-squares line of the squared error over the estimate, where there is something to count; never below."""
    some = counts > 0
    if some.sum() < 2:
        return np.array([0.25, 0.0])
    square = np.square(estimates[some] - counts[some])
    slope, start = np.polyfit(estimates[some], square, 1)
    return np.array([max(float(start), 0.0), float(slope)]) if slope > 0 else np.array([float(square.mean()), 0.0])
