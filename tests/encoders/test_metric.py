"""Encoders that learn from labels: what they learn from, what they refuse, and that they serve unseen types."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molsig.encoders.choice import METRICS, Metric, ModelChoice
from molsig.encoders.encoder import Encoder, fit_encoder, load_encoder
from molsig.encoders.metric import FAINT, MetricEncoder
from molsig.encoders.siamese_network import ExpressionCNN, Siamese, pair_logits, window_of
from molsig.encoders.whitening import within_class_whitening
from molsig.errors import DamagedError, InputError, UsageError
from molsig.types import ContractReport, FeatureMatrix, SampleId

GENES, TYPES, EACH = 120, 12, 30
SEEN = 8


def invented(n_types: int = TYPES, each: int = EACH, seed: int = 0) -> tuple[FeatureMatrix, list[str]]:
    """Tumours whose types differ a little in every gene, and whose purity moves a quarter of the genes much more."""
    random = np.random.default_rng(seed)
    kind = np.repeat(np.arange(n_types), each)
    base = random.uniform(4, 10, GENES)
    base[-5:] = 0.1
    nuisance = np.zeros(GENES)
    nuisance[: GENES // 4] = 2.0 * random.choice([-1.0, 1.0], GENES // 4)
    values = base + random.normal(0, 0.6, (n_types, GENES))[kind]
    values += random.normal(0, 1, (len(kind), 1)) * nuisance + random.normal(0, 0.7, (len(kind), GENES))
    values[:, -5:] = random.uniform(0, 0.4, (len(kind), 5))
    samples = tuple(SampleId(f"P{i:03}-01", f"P{i:03}") for i in range(len(kind)))
    report = ContractReport("cohort.tsv", "rna", len(kind), len(kind), len(kind), features=GENES, scale="log2")
    names = tuple(f"G{i}" for i in range(GENES))
    matrix = FeatureMatrix("rna", samples, names, values.clip(0).astype(np.float32), "log2", report)
    return matrix, [f"T{one}" for one in kind]


MATRIX, LABELS = invented()
KNOWN = [one if int(one[1:]) < SEEN else None for one in LABELS]
UNSEEN = [row for row, one in enumerate(LABELS) if int(one[1:]) >= SEEN]


def choose(metric: str) -> ModelChoice:
    return ModelChoice(networks={"rna": metric})


def fit(metric: str) -> Encoder:
    """An encoder after few steps: the network's are slow ones."""
    epochs = {"siamese": 8, "contrastive": 20}.get(metric)
    return fit_encoder(MATRIX, labels=KNOWN, choice=choose(metric), device="cpu", epochs=epochs)


@pytest.fixture(scope="module", params=METRICS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return fit(request.param)


def nearest(scores: np.ndarray) -> float:
    """Share of rows whose best other row is of their type."""
    scores = scores.copy()
    np.fill_diagonal(scores, -np.inf)
    kinds = np.array(LABELS)[UNSEEN]
    return float((kinds[scores.argmax(axis=1)] == kinds).mean())


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_types_it_has_not_seen_are_told_apart(encoder: Encoder) -> None:
    assert isinstance(encoder, MetricEncoder)
    vectors = encoder.encode(MATRIX, rows=UNSEEN).vectors
    assert vectors.shape == (len(UNSEEN), 768)
    raw = MATRIX.values[UNSEEN]
    raw = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    if encoder.card.name != "rna-siamese":  # after few steps it is no better
        assert nearest(cosines(vectors)) > nearest(cosines(raw))
    assert nearest(cosines(vectors)) > 0.5
    assert nearest(encoder.pair_logits(vectors, vectors)) > 0.5


def test_probability_of_a_pair(encoder: Encoder) -> None:
    assert isinstance(encoder, MetricEncoder)
    vectors = encoder.encode(MATRIX, rows=UNSEEN).vectors
    told = encoder.pair_probability(vectors[:7], vectors[:5])
    assert told.shape == (7, 5)
    assert told.dtype == np.float64
    assert ((told >= 0) & (told <= 1)).all()
    # A pair is the same pair whichever of the two is asked about, and whatever else is asked beside it.
    np.testing.assert_allclose(told[:5], told[:5].T, atol=1e-6)
    np.testing.assert_allclose(encoder.pair_probability(vectors[3:4], vectors[:5])[0], told[3], atol=1e-6)
    kinds = np.array(LABELS)[UNSEEN]
    every = encoder.pair_probability(vectors, vectors)
    same = (kinds[:, None] == kinds) & ~np.eye(len(kinds), dtype=bool)
    assert every[same].mean() > every[kinds[:, None] != kinds].mean() + 0.1


@pytest.mark.parametrize("metric", ["whitened", "contrastive"])
def test_the_probability_holds_on_types_it_has_not_seen(metric: Metric) -> None:
    encoder = fit(metric)
    assert isinstance(encoder, MetricEncoder)
    vectors = encoder.encode(MATRIX, rows=UNSEEN).vectors
    told = encoder.pair_probability(vectors, vectors)
    kinds = np.array(LABELS)[UNSEEN]
    same = kinds[:, None] == kinds
    pairs = ~np.eye(len(kinds), dtype=bool)
    # As many matched as mismatched pairs, as it was fitted.
    half = np.where(same, 0.5 / same[pairs].sum(), 0.5 / (~same).sum()) * pairs
    sure = told > 0.8
    assert (half * sure)[same].sum() / (half * sure).sum() > 0.75
    loss = -(half * np.log(np.where(same, told, 1 - told).clip(1e-9))).sum()
    assert loss < np.log(2)


def test_round_trip_and_seed(encoder: Encoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    back = load_encoder(tmp_path)
    assert isinstance(encoder, MetricEncoder)
    assert isinstance(back, MetricEncoder)
    vectors = encoder.encode(MATRIX).vectors
    np.testing.assert_array_equal(back.encode(MATRIX).vectors, vectors)
    np.testing.assert_array_equal(
        back.pair_logits(vectors[:3], vectors[3:9]), encoder.pair_logits(vectors[:3], vectors[3:9])
    )
    again = fit(encoder.card.architecture["metric"])
    assert again.space == encoder.space
    np.testing.assert_array_equal(again.encode(MATRIX).vectors, vectors)


def test_card_tells_the_types_and_what_was_dropped(encoder: Encoder) -> None:
    card = encoder.card
    assert card.training["samples_by_type"] == {f"T{one}": EACH for one in range(SEEN)}
    assert card.n_samples == SEEN * EACH
    assert card.dropped == {FAINT: 5}
    assert not set(MATRIX.features[-5:]) & set(encoder.features)


def test_the_order_of_a_file_plays_no_part_and_a_features_file_out_of_order_is_refused(
    encoder: Encoder, tmp_path: Path
) -> None:
    order = np.random.default_rng(1).permutation(GENES)
    shuffled = replace(
        MATRIX, features=tuple(np.array(MATRIX.features)[order].tolist()), values=MATRIX.values[:, order]
    )
    np.testing.assert_array_equal(encoder.encode(shuffled).vectors, encoder.encode(MATRIX).vectors)
    encoder.save(tmp_path)
    lines = (tmp_path / "features.txt").read_text().splitlines(keepends=True)
    (tmp_path / "features.txt").write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(DamagedError, match="not what was written"):
        load_encoder(tmp_path)


def test_few_samples_are_encoded_without_torch_as_with_it() -> None:
    encoder = fit_encoder(MATRIX, labels=KNOWN, choice=choose("whitened"), device="cpu")
    many = encoder.encode(MATRIX).vectors
    np.testing.assert_allclose(encoder.encode(MATRIX, rows=[5, 200]).vectors, many[[5, 200]], atol=1e-5)


def test_only_labelled_primary_tumours_are_learned_from() -> None:
    kinds = ["normal" if i % 3 == 0 else "metastasis" if i % 3 == 1 else "tumour" for i in range(len(LABELS))]
    mixed = replace(
        MATRIX, samples=tuple(replace(one, kind=kind) for one, kind in zip(MATRIX.samples, kinds, strict=True))
    )
    encoder = fit_encoder(mixed, labels=KNOWN, choice=choose("whitened"))
    assert encoder.card.n_samples == SEEN * EACH // 3
    # What the others measure does not shape it.
    other = mixed.values.copy()
    other[[kind != "tumour" for kind in kinds]] += 1.0
    moved = fit_encoder(replace(mixed, values=other), labels=KNOWN, choice=choose("whitened"))
    np.testing.assert_array_equal(moved.encode(mixed).vectors, encoder.encode(mixed).vectors)


def test_no_labels_or_too_few_types_are_refused() -> None:
    with pytest.raises(UsageError, match="learns from types"):
        fit_encoder(MATRIX, choice=choose("siamese"))
    few = [one if one in ("T0", "T1", "T2") else None for one in LABELS]
    with pytest.raises(InputError, match="needs 4 of them"):
        fit_encoder(MATRIX, labels=few, choice=choose("whitened"))
    with pytest.raises(UsageError, match="3 labels for 360 samples"):
        fit_encoder(MATRIX, labels=["a", "b", "c"], choice=choose("whitened"))


def test_whitening_makes_the_scatter_within_types_round() -> None:
    random = np.random.default_rng(3)
    kinds = np.repeat(np.arange(5), 400)
    mixing = random.normal(size=(20, 20))
    x = (random.normal(size=(2000, 20)) @ mixing + 5 * random.normal(size=(5, 20))[kinds]).astype(np.float32)
    v = x @ within_class_whitening(x, kinds, 1e-6).T
    assert v.shape == (2000, 768)
    inner = v[:, :20] - np.stack([v[kinds == one, :20].mean(axis=0) for one in range(5)])[kinds]
    np.testing.assert_allclose(inner.T @ inner / (2000 - 5), np.eye(20), atol=1e-3)
    # The same whichever way it is computed: by eigenvalues of the whole matrix.
    centred = x - np.stack([x[kinds == one].mean(axis=0) for one in range(5)])[kinds]
    s = centred.T.astype(float) @ centred / (2000 - 5)
    s = 0.7 * s + 0.3 * np.trace(s) / 20 * np.eye(20)
    values, vectors = np.linalg.eigh(s)
    expected = vectors / np.sqrt(values) @ vectors.T
    np.testing.assert_allclose(within_class_whitening(x, kinds, 0.3)[:20], expected, rtol=1e-3, atol=1e-6)


def test_whitening_of_more_features_than_dimensions_keeps_cosines() -> None:
    random = np.random.default_rng(4)
    kinds = np.repeat(np.arange(6), 20)
    x = (random.normal(size=(120, 900)) + random.normal(size=(6, 900))[kinds]).astype(np.float32)
    weight = within_class_whitening(x, kinds)
    assert weight.shape == (768, 900)
    s = x - np.stack([x[kinds == one].mean(axis=0) for one in range(6)])[kinds]
    s = s.T.astype(float) @ s / 114
    s = 0.9 * s + 0.1 * np.trace(s) / 900 * np.eye(900)
    values, vectors = np.linalg.eigh(s)
    whole = (x - x.mean(axis=0)) @ (vectors / np.sqrt(values) @ vectors.T)
    np.testing.assert_allclose(cosines((x - x.mean(axis=0)) @ weight.T), cosines(whole), atol=1e-4)
    # Samples of other types leave the span of these: their cosines are kept but for the noise of a random projection.
    other = random.normal(size=(40, 900)) + random.normal(size=(4, 900)).repeat(10, axis=0)
    told, true = cosines(other @ weight.T), cosines(other @ (vectors / np.sqrt(values) @ vectors.T))
    assert np.abs(told - true).max() < 0.2
    assert np.corrcoef(told[~np.eye(40, dtype=bool)], true[~np.eye(40, dtype=bool)])[0, 1] > 0.95


@pytest.mark.parametrize("n", [2, 24, 25, 90, 388, 680, 1250, 4858])
def test_the_network_takes_any_number_of_features(n: int) -> None:
    import torch

    network = ExpressionCNN(n)
    assert network.window == window_of(n) <= 50
    with torch.no_grad():
        features = network(torch.randn(3, n))
    assert features.shape == (3, network.width)
    assert ((features > 0) & (features < 1)).all()
    if n == 4858:
        assert network.window == 50
        assert network.width == 128 * 20


def test_every_gene_reaches_the_features() -> None:
    import torch

    torch.manual_seed(0)
    network = ExpressionCNN(388)
    x = torch.randn(4, 388, requires_grad=True)
    network(x).sum().backward()
    assert x.grad is not None
    # But those of the last window, which the poolings may drop.
    assert (x.grad.abs().sum(dim=0) > 0).float().mean() > 0.95


def test_a_monotone_head_never_prefers_the_more_different() -> None:
    import torch

    torch.manual_seed(1)
    network = Siamese(60)
    a, step = torch.rand(50, network.cnn.width), torch.rand(50, network.cnn.width)
    with torch.no_grad():
        near, far = network.head(a, a + 0.1 * step), network.head(a, a + 2.0 * step)
        assert (network.head(a, a) >= near).all()
        assert (near >= far).all()
        assert (near > far).any()
        np.testing.assert_allclose(
            pair_logits(network.head, a[:4], a[:6], block=7)[1, 2], network.head(a[1:2], a[2:3])[0], rtol=1e-4
        )


def test_the_head_in_numpy_is_the_head_of_the_network() -> None:
    import torch

    encoder = fit_encoder(MATRIX, labels=KNOWN, choice=choose("siamese"), device="cpu", epochs=2)
    assert isinstance(encoder, MetricEncoder)
    vectors = encoder.encode(MATRIX, rows=UNSEEN[:20]).vectors
    network = encoder._network()
    scale = float(encoder._contents.tensors["output.scale"][0])
    with torch.no_grad():
        raw = torch.from_numpy(vectors / scale)
        expected = pair_logits(network.vector_head, raw, raw).numpy()
    np.testing.assert_allclose(encoder.pair_logits(vectors, vectors), expected, rtol=1e-3, atol=1e-3)
