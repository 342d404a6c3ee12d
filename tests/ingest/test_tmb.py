"""Mutational burden as the source paper counts it."""

import numpy as np
import pytest

from molsig.ingest.tmb import mutational_burden
from molsig.types import ContractReport, MutationSet, SampleId


def cohort() -> MutationSet:
    samples = (
        SampleId("a1", "a"),
        SampleId("a2", "a", "metastasis"),
        SampleId("b1", "b"),
        SampleId("c1", "c"),
        SampleId("c9", "c", "normal"),
        SampleId("d9", "d", "normal"),
    )
    genes = tuple(f"G{i}" for i in range(20))
    pairs = [(0, g, False) for g in range(10)] + [(1, g, False) for g in range(5, 15)]  # a: 15 genes in two samples
    pairs += [(2, g, False) for g in range(14)] + [(2, 14, True)]  # b: 14, and a silent one
    pairs += [(3, 0, True), (4, 1, False), (5, 1, False)]  # c: silent only; normals do not count
    sample, gene, silent = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    report = ContractReport("m.maf", "mutation", len(pairs), 6, 4)
    return MutationSet(samples, genes, sample.astype(np.int32), gene.astype(np.int32), silent.astype(bool), report)


def test_genes_over_thirty_megabases_and_three_classes() -> None:
    table = mutational_burden(cohort()).to_pydict()
    assert table["patient"] == ["a", "b", "c"]
    assert table["mutated_genes"] == [15, 14, 0]
    assert table["tmb"] == pytest.approx([0.5, 14 / 30, 0.0])
    assert table["tmb_class"] == ["high", "low", "none"]


def test_silent_variants_count_when_asked_for() -> None:
    table = mutational_burden(cohort(), include_silent=True).to_pydict()
    assert table["mutated_genes"] == [15, 15, 1]
    assert table["tmb_class"] == ["high", "high", "low"]
