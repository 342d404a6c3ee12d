from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder, load_encoder
from molsig.encoders.mirna_autoencoder import MirnaAutoencoder, widths
from molsig.errors import UsageError
from molsig.types import FeatureMatrix

AUTOENCODER = ModelChoice(networks={"rna": "autoencoder"})


def test_widths_are_a_geometric_series() -> None:
    assert widths(680, 25) == (680, 226, 75, 25)
    sizes = np.array(widths(984, 25), dtype=float)
    np.testing.assert_allclose(sizes[1:] / sizes[:-1], (25 / 984) ** (1 / 3), rtol=0.02)


def test_embedding_keeps_distances_of_the_latent_layer() -> None:
    import torch

    torch.manual_seed(3)
    model = MirnaAutoencoder(60, 10)
    x = torch.randn(9, 60)
    with torch.no_grad():
        latent, vectors = model.encoder(x), model.embed(x)
    assert vectors.shape == (9, 768)
    np.testing.assert_allclose(torch.cdist(latent, latent), torch.cdist(vectors, vectors), atol=1e-4)


def test_fit_tries_latent_sizes_and_survives_a_round_trip(expression: FeatureMatrix, tmp_path: Path) -> None:
    encoder = fit_encoder(expression, epochs=3, choice=AUTOENCODER)
    errors = encoder.card.training["error_by_latent_size"]
    assert str(encoder.card.architecture["latent"]) == min(errors, key=errors.__getitem__)
    assert encoder.card.name == "rna-ae"
    vectors = encoder.encode(expression).vectors
    assert np.linalg.matrix_rank(vectors) <= encoder.card.architecture["latent"]
    encoder.save(tmp_path)
    np.testing.assert_array_equal(load_encoder(tmp_path).encode(expression).vectors, vectors)
    again = fit_encoder(expression, epochs=3, choice=AUTOENCODER)
    np.testing.assert_array_equal(again.encode(expression).vectors, vectors)
    assert again.space == encoder.space


def test_unknown_network_is_refused(expression: FeatureMatrix) -> None:
    with pytest.raises(UsageError, match="'vae2' is no network for rna: use vae, autoencoder, map, map-paper, siamese"):
        fit_encoder(expression, epochs=1, choice=ModelChoice(networks={"rna": "vae2"}))


def test_features_that_a_group_lacks_are_taken_only_when_told_to(expression: FeatureMatrix) -> None:
    values = expression.values.copy()
    values[: len(values) // 3, 5:20] = np.nan
    gappy = replace(expression, values=values)
    assert not set(expression.features[5:20]) & set(fit_encoder(gappy, epochs=1).features)
    taken = fit_encoder(gappy, epochs=1, choice=ModelChoice(all_features=True))
    assert set(expression.features[5:20]) <= set(taken.features)
