"""Markers of encoders fitted to invented tumours, in which a few genes tell the types."""

import numpy as np
import pytest

from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.expression import ExpressionEncoder
from molsig.errors import InputError, UsageError
from molsig.retrieval.markers import Markers, _matched, rank_markers
from molsig.types import ContractReport, FeatureMatrix, SampleId

GENES, TELLING, TYPES, EACH = 60, 12, 8, 24


def invented() -> tuple[FeatureMatrix, list[str]]:
    """The first genes differ between types; the others scatter among tumours of one type, together."""
    random = np.random.default_rng(0)
    kind = np.repeat(np.arange(TYPES), EACH)
    values = random.uniform(5, 9, GENES) + random.normal(0, 0.5, (len(kind), GENES))
    values[:, :TELLING] += random.normal(0, 1.5, (TYPES, TELLING))[kind]
    values[:, TELLING:] += random.normal(0, 1.5, (len(kind), 1)) * random.choice([-1, 1], GENES - TELLING)
    samples = tuple(SampleId(f"P{i:03}-01", f"P{i:03}") for i in range(len(kind)))
    report = ContractReport("cohort.tsv", "rna", len(kind), len(kind), len(kind), features=GENES, scale="log2")
    names = tuple(f"G{i:02}" for i in range(GENES))
    matrix = FeatureMatrix("rna", samples, names, values.clip(0).astype(np.float32), "log2", report)
    return matrix, [f"T{one}" for one in kind]


MATRIX, LABELS = invented()


@pytest.fixture(scope="module", params=["siamese", "contrastive"])
def encoder(request: pytest.FixtureRequest) -> ExpressionEncoder:
    choice = ModelChoice(networks={"rna": request.param})
    epochs = {"siamese": 30, "contrastive": 10}[request.param]
    found = fit_encoder(MATRIX, labels=LABELS, choice=choice, device="cpu", epochs=epochs)
    assert isinstance(found, ExpressionEncoder)
    return found


@pytest.fixture(scope="module")
def found(encoder: ExpressionEncoder) -> Markers:
    return rank_markers(encoder, MATRIX, LABELS, pairs=50)


def test_genes_that_tell_types_come_first(encoder: ExpressionEncoder, found: Markers) -> None:
    telling, others = found.overall[:TELLING], found.overall[TELLING:]
    assert telling.mean() > 1.3 * others.mean()
    # Neighbours share the windows of the network's convolutions, and with them what is said of either.
    if encoder.card.name == "rna-contrastive":
        assert set(found.ranking()[:TELLING].tolist()) == set(range(TELLING))


def test_scores_are_shares_of_each_type(found: Markers) -> None:
    assert found.types == tuple(f"T{i}" for i in range(TYPES))
    assert found.pairs == (50,) * TYPES
    assert found.samples == (EACH,) * TYPES
    np.testing.assert_allclose(found.by_type.sum(axis=1), 1)
    np.testing.assert_allclose(found.overall, found.by_type.mean(axis=0))
    assert (found.by_type >= 0).all()
    tops = found.on_top(5)
    assert (tops.sum(axis=1) == 5).all()
    for row, name in enumerate(found.types):
        assert set(np.flatnonzero(tops[row])) == set(found.ranking(name)[:5].tolist())


def test_the_same_seed_gives_the_same_ranking(encoder: ExpressionEncoder, found: Markers) -> None:
    again = rank_markers(encoder, MATRIX, LABELS, pairs=50)
    np.testing.assert_array_equal(again.overall, found.overall)
    other = rank_markers(encoder, MATRIX, LABELS, pairs=50, seed=1)
    assert (other.overall != found.overall).any()


def test_pairs_are_of_different_patients_and_come_once() -> None:
    patients = np.array(["a", "a", "b", "c", "c", "d"])
    first, second = _matched(patients, 1000, np.random.default_rng(0))
    assert (patients[first] != patients[second]).all()
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(first) == 13
    assert len(_matched(patients, 4, np.random.default_rng(0))[0]) == 4


def test_what_cannot_be_ranked_is_told(encoder: ExpressionEncoder) -> None:
    with pytest.raises(InputError, match="no type has tumours"):
        rank_markers(encoder, MATRIX, [None] * len(LABELS))
    with pytest.raises(UsageError, match="deeplift"):
        rank_markers(encoder, MATRIX, LABELS, method="deeplift")
    with pytest.raises(UsageError, match="labels"):
        rank_markers(encoder, MATRIX, LABELS[:3])
