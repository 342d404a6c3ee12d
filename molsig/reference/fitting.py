"""Making the encoder of a cohort inside an ingest: what it learns from, and what the user is told of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from molsig.encoders.choice import DEFAULT_METRIC, metric_named
from molsig.errors import UsageError
from molsig.types import FeatureMatrix, MutationSet

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.encoder import Encoder
    from molsig.reference.ingestion import IngestOptions
    from molsig.types import Progress, Records

FEW_PATIENTS = 100
"""Patients below which an encoder's training is warned of."""

_GROUPS_TOLD = 3


def make_encoder(
    records: Records,
    known: tuple[Mapping[str, str], Mapping[str, str]],
    options: IngestOptions,
    progress: Progress,
) -> tuple[Encoder, tuple[str, ...]]:
    """Fit or choose an encoder.

    Parameters
    ----------
    known
        Tumour type by patient, where known: tells which types lack features and which classes are small; and by patient
        the label that a network learns from which needs one.

    Returns
    -------
    encoder : Encoder
    told : tuple of str
        What the user should know about what it was, or was not, fitted on.
    """
    from molsig.encoders.encoder import fit_encoder

    tissue, label_of = known
    told: tuple[str, ...] = ()
    labels: list[str | None] | None = None
    rows: list[int] | None = None
    if isinstance(records, FeatureMatrix):
        told += _absent(records, tissue, options.choice.all_features)
        if records.modality == "mirna":
            rows, lines = _good_libraries(records, tissue)
            told += lines
        if metric_named(options.choice.networks.get(records.modality, "")):
            labels = [label_of.get(one.patient) for one in records.samples]
    encoder = fit_encoder(
        records,
        rows=rows,
        seed=options.seed,
        epochs=options.epochs,
        device=options.device,
        include_silent=options.include_silent and isinstance(records, MutationSet),
        labels=labels,
        choice=options.choice,
        progress=progress,
    )
    if statement := encoder.card.training.get("statement"):
        told += (f"the {encoder.modality} encoder: {statement}",)
    if not encoder.card.architecture.get("kind") and encoder.card.n_patients < FEW_PATIENTS:
        told += (
            f"the {encoder.modality} encoder was trained on only {encoder.card.n_patients} patients: its neighbours "
            "mean little. Make a new reference from a larger cohort and query it with these files instead",
        )
    return encoder, told


def learning_types(choice: ModelChoice, modal: Iterable[Records]) -> ModelChoice:
    """The choice of who names a column of types: matrices whose network is not named get the best that learns of it."""
    matrices = {one.modality: DEFAULT_METRIC for one in modal if isinstance(one, FeatureMatrix)}
    return replace(choice, networks=matrices | dict(choice.networks))


def check_label(records: Records, column: str, columns: Container[str], choice: ModelChoice) -> None:
    """Raise `UsageError`, before anything is written, where a network would learn from a column nobody has."""
    network = metric_named(choice.networks.get(records.modality, ""))
    if network is not None and isinstance(records, FeatureMatrix) and column not in columns:
        raise UsageError(
            f"--network {records.modality}={network} learns from the patient column {column!r}, which neither the "
            "files nor the reference have: give it with --clinical FILE, or name another column with --label"
        )


FEWEST_GOOD = 20
"""Samples of good quality below which the rules of quality are told but not followed."""


def _good_libraries(matrix: FeatureMatrix, tissue: Mapping[str, str]) -> tuple[list[int], tuple[str, ...]]:
    """Rows that the miRNA study would learn from, and what it would leave out; everything is encoded and stored."""
    from molsig.ingest.mirna_quality import low_quality, small_classes, told

    reasons = low_quality(matrix)
    small = small_classes(matrix, tissue, without=reasons)
    lines = [*told(matrix, reasons), *told(matrix, small)]
    if reasons and tissue:
        before = Counter(tissue.get(one.patient) for one in matrix.samples)
        lost = Counter(tissue.get(matrix.samples[row].patient) for row in reasons)
        lines += [
            f"{lost[name]:,} of the {before[name]:,} {name} samples are among those of low quality"
            for name in sorted(name for name in lost if name is not None)
            if lost[name] > 0.5 * before[name]
        ]
    prefix = "left out of the training of the mirna encoder, stored all the same: "
    kept = [row for row in range(len(matrix.samples)) if row not in reasons and row not in small]
    if len(kept) < FEWEST_GOOD:
        # A cohort of shallow libraries throughout is what it is: the rules would leave nothing to learn from.
        said = f"only {len(kept):,} of {len(matrix.samples):,} samples are good enough to learn from (at least "
        return list(range(len(matrix.samples))), (
            f"the mirna encoder learns from all samples: {said}{FEWEST_GOOD} are needed): " + "; ".join(lines),
        )
    return kept, tuple(prefix + line for line in lines)


def _absent(matrix: FeatureMatrix, tissue: Mapping[str, str], taken: bool) -> tuple[str, ...]:
    """Say which features whole groups of samples lack, and what is done about it."""
    from molsig.encoders.features import absent_in_groups

    groups = absent_in_groups(matrix)
    lines = []
    types = Counter(tissue.get(one.patient) for one in matrix.samples)
    for features, samples in groups[:_GROUPS_TOLD]:
        lacking = Counter(tissue.get(matrix.samples[row].patient) for row in samples)
        whole = sorted(name for name, n in lacking.items() if name is not None and n == types[name])
        of = f", all of {', '.join(whole[:6])}" + (" ..." if len(whole) > 6 else "") if whole else ""
        what = (
            "their mean stands in, which can give the group away"
            if taken
            else "left out of the encoder, since what is absent can give the group away (--all-features takes them)"
        )
        lines.append(
            f"{len(features):,} of {len(matrix.features):,} {matrix.modality} features are not measured in "
            f"{len(samples):,} samples{of}: {what}"
        )
    if len(groups) > _GROUPS_TOLD:
        lines.append(
            f"{len(groups) - _GROUPS_TOLD} more groups of {matrix.modality} features lack in groups of samples"
        )
    return tuple(lines)
