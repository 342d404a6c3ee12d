"""A reference made again on landmark genes: one modality encoded from these alone, all else as it was.

The network is of the kind that the reference has, fitted to the landmark genes of the samples it holds; vectors and
encoders of the other modalities, patients, their columns and the gene table are carried over. Predictions, maps and
records of ingests are not: they belong to the vectors there were. How to fuse is learned anew where the reference had
learned it.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.choice import ModelChoice, metric_named
from molsig.encoders.features import positions
from molsig.errors import InputError, LockedError, UsageError
from molsig.index.lock import WRITER_LOCK, writer_lock
from molsig.index.store import Store
from molsig.reference.committing import commit_records
from molsig.reference.encoding import ReadyVectors, install_encoder
from molsig.reference.measured import check_label, labels_of, matrix_encoder
from molsig.types import ContractReport, SampleId, VectorSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.encoders.encoder import Encoder
    from molsig.index.writer import Writer
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.types import FeatureMatrix, Progress, Records

LABEL = "cancer_type"
"""Patient column that a network which needs one learns from, unless another is named."""

_NETWORKS = {"ae": "autoencoder"}

_COMMAND = "molsig landmarks --rebuild"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reference takes.

    Attributes
    ----------
    genes
        That its encoder is given.
    read, encode
        Seconds for a Parquet file of the same samples with the genes that can be landmarks, or with the landmarks.
    file_bytes
        Of that file.
    database, indexes, encoders, other
        Bytes on disk by part.
    """

    genes: int
    samples: int
    read: float
    encode: float
    file_bytes: int
    database: int
    indexes: int
    encoders: int
    other: int

    @property
    def total(self) -> int:
        """Bytes of the reference on disk."""
        return self.database + self.indexes + self.encoders + self.other


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A reference on landmark genes, beside the one it was made of."""

    path: Path
    modality: str
    encoder: str
    landmarks: int
    before: Cost
    after: Cost

    def to_dict(self) -> dict[str, Any]:
        """Stable keys for `--json`."""
        return {
            "path": str(self.path),
            "modality": self.modality,
            "encoder": self.encoder,
            "landmarks": self.landmarks,
            "before": asdict(self.before) | {"total": self.before.total},
            "after": asdict(self.after) | {"total": self.after.total},
        }


class _Carried(ReadyVectors):
    """Vectors of another reference with the hashes of what they were made of, so that their files are recognised."""

    def __init__(self, records: VectorSet, digests: tuple[str, ...]) -> None:
        super().__init__(records)
        self._digests = digests

    def digests(self, records: Records) -> tuple[str, ...]:
        return self._digests


def check_target(path: Path) -> None:
    """Raise `UsageError` where no reference can be made."""
    if path.exists():
        raise UsageError(f"{path}: there is something already; name a reference to make")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")


def rebuild(
    store: Store,
    path: Path,
    matrix: FeatureMatrix,
    candidates: Sequence[str],
    landmarks: Sequence[str],
    *,
    label: str | None,
    seed: int,
    epochs: int | None,
    device: str,
    shelf: EncoderShelf,
    progress: Progress,
) -> Rebuilt:
    """Make a reference at `path` whose encoder of the matrix's modality knows the landmarks alone.

    It appears under its name when it is whole; what a killed run left beside it is removed by the next one.

    Parameters
    ----------
    matrix
        Measurements of every stored sample of the modality.
    candidates
        All genes that could have been landmarks, for the comparison of costs.
    label
        Patient column that a network which needs one learns from; ``cancer_type`` by default.

    Raises
    ------
    UsageError
        There is something at `path`, or no such column.
    InputError
        Stored samples are not in the file.
    """
    from molsig.encoders.encoder import fit_encoder

    check_target(path)
    if label is not None:
        check_label(store, label)
    modality = matrix.modality
    old = matrix_encoder(store, modality, None, device, shelf)
    full = _stored_samples(store, matrix, old.space)
    few = _columns(full, landmarks)
    network = old.card.name.removeprefix(f"{modality}-")
    network = _NETWORKS.get(network, network)
    labels = None
    if metric_named(network):
        labels = list(labels_of(store, few.samples, label or LABEL))
    encoder = fit_encoder(
        few,
        seed=seed,
        epochs=epochs,
        device=device,
        labels=labels,
        choice=ModelChoice(networks={modality: network}),
        progress=progress,
    )
    _clear(path)
    folder = tempfile.TemporaryDirectory(prefix=_prefix(path), dir=path.absolute().parent)
    with folder as scratch, writer_lock(Path(scratch), _COMMAND):
        made = Path(scratch) / path.name
        _write(store, made, few, encoder, progress)
        before = _cost(store.path, _columns(full, candidates), old, Path(scratch))
        after = _cost(made, few, encoder, Path(scratch))
        made.rename(path)
    return Rebuilt(path, modality, encoder.space, len(landmarks), before, after)


def _prefix(path: Path) -> str:
    return f".{path.name}-rebuild-"


def _clear(path: Path) -> None:
    """Remove what killed rebuilds of this reference left behind: patients' vectors that nobody would look for."""
    for one in path.absolute().parent.iterdir():
        if one.name.startswith(_prefix(path)) and (one / WRITER_LOCK).is_file():
            try:
                with writer_lock(one, _COMMAND):
                    shutil.rmtree(one)
            except (LockedError, UsageError):
                continue  # It is being made at this moment, or somebody else's.


def _write(store: Store, path: Path, few: FeatureMatrix, encoder: Encoder, progress: Progress) -> None:
    """The reference itself."""
    from molsig.reference.learning import learn
    from molsig.retrieval.learned import load_all

    fresh = Store.create(path)
    records: list[Records] = []
    encoders: list[Encoder | ReadyVectors] = []
    with fresh.writer("rebuild", progress=progress) as writer:
        if (genes := store.genes()) is not None:
            writer.put_genes(genes)
        writer.put_patients(store.attributes(store.patient_ids()))
        for modality, space in store.active_spaces().items():
            if modality != few.modality:
                carried = _carried(store, writer, modality, space)
                records.append(carried[0])
                encoders.append(carried[1])
        install_encoder(fresh, writer, encoder)
        commit_records(
            fresh, writer, [*records, few], [*encoders, encoder], replace=False, allow_missing=True, progress=progress
        )
        writer.build_indexes(progress=progress)
        writer.checkpoint()
    columns = fresh.columns()
    for one in load_all(store.path)[0]:
        if one.label is None or one.label in columns:
            groups = one.groups if one.groups in columns else None
            learn(fresh, label=one.label, groups=groups, seed=one.seed, progress=progress)


def _carried(store: Store, writer: Writer, modality: str, space: str) -> tuple[VectorSet, _Carried]:
    """Vectors of a space as they are, their encoder entered and its folder copied."""
    row = next(one for one in store.encoders() if one.space == space)
    folder = store.encoders_dir / space
    if folder.is_dir():
        shutil.copytree(folder, writer.store.encoders_dir / space)
    writer.put_encoder(space, modality, row.name, row.card, row.files_sha256)
    rows = store.rows(space)
    _, vectors = store.vectors(space, rows["id"].to_numpy())
    samples, items = rows["sample"].to_pylist(), rows["item"].to_pylist()
    kept = store.stored(space)
    names = zip(kept["sample"].to_pylist(), kept["item"].to_pylist(), strict=True)
    digest_of = dict(zip(names, kept["digest"].to_pylist(), strict=True))
    whose = tuple(
        SampleId(*one) for one in zip(samples, rows["patient"].to_pylist(), rows["kind"].to_pylist(), strict=True)
    )
    report = ContractReport(
        str(store.path), modality, len(whose), len(set(samples)), len({one.patient for one in whose})
    )
    carried = VectorSet(modality, whose, tuple(items), vectors, space, report)
    return carried, _Carried(carried, tuple(digest_of[one] for one in zip(samples, items, strict=True)))


def _stored_samples(store: Store, matrix: FeatureMatrix, space: str) -> FeatureMatrix:
    """The samples of a space, in the order of the file."""
    stored = set(store.stored(space)["sample"].to_pylist())
    if lacking := sorted(stored - {one.sample for one in matrix.samples}):
        raise InputError(
            f"{len(lacking):,} stored samples of {matrix.modality} are not in the file, the first is {lacking[0]}: "
            "they would have no vector",
            file=matrix.report.file,
            hint="Give a file with every stored sample",
        )
    rows = [row for row, one in enumerate(matrix.samples) if one.sample in stored]
    return replace(matrix, samples=tuple(matrix.samples[row] for row in rows), values=matrix.values[rows], reads=None)


def _columns(matrix: FeatureMatrix, names: Sequence[str]) -> FeatureMatrix:
    values = np.ascontiguousarray(matrix.values[:, positions(matrix.features, names)])
    return replace(matrix, features=tuple(names), values=values)


def _cost(reference: Path, matrix: FeatureMatrix, encoder: Encoder, scratch: Path) -> Cost:
    """Bytes of a reference by part, and the time that its encoder takes for a file of these samples."""
    import pyarrow as pa
    from pyarrow import parquet

    from molsig.ingest.expression import read_expression

    file = scratch / f"{len(matrix.features)}.parquet"
    columns = {"sample": pa.array([one.sample for one in matrix.samples])}
    columns |= {name: pa.array(matrix.values[:, i]) for i, name in enumerate(matrix.features)}
    parquet.write_table(pa.table(columns), file)
    table = scratch / "samples.csv"
    with table.open("w", encoding="utf-8", newline="") as lines:
        written = csv.writer(lines)
        written.writerow(("sample", "patient", "kind"))
        written.writerows((one.sample, one.patient, one.kind) for one in matrix.samples)
    start = time.perf_counter()
    read_expression(
        file, modality=matrix.modality, scale="raw" if matrix.scale == "raw" else "log2", sample_table=table
    )
    middle = time.perf_counter()
    encoder.encode(matrix, allow_missing=True)
    end = time.perf_counter()
    parts = {"database": 0, "indexes": 0, "encoders": 0, "other": 0}
    for one in reference.rglob("*"):
        if one.is_file():
            top = one.relative_to(reference).parts[0]
            name = {"index": "indexes", "encoders": "encoders"}.get(top, "database" if "duckdb" in top else "other")
            parts[name] += one.stat().st_size
    return Cost(
        genes=encoder.card.n_features,
        samples=len(matrix.samples),
        read=round(middle - start, 3),
        encode=round(end - middle, 3),
        file_bytes=file.stat().st_size,
        **parts,
    )
