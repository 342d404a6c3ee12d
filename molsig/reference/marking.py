"""Markers of an encoder of a reference: the file it is asked about, its network, the labels of the patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.types import FeatureMatrix, PatientTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.expression import ExpressionEncoder
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.retrieval.markers import Markers
    from molsig.types import Progress, SampleId


@dataclass(frozen=True, slots=True)
class MarkerReport:
    """Markers with the samples they were found on.

    Attributes
    ----------
    inputs
        Standardised features of the samples, what the network is given, float32 (n, features).
    samples, types
        Which tumours and metastases these are, and the label of each.
    learned_from
        Types the encoder was fitted to; empty for one that looks at no label.
    """

    encoder: str
    modality: str
    label: str
    file: str
    markers: Markers
    inputs: NDArray[np.float32]
    samples: tuple[SampleId, ...]
    types: tuple[str, ...]
    learned_from: tuple[str, ...]
    notes: tuple[str, ...] = ()

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
    from molsig.ingest.cohort import load
    from molsig.reference.encoding import gene_map
    from molsig.retrieval.markers import rank_markers

    if label not in (columns := store.columns()):
        raise UsageError(f"--label {label}: there is no such patient column; there are {', '.join(columns) or 'none'}")
    sources = [one for one in cohort.sources() if modality is None or one.modality == modality]
    if len(sources) != 1:
        given = ", ".join(one.modality for one in cohort.sources()) or "none"
        raise UsageError(
            "markers are found on one file of measurements, which a reference does not keep: give --rna FILE, --mirna "
            f"FILE or --matrix NAME=FILE, and --modality where there are several (given: {given})"
        )
    encoder = _encoder(store, sources[0].modality, space, device, shelf)
    matrix = load(sources[0], genes=gene_map(store, cohort), progress=progress)
    if isinstance(matrix, PatientTable) or not isinstance(matrix, FeatureMatrix):
        raise UsageError(f"{matrix.report.file} holds no matrix of measurements, whose features could be markers")
    labels, missing = _labels(store, matrix, label)
    contract = encoder.contract(matrix)
    found = rank_markers(encoder, matrix, labels, pairs=pairs, method=method, seed=seed, progress=progress)
    rows = np.flatnonzero(
        [
            kind is not None and one.kind in {"tumour", "metastasis"}
            for kind, one in zip(labels, matrix.samples, strict=True)
        ]
    )
    notes = list(contract.warnings)
    if missing:
        notes.append(f"{missing:,} of {len(labels):,} samples have no {label} in the reference and were left out")
    learned = tuple(encoder.card.training.get("samples_by_type", ()))
    if not learned:
        notes.append(
            f"{encoder.space} was fitted without labels: its markers say what moves its vectors, not what types"
        )
    return MarkerReport(
        encoder=encoder.space,
        modality=encoder.modality,
        label=label,
        file=str(matrix.report.file),
        markers=found,
        inputs=encoder.network_inputs(matrix, rows),
        samples=tuple(matrix.samples[row] for row in rows),
        types=tuple(str(labels[row]) for row in rows.tolist()),
        learned_from=learned,
        notes=tuple(notes),
    )


def _encoder(store: Store, modality: str, space: str | None, device: str, shelf: EncoderShelf) -> ExpressionEncoder:
    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.expression import ExpressionEncoder
    from molsig.reference.encoding import encoder_for, load_encoders

    if space is None:
        encoder = encoder_for(load_encoders(store, [modality], device, None, shelf), modality)
    else:
        entered = {row.space: row for row in store.encoders() if row.modality == modality and row.files_sha256}
        if space not in entered:
            have = ", ".join(entered) or "none with weights"
            raise NotFoundError(f"--encoder {space}: the reference has no such encoder of {modality}; it has {have}")
        row = entered[space]
        encoder = shelf.load(store.encoders_dir / space, device=device, sha256=row.files_sha256, choice=ModelChoice())
    if not isinstance(encoder, ExpressionEncoder):
        raise UsageError(f"{encoder.space} is no encoder of a matrix: its features are no genes to rank")
    return encoder


def _labels(store: Store, matrix: FeatureMatrix, label: str) -> tuple[Sequence[str | None], int]:
    """Label of each sample, and how many of the tumours and metastases have none."""
    stored = store.attributes(store.select_patients(), [label])
    known = dict(zip(stored["patient"].to_pylist(), stored[label].to_pylist(), strict=True))
    found = [None if (told := known.get(one.patient)) is None else str(told) for one in matrix.samples]
    if not any(found):
        raise InputError(
            f"none of the {len(found):,} samples is of a patient whose {label} the reference knows",
            file=matrix.report.file,
            hint="Give the file that was ingested, or a patient table with `molsig ingest REF --clinical FILE`",
        )
    return found, sum(one is None for one in found)
