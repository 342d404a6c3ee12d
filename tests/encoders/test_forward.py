"""A few samples are encoded without torch, to the vectors that torch gives."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.encoders import forward
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.expression_vae import ExpressionVAE
from molsig.encoders.mirna_autoencoder import MirnaAutoencoder
from molsig.encoders.mutation_vae import MutationVAE
from molsig.encoders.network import FEW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix, MutationSet

NETWORKS: dict[str, tuple[Callable[[int], torch.nn.Module], Callable[..., np.ndarray]]] = {
    "expression": (ExpressionVAE, forward.expression),
    "mutation": (MutationVAE, forward.mutation),
    "autoencoder": (lambda n: MirnaAutoencoder(n, min(n, 25)), forward.autoencoder),
}


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(NETWORKS)), n=st.integers(2, 300), samples=st.integers(1, FEW), seed=st.integers(0, 99)
)
def test_numpy_and_torch_agree(name: str, n: int, samples: int, seed: int) -> None:
    build, plain = NETWORKS[name]
    torch.manual_seed(seed)
    network = build(n).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x = torch.randn(samples, n)
    with torch.inference_mode():
        expected = network.embed(x).numpy()  # type: ignore[operator]
    found = plain({key: value.numpy() for key, value in network.state_dict().items()}, x.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_few_rows_are_the_rows_of_many(rna: Encoder, expression: FeatureMatrix) -> None:
    many = rna.encode(expression).vectors
    assert len(many) > FEW
    np.testing.assert_allclose(rna.encode(expression, rows=range(FEW)).vectors, many[:FEW], atol=1e-5)
    np.testing.assert_array_equal(
        rna.encode(expression, rows=range(FEW)).vectors, rna.encode(expression, rows=range(FEW)).vectors
    )


def test_the_narrow_network_too(expression: FeatureMatrix) -> None:
    choice = ModelChoice(networks={"rna": "autoencoder"})
    encoder = fit_encoder(expression, epochs=1, device="cpu", choice=choice)
    many = encoder.encode(expression).vectors
    np.testing.assert_allclose(encoder.encode(expression, rows=[3, 5]).vectors, many[[3, 5]], atol=1e-5)


def test_few_mutation_profiles(netvae: Encoder, somatic: MutationSet) -> None:
    many = netvae.encode(somatic).vectors
    assert len(many) > FEW
    np.testing.assert_allclose(netvae.encode(somatic, rows=[7]).vectors, many[[7]], atol=1e-5)


@pytest.mark.parametrize("rows", [1, FEW])
def test_torch_is_not_loaded_for_few(rna: Encoder, tmp_path: Path, rows: int) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    rna.save(folder)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from molsig.encoders.encoder import load_encoder
from molsig.types import ContractReport, FeatureMatrix, SampleId
encoder = load_encoder(Path({str(folder)!r}))
n = {rows}
samples = tuple(SampleId(f"P{{i}}-01", f"P{{i}}") for i in range(n))
values = np.random.default_rng(0).normal(5, 1, (n, len(encoder.features))).astype(np.float32)
report = ContractReport("one.tsv", "rna", n, n, n, features=len(encoder.features), scale="log2")
vectors = encoder.encode(FeatureMatrix("rna", samples, encoder.features, values, "log2", report)).vectors
assert vectors.shape == (n, 768) and np.isfinite(vectors).all()
assert "torch" not in sys.modules, "torch was loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
