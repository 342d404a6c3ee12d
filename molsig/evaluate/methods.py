"""The methods that can be evaluated, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molsig.errors import UsageError
from molsig.retrieval.fusion import EvidenceFusion, WeightedFusion
from molsig.retrieval.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from molsig.retrieval.method import Method
    from molsig.retrieval.patient_vectors import PatientVectors

FUSIONS: Mapping[str, Callable[[int], Method]] = {
    "evidence": lambda seed: EvidenceFusion(seed=seed),
    "weighted": lambda seed: WeightedFusion(seed=seed),
    "sum": lambda seed: Plain(seed=seed),
}
"""Methods that use all modalities: name to what makes one from a seed. The first is the one that pictures show."""

FEWEST = 100
"""A modality that fewer labelled patients have is evaluated on its own only if it is named."""


def choose_methods(
    names: Sequence[str] | None, vectors: PatientVectors, labelled: NDArray[np.bool_], seed: int = 0
) -> list[Method]:
    """Methods of some names: a fusion or a modality each; by default every fusion and every common modality.

    Raises
    ------
    UsageError
        A name is neither.
    """
    if names is None:
        common = [m for m in vectors.modalities if (vectors.present[m] & labelled).sum() >= FEWEST]
        # One modality alone makes every fusion the same as itself.
        names = [*FUSIONS, *(common if len(vectors.modalities) > 1 else ())]
    known = [*FUSIONS, *vectors.modalities]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--fusion {unknown[0]}: choose among {', '.join(known)}")
    return [FUSIONS[name](seed) if name in FUSIONS else Plain(name, seed=seed) for name in dict.fromkeys(names)]
