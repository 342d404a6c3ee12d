"""How well genes were inferred: error and correlation of each gene, a permutation test, and landmark sets compared.

    MAE_j = mean over samples of |g_ij - p_ij|        PCC_j = Pearson correlation of g_j and p_j over samples

After the landmark-gene study (autoencoder and DeepLIFT against L1000; Methods, "Evaluation metrics"): a gene passes the
permutation test if fewer than .01 of the other genes correlate better with what was predicted for it than it does
itself. That asks whether the prediction is of this gene rather than of any other; a gene with many near copies can fail
it although it is predicted well. Sets of landmarks are compared gene by gene over the targets they share by a paired
t-test, as there, and by Wilcoxon's signed ranks. Genes are not independent of each other, so that both are surer of
themselves than they should be: how a difference holds on other patients says more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from molsig.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Array = NDArray[np.float64]

THRESHOLD = 0.01
"""Share of the other genes above which a gene fails the permutation test."""
BLOCK = 256
"""Predicted genes that are compared with all measured ones at a time."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class GeneScores:
    """Figures of each gene, all (genes,).

    Attributes
    ----------
    mae
        Mean absolute error, in the units of the values; NaN for a gene without a measured value.
    pcc
        Pearson correlation; NaN for a gene that is constant over the samples, 0 where only the prediction is.
    above
        Share of the other genes that correlate better with the prediction, 1 where the prediction is constant and so of
        no gene more than of another; NaN where `pcc` is.
    """

    mae: Array
    pcc: Array
    above: Array

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Which genes pass the permutation test."""
        passed: NDArray[np.bool_] = self.above < THRESHOLD
        return passed

    def summary(self) -> dict[str, Any]:
        """Means over the genes and the share that passes, of the genes that have a correlation."""
        told = ~np.isnan(self.pcc)
        return {
            "genes": len(self.mae),
            "with_correlation": int(told.sum()),
            "mae": float(np.nanmean(self.mae)),
            "pcc": float(self.pcc[told].mean()) if told.any() else None,
            "significant": float(self.significant[told].mean()) if told.any() else None,
        }


def score_genes(measured: Matrix, predicted: Matrix) -> GeneScores:
    """Compare what was predicted with what was measured.

    Parameters
    ----------
    measured, predicted
        Shape (n_samples, n_genes), in one unit; NaN where a gene was not measured.

    Raises
    ------
    UsageError
        The shapes differ, or there are fewer than three samples.
    """
    if measured.shape != predicted.shape:
        raise UsageError(f"measured values are {measured.shape}, predicted ones {predicted.shape}")
    if len(measured) < 3:
        raise UsageError(f"{len(measured)} samples have no correlation: give three or more")
    known = ~np.isnan(measured)
    count = known.sum(axis=0)
    error = np.abs(np.where(known, predicted - measured, 0)).sum(axis=0, dtype=np.float64)
    mae = np.where(count > 0, error / np.maximum(count, 1), np.nan)
    truth, guess = _unit(measured, known), _unit(predicted, known)
    own = (truth * guess).sum(axis=0, dtype=np.float64)
    varies = np.square(truth).sum(axis=0) > 0
    return GeneScores(mae, np.where(varies, own, np.nan), _above(truth, guess, varies))


def _unit(values: Matrix, known: NDArray[np.bool_]) -> Matrix:
    """Columns less their means, of length 1; 0 where not measured, and where a gene is constant."""
    count = np.maximum(known.sum(axis=0), 1)
    total = np.sum(values, axis=0, where=known, dtype=np.float64)
    centred = np.where(known, values - (total / count).astype(np.float32), np.float32(0))
    length = np.sqrt(np.square(centred).sum(axis=0, dtype=np.float64))
    flat = length < 1e-5 * np.sqrt(count)
    centred /= np.where(flat, 1, length).astype(np.float32)
    centred[:, flat] = 0
    return centred


def _above(truth: Matrix, guess: Matrix, varies: NDArray[np.bool_]) -> Array:
    """Share of the other genes that correlate better with each prediction; a constant gene is nobody's other."""
    others = np.ascontiguousarray(truth[:, varies])
    places = np.flatnonzero(varies)
    above = np.full(truth.shape[1], np.nan)
    for start in range(0, len(places), BLOCK):
        part = places[start : start + BLOCK]
        correlation = guess[:, part].T @ others
        # The gene's own correlation out of the same product: it is not above itself, whatever the rounding.
        own = correlation[np.arange(len(part)), start + np.arange(len(part))]
        above[part] = (correlation > own[:, None]).sum(axis=1) / max(1, len(places) - 1)
    above[varies & ~guess.any(axis=0)] = 1.0
    return above


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of the same genes under two sets of landmarks, first less second.

    Attributes
    ----------
    difference, low, high
        Mean difference and its 95 % interval by Student's t over genes.
    lower
        Share of the genes for which the first value is the lower one, ties counting half.
    t_p, wilcoxon_p
        Two-sided p of the paired t-test and of Wilcoxon's signed ranks; 1 where no gene differs.
    """

    genes: int
    difference: float
    low: float
    high: float
    lower: float
    t_p: float
    wilcoxon_p: float


def compare(first: Array, second: Array) -> Paired:
    """Compare a figure of the same genes, such as their errors; genes without it in either are left out.

    Raises
    ------
    UsageError
        The genes are not the same, or fewer than two have the figure in both.
    """
    if first.shape != second.shape:
        raise UsageError(f"{first.shape} and {second.shape} are not figures of the same genes")
    told = ~(np.isnan(first) | np.isnan(second))
    gap = first[told] - second[told]
    if len(gap) < 2:
        raise UsageError("fewer than two genes have the figure in both sets")
    lower = float((gap < 0).mean() + (gap == 0).mean() / 2)
    if not gap.any():
        return Paired(len(gap), 0.0, 0.0, 0.0, lower, 1.0, 1.0)
    t = stats.ttest_1samp(gap, 0.0)
    low, high = t.confidence_interval(CONFIDENCE)
    ranks = stats.wilcoxon(gap)
    return Paired(len(gap), float(gap.mean()), float(low), float(high), lower, float(t.pvalue), float(ranks.pvalue))
