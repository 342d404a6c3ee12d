"""What a sum of vectors gives away of itself: the mean and the covariance of each modality, and a likelihood.

A sum of n_m vectors of each modality m, drawn independently, has the mean sum_m n_m mu_m and the covariance
sum_m n_m Sigma_m. Encoders that know nothing of each other use different directions of the 768, and each leaves some
nearly empty: what a modality puts there betrays it. The Gaussian likelihood of a sum uses all of that at once and needs
no training beyond means and covariances. A further component stands for what is of no known modality: a Gaussian with
the same spread in every direction, of which there can be any amount.

Beyond the study (doi 10.1101/2025.05.14.653900, Recognizer Network), whose network has to find all of this by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from molsig.errors import UsageError
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from molsig.retrieval.pool import Pool

    Array = NDArray[np.float64]

MOST_MODALITIES = 7
"""Every set of modalities is tried: 127 of seven, in a few seconds."""

FOREIGN_AMOUNTS = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Amounts of the foreign component that are tried beside one of each modality of a set."""

FLOOR = 1e-6
"""Least variance of a direction, as a share of the mean one: above what rounding to single precision does to a sum."""

WINDOW = 9
"""Neighbouring principal axes whose held-back variances are averaged."""

_KEPT = 32
_LEAST, _MOST = 0.25, 400.0
_STEPS = 4


@dataclass(frozen=True, eq=False)
class Presence:
    """Which modalities are in each of k sums.

    Attributes
    ----------
    present
        bool (k, modalities): those of the likeliest set.
    foreign
        Whether that set has something of no known modality, bool (k,).
    alone
        Those of the likeliest set without a foreign part, bool (k, modalities).
    log_likelihood
        Of each set with each foreign amount, float64 (k, hypotheses), best over the total.
    foreign_evidence
        Nats by which the best set with a foreign part beats the best without, (k,).
    """

    present: NDArray[np.bool_]
    foreign: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    log_likelihood: Array
    foreign_evidence: Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """Means and covariances of the modalities.

    Attributes
    ----------
    modalities
        Names.
    means
        float64 (m, 768).
    covariances
        float64 (m, 768, 768): principal axes of some patients, variances along them of others.
    spread
        Variance per direction of the foreign component: the mean square of a vector's entry.
    """

    modalities: tuple[str, ...]
    means: Array
    covariances: Array
    spread: float
    _sets: dict[tuple[int, ...], _Set] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(cls, train: Pool, held_back: Pool) -> Mixture:
        """Estimate means and principal axes from some patients, and the variances along those axes from others.

        Raises
        ------
        UsageError
            There are more than `MOST_MODALITIES`, or a modality has fewer than two vectors in a part.
        """
        if len(train.modalities) > MOST_MODALITIES:
            raise UsageError(
                f"{len(train.modalities)} modalities: a composition is told among up to {MOST_MODALITIES}; name some"
            )
        means, covariances = [], []
        for code, name in enumerate(train.modalities):
            own, others = (np.asarray(part.vectors[part.modality == code], np.float64) for part in (train, held_back))
            if min(len(own), len(others)) < 2:
                raise UsageError(f"{name}: too few vectors to learn from")
            mean = own.mean(axis=0)
            covariances.append(_covariance(np.cov(own.T), others - mean))
            means.append(mean)
        square = [np.trace(covariance) + mean @ mean for covariance, mean in zip(covariances, means, strict=True)]
        return cls(train.modalities, np.stack(means), np.stack(covariances), float(np.mean(square)) / DIM)

    def hypotheses(self) -> list[tuple[tuple[int, ...], float]]:
        """Sets of modalities and foreign amounts that are tried; nothing but foreign is the last."""
        codes = range(len(self.modalities))
        sets = [one for size in range(1, len(codes) + 1) for one in combinations(codes, size)]
        return [(one, amount) for one in sets for amount in FOREIGN_AMOUNTS] + [((), 1.0)]

    def membership(self) -> NDArray[np.bool_]:
        """Which hypothesis holds which modality, and in the last column the foreign part, (hypotheses, m + 1)."""
        width = len(self.modalities)
        return np.array(
            [[code in one for code in range(width)] + [amount > 0] for one, amount in self.hypotheses()], bool
        )

    def presence(self, vectors: NDArray[np.float32]) -> Presence:
        """Find the likeliest set of modalities of each vector, (k, 768), each at the total that suits it best."""
        x = np.asarray(vectors, np.float64)
        found = np.empty((len(x), len(self.hypotheses())))
        for place, (one, amount) in enumerate(self.hypotheses()):
            found[:, place] = self._profile(x, one, amount)
        membership = self.membership()
        best = found.argmax(axis=1)
        foreign = membership[:, -1]
        return Presence(
            membership[best, :-1],
            foreign[best],
            membership[~foreign, :-1][found[:, ~foreign].argmax(axis=1)],
            found,
            found[:, foreign].max(axis=1) - found[:, ~foreign].max(axis=1),
        )

    def amounts(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Estimate amounts given which components are in.

        Parameters
        ----------
        vectors
            (k, 768).
        present
            bool (k, m + 1), the foreign part last.

        Returns
        -------
        amounts : NDArray[np.float64]
            Number of vectors of each modality, the foreign part last, (k, m + 1); zero where a component is absent.
        distance : NDArray[np.float64]
            Squared Mahalanobis distance from the sum that is expected, per dimension: about 1, (k,).
        """
        x = np.asarray(vectors, np.float64)
        amounts, distance = np.zeros((len(x), len(self.modalities) + 1)), np.zeros(len(x))
        for rows, one in _by_set(present):
            if len(one):
                amounts[np.ix_(rows, one)], distance[rows] = self._amounts(x[rows], one)
            else:
                distance[rows] = np.einsum("ij,ij->i", x[rows], x[rows]) / DIM / self.spread
        return amounts, distance

    def _component(self, code: int) -> tuple[Array, Array]:
        if code < len(self.modalities):
            return self.means[code], self.covariances[code]
        return np.zeros(DIM), self.spread * np.eye(DIM)

    def _set(self, one: tuple[int, ...]) -> _Set:
        """What all sums of the same components share; the last few sets are kept."""
        if one not in self._sets:
            means, parts = zip(*map(self._component, one), strict=True)
            stacked = np.stack(means)
            precision = np.linalg.inv(np.mean(parts, axis=0))
            turned = [precision @ part for part in parts]
            overlap = np.array([[np.vdot(left, right.T) for right in turned] for left in turned])
            bent = np.stack([stacked @ turn @ precision @ stacked.T for turn in turned])
            if len(self._sets) >= _KEPT:
                self._sets.pop(next(iter(self._sets)))
            self._sets[one] = _Set(stacked, parts, precision, overlap, stacked @ precision @ stacked.T, bent)
        return self._sets[one]

    def _profile(self, x: Array, one: tuple[int, ...], amount: float) -> Array:
        """Log-likelihood of each row under equal amounts of a set, at the best total."""
        share = len(one) + amount
        covariance = self.covariances[list(one)].sum(axis=0) + amount * self.spread * np.eye(DIM)
        lower = np.linalg.cholesky(covariance / share)
        z, mean = _whitened(lower, x, self.means[list(one)].sum(axis=0) / share)
        square, along, offset = np.einsum("ij,ij->i", z, z), z @ mean, float(mean @ mean)
        # d/dt of square / t + t offset + DIM log t is zero where offset t^2 + DIM t = square.
        total = 2 * square / (DIM + np.sqrt(DIM**2 + 4 * offset * square))
        total = np.clip(total, _LEAST, None)
        log_volume = DIM * np.log(total) + 2 * np.log(np.diag(lower)).sum()
        found: Array = -0.5 * (square / total - 2 * along + total * offset + log_volume)
        return found

    def _amounts(self, x: Array, one: NDArray[np.int64]) -> tuple[Array, Array]:
        """Amounts by Fisher scoring from equal ones, and the distance that is left.

        With S the covariance of equal amounts and y = S^-1 x, all that the likelihood asks of x near there is y'mu_m
        and y'Sigma_m y for each component; their expectations and the information are known.
        """
        means, covariances, precision, overlap, offsets, bent = self._set(tuple(one.tolist()))
        y = x @ precision
        slope = y @ means.T
        energy = np.stack([np.einsum("ij,ij->i", y @ covariance, y) for covariance in covariances], axis=1)
        amounts = np.clip(np.linalg.solve(overlap, energy.T).T, 0.5, _MOST)
        for _ in range(_STEPS):
            level = amounts.mean(axis=1, keepdims=True)
            from_means = np.einsum("ka,iab,kb->ki", amounts, bent, amounts)
            score = (slope - amounts @ offsets) / level + 0.5 * (energy - from_means - amounts @ overlap) / level**2
            information = offsets / level[..., None] + 0.5 * overlap / level[..., None] ** 2
            amounts = np.clip(amounts + np.linalg.solve(information, score[..., None])[..., 0], 0.5, _MOST)
        level = amounts.mean(axis=1)
        square = np.einsum("ij,ij->i", x, y)
        left = square - 2 * (slope * amounts).sum(axis=1) + np.einsum("ka,ab,kb->k", amounts, offsets, amounts)
        return amounts, left / level / DIM


class _Set(NamedTuple):
    """Means and covariances of some components, and under equal amounts of them: the precision S^-1, tr(S^-1 Sigma_a
    S^-1 Sigma_b), mu_a' S^-1 mu_b and mu_a' S^-1 Sigma_i S^-1 mu_b."""

    means: Array
    covariances: tuple[Array, ...]
    precision: Array
    overlap: Array
    offsets: Array
    bent: Array


def _covariance(covariance: Array, held_back: Array) -> Array:
    """The axes of a sample covariance with the variances that held-back deviations have along them.

    A sample's own variances are too large along its first axes and too small along its last, and not a little where
    there are fewer vectors than directions: held-back ones show it (Abadir, Distaso and Zikes 2014, on splitting).
    """
    _, axes = np.linalg.eigh(covariance)
    seen = np.square(held_back @ axes).mean(axis=0)
    if not seen.any():
        raise UsageError("all vectors of a modality are the same")
    padded = np.pad(seen, WINDOW // 2, mode="edge")
    values = np.convolve(padded, np.full(WINDOW, 1 / WINDOW), mode="valid")
    found: Array = (axes * np.maximum(values, FLOOR * seen.mean())) @ axes.T
    return found


def _whitened(lower: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """L^-1 x and L^-1 mean; torch has the triangular solver that numpy lacks."""
    import torch

    sides = torch.from_numpy(np.concatenate([x, mean[None]]).T)
    solved = torch.linalg.solve_triangular(torch.from_numpy(lower), sides, upper=False).numpy().T
    return solved[:-1], solved[-1]


def _by_set(present: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows that have the same components, and those components."""
    sets, which = np.unique(present, axis=0, return_inverse=True)
    for place, one in enumerate(sets):
        yield np.flatnonzero(which.ravel() == place), np.flatnonzero(one)
