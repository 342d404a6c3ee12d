"""Markers of an encoder of a reference: the file it is asked about, its network, the labels of the patients."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.reference.measured import EncoderInputs, encoder_inputs, matrix_encoder, read_measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.retrieval.markers import Markers
    from molsig.types import Progress


@dataclass(frozen=True, slots=True)
class MarkerReport(EncoderInputs):
    """Markers with the samples they were found on, as the encoder is given them."""

    markers: Markers

    def tumours(self) -> NDArray[np.int64]:
        """Rows of primary tumours of the types that have markers."""
        known = set(self.markers.types)
        return np.flatnonzero(
            [s.kind == "tumour" and kind in known for s, kind in zip(self.samples, self.types, strict=True)]
        )

    def rows(self, top: int) -> list[dict[str, Any]]:
        """The best features over all types: rank, name, share of the score, in which types it is among the best."""
        found = self.markers
        tops = found.on_top()
        return [
            {
                "rank": rank + 1,
                "feature": found.features[place],
                "score": float(found.overall[place]),
                "times_average": float(found.overall[place] * len(found.features)),
                "top_in": int(tops[:, place].sum()),
                "best_in": found.types[int(found.by_type[:, place].argmax())],
            }
            for rank, place in enumerate(found.ranking()[:top])
        ]

    def to_dict(self, top: int) -> dict[str, Any]:
        """Stable keys for `--json`."""
        found = self.markers
        return {
            "encoder": self.encoder,
            "modality": self.modality,
            "label": self.label,
            "method": found.method,
            "score": found.score,
            "features": len(found.features),
            "types": {
                name: {"samples": samples, "pairs": pairs}
                for name, samples, pairs in zip(found.types, found.samples, found.pairs, strict=True)
            },
            "markers": self.rows(top),
            "by_type": {
                name: [
                    {"feature": found.features[i], "score": float(found.by_type[row, i])}
                    for i in found.ranking(name)[:top]
                ]
                for row, name in enumerate(found.types)
            },
            "notes": list(self.notes),
        }


def find_markers(
    store: Store,
    cohort: Cohort,
    label: str,
    *,
    modality: str | None,
    space: str | None,
    pairs: int,
    method: str,
    seed: int,
    device: str,
    progress: Progress,
    shelf: EncoderShelf,
) -> MarkerReport:
    """Rank the features of an encoder of the reference on the labelled tumours of a file; see `Reference.markers`."""
    from molsig.retrieval.markers import rank_markers

    measured = read_measured(store, cohort, label, modality=modality, progress=progress)
    encoder = matrix_encoder(store, measured.matrix.modality, space, device, shelf)
    of = encoder_inputs(measured, encoder)
    found = rank_markers(
        encoder, measured.matrix, measured.labels, pairs=pairs, method=method, seed=seed, progress=progress
    )
    given = {one.name: getattr(of, one.name) for one in fields(of)}
    if not of.learned_from:
        blind = f"{of.encoder} was fitted without labels: its markers say what moves its vectors, not what types"
        given["notes"] = (*of.notes, blind)
    return MarkerReport(**given, markers=found)
