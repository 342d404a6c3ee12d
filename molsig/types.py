"""The words of molsig as plain frozen dataclasses: what passes from one room to the next.

Nothing heavy is imported here; arrays and tables appear in annotations only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

DIM = 768
"""Length of every stored vector."""

MODALITIES = ("rna", "mutation", "mirna", "report", "tile", "siamese")
"""Modalities molsig knows by name; any other lower-case name is allowed for ready vectors."""

SUM_SPACE = "sum"
"""Reserved name of the space that holds the summed aggregate of each patient."""

SampleKind = Literal["tumour", "normal", "metastasis", "recurrence", "other"]

_MODALITY_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check_modality(name: str) -> str:
    """Return `name` if it can name a modality, else raise `UsageError`."""
    if not _MODALITY_NAME.fullmatch(name) or name == SUM_SPACE:
        raise UsageError(
            f"{name!r} cannot name a modality: use up to 32 lower-case letters, digits or _, a letter first, not 'sum'"
        )
    return name


class Progress(Protocol):
    """Receives `done` of `total` units of a named step; `total` is None while it is unknown."""

    def __call__(self, step: str, done: int, total: int | None) -> None: ...


def silent(step: str, done: int, total: int | None) -> None:
    """Report nothing; the default `Progress`."""


@dataclass(frozen=True, slots=True)
class SampleId:
    """One specimen and the person it came from."""

    sample: str
    patient: str
    kind: SampleKind = "tumour"


@dataclass(frozen=True, slots=True)
class ContractReport:
    """What a reader understood of a file, told before anything is written.

    `features` counts what is left after duplicates are resolved; `matched` and `missing` are filled in where the
    features were compared with those of an encoder. `notes` are decisions worth reading, `warnings` those worth acting
    on.
    """

    file: str
    modality: str
    rows: int
    samples: int
    patients: int
    features: int | None = None
    duplicates: int = 0
    matched: int | None = None
    missing: int | None = None
    id_type: str | None = None
    scale: str | None = None
    orientation: str | None = None
    kinds: Mapping[str, int] = field(default_factory=dict)
    joined: int | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureMatrix:
    """Samples by features: expression, miRNA or any other measured matrix.

    Attributes
    ----------
    values
        float32, shape (n_samples, n_features); NaN where a feature was not measured.
    scale
        Scale of `values` after reading: ``log2`` (log2(x + 1) of counts per million, TPM, FPKM or RSEM) or ``raw``.
    reads
        Sum of the counts of each sample, shape (n_samples,), where a miRNA file holds counts; None elsewhere.
    """

    modality: str
    samples: tuple[SampleId, ...]
    features: tuple[str, ...]
    values: NDArray[np.float32]
    scale: str
    report: ContractReport
    reads: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class MutationSet:
    """Somatic mutations as sample/gene pairs, sorted and without repeats.

    Attributes
    ----------
    samples
        Every sample of the file; one without an encoded mutation stays, with no pair.
    genes
        Gene symbols.
    sample_index, gene_index, silent
        Parallel arrays, one entry per distinct (sample, gene, silent): positions in `samples` and `genes` (int32) and
        whether the variant leaves the protein as it is (bool).
    """

    samples: tuple[SampleId, ...]
    genes: tuple[str, ...]
    sample_index: NDArray[np.int32]
    gene_index: NDArray[np.int32]
    silent: NDArray[np.bool_]
    report: ContractReport
    modality: str = "mutation"


@dataclass(frozen=True, slots=True)
class TextSet:
    """Sentences of free-text reports; where a file names only patients, each stands for their own sample.

    Attributes
    ----------
    samples, items, texts
        Parallel, one entry per sentence in reading order: whose it is, its number within the sample (``0001``) and its
        words.
    """

    samples: tuple[SampleId, ...]
    items: tuple[str, ...]
    texts: tuple[str, ...]
    report: ContractReport
    modality: str = "report"


@dataclass(frozen=True, slots=True)
class TileSet:
    """Square pieces of slides or of ready image tiles; pixels stay in their files until they are asked for.

    Attributes
    ----------
    samples, items, digests
        Parallel, one entry per tile: whose it is; ``x,y`` of its upper left corner in pixels of the full-resolution
        slide, after the slide's name where a sample has several; hex SHA-256 of what its pixels depend on.
    pixels
        Gives the pixels of some rows: uint8 RGB, shape (n_rows, size, size, 3).
    size
        Edge of a tile in pixels.
    mpp
        Micrometres per pixel of the tiles, None where no file says.
    """

    samples: tuple[SampleId, ...]
    items: tuple[str, ...]
    digests: tuple[str, ...]
    pixels: Callable[[Sequence[int]], NDArray[np.uint8]]
    size: int
    mpp: float | None
    report: ContractReport
    modality: str = "tile"


@dataclass(frozen=True, slots=True)
class VectorSet:
    """Ready vectors of an encoder the user already has, brought to 768 dimensions.

    Attributes
    ----------
    items
        Which part of the sample a row is (tile position, sentence number); empty string for the whole sample.
    vectors
        float32, shape (n, 768).
    encoder
        Name of the space they belong to; carries the lift or reduction, so that differently made vectors never mix.
    """

    modality: str
    samples: tuple[SampleId, ...]
    items: tuple[str, ...]
    vectors: NDArray[np.float32]
    encoder: str
    report: ContractReport


@dataclass(frozen=True, slots=True)
class PatientTable:
    """Patient columns as they came: an Arrow table with a string column `patient`, one row each, missing as null."""

    table: pa.Table
    report: ContractReport


Records = FeatureMatrix | MutationSet | TextSet | TileSet | VectorSet


def items_of(records: Records) -> tuple[str, ...]:
    """Which part of its sample each row is; empty strings where a row is the whole sample."""
    if isinstance(records, TextSet | TileSet | VectorSet):
        return records.items
    return ("",) * len(records.samples)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of some samples in one space: what encoders give and the index stores.

    Attributes
    ----------
    vectors
        float32, shape (n, 768), finite.
    digests
        Hex SHA-256 of each input record, so that a repeated ingest is recognised row by row.
    """

    modality: str
    space: str
    samples: tuple[SampleId, ...]
    items: tuple[str, ...]
    vectors: NDArray[np.float32]
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How an answer was searched for.

    `recall` is 1.0 for exact search and what was measured when the generation was built otherwise; `rows` counts the
    vectors in play, `candidates` those scored exactly, `snapshot` the commit that was searched.
    """

    fusion: str
    method: str
    recall: float
    rows: int
    candidates: int
    snapshot: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored patient found by a query.

    `score` is a cosine in [-1, 1], or nats where the fusion is ``evidence``. `modalities` holds the best cosine in each
    shared modality; for ``evidence``, `probability` is that of being of the query's class, `nats` what each shared
    modality says of that beyond chance, and `brought_by` the one that says most.
    """

    rank: int
    patient: str
    score: float
    sample: str | None = None
    probability: float | None = None
    modalities: Mapping[str, float] = field(default_factory=dict)
    nats: Mapping[str, float] = field(default_factory=dict)
    brought_by: str | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """What the neighbours say of one label column.

    `share` is the label's part of the similarity-weighted vote, which is not a probability. `probability`, `set` (a
    conformal set at the rate `error`) and `unknown` stay None unless the evidence for the column has been learned;
    then `classes` holds probabilities, and `strangeness` is the share of stored patients who are less strange than the
    query. A query that is too strange is unknown and has no label. On a numeric column the label is the mean of the
    neighbours' values, and `interval` where the value lies but for a share `error` of queries.
    """

    column: str
    label: object | None
    share: float
    voters: int
    classes: Mapping[str, float]
    probability: float | None = None
    set: Sequence[str] | None = None
    unknown: bool | None = None
    error: float | None = None
    strangeness: float | None = None
    interval: tuple[float, float] | None = None
