"""A cohort without end whose every value follows from the number of its batch, so that parent and child agree on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from molsig.types import DIM, Encoded, SampleId

PATIENTS = 6
"""Patients of a batch; all records of a patient are in one batch."""

SPACES = {"rna": "rna-crash", "mutation": "mutation-crash"}

BULK_SPACE = "tile-crash"
BULK_PATIENTS = 3
BULK_TILES = 6_000
"""Tiles of each patient of a bulk commit, so that it spans several row groups of the file."""


@dataclass(frozen=True)
class Batch:
    """What one commit stores."""

    number: int

    @property
    def patients(self) -> list[str]:
        return [f"P{self.number:05d}-{place}" for place in range(PATIENTS)]

    def encoded(self) -> list[Encoded]:
        """RNA of a tumour and, for every other patient, of adjacent normal tissue; mutations of two in three."""
        random = np.random.default_rng(self.number)
        rna = [SampleId(f"{patient}-01", patient) for patient in self.patients]
        rna += [SampleId(f"{patient}-11", patient, "normal") for patient in self.patients[::2]]
        mutation = [SampleId(f"{patient}-01", patient) for place, patient in enumerate(self.patients) if place % 3]
        return [_encoded(random, "rna", rna), _encoded(random, "mutation", mutation)]

    def columns(self) -> pa.Table:
        """A column that all patients have and one that is the batch's own for a while."""
        return pa.table(
            {
                "patient": self.patients,
                "age": [40 + place for place in range(PATIENTS)],
                f"column {self.number % 7}": ["x"] * PATIENTS,
            }
        )

    def records(self) -> set[tuple[str, str]]:
        """(space, sample) of everything it stores."""
        return {(part.space, sample.sample) for part in self.encoded() for sample in part.samples}

    def sums(self) -> dict[str, np.ndarray]:
        """The aggregate of each patient: tumour vectors only, summed in float64 in the order of their spaces."""
        totals = {patient: np.zeros(DIM) for patient in self.patients}
        for part in sorted(self.encoded(), key=lambda part: part.space):
            for sample, vector in zip(part.samples, part.vectors, strict=True):
                if sample.kind != "normal":
                    totals[sample.patient] += vector
        return {patient: total.astype(np.float32) for patient, total in totals.items()}


def bulk(number: int) -> Encoded:
    """Tiles by the thousand."""
    patients = [f"B{number:05d}-{place}" for place in range(BULK_PATIENTS)]
    samples = [SampleId(f"{patient}-01", patient) for patient in patients]
    rows = BULK_PATIENTS * BULK_TILES
    return Encoded(
        "tile",
        BULK_SPACE,
        tuple(samples[row // BULK_TILES] for row in range(rows)),
        tuple(f"{row % BULK_TILES:05d}" for row in range(rows)),
        np.random.default_rng(number).standard_normal((rows, DIM), dtype=np.float32),
        tuple(f"{number}:{row}" for row in range(rows)),
    )


def bulk_sums(number: int) -> dict[str, np.ndarray]:
    """The aggregate of each patient of a bulk commit."""
    given = bulk(number)
    parts = given.vectors.reshape(BULK_PATIENTS, BULK_TILES, DIM)
    totals = parts.sum(axis=1, dtype=np.float64).astype(np.float32)
    return {given.samples[place * BULK_TILES].patient: total for place, total in enumerate(totals)}


def _encoded(random: np.random.Generator, modality: str, samples: list[SampleId]) -> Encoded:
    vectors = random.standard_normal((len(samples), DIM), dtype=np.float32)
    digests = tuple(f"{modality}:{sample.sample}" for sample in samples)
    return Encoded(modality, SPACES[modality], tuple(samples), ("",) * len(samples), vectors, digests)
