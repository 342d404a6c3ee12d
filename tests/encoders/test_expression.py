"""What users rely on when a matrix is encoded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders import encoder as encoder_module
from molsig.encoders import features as features_module
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.features import ABSENT, CONSTANT, SILENT, STEADY, WELL_EXPRESSED, choose_features
from molsig.errors import CoverageError, InputError, UsageError
from molsig.types import ContractReport, TextSet

from .conftest import kinds_of, matrix, samples_of, shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix, MutationSet


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_types_are_found_and_noise_is_not(
    rna: Encoder, expression: FeatureMatrix, nearest_agree: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    assert nearest_agree(rna.encode(expression).vectors, kinds_of(150)) > 0.85
    noise = np.random.default_rng(0).normal(6, 1, expression.values.shape)
    lost = fit_encoder(matrix(noise), epochs=5, device="cpu").encode(matrix(noise)).vectors
    assert nearest_agree(lost, kinds_of(150)) < 0.4


def test_vectors_are_768_float32_with_rms_norm_one(rna: Encoder, expression: FeatureMatrix) -> None:
    encoded = rna.encode(expression)
    assert encoded.vectors.shape == (150, 768)
    assert encoded.vectors.dtype == np.float32
    assert np.sqrt(np.square(encoded.vectors).sum(axis=1).mean()) == pytest.approx(1, rel=1e-4)
    assert (encoded.modality, encoded.space, encoded.samples) == ("rna", rna.space, expression.samples)
    assert encoded.items == ("",) * 150


def test_same_seed_same_encoder(expression: FeatureMatrix) -> None:
    import torch

    before = torch.random.get_rng_state()
    first, again, other = (fit_encoder(expression, seed=seed, epochs=2, device="cpu") for seed in (3, 3, 4))
    assert first.space == again.space != other.space
    np.testing.assert_array_equal(first.encode(expression).vectors, again.encode(expression).vectors)
    assert torch.equal(before, torch.random.get_rng_state()), "a fit must leave the user's random state alone"


def test_order_of_features_and_further_ones_do_not_matter(rna: Encoder, expression: FeatureMatrix) -> None:
    order = np.random.default_rng(1).permutation(200)
    values = np.hstack([expression.values[:, order], np.full((150, 3), 9.0)])
    moved = shift(expression, values, [*(expression.features[i] for i in order), "X1", "X2", "X3"])
    np.testing.assert_array_equal(rna.encode(moved).vectors, rna.encode(expression).vectors)
    assert rna.digests(moved) == rna.digests(expression)
    assert (rna.contract(moved).matched, rna.contract(moved).missing) == (rna.card.n_features, 0)


def test_a_sample_alone_is_the_sample_in_company(
    rna: Encoder, expression: FeatureMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = rna.encode(expression)
    alone = rna.encode(expression, rows=[17])
    assert alone.samples == (expression.samples[17],)
    np.testing.assert_allclose(alone.vectors[0], together.vectors[17], atol=1e-6)
    picked = rna.encode(expression, rows=[90, 2])
    np.testing.assert_allclose(picked.vectors, together.vectors[[90, 2]], atol=1e-6)
    assert picked.digests == (together.digests[90], together.digests[2])
    monkeypatch.setattr(encoder_module, "_BATCH_CELLS", 7 * rna.card.n_features)
    small = rna.encode(expression)
    np.testing.assert_allclose(small.vectors, together.vectors, atol=1e-6)
    assert small.digests == together.digests == rna.digests(expression)


def test_rows_that_are_not_there(rna: Encoder, expression: FeatureMatrix) -> None:
    with pytest.raises(UsageError, match="no row 150 among 150"):
        rna.encode(expression, rows=[0, 150])
    with pytest.raises(UsageError, match="no row -1"):
        rna.encode(expression, rows=[-1])
    assert rna.encode(expression, rows=[]).vectors.shape == (0, 768)


def test_another_depth_and_another_curve_give_the_same_vector(rna: Encoder, expression: FeatureMatrix) -> None:
    """Library size, and anything else that keeps the order of a sample's genes, is aligned away."""
    assert rna.card.hyperparameters["alignment"] == "quantile"
    bent = shift(expression, 0.7 * expression.values.astype(np.float64) ** 1.15 + 1.3)
    assert cosines(rna.encode(bent).vectors, rna.encode(expression).vectors).min() > 0.999


def test_size_factors_take_off_depth_only(expression: FeatureMatrix) -> None:
    encoder = fit_encoder(expression, epochs=2, device="cpu", alignment="size_factor")
    plain = encoder.encode(expression).vectors
    deeper = encoder.encode(shift(expression, expression.values + 1.5)).vectors
    np.testing.assert_allclose(deeper, plain, atol=1e-4)
    unaligned = fit_encoder(expression, epochs=2, device="cpu", alignment="none")
    deeper = unaligned.encode(shift(expression, expression.values + 1.5)).vectors
    assert cosines(deeper, unaligned.encode(expression).vectors).mean() < 0.7


def test_scattered_gaps_move_a_vector_little(rna: Encoder, expression: FeatureMatrix) -> None:
    gappy = expression.values.copy()
    gappy[np.random.default_rng(2).random(gappy.shape) < 0.03] = np.nan
    near = cosines(rna.encode(shift(expression, gappy)).vectors, rna.encode(expression).vectors)
    assert near.min() > 0.9
    fitted = fit_encoder(shift(expression, gappy), epochs=2, device="cpu")
    assert np.isfinite(fitted.encode(shift(expression, gappy)).vectors).all()


def test_too_few_features_name_sample_and_gene(rna: Encoder, expression: FeatureMatrix) -> None:
    gappy = expression.values.copy()
    gappy[5, :60] = np.nan
    with pytest.raises(CoverageError, match=r"sample P005-01 has 140 of the 200 features .*70%.*missing: G0, G1") as e:
        rna.encode(shift(expression, gappy))
    assert (e.value.file, e.value.column) == ("cohort.tsv", "G0")
    assert np.isfinite(rna.encode(shift(expression, gappy), allow_missing=True).vectors).all()
    assert rna.encode(shift(expression, gappy), rows=[4]).vectors.shape == (1, 768)


def test_columns_that_are_not_in_the_file_count_as_missing(rna: Encoder, expression: FeatureMatrix) -> None:
    half = replace(expression, values=expression.values[:, :100], features=expression.features[:100])
    report = rna.contract(half)
    assert (report.matched, report.missing) == (100, 100)
    assert "too few to encode by default; missing: G100" in report.warnings[-1]
    with pytest.raises(CoverageError, match="50%"):
        rna.encode(half)
    near = cosines(rna.encode(half, allow_missing=True).vectors, rna.encode(expression).vectors)
    assert near.mean() > 0.5
    most = replace(expression, values=expression.values[:, :165], features=expression.features[:165])
    assert cosines(rna.encode(most).vectors, rna.encode(expression).vectors).mean() > 0.8


def test_nothing_measured_is_never_encoded(rna: Encoder, expression: FeatureMatrix) -> None:
    empty = expression.values.copy()
    empty[3] = np.nan
    with pytest.raises(CoverageError, match="P003-01 has 0 of the 200"):
        rna.encode(shift(expression, empty), allow_missing=True)


def test_another_scale_modality_or_kind_is_refused(
    rna: Encoder, expression: FeatureMatrix, somatic: MutationSet
) -> None:
    raw = replace(expression, scale="raw")
    assert "scale raw" in rna.contract(raw).warnings[-1]
    with pytest.raises(InputError, match=r"'raw', rna-vae-.* was fitted on 'log2'"):
        rna.encode(raw)
    with pytest.raises(UsageError, match="encodes rna, not mutation"):
        rna.encode(somatic)
    with pytest.raises(UsageError, match="encodes rna, not mirna"):
        rna.digests(replace(expression, modality="mirna"))
    reports = TextSet(samples_of(1, 1), ("0001",), ("text",), ContractReport("r.csv", "report", 1, 1, 1))
    with pytest.raises(UsageError, match="encodes rna, not report"):
        rna.encode(reports)


def test_digest_follows_what_is_encoded(rna: Encoder, expression: FeatureMatrix) -> None:
    changed = expression.values.copy()
    changed[9, 0] += 0.25
    before, after = rna.digests(expression), rna.digests(shift(expression, changed))
    assert [i for i in range(150) if before[i] != after[i]] == [9]
    zeros, negative = np.zeros((2, 200)), np.full((2, 200), -0.0)
    assert rna.digests(matrix(zeros)) == rna.digests(matrix(negative))


def test_features_that_groups_lack_are_dropped(expression: FeatureMatrix) -> None:
    values = np.hstack([expression.values, np.full((150, 1), 3.0), np.full((150, 1), 0.2), np.full((150, 10), 5.0)])
    rng = np.random.default_rng(0)
    values[:, 201] += rng.uniform(0, 0.1, 150)
    values[:, 202:] += rng.normal(0, 1, (150, 10))
    values[0, 202:] = np.nan  # ten absent together, in two samples only: a platform
    values[1, 202:] = np.nan
    values[:30, 0] = np.nan  # absent in a fifth of the samples
    values[40:43, 1] = np.nan  # scattered: 2 %
    uses = choose_features(shift(expression, values, [f"G{i}" for i in range(values.shape[1])]))
    reasons = {name: use for name, use in uses.items() if use != "encoded"}
    assert reasons == {"G0": ABSENT, "G200": CONSTANT, "G201": SILENT} | {f"G{i}": ABSENT for i in range(202, 212)}
    assert choose_features(shift(replace(expression, scale="raw"), expression.values * 0.01))["G5"] == "encoded"


def test_well_expressed_then_variable_features_are_kept(
    expression: FeatureMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread, mean = expression.values.std(axis=0), expression.values.mean(axis=0)
    well = set(np.flatnonzero(mean >= WELL_EXPRESSED).tolist())
    for most in (50, len(well) + 10):
        monkeypatch.setattr(features_module, "MOST_FEATURES", most)
        uses = choose_features(expression)
        kept = {i for i, use in enumerate(uses.values()) if use == "encoded"}
        assert len(kept) == most
        assert list(uses.values()).count(STEADY) == 200 - most
        for group in (well, set(range(200)) - well):
            left_out = [spread[i] for i in group - kept]
            assert not left_out or not group & kept or min(spread[i] for i in group & kept) >= max(left_out)
        assert kept <= well or well <= kept
    raw = choose_features(replace(expression, scale="raw"))
    kept = [i for i, use in enumerate(raw.values()) if use == "encoded"]
    assert spread[kept].min() >= np.delete(spread, kept).max()


def test_wild_values_are_refused_or_bounded(rna: Encoder, expression: FeatureMatrix) -> None:
    wild = expression.values.copy()
    wild[2, 7] = np.inf
    with pytest.raises(InputError, match=r"'G7'.*infinite value in sample P002-01"):
        fit_encoder(shift(expression, wild), epochs=1)
    wild[2, 7] = 1e6
    assert cosines(rna.encode(shift(expression, wild)).vectors, rna.encode(expression).vectors)[2] > 0.8


def test_what_cannot_be_fitted_is_said(expression: FeatureMatrix) -> None:
    with pytest.raises(InputError, match=r"fewer than two of the 5 features can be encoded \(5 constant\)"):
        fit_encoder(matrix(np.full((10, 5), 4.0)))
    with pytest.raises(InputError, match="at least 3 samples"):
        fit_encoder(matrix(expression.values[:2]))
    twice = replace(expression, features=("G1", *expression.features[1:]))
    with pytest.raises(InputError, match=r"'G1'.*more than once"):
        fit_encoder(twice)
    with pytest.raises(UsageError, match="include_silent"):
        fit_encoder(expression, include_silent=True)
    with pytest.raises(UsageError, match="'median' is no alignment"):
        fit_encoder(expression, alignment="median")  # type: ignore[arg-type]


def test_sparse_samples_are_left_out_of_the_fit(expression: FeatureMatrix) -> None:
    values = expression.values.copy()
    values[0, :100] = np.nan
    card = fit_encoder(shift(expression, values), epochs=1, device="cpu").card
    assert (card.n_samples, card.hyperparameters["samples_left_out"], card.n_features) == (149, 1, 100 + 100)


def test_the_card_tells_the_fit(rna: Encoder) -> None:
    card = rna.card
    assert (card.name, card.modality, card.scale, card.device) == ("rna-vae", "rna", "log2", "cpu")
    assert (card.n_samples, card.n_patients, card.n_features) == (150, 120, 200)
    training = card.training
    assert training["epochs"] == len(training["train_kl"]) == len(training["validation_kl"]) == 15
    assert training["pretrain_epochs"] == 12
    assert training["held_back_samples"] >= 12
    assert training["train_reconstruction"][-1] < training["train_reconstruction"][0]
    assert training["active_units"] > 300
    assert training["effective_dimensions"] > 5
    assert 0.3 < training["explained_variance"] < 1


def test_a_fit_that_stops_early_explains_less(expression: FeatureMatrix, rna: Encoder) -> None:
    early = fit_encoder(expression, epochs=1, device="cpu").card.training["explained_variance"]
    assert early < rna.card.training["explained_variance"] - 0.1


def test_without_held_back_samples_nothing_is_said_of_what_is_explained(expression: FeatureMatrix) -> None:
    training = fit_encoder(expression, rows=range(8), epochs=1, device="cpu").card.training
    assert training["held_back_samples"] == 0
    assert "explained_variance" not in training
