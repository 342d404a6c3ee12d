"""What users rely on when mutations are encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders import mutation as mutation_module
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.mutation import BEYOND, RARE, MutatedGenes, choose_genes
from molsig.errors import CoverageError, InputError, UsageError
from molsig.types import MutationSet

from .conftest import kinds_of, mutations

if TYPE_CHECKING:
    from collections.abc import Callable

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix


def test_types_are_found(
    netvae: Encoder, somatic: MutationSet, nearest_agree: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    vectors, kinds = netvae.encode(somatic).vectors, kinds_of(150)
    agreement = nearest_agree(vectors, kinds)
    shuffled = nearest_agree(vectors, np.random.default_rng(0).permutation(kinds))
    assert agreement > 0.6
    assert shuffled < 0.35


def test_same_seed_same_encoder(somatic: MutationSet) -> None:
    first, again, other = (fit_encoder(somatic, seed=seed, epochs=2, device="cpu") for seed in (3, 3, 4))
    assert first.space == again.space != other.space
    np.testing.assert_array_equal(first.encode(somatic).vectors, again.encode(somatic).vectors)


def test_a_sample_without_mutations_gets_a_vector_and_a_note(netvae: Encoder, somatic: MutationSet) -> None:
    vectors = netvae.encode(somatic).vectors
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors[0]) > 0.01
    assert "1 samples without an encoded mutation" in netvae.contract(somatic).notes[-1]
    empty = mutations([], 2)
    np.testing.assert_allclose(netvae.encode(empty).vectors[1], vectors[0], atol=1e-6)
    assert "2 samples without an encoded mutation" in netvae.contract(empty).notes[-1]
    assert netvae.digests(empty)[0] == netvae.digests(somatic)[0]


def test_silent_mutations_count_only_when_asked(somatic: MutationSet) -> None:
    loud = fit_encoder(somatic, epochs=1, device="cpu", include_silent=True)
    quiet = fit_encoder(somatic, epochs=1, device="cpu")
    only_silent = mutations([], 2, silent=[(0, "PASS0"), (0, "D03")])
    assert quiet.digests(only_silent)[0] == quiet.digests(only_silent)[1]
    assert loud.digests(only_silent)[0] != loud.digests(only_silent)[1]


def test_order_of_genes_and_further_ones_do_not_matter(netvae: Encoder, somatic: MutationSet) -> None:
    order = np.random.default_rng(3).permutation(len(somatic.genes))
    place = np.argsort(order).astype(np.int32)
    moved = MutationSet(
        somatic.samples,
        (*(somatic.genes[i] for i in order), "NEW"),
        np.append(somatic.sample_index, np.int32(4)),
        np.append(place[somatic.gene_index], np.int32(len(order))),
        np.append(somatic.silent, False),
        somatic.report,
    )
    np.testing.assert_array_equal(netvae.encode(moved).vectors, netvae.encode(somatic).vectors)
    assert netvae.digests(moved) == netvae.digests(somatic)
    assert f"1 of {len(order) + 1} mutated genes are unknown" in netvae.contract(moved).notes[-1]


def test_a_sample_alone_is_the_sample_in_company(netvae: Encoder, somatic: MutationSet) -> None:
    together = netvae.encode(somatic)
    for row in (0, 31, 149):
        alone = netvae.encode(somatic, rows=[row])
        np.testing.assert_allclose(alone.vectors[0], together.vectors[row], atol=1e-6)
        assert alone.digests == (together.digests[row],)


def test_foreign_gene_names_are_refused(netvae: Encoder, somatic: MutationSet) -> None:
    ensembl = mutations([(1, f"ENSG{i:011}") for i in range(8)], 2)
    with pytest.raises(CoverageError, match=r"knows 0 of the 8 mutated genes of sample P001-01 \(0%.*and 3 more") as e:
        netvae.encode(ensembl)
    assert e.value.column == "ENSG00000000000"
    assert "unknown to" in netvae.contract(ensembl).warnings[-1]
    assert np.isfinite(netvae.encode(ensembl, allow_missing=True).vectors).all()
    assert netvae.encode(ensembl, rows=[0]).vectors.shape == (1, 768)
    some = [(0, gene) for gene in somatic.genes[:3]]
    assert netvae.encode(mutations([*some, (0, "NEW1")], 1)).vectors.shape == (1, 768)
    with pytest.raises(CoverageError, match="knows 3 of the 8"):
        netvae.encode(mutations([*some, *((0, f"NEW{i}") for i in range(5))], 1))


def test_contract_counts_genes(netvae: Encoder, somatic: MutationSet) -> None:
    report = netvae.contract(somatic)
    assert (report.matched, report.missing) == (netvae.card.n_features, 0)
    report = netvae.contract(mutations([(0, "D00"), (0, "D01")], 1))
    assert (report.matched, report.missing) == (2, netvae.card.n_features - 2)
    assert report.warnings == ()


def test_vocabulary_counts_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation_module, "MOST_GENES", 2)
    pairs = [(i, gene) for gene, n in (("A", 5), ("B", 4), ("C", 3), ("R", 2)) for i in range(n)]
    cohort = mutations(pairs, 6)
    uses = choose_genes(cohort, MutatedGenes.of(cohort, include_silent=False))
    assert uses == {"A": "encoded", "B": "encoded", "C": BEYOND, "R": RARE}


def test_what_cannot_be_fitted_is_said(expression: FeatureMatrix, somatic: MutationSet, netvae: Encoder) -> None:
    with pytest.raises(InputError, match="at least 3 samples"):
        fit_encoder(mutations([(0, "TP53")], 2))
    with pytest.raises(InputError, match="fewer than two genes are mutated in at least 3 of the 4 patients"):
        fit_encoder(mutations([(i, "TP53") for i in range(4)], 4))
    with pytest.raises(UsageError, match="alignment"):
        fit_encoder(somatic, alignment="quantile")
    with pytest.raises(UsageError, match="encodes mutation, not rna"):
        netvae.encode(expression)


def test_the_card_follows_the_source_paper(netvae: Encoder) -> None:
    settings = netvae.card.hyperparameters
    assert (settings["batch_size"], settings["patience"], settings["warmup_epochs"]) == (256, 10, 1.0)
    assert (netvae.card.scale, netvae.card.modality, netvae.card.name) == ("binary", "mutation", "mutation-vae")
    assert 0 < netvae.card.training["explained_variance"] < 1
