"""Every encoder by the way it goes on CUDA, walked on the CPU: ahead of itself, and in bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig import streaming
from molsig.encoders import sentence
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder, load_encoder
from molsig.streaming import LEAST_COSINE, Plan
from molsig.types import ContractReport, SampleId, TextSet, TileSet

from ..tile_images import tissue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix, MutationSet, Records

N = 72
KINDS = ("rna", "autoencoder", "mutation", "tile vae", "timm", "text")


def sentences() -> TextSet:
    """Sentences of one to twenty made-up words; some occur twice."""
    rng = np.random.default_rng(5)
    words = np.array(["tumor", "margin", "node", "grade"])
    some = [" ".join(rng.choice(words, n)) for n in rng.integers(1, 20, N)]
    samples = tuple(SampleId(f"S{i}", f"P{i}") for i in range(N))
    report = ContractReport("reports.csv", "report", N, N, N)
    return TextSet(samples, tuple(f"{i:04}" for i in range(N)), tuple(some), report)


def tiles() -> TileSet:
    pixels = np.stack([tissue(48, 48, i, grain=(4, 8, 16)[i % 3], red=150.0 + 20 * (i % 3)) for i in range(N)])
    samples = tuple(SampleId(f"P{i}-01", f"P{i}") for i in range(N))

    def read(rows: Sequence[int]) -> np.ndarray:
        return pixels[list(rows)]

    report = ContractReport("slides", "tile", N, N, N)
    items, digests = tuple(f"{i},0" for i in range(N)), tuple(f"{i:064x}" for i in range(N))
    return TileSet(samples, items, digests, read, 48, 0.5, report)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small convolutional network."""
    import torch
    from safetensors.numpy import save_file

    from molsig.encoders.timm_model import _timm

    torch.manual_seed(1)
    state = _timm().create_model("resnet10t", pretrained=False).state_dict()
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    save_file({key: one.numpy() for key, one in state.items()}, path)
    return path


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> tuple[Encoder, Records]:
    """An encoder and records of its own, more than are encoded without torch."""

    def get(name: str) -> object:
        return request.getfixturevalue(name)

    if request.param == "rna":
        return get("rna"), get("expression")  # type: ignore[return-value]
    if request.param == "mutation":
        return get("netvae"), get("somatic")  # type: ignore[return-value]
    records: Records = sentences() if request.param == "text" else tiles()
    choice = ModelChoice(tile_model="vae")
    if request.param == "autoencoder":
        records, choice = get("expression"), ModelChoice(networks={"rna": "autoencoder"})  # type: ignore[assignment]
    elif request.param == "timm":
        choice = ModelChoice(tile_model="resnet10t", tile_weights=get("weights"))  # type: ignore[arg-type]
    elif request.param == "text":
        choice = ModelChoice(text_model=get("text_model"))  # type: ignore[arg-type]
    return fit_encoder(records, epochs=2, device="cpu", choice=choice), records


def with_plan(monkeypatch: pytest.MonkeyPatch, encoder: Encoder, plan: Plan, choice: ModelChoice | None = None) -> None:
    """Let the CPU be used as `plan` says, from here to the end of the test."""
    monkeypatch.setitem(streaming.PLANS, "cpu", plan)
    monkeypatch.setitem(sentence.TOKENS, "cpu", 256)
    encoder.use(choice or ModelChoice())


def test_made_ahead_the_bits_are_the_same(made: tuple[Encoder, Records], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, records = made
    with_plan(monkeypatch, encoder, Plan())
    plain = encoder.encode(records).vectors
    with_plan(monkeypatch, encoder, Plan(ahead=2))
    told: list[int] = []
    found = encoder.encode(records, progress=lambda _, done, total: told.append(done)).vectors
    np.testing.assert_array_equal(found, plain)
    assert told == sorted(told)


def test_bfloat16_is_within_its_tolerance(made: tuple[Encoder, Records], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, records = made
    with_plan(monkeypatch, encoder, Plan())
    plain = encoder.encode(records).vectors.astype(np.float64)
    with_plan(monkeypatch, encoder, Plan(ahead=2, low=True))
    assert encoder.computed_in == "float32"
    low = encoder.encode(records).vectors.astype(np.float64)
    assert encoder.computed_in == "bfloat16"
    cosine = (low * plain).sum(1) / np.linalg.norm(low, axis=1) / np.linalg.norm(plain, axis=1)
    assert LEAST_COSINE <= cosine.min() < 1 - 1e-9
    with_plan(monkeypatch, encoder, Plan(ahead=2, low=True), ModelChoice(cuda_precision="float32"))
    np.testing.assert_array_equal(encoder.encode(records).vectors, plain.astype(np.float32))
    encoder.use(ModelChoice())


def test_a_model_that_bfloat16_moves_too_far_stays_in_float32(
    wide_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its weights are random and large: some sentences go as far as .992, though not the longest, which come first.
    encoder = fit_encoder(sentences(), device="cpu", choice=ModelChoice(text_model=wide_model))
    with_plan(monkeypatch, encoder, Plan())
    plain = encoder.encode(sentences()).vectors
    with_plan(monkeypatch, encoder, Plan(ahead=2, low=True))
    with pytest.warns(RuntimeWarning, match="report-sbert-.* is computed in float32: bfloat16 moves a vector by 0"):
        found = encoder.encode(sentences()).vectors
    assert encoder.computed_in == "float32"
    np.testing.assert_array_equal(found, plain)


def test_vectors_of_this_device_are_those_of_the_cpu(rna: Encoder, expression: FeatureMatrix, tmp_path: Path) -> None:
    """Where there is CUDA: sent, computed in bfloat16, fetched. Elsewhere the same call takes the CPU."""
    rna.save(tmp_path)
    plain = rna.encode(expression).vectors.astype(np.float64)
    found = load_encoder(tmp_path, device="auto").encode(expression).vectors.astype(np.float64)
    cosine = (found * plain).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(plain, axis=1)
    assert cosine.min() >= LEAST_COSINE


def test_a_vector_does_not_depend_on_the_batches(
    rna: Encoder, expression: FeatureMatrix, somatic: MutationSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_plan(monkeypatch, rna, Plan(ahead=2))
    whole = rna.encode(expression).vectors
    monkeypatch.setattr("molsig.encoders.encoder._BATCH_CELLS", 7 * len(rna.features))
    rows = np.random.default_rng(0).permutation(len(expression.samples))
    np.testing.assert_allclose(rna.encode(expression, rows=rows.tolist()).vectors, whole[rows], atol=1e-5)


def test_the_precision_asked_for_is_no_part_of_the_encoder(
    rna: Encoder, expression: FeatureMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rna.save(tmp_path)
    monkeypatch.setitem(streaming.PLANS, "cpu", Plan(ahead=2, low=True))
    low = load_encoder(tmp_path, device="cpu")
    exact = load_encoder(tmp_path, device="cpu", choice=ModelChoice(cuda_precision="float32"))
    assert low.space == exact.space == rna.space
    assert (low.encode(expression).vectors != exact.encode(expression).vectors).any()


def test_errors_of_the_reader_arrive(rna: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    records = tiles()
    encoder = fit_encoder(records, epochs=1, device="cpu", choice=ModelChoice(tile_model="vae"))
    with_plan(monkeypatch, encoder, Plan(ahead=2))

    def torn(rows: Sequence[int]) -> np.ndarray:
        raise OSError("slide.svs ends in the middle of a tile")

    from dataclasses import replace

    with pytest.raises(OSError, match="in the middle of a tile"):
        encoder.encode(replace(records, pixels=torn))
