"""Encoders: fitted once, then frozen; records of one modality in, 768-d vectors out.

`fit_encoder` makes one, `load_encoder` brings one back from its folder. Neither this module nor an encoder loads torch
before something is fitted or encoded: a contract or a digest needs numpy only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders import disk
from molsig.encoders.choice import METRICS, ModelChoice, metric_named
from molsig.encoders.disk import files_sha256
from molsig.errors import InputError, UsageError
from molsig.streaming import Products
from molsig.types import Encoded, FeatureMatrix, MutationSet, TextSet, TileSet, items_of, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.encoders.alignment import Alignment
    from molsig.encoders.card import Card
    from molsig.encoders.choice import Metric, Precision
    from molsig.encoders.expression import Network
    from molsig.streaming import Plan
    from molsig.types import ContractReport, Progress, Records, SampleId

    Rows = NDArray[np.int64]

__all__ = ["LOWEST_COVERAGE", "Encoder", "files_sha256", "fit_encoder", "load_encoder"]

LOWEST_COVERAGE = 0.8
"""Share of an encoder's features that a sample must have measured."""

_BATCH_CELLS = 1 << 22


class Encoder(ABC):
    """A frozen encoder of one modality.

    Attributes
    ----------
    card
        What it is and what it was fitted on.
    features
        Names of the features it encodes, in the order of its input.
    """

    def __init__(self, contents: disk.Contents, device: str = "auto") -> None:
        self._contents = contents
        self._device = device
        self._running: Any = None
        self._settled: Products | None = None
        self._cuda_precision: Precision = "bfloat16"
        self.features = contents.encoded

    @property
    def card(self) -> Card:
        """What it is and what it was fitted on."""
        return self._contents.card

    @property
    def space(self) -> str:
        """Name of the space its vectors live in: the encoder's name and the start of its hash."""
        return self.card.space

    @property
    def modality(self) -> str:
        """Modality of the records it takes."""
        return self.card.modality

    @abstractmethod
    def contract(self, records: Records) -> ContractReport:
        """Compare records with what the encoder was fitted on.

        Returns
        -------
        ContractReport
            The reader's report with `matched` and `missing` features filled in, and warnings added.

        Raises
        ------
        UsageError
            The records are of another modality.
        """

    @abstractmethod
    def _check_coverage(self, records: Records, rows: Rows, allow_missing: bool) -> None:
        """Raise `CoverageError` for the first of `rows` whose features are not known well enough."""

    @abstractmethod
    def _digest(self, records: Records, rows: Rows) -> Iterator[str]:
        """SHA-256 of what of each row the encoder looks at, before any arithmetic."""

    @abstractmethod
    def _vectors(self, records: Records, rows: Rows, progress: Progress) -> NDArray[np.float32]:
        """Vectors of some rows in their order, float32, (n_rows, 768)."""

    def encode(
        self,
        records: Records,
        *,
        rows: Sequence[int] | None = None,
        allow_missing: bool = False,
        progress: Progress = silent,
    ) -> Encoded:
        """Turn samples into vectors. Each vector depends on its own sample only.

        Parameters
        ----------
        records
            Records of the encoder's modality, features in any order.
        rows
            Positions in `records.samples` to encode, in this order; all by default.
        allow_missing
            Encode samples although less than 80 % of the encoder's features are known.

        Returns
        -------
        Encoded
            `vectors` are float32, shape (n_rows, 768). Of a fitted network: means of q(z|x) in the unit that gives the
            fitted samples a root mean square norm of 1. Of sentences: each of length 1.

        Raises
        ------
        CoverageError
            A sample's features are not known well enough; names the sample and the first missing features.
        InputError
            The records are on another scale than the encoder's.
        UsageError
            The records are of another modality, or a row does not exist.
        """
        chosen = self._rows(records, rows)
        self._check_coverage(records, chosen, allow_missing)
        vectors = self._vectors(records, chosen, progress)
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise InputError(
                f"sample {records.samples[chosen[row]].sample} gives a vector that is not finite",
                file=records.report.file,
                hint="Look for extreme values in its row",
            )
        samples: tuple[SampleId, ...] = tuple(records.samples[row] for row in chosen)
        every = items_of(records)
        items = tuple(every[row] for row in chosen)
        return Encoded(self.modality, self.space, samples, items, vectors, self._digests(records, chosen))

    def digests(self, records: Records) -> tuple[str, ...]:
        """SHA-256 of what of each sample the encoder looks at: equal ones give equal vectors. Needs no torch.

        Raises
        ------
        UsageError
            The records are of another modality.
        """
        return self._digests(records, self._rows(records, None))

    def _digests(self, records: Records, rows: Rows) -> tuple[str, ...]:
        return tuple(one for batch in self._batches(records, len(rows)) for one in self._digest(records, rows[batch]))

    def save(self, folder: Path) -> None:
        """Write model.safetensors, card.json and features.txt into an existing, empty folder, flushed to the disk."""
        disk.save(self._contents, folder)

    def use(self, choice: ModelChoice) -> None:
        """Compute from now on in the precision that `choice` says."""
        self._cuda_precision, self._settled = choice.cuda_precision, None

    @property
    def computed_in(self) -> Precision:
        """Precision of the matrix products of what was encoded last; float32 where nothing was yet."""
        return "bfloat16" if self._settled is not None and self._settled.low else "float32"

    def _products(self, plan: Plan) -> Products:
        """The precision of matrix products on a device of this plan, settled once."""
        if self._settled is None:
            self._settled = Products(None if plan.low and self._cuda_precision == "bfloat16" else False)
        return self._settled

    def _rows(self, records: Records, rows: Sequence[int] | None) -> Rows:
        self._check_modality(records)
        n = len(records.samples)
        chosen = np.arange(n, dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= n):
            raise UsageError(f"there is no row {chosen.min() if chosen.min() < 0 else chosen.max()} among {n} samples")
        return chosen

    def _check_modality(self, records: Records) -> None:
        if records.modality != self.modality:
            raise UsageError(f"{self.space} encodes {self.modality}, not {records.modality} ({records.report.file})")

    def _batches(self, records: Records, n: int) -> Iterator[slice]:
        step = max(1, min(1024, _BATCH_CELLS // max(1, len(self.features))))
        return (slice(start, min(n, start + step)) for start in range(0, n, step))


def fit_encoder(
    records: Records,
    *,
    rows: Sequence[int] | None = None,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    include_silent: bool = False,
    validation_groups: Sequence[str] | None = None,
    alignment: Alignment | None = None,
    labels: Sequence[str | None] | None = None,
    choice: ModelChoice | None = None,
    inputs: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Encoder:
    """Make the encoder of a cohort: fit a network to a matrix, to mutations or to tiles, or put given weights to use.

    Parameters
    ----------
    records
        All samples the encoder is to know: tumours and normals alike.
    rows
        Positions of the samples to learn from (matrices only); all by default. Which features are encoded is decided on
        all samples in any case, so that each of them can be encoded.
    seed
        Rules initial weights, order of the samples, noise and the held-back patients: the same seed gives the same
        encoder on the same machine.
    epochs
        Most epochs; by default what the model's file states.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    include_silent
        Count a gene as mutated by silent variants too (mutations only).
    validation_groups
        One label per sample, such as the submitting site, whose samples are held back together; patients by default.
    alignment
        How samples are aligned to the encoder's reference profile (matrices only); by default `choose_alignment`.
    labels
        Type of each sample, None where it is not known: what the networks ``siamese``, ``contrastive`` and ``whitened``
        of a matrix learn from. The others look at no label.
    choice
        Which network a matrix gets, and which given weights reports and tiles are encoded with.
    inputs
        SHA-256 of the input files by name, for the card.

    Returns
    -------
    Encoder
        Its card says what was dropped and how the fit went.

    Raises
    ------
    InputError
        Too few samples or features are left to fit anything.
    MolsigError
        Training diverged.
    UsageError
        A network that learns from labels is given none.
    """
    choice = choice or ModelChoice()
    if isinstance(records, FeatureMatrix) and (metric := metric_named(choice.networks.get(records.modality, ""))):
        encoder: Encoder = _fit_metric(
            records, rows, seed, epochs, device, include_silent, alignment, labels, metric, choice, progress
        )
    else:
        encoder = _fit(
            records, rows, seed, epochs, device, include_silent, validation_groups, alignment, choice, progress
        )
    encoder.use(choice)
    if inputs:
        contents = encoder._contents
        encoder._contents = replace(contents, card=replace(contents.card, inputs=dict(inputs)))
    return encoder


def _fit_metric(
    matrix: FeatureMatrix,
    rows: Sequence[int] | None,
    seed: int,
    epochs: int | None,
    device: str,
    include_silent: bool,
    alignment: Alignment | None,
    labels: Sequence[str | None] | None,
    metric: Metric,
    choice: ModelChoice,
    progress: Progress,
) -> Encoder:
    from molsig.encoders.metric import fit_metric

    if include_silent:
        raise UsageError("include_silent belongs to mutations; a matrix has none")
    if labels is None:
        raise UsageError(f"the network {metric} learns from types: give the type of each sample of {matrix.modality}")
    return fit_metric(
        matrix,
        labels,
        metric=metric,
        seed=seed,
        epochs=epochs,
        device=device,
        alignment=alignment,
        learnt=rows,
        all_features=choice.all_features,
        progress=progress,
    )


def _fit(
    records: Records,
    rows: Sequence[int] | None,
    seed: int,
    epochs: int | None,
    device: str,
    include_silent: bool,
    validation_groups: Sequence[str] | None,
    alignment: Alignment | None,
    choice: ModelChoice,
    progress: Progress,
) -> Encoder:
    if rows is not None and not isinstance(records, FeatureMatrix):
        raise UsageError(f"rows to learn from are chosen of matrices, not of {records.modality}")
    if isinstance(records, MutationSet):
        from molsig.encoders.mutation import fit_mutation

        if alignment is not None:
            raise UsageError("alignment belongs to matrices; mutations have none")
        return fit_mutation(
            records,
            seed=seed,
            epochs=epochs,
            device=device,
            include_silent=include_silent,
            validation_groups=validation_groups,
            progress=progress,
        )
    if isinstance(records, FeatureMatrix):
        from molsig.encoders.expression import fit_expression

        if include_silent:
            raise UsageError("include_silent belongs to mutations; a matrix has none")
        return fit_expression(
            records,
            seed=seed,
            epochs=epochs,
            device=device,
            validation_groups=validation_groups,
            alignment=alignment,
            learnt=rows,
            network=_network(records.modality, choice),
            all_features=choice.all_features,
            progress=progress,
        )
    if include_silent or alignment is not None:
        raise UsageError(f"include_silent and alignment belong to mutations and matrices, not to {records.modality}")
    if isinstance(records, TextSet):
        from molsig.encoders.sentence import fit_sentences

        return fit_sentences(records, choice=choice, seed=seed, device=device, progress=progress)
    if isinstance(records, TileSet):
        from molsig.encoders.tile import fit_tiles

        return fit_tiles(
            records,
            choice=choice,
            seed=seed,
            epochs=epochs,
            device=device,
            validation_groups=validation_groups,
            progress=progress,
        )
    raise UsageError(f"no encoder is fitted to {type(records).__name__}: use a matrix, mutations, reports or tiles")


def _network(modality: str, choice: ModelChoice) -> Network:
    from molsig.encoders.expression import NETWORKS

    asked = choice.networks.get(modality, "vae")
    for one in NETWORKS:
        if one == asked:
            return one
    names = (*NETWORKS, *METRICS)
    raise UsageError(f"{asked!r} is no network for {modality}: use {', '.join(names[:-1])} or {names[-1]}")


def load_encoder(
    folder: Path,
    *,
    device: str = "auto",
    sha256: Mapping[str, str] | None = None,
    choice: ModelChoice | None = None,
) -> Encoder:
    """Bring an encoder back from its folder.

    Parameters
    ----------
    device
        Where it will run once something is encoded.
    sha256
        Hex SHA-256 by file name as `files_sha256` gave them when the folder was written.
    choice
        Where the given weights of a text or tile model lie, if not where molsig looks by itself.

    Raises
    ------
    DamagedError
        A file is missing, or a hash, a shape or a size does not match.
    """
    choice = choice or ModelChoice()
    encoder = _of_kind(disk.load(folder, sha256), device, choice)
    encoder.use(choice)
    return encoder


def _of_kind(contents: disk.Contents, device: str, choice: ModelChoice) -> Encoder:
    if contents.card.architecture.get("kind") == "sentence":
        from molsig.encoders.sentence import SentenceEncoder

        return SentenceEncoder(contents, device, choice)
    if contents.card.modality == "tile":
        from molsig.encoders.tile import load_tile_encoder

        return load_tile_encoder(contents, device, choice)
    if contents.card.scale == "binary":
        from molsig.encoders.mutation import MutationEncoder

        return MutationEncoder(contents, device)
    if "metric" in contents.card.architecture:
        from molsig.encoders.metric import MetricEncoder

        return MetricEncoder(contents, device)
    if "lattice" in contents.card.architecture:
        from molsig.encoders.map_encoder import DeepMap

        return DeepMap(contents, device)
    from molsig.encoders.expression import ExpressionEncoder

    return ExpressionEncoder(contents, device)
