"""The encoder of somatic mutations around the network of `mutation_vae`: which genes are mutated, embed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders import forward
from molsig.encoders.disk import ENCODED
from molsig.encoders.encoder import LOWEST_COVERAGE
from molsig.encoders.features import positions
from molsig.encoders.network import NetworkEncoder
from molsig.errors import CoverageError, DamagedError, InputError, UsageError
from molsig.types import MutationSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.disk import Contents
    from molsig.encoders.encoder import Rows
    from molsig.types import ContractReport, Progress, Records

VERSION = 1

MOST_GENES = 500
"""Most genes of the vocabulary; of more, those mutated in most patients are kept."""

FEWEST_PATIENTS = 3
"""Patients in whom a gene must be mutated to be in the vocabulary."""

RARE = f"mutated in fewer than {FEWEST_PATIENTS} patients"
BEYOND = f"mutated in fewer patients than the {MOST_GENES} kept"

FEWEST_SAMPLES = 3
MANY_UNKNOWN = 5
"""Unknown genes from which on their share decides; in fewer, a new symbol or two say nothing about the file."""


@dataclass(frozen=True, slots=True)
class MutatedGenes:
    """The mutated genes of each sample, compressed by row.

    Attributes
    ----------
    starts
        Shape (n_samples + 1,): the genes of sample i are ``genes[starts[i]:starts[i + 1]]``.
    genes
        Positions in `MutationSet.genes`, ascending within a sample and without repeats.
    """

    starts: NDArray[np.int64]
    genes: NDArray[np.int64]

    @classmethod
    def of(cls, mutations: MutationSet, include_silent: bool) -> MutatedGenes:
        """Collect the pairs that count."""
        counted = np.ones(len(mutations.silent), dtype=bool) if include_silent else ~mutations.silent
        pairs = mutations.sample_index[counted].astype(np.int64) * max(1, len(mutations.genes))
        pairs = np.sort(pairs + mutations.gene_index[counted])
        # Pairs come in order, nearly: several times as fast as `numpy.unique`, which hashes.
        pairs = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))]
        sample, gene = np.divmod(pairs, max(1, len(mutations.genes)))
        return cls(np.searchsorted(sample, np.arange(len(mutations.samples) + 1)), gene)

    def row(self, sample: int) -> NDArray[np.int64]:
        """Genes of one sample."""
        return self.genes[self.starts[sample] : self.starts[sample + 1]]

    def dense(self, rows: Rows, column_of: NDArray[np.int64], width: int) -> NDArray[np.float32]:
        """Indicator matrix of some samples, (n_rows, width); `column_of` a gene is -1 where it is not encoded."""
        out = np.zeros((len(rows), width), dtype=np.float32)
        for i, row in enumerate(rows):
            columns = column_of[self.row(int(row))]
            out[i, columns[columns >= 0]] = 1.0
        return out


class MutationEncoder(NetworkEncoder):
    """Encoder of a `MutationSet`.

    A gene that a sample's file does not name counts as not mutated: nothing in the file tells it from one that was not
    sequenced. What can be told is whether the file speaks of the same genes. The encoder remembers every gene name of
    its fit, encoded or not. A sample of whose mutated genes it knows less than 80 % is refused where five or more are
    unknown, or none is known and the file as a whole is as strange: another id type or annotation would otherwise pass
    for a tumour without mutations.
    """

    def __init__(self, contents: Contents, device: str = "auto") -> None:
        super().__init__(contents, device)
        first = contents.tensors.get("net.hidden.0.weight")
        if first is None or first.ndim != 2 or first.shape[1] != contents.card.n_features:
            raise DamagedError(f"the weights of {self.space} do not fit its {contents.card.n_features} genes")
        self._include_silent = bool(contents.card.hyperparameters["include_silent"])
        self._column = {name: i for i, name in enumerate(self.features)}
        self._seen: tuple[MutationSet, MutatedGenes, NDArray[np.int64]] | None = None

    def contract(self, records: Records) -> ContractReport:
        mutations, genes, column_of = self._prepare(records)
        named = np.unique(genes.genes)
        known = self._known(mutations)[named]
        notes, warnings = list(mutations.report.notes), list(mutations.report.warnings)
        encoded = np.add.reduceat(np.append(column_of[genes.genes] >= 0, False).astype(np.int64), genes.starts[:-1])
        empty = int((np.where(np.diff(genes.starts) > 0, encoded, 0) == 0).sum())
        if empty:
            notes.append(f"{empty} samples without an encoded mutation get the vector of an empty profile")
        if not known.all():
            unknown = [mutations.genes[i] for i in named[~known]]
            text = f"{len(unknown)} of {len(named)} mutated genes are unknown to {self.space}: {', '.join(unknown[:5])}"
            (warnings if known.mean() < LOWEST_COVERAGE else notes).append(text)
        matched = int((column_of[named] >= 0).sum())
        return replace(
            mutations.report,
            matched=matched,
            missing=len(self.features) - matched,
            notes=tuple(notes),
            warnings=tuple(warnings),
        )

    def _prepare(self, records: Records) -> tuple[MutationSet, MutatedGenes, NDArray[np.int64]]:
        """Compressed rows and each gene's column; kept, for a file is encoded a few patients at a time."""
        self._check_modality(records)
        if not isinstance(records, MutationSet):
            raise UsageError(f"{self.space} encodes mutations, not {type(records).__name__}")
        if self._seen is None or self._seen[0] is not records:
            column_of = positions(self.features, records.genes)
            self._seen = (records, MutatedGenes.of(records, self._include_silent), column_of)
        return self._seen

    def _known(self, mutations: MutationSet) -> NDArray[np.bool_]:
        uses = self._contents.uses
        return np.fromiter((gene in uses for gene in mutations.genes), dtype=bool, count=len(mutations.genes))

    def _check_coverage(self, records: Records, rows: Rows, allow_missing: bool) -> None:
        if allow_missing:
            return
        mutations, genes, _ = self._prepare(records)
        known = self._known(mutations)
        named_anywhere = np.unique(genes.genes)
        strange_file = len(named_anywhere) > 0 and known[named_anywhere].mean() < LOWEST_COVERAGE
        for row in rows:
            named = genes.row(int(row))
            met = int(known[named].sum())
            unknown = len(named) - met
            if met < LOWEST_COVERAGE * len(named) and (unknown >= MANY_UNKNOWN or (met == 0 and strange_file)):
                names = [mutations.genes[i] for i in named[~known[named]]]
                raise CoverageError(
                    f"{self.space} knows {met} of the {len(named)} mutated genes of sample "
                    f"{mutations.samples[row].sample} ({met / len(named):.0%}, at least {LOWEST_COVERAGE:.0%} needed); "
                    f"unknown: {', '.join(names[:5])}" + (f" and {unknown - 5} more" if unknown > 5 else ""),
                    file=mutations.report.file,
                    column=names[0],
                    hint="Check that genes are given as symbols, or allow missing features to encode it all the same",
                )

    def _digest(self, records: Records, rows: Rows) -> Iterator[str]:
        _, genes, column_of = self._prepare(records)
        for row in rows:
            columns = column_of[genes.row(int(row))]
            yield hashlib.sha256(np.sort(columns[columns >= 0]).astype("<i4").tobytes()).hexdigest()

    def _inputs(self, records: Records, rows: Rows) -> NDArray[np.float32]:
        _, genes, column_of = self._prepare(records)
        return genes.dense(rows, column_of, len(self.features))

    def _embed_few(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return forward.mutation(self._network_weights(), inputs)

    def _build(self) -> Any:
        from molsig.encoders.mutation_vae import MutationVAE

        return MutationVAE(len(self.features), hidden=self.card.architecture["hidden"])


def fit_mutation(
    mutations: MutationSet,
    *,
    seed: int,
    epochs: int | None,
    device: str,
    include_silent: bool,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> MutationEncoder:
    """Fit a mutation VAE; see `molsig.encoders.encoder.fit_encoder`."""
    import torch

    from molsig.encoders.fitting import Job, fit
    from molsig.encoders.mutation_vae import BETA, EPOCHS, HIDDEN, MutationVAE
    from molsig.encoders.training import Settings

    if len(mutations.samples) < FEWEST_SAMPLES:
        raise InputError(
            f"an encoder needs at least {FEWEST_SAMPLES} samples, there are {len(mutations.samples)}",
            file=mutations.report.file,
        )
    genes = MutatedGenes.of(mutations, include_silent)
    uses = choose_genes(mutations, genes)
    encoded = [name for name, use in uses.items() if use == ENCODED]
    column_of = positions(encoded, mutations.genes)
    hits = np.bincount(column_of[genes.genes][column_of[genes.genes] >= 0], minlength=len(encoded))
    frequency = torch.from_numpy(hits / len(mutations.samples)).float()
    job = Job(
        name=f"{mutations.modality}-vae",
        version=VERSION,
        modality=mutations.modality,
        scale="binary",
        samples=mutations.samples,
        inputs=lambda some: genes.dense(some, column_of, len(encoded)),
        uses=uses,
        around={},
        architecture={"hidden": HIDDEN},
        hyperparameters={
            "include_silent": include_silent,
            "most_genes": MOST_GENES,
            "fewest_patients": FEWEST_PATIENTS,
        },
    )
    contents = fit(
        lambda: MutationVAE(len(encoded), frequency),
        job,
        Settings(epochs=epochs or EPOCHS, batch_size=256, beta=BETA),
        seed=seed,
        device=device,
        validation_groups=validation_groups,
        progress=progress,
    )
    return MutationEncoder(contents, device)


def choose_genes(mutations: MutationSet, genes: MutatedGenes) -> dict[str, str]:
    """Say of every gene of a cohort whether it is in the vocabulary or why not.

    Raises
    ------
    InputError
        No gene is mutated in enough patients.
    """
    names = sorted({one.patient for one in mutations.samples})
    number = {name: i for i, name in enumerate(names)}
    patient = np.array([number[one.patient] for one in mutations.samples], dtype=np.int64)
    of_pair = np.repeat(patient, np.diff(genes.starts))
    width = max(1, len(mutations.genes))
    distinct = np.unique(of_pair * width + genes.genes)
    patients = np.bincount(distinct % width, minlength=width)
    common = np.flatnonzero(patients >= FEWEST_PATIENTS)
    if len(common) < 2:
        raise InputError(
            f"fewer than two genes are mutated in at least {FEWEST_PATIENTS} of the {len(names)} patients",
            file=mutations.report.file,
            hint="An encoder is fitted to a cohort; to query single patients, use one that was fitted before",
        )
    ranked = common[np.argsort(-patients[common], kind="stable")]
    use = np.full(len(mutations.genes), RARE, dtype=object)
    use[ranked] = BEYOND
    use[ranked[:MOST_GENES]] = ENCODED
    return dict(zip(mutations.genes, use.tolist(), strict=True))
