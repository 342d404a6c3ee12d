"""Tumour mutational burden of patients, as patient columns.

As in "Aggregating multimodal cancer data across unaligned embedding spaces maintains tumor of origin signal"
(doi:10.1101/2025.05.14.653900, Tumor Mutational Burden Calculation): mutated genes of the gene-by-patient matrix over
30 megabases; high from 0.5 on, low below, and a class of its own where no gene is mutated. It counts genes, not
variants, and does not know what was sequenced, so it is no clinical TMB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from molsig.types import MutationSet

EXOME_MEGABASES = 30.0
HIGH = 0.5
COLUMNS = ("mutated_genes", "tmb", "tmb_class")


def mutational_burden(mutations: MutationSet, *, include_silent: bool = False) -> pa.Table:
    """Burden of each patient over all their samples but normal ones.

    Returns
    -------
    pyarrow.Table
        ``patient``, ``mutated_genes`` (count), ``tmb`` (mutated genes per megabase) and ``tmb_class`` (``high``,
        ``low``, ``none``), one row per patient, sorted.
    """
    tumour = np.fromiter((one.kind != "normal" for one in mutations.samples), bool, len(mutations.samples))
    patients = sorted({one.patient for one in mutations.samples if one.kind != "normal"})
    number = {name: i for i, name in enumerate(patients)}
    patient_of = np.array([number.get(one.patient, -1) for one in mutations.samples], dtype=np.int64)
    counted = tumour[mutations.sample_index]
    if not include_silent:
        counted &= ~mutations.silent
    width = max(1, len(mutations.genes))
    pairs = np.unique(patient_of[mutations.sample_index[counted]] * width + mutations.gene_index[counted])
    genes = np.bincount(pairs // width, minlength=len(patients))
    burden = genes / EXOME_MEGABASES
    classes = np.where(genes == 0, "none", np.where(burden >= HIGH, "high", "low"))
    return pa.table({"patient": patients, "mutated_genes": genes, "tmb": burden, "tmb_class": classes.tolist()})
