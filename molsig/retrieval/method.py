"""What every way of comparing patients can do: fit, find the nearest, call a label, know a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from molsig.retrieval.patient_vectors import PatientVectors


class Fitted(Protocol):
    """A method that knows a gallery of stored patients and answers questions about others.

    Attributes
    ----------
    classes
        Labels that can be called, sorted.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery, best first, and their scores: (n, min(k, gallery)) each."""
        ...

    def probabilities(self, queries: PatientVectors) -> NDArray[np.float64]:
        """Probability of each of `classes`, (n, classes); rows sum to 1."""
        ...

    def sets(self, queries: PatientVectors, probabilities: NDArray[np.float64], error: float) -> NDArray[np.bool_]:
        """Conformal prediction sets of the same queries, (n, classes).

        They miss the true label in at most a share `error` of patients.
        """
        ...

    def strangeness(self, queries: PatientVectors) -> NDArray[np.float64]:
        """How unlike everything stored each query is, (n,); larger is stranger, and queries can be compared."""
        ...


class Method(Protocol):
    """A way of comparing patients.

    Attributes
    ----------
    name
        What the method is called, e.g. ``evidence``.
    """

    @property
    def name(self) -> str: ...

    def fit(self, gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_]) -> Fitted:
        """Learn what the method needs of stored patients.

        Parameters
        ----------
        gallery
            The patients who can be found.
        labels
            Label of each, (n,); "" where there is none.
        groups
            Group of each, such as the submitting site, (n,); what is learned about labels is learned across groups.
            "" where there is none.
        """
        ...


@runtime_checkable
class Selective(Protocol):
    """A fitted method that cannot answer for everybody, as one modality cannot for those who lack the assay."""

    def answers(self, queries: PatientVectors) -> NDArray[np.bool_]:
        """Whether there is an answer for each query, (n,)."""
        ...
