"""Files given once more to explain a pair of patients by: what was measured, written or photographed of either."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.types import PatientTable, TextSet, TileSet

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.types import MutationSet, Progress, Records

FEWEST_SAMPLES = 20
"""Below so many samples a file does not tell how often a gene is mutated."""


@dataclass(frozen=True, eq=False)
class Files:
    """Records by modality: those given first, and those of further files for the hit."""

    given: Mapping[str, Records]
    more: Mapping[str, Records]

    @classmethod
    def read(
        cls,
        store: Store,
        cohort: Cohort,
        more: Cohort | None,
        modalities: Collection[str] | None,
        only: Collection[str] | None,
        progress: Progress,
    ) -> Files:
        """Read both cohorts, all of them or some modalities; of reports those of `only` some patients, or all.

        Raises
        ------
        UsageError
            Two files of one cohort give the same modality.
        """
        read = [{} if one is None else _records(store, one, modalities, only, progress) for one in (cohort, more)]
        return cls(*read)

    def patients(self) -> tuple[str, ...]:
        """Patients of the files given first, sorted."""
        return tuple(sorted({one.patient for records in self.given.values() for one in records.samples}))

    def rows(self, modality: str, patient: str, kinds: Collection[str]) -> tuple[Records, list[int]] | None:
        """Rows of a patient in the files given first; None if they hold none."""
        return _rows(self.given.get(modality), patient, kinds)

    def row_of(self, modality: str, patient: str, sample: str, kinds: Collection[str]) -> tuple[Records, int] | None:
        """Where a sample of a patient is measured, or another one of theirs; None if no file has it."""
        found = [_rows(held.get(modality), patient, kinds) for held in (self.given, self.more)]
        there = [one for one in found if one is not None]
        if not there:
            return None
        for records, rows in there:
            for row in rows:
                if records.samples[row].sample == sample:
                    return records, row
        return there[0][0], there[0][1][0]

    def named(self, modality: str) -> str:
        """Names of the files of a modality; empty where there is none."""
        held = (self.given.get(modality), self.more.get(modality))
        return " and ".join(one.report.file for one in held if one is not None)

    def items(self, modality: str) -> dict[tuple[str, str], tuple[TextSet | TileSet, int]]:
        """Sentences or tiles by sample and item."""
        found: dict[tuple[str, str], tuple[TextSet | TileSet, int]] = {}
        for records in (self.more.get(modality), self.given.get(modality)):
            if isinstance(records, TextSet | TileSet):
                pairs = zip(records.samples, records.items, strict=True)
                found |= {(one.sample, item): (records, row) for row, (one, item) in enumerate(pairs)}
        return found


def _records(
    store: Store,
    cohort: Cohort,
    modalities: Collection[str] | None,
    only: Collection[str] | None,
    progress: Progress,
) -> dict[str, Records]:
    from molsig.ingest.cohort import load
    from molsig.reference.encoding import gene_map, unique_modalities

    genes = gene_map(store, cohort)
    loaded: list[Records | PatientTable] = []
    for source in cohort.sources():
        if modalities is not None and source.modality not in modalities:
            continue
        if source.kind == "report" and only is not None:
            from molsig.ingest.reports import read_reports

            loaded.append(read_reports(source.path, patients=only, progress=progress, **source.options))
        else:
            loaded.append(load(source, genes=genes, progress=progress))
    unique_modalities(loaded)
    return {one.report.modality: one for one in loaded if not isinstance(one, PatientTable)}


def _rows(records: Records | None, patient: str, kinds: Collection[str]) -> tuple[Records, list[int]] | None:
    if records is None:
        return None
    rows = [row for row, one in enumerate(records.samples) if one.patient == patient and one.kind in kinds]
    return (records, rows) if rows else None


def altered(mutations: MutationSet, row: int, include_silent: bool) -> set[str]:
    """Genes mutated in a sample."""
    own = (mutations.sample_index == row) & (include_silent | ~mutations.silent)
    return {mutations.genes[gene] for gene in mutations.gene_index[own].tolist()}


def frequencies(mutations: MutationSet, genes: Sequence[str], include_silent: bool) -> dict[str, float]:
    """Share of the samples in which each of some genes is mutated; none where there are too few samples."""
    if len(mutations.samples) < FEWEST_SAMPLES:
        return {}
    place = {gene: number for number, gene in enumerate(mutations.genes)}
    counted = include_silent | ~mutations.silent
    wanted = {place[gene]: gene for gene in genes if gene in place}
    some = counted & np.isin(mutations.gene_index, list(wanted))
    pairs = set(zip(mutations.gene_index[some].tolist(), mutations.sample_index[some].tolist(), strict=True))
    counts = Counter(gene for gene, _ in pairs)
    return {gene: counts[number] / len(mutations.samples) for number, gene in wanted.items()}


def picture(tiles: TileSet, row: int) -> bytes:
    """A tile as PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(tiles.pixels([row])[0]).save(out, "PNG")
    return out.getvalue()
