"""A small simulated multimodal cohort, for the demo and the tests. Every value in it is invented.

The generator, so that a reader knows what the demo can and cannot show:

* **Types.** Eight made-up tumour types, patients spread over them and over `n_sites` submitting sites.
* **RNA and miRNA counts.** Each type switches on its own expression programme: a random tenth of the features is
  shifted by a log-normal fold change. A patient expresses the programme in proportion to tumour purity
  (beta-distributed), adds a personal and a site effect per feature, and is sequenced to a log-normal library size.
  Counts are negative binomial with a dispersion that falls with the mean, as in bulk RNA-seq.
* **Mutations.** Each type has a few drivers, mutated with probabilities between .15 and .7; every other gene is
  mutated at a background rate set by the patient's own log-normal mutational burden. A quarter of the variants is
  silent.
* **Missing assays.** Each assay is absent at random; every patient keeps at least one. Some ages and stages are
  missing.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TYPES = ("ALDR", "BIRC", "CEDR", "ELMS", "FIRS", "HAZL", "LIND", "MAPL")
"""Names of the simulated types; none is the code of a real tumour."""

_ASSAYS = {"rna": 0.9, "mutation": 0.8, "mirna": 0.6}
_DRIVERS_PER_TYPE = 4
_CODING = ("Missense_Mutation", "Nonsense_Mutation", "Frame_Shift_Del", "Splice_Site")


@dataclass(frozen=True, slots=True)
class SimulatedCohort:
    """Files of one simulated cohort.

    `new` holds the same kinds of file for patients that are not in the cohort, and `truth` their types.
    """

    rna: Path
    mutations: Path
    mirna: Path
    clinical: Path
    new_rna: Path
    new_mutations: Path
    truth: dict[str, str]


def simulate_cohort(
    folder: Path,
    *,
    patients: int = 400,
    new_patients: int = 40,
    genes: int = 800,
    mirnas: int = 200,
    n_sites: int = 12,
    seed: int = 0,
) -> SimulatedCohort:
    """Write a simulated cohort into `folder` and return where its files are.

    Parameters
    ----------
    folder
        Existing folder; files of the same names are overwritten.
    patients, new_patients
        People in the cohort, and people held back as new samples (RNA and mutations only).
    genes, mirnas
        Features of the RNA and miRNA assays; mutations fall on the same genes.
    n_sites
        Submitting sites, each with its own small batch effect.
    seed
        Same seed, same files.
    """
    rng = np.random.default_rng(seed)
    n = patients + new_patients
    kind = rng.permutation(np.arange(n) % len(TYPES))
    site = rng.integers(n_sites, size=n)
    purity = rng.beta(6, 3, size=n)
    ids = [f"SIM-{site[i]:02d}-{i:04d}" for i in range(n)]
    gene_names = [f"SIMG{g:04d}" for g in range(genes)]
    mirna_names = [f"hsa-mir-9{m:03d}" for m in range(mirnas)]

    rna = _counts(rng, kind, site, purity, genes, depth=2e6)
    mirna = _counts(rng, kind, site, purity, mirnas, depth=4e6)
    variants = _mutations(rng, kind, genes)

    has = {assay: rng.random(n) < share for assay, share in _ASSAYS.items()}
    has["rna"] |= ~(has["mutation"] | has["mirna"])
    has["rna"][patients:] = True
    has["mutation"][patients:] = True
    old, new = np.arange(patients), np.arange(patients, n)

    def pick(rows: NDArray[np.int64], assay: str) -> list[int]:
        return [int(i) for i in rows if has[assay][i]]

    cohort = SimulatedCohort(
        rna=folder / "rna_counts.tsv.gz",
        mutations=folder / "mutations.maf.gz",
        mirna=folder / "mirna_counts.tsv.gz",
        clinical=folder / "clinical.tsv",
        new_rna=folder / "new_rna_counts.tsv.gz",
        new_mutations=folder / "new_mutations.maf.gz",
        truth={ids[i]: TYPES[kind[i]] for i in new},
    )
    _write_counts(cohort.rna, pick(old, "rna"), ids, gene_names, rna)
    _write_counts(cohort.mirna, pick(old, "mirna"), ids, mirna_names, mirna)
    _write_counts(cohort.new_rna, pick(new, "rna"), ids, gene_names, rna)
    _write_maf(cohort.mutations, pick(old, "mutation"), ids, gene_names, variants, rng)
    _write_maf(cohort.new_mutations, pick(new, "mutation"), ids, gene_names, variants, rng)
    _write_clinical(cohort.clinical, old, ids, kind, site, rng)
    return cohort


def _counts(
    rng: np.random.Generator,
    kind: NDArray[np.int64],
    site: NDArray[np.int64],
    purity: NDArray[np.float64],
    features: int,
    depth: float,
) -> NDArray[np.int64]:
    """Negative-binomial counts, shape (patients, features)."""
    n = len(kind)
    base = rng.normal(0.0, 2.0, size=features)
    on = rng.random((len(TYPES), features)) < 0.1
    programme = np.where(on, rng.normal(0.0, 1.6, size=on.shape), 0.0)
    batch = rng.normal(0.0, 0.25, size=(int(site.max()) + 1, features))
    log_mean = base + purity[:, None] * programme[kind] + batch[site] + rng.normal(0.0, 0.4, size=(n, features))
    share = np.exp(log_mean)
    share /= share.sum(axis=1, keepdims=True)
    mean = share * (depth * rng.lognormal(0.0, 0.3, size=n))[:, None]
    shape = 1.0 / (0.05 + 1.0 / np.sqrt(mean + 1.0))
    return rng.poisson(rng.gamma(shape, mean / shape))


def _mutations(rng: np.random.Generator, kind: NDArray[np.int64], genes: int) -> NDArray[np.bool_]:
    """Which genes are mutated, shape (patients, genes)."""
    rate = np.clip(rng.lognormal(-4.3, 0.9, size=len(kind)), 0.0, 0.2)
    chance = np.repeat(rate[:, None], genes, axis=1)
    for t in range(len(TYPES)):
        drivers = rng.choice(genes, _DRIVERS_PER_TYPE, replace=False)
        chance[np.ix_(kind == t, drivers)] = rng.uniform(0.15, 0.7, size=_DRIVERS_PER_TYPE)
    return rng.random(chance.shape) < chance


def _write_counts(path: Path, rows: list[int], ids: list[str], features: list[str], counts: NDArray[np.int64]) -> None:
    with gzip.open(path, "wt", newline="", compresslevel=1) as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["sample", "patient", *features])
        writer.writerows([f"{ids[i]}-T", ids[i], *counts[i].tolist()] for i in rows)


def _write_maf(
    path: Path, rows: list[int], ids: list[str], genes: list[str], mutated: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    with gzip.open(path, "wt", newline="", compresslevel=1) as file:
        file.write("#version 2.4 (simulated)\n")
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["Hugo_Symbol", "Variant_Classification", "Tumor_Sample_Barcode"])
        for i in rows:
            for g in np.flatnonzero(mutated[i]):
                effect = "Silent" if rng.random() < 0.25 else _CODING[rng.integers(len(_CODING))]
                writer.writerow([genes[g], effect, ids[i]])


def _write_clinical(
    path: Path,
    rows: NDArray[np.int64],
    ids: list[str],
    kind: NDArray[np.int64],
    site: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["patient", "cancer_type", "site", "sex", "age", "stage"])
        for i in rows:
            age = "" if rng.random() < 0.05 else str(int(np.clip(rng.normal(62, 12), 18, 95)))
            stage = "" if rng.random() < 0.1 else str(rng.choice(["I", "II", "III", "IV"], p=[0.35, 0.25, 0.25, 0.15]))
            sex = str(rng.choice(["female", "male"]))
            writer.writerow([ids[i], TYPES[kind[i]], f"S{site[i]:02d}", sex, age, stage])
