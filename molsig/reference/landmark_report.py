"""What `Reference.landmarks` found: genes in order, and how well the others are told from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from molsig.encoders.landmarks import Stability
    from molsig.retrieval.gene_scores import Paired

SITES, RANDOM = "whole_groups", "random"
"""How patients were held out: whole groups of them (submitting sites), or single ones by chance."""


@dataclass(frozen=True, slots=True)
class SetScores:
    """How well held-out patients' other genes are told from the landmarks of one method.

    Attributes
    ----------
    held_out
        `SITES` or `RANDOM`.
    patients, samples
        That were held out: of ranking and of inference.
    genes
        That were told: all but the landmarks.
    mae, pcc, significant
        Means over these: absolute error in the units of the values, correlation over samples; share of the genes that
        pass the permutation test.
    common_genes, common_mae, common_pcc
        Over the genes that are a landmark of no method that was measured beside it.
    against
        Errors of the chosen method less this one's, over the common genes; None of the chosen method itself.
    """

    method: str
    held_out: str
    patients: int
    samples: int
    genes: int
    mae: float
    pcc: float | None
    significant: float | None
    common_genes: int
    common_mae: float | None
    common_pcc: float | None
    against: Paired | None = None


@dataclass(frozen=True, slots=True)
class LandmarkReport:
    """Landmark genes of a file.

    Attributes
    ----------
    method
        That ranked, on all samples.
    n
        How many of the genes are landmarks.
    inference
        What told the other genes: ``ridge`` or ``dgex``.
    genes
        All that could have been landmarks, the best first.
    mean, deviation
        Of each in the order of `genes`.
    scores
        Of the method, and of those it was compared with.
    validation
        Mean error of each method on patients held back from the training ones, where the method was chosen by it.
    stability
        How alike the landmarks of resamples of the patients are, if that was asked for.
    """

    modality: str
    file: str
    scale: str
    method: str
    n: int
    inference: str
    patients: int
    samples: int
    genes: tuple[str, ...]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    scores: tuple[SetScores, ...]
    validation: Mapping[str, float]
    stability: Stability | None = None
    notes: tuple[str, ...] = ()

    @property
    def landmarks(self) -> tuple[str, ...]:
        """The genes that were chosen."""
        return self.genes[: self.n]

    def rows(self) -> list[dict[str, Any]]:
        """All genes, one row each, landmarks first."""
        told = zip(self.genes, self.mean.tolist(), self.deviation.tolist(), strict=True)
        return [
            {"rank": rank, "gene": gene, "landmark": rank <= self.n, "mean": round(mean, 4), "deviation": round(sd, 4)}
            for rank, (gene, mean, sd) in enumerate(told, start=1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Stable keys for `--json`."""
        steady = self.stability
        return {
            "method": self.method,
            "n": self.n,
            "modality": self.modality,
            "scale": self.scale,
            "inference": self.inference,
            "patients": self.patients,
            "samples": self.samples,
            "genes": len(self.genes),
            "landmarks": list(self.landmarks),
            "scores": [asdict(one) for one in self.scores],
            "validation": dict(self.validation),
            "stability": None
            if steady is None
            else {"jaccard": steady.mean, "pairs": list(steady.jaccard), "chance": steady.chance},
            "notes": list(self.notes),
        }
