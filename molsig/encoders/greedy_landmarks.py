"""Landmarks chosen one after the other, each the gene that tells most of all genes beyond those before it.

    C       covariance of the standardised genes over the samples, what is uncertain before anything is measured
    i       = argmax |C_i|^2 / (C_ii + noise)            what measuring gene i takes off the sum of all variances
    C      <- C - C_i C_i^T / (C_ii + noise)             what stays uncertain after it

Genes are taken as jointly normal and a measured one as known up to `noise`, in units of a gene's variance: then C is
the posterior covariance of a Gaussian process and the choice the greedy one of A-optimal design (Krause et al. 2008,
JMLR 9:235, discuss such designs); without noise it is forward selection by the variance that a linear regression of all
genes explains. With noise, two good genes for the same thing are better than one, and choosing goes on beyond as many
genes as there are samples.

C = X^T M X / n is never formed: X, (samples, genes), stays as it is and M, (samples, samples), shrinks. A step reads X
three times, so that 943 of 20,000 genes take memory for X alone and some seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.gene_inference import Standard
from molsig.errors import UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.types import Progress

NOISE = 3.0
"""What a measured gene stays uncertain by, in units of its variance: least error on validation patients over 100 to 943
landmarks, among .03 to 10 (`docs/inference.md`)."""


def choose_greedily(
    values: NDArray[np.float32], n: int, *, noise: float = NOISE, progress: Progress = silent
) -> NDArray[np.int64]:
    """Positions of all genes: n chosen ones in the order of choosing, then the others by what each would still tell.

    Parameters
    ----------
    values
        Log2 expression of the samples to learn from, (samples, genes), NaN where not measured.

    Raises
    ------
    UsageError
        n out of range, or noise that is not above 0.
    """
    genes = values.shape[1]
    if not 1 <= n <= genes:
        raise UsageError(f"n = {n}: there are {genes} genes")
    if not noise > 0:
        raise UsageError(f"noise = {noise:g}: a gene is never measured without any")
    x = Standard.of(values).apply(values)
    x /= np.float32(np.sqrt(len(x)))
    left = np.eye(len(x), dtype=np.float32)
    variance = np.square(x).sum(axis=0)
    # Squared lengths of the columns of C.
    reach = np.einsum("ij,ij->j", x, (x @ x.T) @ x)
    free = np.ones(genes, dtype=bool)
    chosen = np.empty(n, dtype=np.int64)
    for step in range(n):
        best = int(np.where(free, reach / (variance + noise), -1.0).argmax())
        chosen[step], free[best] = best, False
        seen = left @ x[:, best]
        column = seen @ x
        known = np.float32(1 / (variance[best] + noise))
        reach -= 2 * known * column * ((left @ (x @ column)) @ x)
        reach += np.square(known * column) * (column @ column)
        variance -= known * np.square(column)
        left -= known * np.outer(seen, seen)
        progress("choose landmarks", step + 1, n)
    told = np.where(free, reach / (variance + noise), -1.0)
    return np.concatenate([chosen, np.argsort(-told, kind="stable")[: genes - n]])
