"""The encoders on the real cohorts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders.encoder import fit_encoder
from molsig.encoders.features import ABSENT, choose_features
from molsig.ingest.expression import read_expression
from molsig.ingest.genes import read_gene_map
from molsig.ingest.mirna import read_mirna

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def test_only_the_mirnas_measured_in_every_type_are_candidates(data_dir: Path) -> None:
    """391 precursors were not measured in some types; filling them in would give the type away."""
    records = read_mirna(data_dir / "tcga" / "mirna_counts.parquet")
    uses = choose_features(records)
    assert sum(use == ABSENT for use in uses.values()) == 391
    assert len(uses) - 391 == 680


def test_a_specimen_finds_itself_in_the_other_pipeline(data_dir: Path) -> None:
    """`benchmarks.cross_pipeline` measures both directions with full fits; this one is short."""
    genes = read_gene_map(data_dir / "genes_ensembl105.tsv.gz")
    rsem = read_expression(data_dir / "tcga" / "rna_20531genes_rsem.tsv.gz", genes=genes)
    counts = read_expression(data_dir / "tcga" / "rna_56537genes_counts.tsv.gz", genes=genes)
    place = {one.sample: row for row, one in enumerate(rsem.samples)}
    rows = [row for row, one in enumerate(counts.samples) if one.sample in place]
    own = [place[counts.samples[row].sample] for row in rows]
    assert len(rows) == 218
    encoder = fit_encoder(rsem, epochs=8, device="cpu")
    gallery, queries = encoder.encode(rsem).vectors, encoder.encode(counts, rows=rows).vectors
    cosine = queries @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
    assert (cosine.argmax(axis=1) == own).mean() >= 0.98
