"""Encoders of tiles: the small VAE, given models of timm, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from molsig.encoders import tile, timm_model
from molsig.encoders.choice import ModelChoice
from molsig.encoders.disk import FILES
from molsig.encoders.encoder import files_sha256, fit_encoder, load_encoder
from molsig.encoders.tile import choose_tiles, fit_projection, lower, project
from molsig.encoders.tile_vae import describe, names
from molsig.encoders.timm_model import PROV_GIGAPATH, Preprocessing, create, prepare
from molsig.encoders.weights import find_weights, sha256_of, shapes_of
from molsig.errors import DamagedError, InputError, UsageError
from molsig.geometry import isometry
from molsig.types import ContractReport, SampleId, TileSet

from ..tile_images import tissue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.encoders.encoder import Encoder

SIZE, PER_PATIENT, PATIENTS = 64, 4, 24
VAE = ModelChoice(tile_model="vae")


def tile_set(pixels: np.ndarray, patients: Sequence[str], mpp: float | None = 0.5) -> TileSet:
    """Tiles that lie in memory."""
    samples = tuple(SampleId(f"{one}-01", one) for one in patients)
    n = len(samples)
    items = tuple(f"{i},0" for i in range(n))
    report = ContractReport("slides", "tile", n, len(set(samples)), len(set(patients)))
    return TileSet(
        samples,
        items,
        tuple(f"{i:064x}" for i in range(n)),
        lambda rows: pixels[list(rows)],
        pixels.shape[1],
        mpp,
        report,
    )


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Tiles of three tissues, which differ in grain and colour; patient i has four of tissue i % 3."""
    kinds = ((4, 200.0), (16, 200.0), (8, 150.0))
    return np.stack(
        [
            tissue(SIZE, SIZE, 100 * patient + i, grain=kinds[patient % 3][0], red=kinds[patient % 3][1])
            for patient in range(PATIENTS)
            for i in range(PER_PATIENT)
        ]
    )


@pytest.fixture(scope="session")
def tiles(pixels: np.ndarray) -> TileSet:
    return tile_set(pixels, [f"P{i // PER_PATIENT:02}" for i in range(len(pixels))])


@pytest.fixture(scope="session")
def few(pixels: np.ndarray) -> TileSet:
    """A tile each of 24 patients, for models that take their time."""
    return tile_set(pixels[::PER_PATIENT], [f"P{i:02}" for i in range(PATIENTS)])


@pytest.fixture(scope="session")
def vae(tiles: TileSet) -> Encoder:
    return fit_encoder(tiles, epochs=30, device="cpu", choice=VAE)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of small models: 64, 512 and 1,280 dimensions, with their classifiers."""
    import torch

    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for name in ("test_vit", "resnet10t", "tf_efficientnet_lite0"):
        timm_model._timm()
        import timm

        torch.manual_seed(1)
        state = timm.create_model(name, pretrained=False).state_dict()
        found[name] = folder / f"{name}.safetensors"
        save_file({key: one.numpy() for key, one in state.items()}, found[name])
    return found


def choice(weights: dict[str, Path], name: str, truncate: str = "last") -> ModelChoice:
    return ModelChoice(tile_model=name, tile_weights=weights[name], truncate=truncate)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_models_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("MOLSIG_MODELS", raising=False)


# The small VAE


def test_tissues_are_found(vae: Encoder, tiles: TileSet) -> None:
    found = vae.encode(tiles)
    assert found.vectors.shape == (len(tiles.samples), 768)
    assert found.vectors.dtype == np.float32
    assert found.items == tiles.items
    assert found.digests == tiles.digests
    assert np.sqrt(np.square(found.vectors).sum(axis=1).mean()) == pytest.approx(1, abs=1e-4)
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    patient = np.arange(len(unit)) // PER_PATIENT
    cosine[patient[:, None] == patient[None]] = -2
    kind = patient % 3
    assert (kind[cosine.argmax(axis=1)] == kind).mean() > 0.9


def test_same_seed_same_vectors(tiles: TileSet) -> None:
    first, again, other = (fit_encoder(tiles, seed=s, epochs=2, device="cpu", choice=VAE) for s in (3, 3, 4))
    assert first.space == again.space != other.space
    np.testing.assert_array_equal(first.encode(tiles).vectors, again.encode(tiles).vectors)


def test_a_tile_alone_is_the_tile_in_company(vae: Encoder, tiles: TileSet) -> None:
    together = vae.encode(tiles).vectors
    np.testing.assert_allclose(vae.encode(tiles, rows=[17]).vectors[0], together[17], atol=1e-5)


def test_the_card_says_why_the_vae_was_taken(tiles: TileSet, vae: Encoder) -> None:
    stands_in = fit_encoder(tiles, epochs=1, device="cpu")
    assert stands_in.card.name == "tile-vae"
    assert "no weights of Prov-GigaPath were found" in stands_in.card.training["statement"]
    assert stands_in.card.training["statement"] in stands_in.contract(tiles).notes
    assert vae.card.training["statement"] == "asked for by its name"
    card = vae.card
    assert (card.n_samples, card.n_patients, card.n_features) == (PATIENTS, PATIENTS, 71)
    assert (card.training["tiles"], card.training["fitted_tiles"]) == (96, 96)
    assert (card.hyperparameters["tile"], card.hyperparameters["mpp"]) == (SIZE, 0.5)
    assert 0.3 < card.training["explained_variance"] < 1
    assert card.hash == card.identity()


def test_it_comes_back_as_it_was(vae: Encoder, tiles: TileSet, tmp_path: Path) -> None:
    vae.save(tmp_path)
    loaded = load_encoder(tmp_path, device="cpu", sha256=files_sha256(tmp_path))
    assert (loaded.space, loaded.card, loaded.features) == (vae.space, vae.card, names())
    np.testing.assert_array_equal(loaded.encode(tiles).vectors, vae.encode(tiles).vectors)
    assert loaded.digests(tiles) == tiles.digests


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_if_tampered_with(vae: Encoder, tmp_path: Path, name: str) -> None:
    vae.save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DamagedError):
        load_encoder(tmp_path, device="cpu")


def test_components_of_another_shape_are_refused(vae: Encoder) -> None:
    contents = vae._contents
    with pytest.raises(DamagedError, match="do not fit its 71 statistics"):
        type(vae)(replace(contents, tensors={**contents.tensors, "input.components": np.zeros((3, 71), np.float32)}))


def test_any_tile_has_a_vector(vae: Encoder) -> None:
    strange = np.zeros((4, SIZE, SIZE, 3), dtype=np.uint8)
    strange[1], strange[2] = 255, np.random.default_rng(0).integers(0, 256, strange[2].shape)
    strange[3, ::2] = (255, 0, 0)
    found = vae.encode(tile_set(strange, ["A", "B", "C", "D"])).vectors
    assert np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1).min() > 0


def test_descriptions_do_not_know_where_things_are(pixels: np.ndarray) -> None:
    import torch

    found = describe(torch.from_numpy(np.stack([pixels[0], pixels[0][::-1, ::-1], pixels[40]]))).numpy()
    assert found.shape == (3, len(names()))
    assert len(set(names())) == 71
    same, other = np.abs(found[0] - found[1]).max(), np.abs(found[0] - found[2]).max()
    assert same < 1e-3 < 0.1 < other


def test_components_are_scaled_half_way_to_white() -> None:
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((500, 3)) * [1, 1, 1] @ np.array([[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]])).astype(np.float32)
    around = fit_projection(x, 10)
    out = project(x, around)
    covariance = np.cov(out, rowvar=False)
    assert np.square(out).mean() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-2)
    standard = (x - x.mean(0)) / x.std(0)
    spectrum = np.sqrt(np.linalg.eigvalsh(np.cov(standard, rowvar=False))[::-1])
    np.testing.assert_allclose(np.diag(covariance) / np.diag(covariance)[0], spectrum / spectrum[0], rtol=1e-2)


def test_tiles_are_taken_evenly_from_patients(tiles: TileSet) -> None:
    uneven = tile_set(np.zeros((50, 8, 8, 3), np.uint8), ["big"] * 40 + ["small"] * 4 + ["mid"] * 6)
    rows = choose_tiles(uneven, 12, 0)
    assert [sum(uneven.samples[row].patient == one for row in rows) for one in ("big", "small", "mid")] == [4, 4, 4]
    np.testing.assert_array_equal(rows, choose_tiles(uneven, 12, 0))
    assert list(choose_tiles(uneven, 12, 1)) != list(rows)
    assert len(choose_tiles(uneven, 1000, 0)) == 50


def test_pixels_are_read_in_batches(tiles: TileSet, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watched(rows: Sequence[int]) -> np.ndarray:
        asked.append(len(rows))
        return pixels[list(rows)]

    lazy = replace(tiles, pixels=watched)
    monkeypatch.setattr(tile, "MOST_TILES", 40)
    monkeypatch.setattr(tile, "_BATCH_BYTES", 10 * 3 * SIZE**2)
    encoder = fit_encoder(lazy, epochs=1, device="cpu", choice=VAE)
    assert sum(asked) == 40
    assert encoder.card.training["fitted_tiles"] == 40
    asked.clear()
    encoder.digests(lazy)
    encoder.contract(lazy)
    assert asked == []
    encoder.encode(lazy)
    assert (sum(asked), max(asked)) == (96, 10)


def test_tiles_of_another_kind_are_refused(vae: Encoder, tiles: TileSet, pixels: np.ndarray) -> None:
    other = tile_set(np.zeros((3, 32, 32, 3), np.uint8), ["A", "B", "C"])
    with pytest.raises(InputError, match=r"tiles of 32 pixels, and tile-vae-\w+ takes 64"):
        vae.encode(other)
    with pytest.raises(InputError, match=r"tiles of 0\.25 micrometres a pixel, and"):
        vae.encode(replace(tiles, mpp=0.25))
    assert vae.encode(replace(tiles, mpp=0.25), rows=[0], allow_missing=True).vectors.shape == (1, 768)
    assert vae.encode(replace(tiles, mpp=0.52), rows=[0]).vectors.shape == (1, 768)
    assert "the scale of these tiles is not known" in vae.contract(replace(tiles, mpp=None)).warnings[-1]
    with pytest.raises(InputError, match="at least 3 tiles, there are 2"):
        fit_encoder(tile_set(pixels[:2], ["A", "B"]), choice=VAE)
    with pytest.raises(InputError, match="all tiles look alike"):
        fit_encoder(tile_set(np.full((5, SIZE, SIZE, 3), 255, np.uint8), list("ABCDE")), choice=VAE)
    with pytest.raises(UsageError, match="weights belong to a timm model"):
        fit_encoder(tiles, choice=ModelChoice(tile_model="vae", tile_weights=Path("x")))


# Given models


def test_a_given_model_gives_its_own_vectors(weights: dict[str, Path], few: TileSet, tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import load_file as load_torch

    encoder = fit_encoder(few, device="cpu", choice=choice(weights, "resnet10t"))
    found = encoder.encode(few).vectors
    model = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
    model.load_state_dict({k: v for k, v in load_torch(weights["resnet10t"]).items() if not k.startswith("fc.")})
    with torch.inference_mode():
        own = model(prepare(few.pixels(range(len(found))), encoder._how, "cpu")).numpy()  # type: ignore[attr-defined]
    lifted = own @ isometry(512, 768, 0)
    np.testing.assert_allclose(found, lifted / np.sqrt(np.square(lifted).sum(1).mean()), rtol=1e-3, atol=1e-5)
    unit_own, unit = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (own, found))
    np.testing.assert_allclose(unit @ unit.T, unit_own @ unit_own.T, atol=1e-5)
    card = encoder.card
    assert card.name == "tile-resnet10t"
    assert card.architecture["weights_sha256"] == sha256_of(weights["resnet10t"])
    assert (card.architecture["dimensions"], card.hyperparameters["reduction"]) == (512, "lift")
    assert card.architecture["timm"] == timm.__version__
    assert card.licence == "apache-2.0"
    assert (card.n_samples, card.training["tiles"]) == (PATIENTS, PATIENTS)
    encoder.save(tmp_path)
    # The weights themselves stay where they are: a lift of 512 x 768 numbers and a unit is all.
    assert (tmp_path / "model.safetensors").stat().st_size < 2_000_000 < weights["resnet10t"].stat().st_size
    loaded = load_encoder(tmp_path, device="cpu", choice=choice(weights, "resnet10t"))
    np.testing.assert_array_equal(loaded.encode(few).vectors, found)
    assert loaded.space == fit_encoder(few, device="cpu", choice=choice(weights, "resnet10t")).space


def test_longer_vectors_come_down(weights: dict[str, Path], pixels: np.ndarray, tmp_path: Path) -> None:
    few = tile_set(pixels[::12], [f"P{i}" for i in range(8)])
    found = {
        how: fit_encoder(few, device="cpu", choice=choice(weights, "tf_efficientnet_lite0", how))
        for how in ("last", "first", "pca")
    }
    (raw,) = found["last"]._raw(iter([few.pixels(range(8))]))  # type: ignore[attr-defined]
    assert raw.shape == (8, 1280)
    vectors = {how: one.encode(few).vectors for how, one in found.items()}
    for how, part in (("last", raw[:, 512:]), ("first", raw[:, :768])):
        np.testing.assert_allclose(vectors[how], part / np.sqrt(np.square(part).sum(1).mean()), rtol=1e-4, atol=1e-6)
    assert len({one.space for one in found.values()}) == 3
    # 8 tiles span 7 dimensions, so components lose nothing of their distances.
    centred = raw - raw.mean(axis=0)
    scale = np.sqrt(np.square(centred).sum(1).mean())
    np.testing.assert_allclose(vectors["pca"] @ vectors["pca"].T, centred @ centred.T / scale**2, atol=1e-3)
    found["pca"].save(tmp_path)
    loaded = load_encoder(tmp_path, device="cpu", choice=choice(weights, "tf_efficientnet_lite0"))
    np.testing.assert_array_equal(loaded.encode(few).vectors, vectors["pca"])
    with pytest.raises(UsageError, match="truncate='middle' is not known"):
        fit_encoder(few, choice=choice(weights, "tf_efficientnet_lite0", "middle"))


def test_768_dimensions_stay_as_they_are() -> None:
    x = np.random.default_rng(0).standard_normal((4, 768)).astype(np.float32)
    np.testing.assert_array_equal(lower(x, {}, "last"), x)
    np.testing.assert_array_equal(lower(x, {}, "first"), x)


def test_other_weights_than_those_it_was_made_with_are_refused(
    weights: dict[str, Path], few: TileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models" / "test_vit"
    models.mkdir(parents=True)
    shutil.copy(weights["test_vit"], models / "model.safetensors")
    monkeypatch.setenv("MOLSIG_MODELS", str(models.parent))
    encoder = fit_encoder(few, device="cpu", choice=ModelChoice(tile_model="test_vit"))
    folder = tmp_path / "encoder"
    folder.mkdir()
    encoder.save(folder)
    np.testing.assert_array_equal(load_encoder(folder).encode(few).vectors, encoder.encode(few).vectors)
    tensors = load_file(models / "model.safetensors")
    save_file({**tensors, "norm.weight": tensors["norm.weight"] + 1e-3}, models / "model.safetensors")
    loaded = load_encoder(folder)
    assert loaded.digests(few) == few.digests
    with pytest.raises(DamagedError, match="is not the weights file that the encoder was made with"):
        loaded.encode(few, rows=[0])
    (models / "model.safetensors").unlink()
    with pytest.raises(DamagedError, match="needs the weights of test_vit, which are not copied into a reference"):
        load_encoder(folder).encode(few, rows=[0])
    # What was fitted in this process keeps its network.
    assert encoder.encode(few, rows=[0]).vectors.shape == (1, 768)


def test_weights_that_do_not_fit_are_refused(weights: dict[str, Path], few: TileSet, tmp_path: Path) -> None:
    def refused(path: Path, problem: str, name: str = "test_vit") -> None:
        with pytest.raises(InputError, match=problem) as caught:
            fit_encoder(few, device="cpu", choice=ModelChoice(tile_model=name, tile_weights=path))
        assert caught.value.file == str(path)

    refused(weights["resnet10t"], "holds no weights of test_vit: cls_token is missing")
    tensors = load_file(weights["test_vit"])
    path = tmp_path / "w.safetensors"
    save_file({**tensors, "norm.weight": np.ones(65, np.float32)}, path)
    refused(path, r"norm.weight has shape \(65,\), not \(64,\)")
    save_file({**tensors, "extra": np.ones(65, np.float32)}, path)
    refused(path, "extra is not part of the model")
    save_file({key: np.full_like(one, np.nan) for key, one in tensors.items()}, path)
    refused(path, "zero or not finite")
    path.write_bytes(weights["test_vit"].read_bytes()[:5000])
    refused(path, "damaged")
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    refused(path, "is a pickle.*weights_only=True")
    path.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
    refused(path, "is a pickle")
    path.write_bytes(b"not weights at all")
    refused(path, "no safetensors file")
    refused(tmp_path / "absent", "no such file of weights")


def test_names_that_timm_does_not_know(tiles: TileSet) -> None:
    with pytest.raises(InputError, match=r"no weights of resnet10t were found, and none are fetched\. Put them at"):
        fit_encoder(tiles, choice=ModelChoice(tile_model="resnet10t"))
    with pytest.raises(UsageError, match="timm has no model 'resnet1'; near are"):
        fit_encoder(tiles, choice=ModelChoice(tile_model="resnet1"))
    for name in ("hf-hub:someone/model", "local-dir:/tmp", "../x"):
        with pytest.raises(UsageError, match="is no name of a timm model"):
            fit_encoder(tiles, choice=ModelChoice(tile_model=name))


def test_prov_gigapath_is_taken_where_its_weights_are(
    few: TileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same kind of model with one small block in place of forty large ones: nobody wants 4.5 GB of noise in a test.
    small = {**PROV_GIGAPATH.options, "embed_dim": 96, "depth": 1, "num_heads": 2}
    monkeypatch.setattr(timm_model, "PROV_GIGAPATH", replace(PROV_GIGAPATH, options=small))
    monkeypatch.setattr("molsig.encoders.tile_timm.PROV_GIGAPATH", replace(PROV_GIGAPATH, options=small))
    state = create(PROV_GIGAPATH.architecture, small).state_dict()
    rng = np.random.default_rng(0)
    values = {key: rng.normal(0, 0.02, tuple(one.shape)).astype(np.float32) for key, one in state.items()}
    place = tmp_path / "hub" / "models--prov-gigapath--prov-gigapath"
    snapshot = place / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc123")
    (snapshot / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match=r"pytorch_model\.bin: is a pickle.*On a machine where you trust it"):
        fit_encoder(few)
    save_file(values, snapshot / "model.safetensors")
    encoder = fit_encoder(few, device="cpu")
    card = encoder.card
    assert (card.name, card.architecture["model"]) == ("tile-prov-gigapath", "prov-gigapath")
    assert card.architecture["preprocessing"] == {
        "resize": 256,
        "crop": 224,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
    }
    assert "nothing was trained" in card.training["statement"]
    assert encoder.encode(few, rows=[0, 1]).vectors.shape == (2, 768)
    assert fit_encoder(few, device="cpu", choice=ModelChoice(tile_model="gigapath")).space == encoder.space


def test_prov_gigapath_has_the_shape_it_was_published_with() -> None:
    network = create(PROV_GIGAPATH.architecture, PROV_GIGAPATH.options)
    assert sum(one.numel() for one in network.parameters()) == 1_134_953_984
    assert timm_model.dimensions(network, timm_model.preprocessing_of(PROV_GIGAPATH, network)) == 1536


def test_where_weights_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"a": np.ones(2, np.float32)}
    assert find_weights("m", ["timm/m.*"]) is None
    for tag in ("x", "y"):
        snapshot = tmp_path / "hub" / f"models--timm--m.{tag}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        save_file(one, snapshot / "model.safetensors")
        if tag == "x":
            assert find_weights("m", ["timm/m.*"]) == snapshot / "model.safetensors"
    with pytest.raises(InputError, match="several models fit 'm'"):
        find_weights("m", ["timm/m.*"])
    save_file(one, tmp_path / "m.safetensors")
    monkeypatch.setenv("MOLSIG_MODELS", str(tmp_path))
    assert find_weights("m", ["timm/m.*"]) == tmp_path / "m.safetensors"
    assert shapes_of(tmp_path / "m.safetensors") == {"a": (2,)}


def test_tiles_are_prepared_as_the_model_was_trained() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    how = Preprocessing(256, 224, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    x = prepare(whole, how, "cpu").numpy()
    assert x.shape == (2, 3, 224, 224)
    expected = (whole[:, 16:240, 16:240].astype(np.float32) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.5]
    np.testing.assert_allclose(x, expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert prepare(whole[:, :64, :64], how, "cpu").shape == (2, 3, 224, 224)


def test_contract_and_digests_of_a_given_model_need_no_torch(
    weights: dict[str, Path], tiles: TileSet, tmp_path: Path
) -> None:
    fit_encoder(tiles, device="cpu", choice=choice(weights, "test_vit")).save(tmp_path)
    code = """
import sys
from pathlib import Path
from molsig.encoders.encoder import load_encoder
from molsig.types import ContractReport, SampleId, TileSet
records = TileSet((SampleId("a", "a"),), ("0,0",), ("f" * 64,), None, 64, 0.5, ContractReport("f", "tile", 1, 1, 1))
encoder = load_encoder(Path(sys.argv[1]))
assert encoder.digests(records) == ("f" * 64,)
assert encoder.contract(records).notes
assert not {"torch", "timm", "PIL"} & set(sys.modules), "loaded something heavy"
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_torchvision_is_imported_without_its_operators() -> None:
    code = """
import warnings
warnings.simplefilter("error")
from molsig.encoders import torchvision_ops
torchvision_ops.declare_missing_operators()
torchvision_ops.declare_missing_operators()
declared = torchvision_ops._library is not None
import torch, torchvision
boxes, scores = torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1)
try:
    torch.ops.torchvision.nms(boxes, scores, 0.5)
except NotImplementedError:
    assert declared
else:
    assert not declared
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
