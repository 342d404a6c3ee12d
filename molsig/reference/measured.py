"""Measurements of a file, which a reference does not keep, beside what the reference knows of the patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.types import FeatureMatrix, PatientTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.expression import ExpressionEncoder
    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort, Source
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.types import Progress, Records, SampleId

CANCER = ("tumour", "metastasis")
"""Kinds of samples that markers are looked for in."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A matrix, and the label of each of its samples; None where the reference knows none.

    Attributes
    ----------
    rows
        Tumours and metastases with a label, (n,).
    notes
        What the user should know of the others.
    """

    matrix: FeatureMatrix
    label: str
    labels: tuple[str | None, ...]
    rows: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def file(self) -> str:
        """Where the measurements are."""
        return str(self.matrix.report.file)


@dataclass(frozen=True, slots=True)
class EncoderInputs:
    """Labelled samples as an encoder of the reference is given them.

    Attributes
    ----------
    features
        Names, in the order of the encoder's input.
    inputs
        Standardised values, float32 (n, features).
    samples, types
        Which tumours and metastases these are, and the label of each.
    learned_from
        Types the encoder was fitted to; empty for one that looks at no label.
    """

    encoder: str
    modality: str
    label: str
    file: str
    features: tuple[str, ...]
    inputs: NDArray[np.float32]
    samples: tuple[SampleId, ...]
    types: tuple[str, ...]
    learned_from: tuple[str, ...]
    notes: tuple[str, ...]


def read_measured(store: Store, cohort: Cohort, label: str, *, modality: str | None, progress: Progress) -> Measured:
    """Read the one matrix that is meant, and look its patients up in the reference.

    Raises
    ------
    UsageError
        There is no such patient column, or not one matrix.
    InputError
        The reference knows the label of none of its patients.
    """
    check_label(store, label)
    matrix = read_matrix(store, cohort, "markers", modality=modality, progress=progress)
    labels = labels_of(store, matrix.samples, label)
    if not any(labels):
        raise InputError(
            f"none of the {len(labels):,} samples is of a patient whose {label} the reference knows",
            file=matrix.report.file,
            hint="Give the file that was ingested, or a patient table with `molsig ingest REF --clinical FILE`",
        )
    rows = np.flatnonzero(
        [kind is not None and one.kind in CANCER for kind, one in zip(labels, matrix.samples, strict=True)]
    )
    missing = sum(one is None for one in labels)
    told = f"{missing:,} of {len(labels):,} samples have no {label} in the reference and were left out"
    return Measured(matrix, label, labels, rows, (told,) if missing else ())


def read_matrix(store: Store, cohort: Cohort, what: str, *, modality: str | None, progress: Progress) -> FeatureMatrix:
    """Read the one matrix that is meant.

    Parameters
    ----------
    what
        What is looked for among its features: ``markers``, for what is said of another file.

    Raises
    ------
    UsageError
        There is not one file, or it holds no matrix.
    """
    sources = [one for one in cohort.sources() if modality is None or one.modality == modality]
    if len(sources) != 1:
        given = ", ".join(one.modality for one in cohort.sources()) or "none"
        raise UsageError(
            f"{what} are found on one file of measurements, which a reference does not keep: give --rna FILE, --mirna "
            f"FILE or --matrix NAME=FILE, and --modality where there are several (given: {given})"
        )
    matrix = read_source(store, cohort, sources[0], progress)
    if not isinstance(matrix, FeatureMatrix):
        raise UsageError(f"{matrix.report.file} holds no matrix of measurements, whose features could be {what}")
    return matrix


def encoder_inputs(measured: Measured, encoder: ExpressionEncoder) -> EncoderInputs:
    """The labelled samples as an encoder is given them."""
    matrix = measured.matrix
    learned = tuple(encoder.card.training.get("samples_by_type", ()))
    return EncoderInputs(
        encoder=encoder.space,
        modality=encoder.modality,
        label=measured.label,
        file=measured.file,
        features=tuple(encoder.features),
        inputs=encoder.network_inputs(matrix, measured.rows),
        samples=tuple(matrix.samples[row] for row in measured.rows),
        types=tuple(str(measured.labels[row]) for row in measured.rows.tolist()),
        learned_from=learned,
        notes=(*encoder.contract(matrix).warnings, *measured.notes),
    )


def matrix_encoder(
    store: Store, modality: str, space: str | None, device: str, shelf: EncoderShelf
) -> ExpressionEncoder:
    """The encoder in use for a modality, or that of a space, if it is one of a matrix.

    Raises
    ------
    NotFoundError
        There is none.
    UsageError
        It is no encoder of a matrix.
    """
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


def check_label(store: Store, label: str) -> None:
    """Raise `UsageError` where the reference has no such patient column."""
    if label not in (columns := store.columns()):
        raise UsageError(f"--label {label}: there is no such patient column; there are {', '.join(columns) or 'none'}")


def labels_of(store: Store, samples: Sequence[SampleId], label: str) -> tuple[str | None, ...]:
    """What a patient column says of the patients of some samples, as text; None where nothing is known."""
    told = store.column(label, [one.patient for one in samples])
    return tuple(None if one is None else str(one) for one in told)


def read_source(store: Store, cohort: Cohort, source: Source, progress: Progress) -> Records:
    """Read one file of a cohort, genes by the names that the encoders of the reference know.

    Raises
    ------
    UsageError
        It holds patient columns, no samples.
    """
    from molsig.ingest.cohort import load
    from molsig.reference.encoding import gene_map

    records = load(source, genes=gene_map(store, cohort), progress=progress)
    if isinstance(records, PatientTable):
        raise UsageError(f"{records.report.file} holds patient columns, no samples")
    return records
