"""Evidence for a label from whatever assays a patient has: posterior, conformal set, and how strange the patient is.

Each modality gives log-likelihood ratios, two of them together one more (`heads`); they are weighed and added
(`stacking`), and a missing modality adds nothing. `molsig.retrieval.evidence_fit` learns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.calibration import prediction_sets, subset_code
from molsig.retrieval.heads import VIEWS, log_softmax, neighbour_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.calibration import Quantiles
    from molsig.retrieval.familiarity import Familiarity
    from molsig.retrieval.heads import Head, JointHead
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.stacking import Stack

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvidenceModel:
    """Everything a call needs but the neighbours.

    Attributes
    ----------
    classes
        Values of the label, sorted.
    heads
        By modality; their order is that of all arrays over modalities.
    joint
        The view of two modalities together; None where no two are shared by enough patients.
    stack
        Weights of the voices: three views a modality, in the order of `heads`, and the joint one last.
    log_prior
        Log frequency of the classes, (classes,).
    information
        Nats that each modality alone tells of the class on average, (modalities,), at least 0.
    nonconformity
        By set of assays (`subset_code`).
    familiarity
        How strange patients are.
    scores
        Out-of-fold accuracy and such, for the card.
    """

    classes: tuple[str, ...]
    heads: Mapping[str, Head]
    joint: JointHead | None
    stack: Stack
    log_prior: Array
    information: Array
    nonconformity: Mapping[int, Quantiles]
    familiarity: Familiarity
    scores: Mapping[str, float]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that give evidence."""
        return tuple(self.heads)

    @property
    def compared(self) -> tuple[str, ...]:
        """Modalities in which a patient's neighbours speak: those whose vectors are not sums of many items."""
        return tuple(self.familiarity.unfamiliar)

    def present(self, vectors: PatientVectors) -> NDArray[np.bool_]:
        """Which patient has which modality, (modalities, n)."""
        absent = np.zeros(len(vectors), dtype=bool)
        return np.stack([vectors.present.get(modality, absent) for modality in self.heads])

    def evidence(self, vectors: PatientVectors, counts: Mapping[str, Array] | None = None) -> Array:
        """Log-likelihood ratios of each voice, (voices, n, classes); 0 where a voice is mute.

        Parameters
        ----------
        counts
            By modality: classes of the nearest neighbours, (n, classes); without them they say nothing.
        """
        out = voices_of(len(self.heads), self.joint is not None, len(vectors), len(self.classes))
        together: dict[str, tuple[NDArray[np.int64], Array]] = {}
        for place, (modality, head) in enumerate(self.heads.items()):
            if modality not in vectors.present:
                continue
            held = np.flatnonzero(vectors.present[modality])
            if len(held):
                first = place * len(VIEWS)
                # A slice copies nothing.
                rows = slice(None) if len(held) == len(vectors) else held
                x = head.standardised(vectors.vectors[modality][rows])
                out[first : first + 2, rows] = head.of_standardised(x)
                if counts is not None and modality in self.familiarity.unfamiliar:
                    out[first + 2, rows] = neighbour_evidence(counts[modality][rows], head.log_prior)
                if self.joint is not None and modality in self.joint.modalities:
                    together[modality] = held, x
        if self.joint is not None and len(together) == len(self.joint.modalities):
            both = np.flatnonzero(np.all([vectors.present[modality] for modality in self.joint.modalities], axis=0))
            if len(both):
                known = (together[modality] for modality in self.joint.modalities)
                parts = [x if len(x) == len(both) else x[np.searchsorted(held, both)] for held, x in known]
                out[-1, both] = self.joint.evidence(np.concatenate(parts, axis=1))
        return out

    def log_posterior(self, evidence: Array, present: NDArray[np.bool_]) -> Array:
        """Log-probability of each class, (n, classes); the class frequencies where a patient has nothing."""
        return log_softmax(self.stack.logits(evidence, present, self.log_prior))

    def alone(self, evidence: Array) -> Array:
        """Probability of each class by each modality as if it were the only one, (modalities, n, classes)."""
        return np.asarray(np.exp(log_softmax(self.stack.logits_alone(evidence, len(self.heads), self.log_prior))))

    @cached_property
    def chance(self) -> float:
        """Log-probability that two patients are of one class by chance."""
        return float(np.log(np.square(np.exp(self.log_prior)).sum()))

    def sets(self, probabilities: Array, present: NDArray[np.bool_], error: float) -> NDArray[np.bool_]:
        """Conformal prediction sets at an error rate, bool (n, classes)."""
        return prediction_sets(probabilities, subset_code(present), self.nonconformity, error)

    def strangeness(self, nearness: Mapping[str, Array], present: NDArray[np.bool_], log_posterior: Array) -> Array:
        """Share of stored patients with the same assays who are less strange than each one, (n,); 1 is strangest.

        Parameters
        ----------
        nearness
            By modality of `compared`: mean cosine of the nearest stored patients, (n,).
        """
        less_far = self.familiarity.share_less_far(self.modalities, self.information, nearness, present)
        return self.familiarity.strangeness(less_far, log_posterior, present)


def voices_of(modalities: int, joint: bool, n: int, classes: int) -> Array:
    """Evidence that says nothing, (voices, n, classes)."""
    return np.zeros((modalities * len(VIEWS) + joint, n, classes))


def side_by_side(
    vectors: PatientVectors, heads: Mapping[str, Head], modalities: Sequence[str], rows: NDArray[np.int64]
) -> Array:
    """Standardised vectors of several modalities, side by side, (rows, 768 a modality)."""
    return np.concatenate([heads[m].standardised(vectors.vectors[m][rows]) for m in modalities], axis=1)
