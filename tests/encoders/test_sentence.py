"""Sentences to vectors with a small model whose weights are random: the real path, only shorter."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders import masking, sentence
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder, load_encoder
from molsig.encoders.sentence import SentenceEncoder, fit_sentences
from molsig.errors import DamagedError, InputError, MissingExtraError, UsageError
from molsig.types import ContractReport, SampleId, TextSet, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix

SENTENCES = (
    "Invasive ductal carcinoma of the left breast.",
    "The margins are free of tumor.",
    "Two of 14 lymph nodes hold metastases.",
    "The margins are free of tumor.",
    "pT2 pN1a.",
    "The   margins\nare free of tumor.",
    "Grade 3",
)


def texts(*some: str) -> TextSet:
    """One sample per text."""
    samples = tuple(SampleId(f"S{i}", f"P{i}") for i in range(len(some)))
    items = tuple(f"{i + 1:04}" for i in range(len(some)))
    return TextSet(samples, items, some, ContractReport("reports.csv", "report", len(some), len(some), len(some)))


def encoder_of(model: Path | str | None, **options: object) -> Encoder:
    """The encoder of a model."""
    return fit_encoder(texts("x"), choice=ModelChoice(text_model=model, **options), device="cpu")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sbert(text_model: Path) -> Encoder:
    """An encoder that is loaded once for all tests that do not change it."""
    return encoder_of(text_model)


def own_vectors(model: Path, some: Sequence[str]) -> np.ndarray:
    """What sentence-transformers itself gives."""
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(model), device="cpu", local_files_only=True).encode(list(some)))


def test_vectors_are_those_of_the_model_lifted_without_changing_an_angle(sbert: Encoder, text_model: Path) -> None:
    got = sbert.encode(texts(*SENTENCES))
    assert got.vectors.shape == (7, 768)
    assert got.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got.vectors, axis=1), 1, atol=1e-6)
    own = own_vectors(text_model, SENTENCES)
    assert own.shape == (7, 32)
    np.testing.assert_allclose(got.vectors @ got.vectors.T, own @ own.T, atol=1e-5)
    assert (own @ own.T)[0, 4] < 0.99
    assert got.items == ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
    assert got.samples == texts(*SENTENCES).samples


def test_a_model_of_768_dimensions_is_taken_as_it_is(text_model: Path, wide_model: Path) -> None:
    encoder = encoder_of(wide_model)
    np.testing.assert_allclose(encoder.encode(texts(*SENTENCES)).vectors, own_vectors(wide_model, SENTENCES), atol=1e-5)
    assert encoder.card.hyperparameters["lift_seed"] is None
    assert encoder_of(text_model).card.hyperparameters["lift_seed"] == sentence.LIFT_SEED


def test_the_same_call_gives_the_same_bits(sbert: Encoder, text_model: Path) -> None:
    first = sbert.encode(texts(*SENTENCES)).vectors
    assert first.tobytes() == sbert.encode(texts(*SENTENCES)).vectors.tobytes()
    assert first.tobytes() == encoder_of(text_model).encode(texts(*SENTENCES)).vectors.tobytes()


def test_neither_order_nor_company_matter(sbert: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    many = [" ".join("abcdefghij"[i : i + 3] for i in rng.integers(0, 8, n)) for n in rng.integers(1, 20, 60)]
    whole = sbert.encode(texts(*many)).vectors
    order = rng.permutation(len(many))
    np.testing.assert_allclose(sbert.encode(texts(*many), rows=order.tolist()).vectors, whole[order], atol=1e-5)
    alone = np.concatenate([sbert.encode(texts(one)).vectors for one in many[:20]])
    np.testing.assert_allclose(alone, whole[:20], atol=1e-5)
    monkeypatch.setitem(sentence.TOKENS, "cpu", 1)
    np.testing.assert_allclose(sbert.encode(texts(*many)).vectors, whole, atol=1e-5)


def test_a_repeated_sentence_is_encoded_once(sbert: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sentence.TOKENS, "cpu", 64)
    told: list[tuple[str, int, int | None]] = []
    got = sbert.encode(texts(*SENTENCES), progress=lambda *step: told.append(step))
    assert told[-1] == ("encode report", 5, 5)
    assert len(told) > 2
    assert got.vectors[1].tobytes() == got.vectors[3].tobytes() == got.vectors[5].tobytes()
    assert got.digests[1] == got.digests[3] == got.digests[5]
    assert len(set(got.digests)) == 5


def test_digests_are_of_what_the_model_sees(sbert: Encoder, text_model: Path) -> None:
    composed, apart = "na\u00efve \u00fclcer", "nai\u0308ve u\u0308lcer"
    assert sbert.digests(texts(composed, "  " + apart + "\n"))[0] == sbert.digests(texts(apart))[0]
    assert len(set(sbert.digests(texts(composed, "  " + apart + "\n")))) == 1
    assert sbert.digests(texts("a b")) != sbert.digests(texts("a B"))
    masked = encoder_of(text_model, mask_diagnosis=True)
    assert masked.digests(texts("Lung: adenocarcinoma")) == sbert.digests(texts("term: term"))


def test_hidden_words_make_no_difference(sbert: Encoder, text_model: Path) -> None:
    masked = encoder_of(text_model, mask_diagnosis=True)
    assert masked.space != sbert.space
    got = masked.encode(texts("Carcinoma of the breast", "Melanoma of the skin", "Margin free")).vectors
    assert got[0].tobytes() == got[1].tobytes()
    np.testing.assert_allclose(got[0], sbert.encode(texts("term of the term")).vectors[0], atol=1e-5)
    np.testing.assert_allclose(got[2], sbert.encode(texts("Margin free")).vectors[0], atol=1e-5)
    assert any("hidden" in note for note in masked.contract(texts("x")).notes)


def test_an_encoder_comes_back_without_the_weights(sbert: Encoder, text_model: Path, tmp_path: Path) -> None:
    sbert.save(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_000
    loaded = load_encoder(tmp_path, device="cpu", choice=ModelChoice(text_model=text_model))
    assert isinstance(loaded, SentenceEncoder)
    assert (loaded.space, loaded.card) == (sbert.space, sbert.card)
    assert loaded.encode(texts(*SENTENCES)).vectors.tobytes() == sbert.encode(texts(*SENTENCES)).vectors.tobytes()
    assert loaded.digests(texts(*SENTENCES)) == sbert.digests(texts(*SENTENCES))


def test_the_card_tells_the_model(sbert: Encoder) -> None:
    card = sbert.card
    shape = card.architecture
    assert (card.name, card.modality, card.licence, card.n_samples) == ("report-sbert", "report", "cc0-1.0", 0)
    assert (shape["called"], shape["dimensions"], shape["max_tokens"], shape["pooling"]) == ("tiny", 32, 48, "mean")
    assert shape["modules"] == ["Transformer", "Pooling", "Normalize"]
    assert {"model.safetensors", "config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= set(
        shape["files"]
    )
    assert not any("README" in name for name in shape["files"])


def test_the_space_is_the_files_and_the_options_not_the_path(
    sbert: Encoder, text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = shutil.copytree(text_model, tmp_path / "another-name")
    (elsewhere / "README.md").unlink()
    moved = encoder_of(elsewhere)
    assert moved.space == sbert.space
    assert (moved.card.architecture["called"], moved.card.licence) == ("another-name", "not stated by the model")
    assert fit_encoder(texts("y", "z"), seed=5, choice=ModelChoice(text_model=elsewhere)).space == sbert.space
    spaces = {sbert.space, encoder_of(text_model, mask_diagnosis=True).space}
    spaces.add(encoder_of(text_model, text_precision="bfloat16").space)
    monkeypatch.setattr(masking, "VERSION", masking.VERSION + 1)
    spaces.add(encoder_of(text_model, mask_diagnosis=True).space)
    (elsewhere / "1_Pooling" / "config.json").write_text(
        (elsewhere / "1_Pooling" / "config.json").read_text().replace("}", ' ,"include_prompt": true}')
    )
    spaces.add(encoder_of(elsewhere).space)
    assert len(spaces) == 5


def test_another_list_of_words_is_refused(text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder_of(text_model, mask_diagnosis=True).save(tmp_path)
    load_encoder(tmp_path)
    monkeypatch.setattr(masking, "VERSION", masking.VERSION + 1)
    with pytest.raises(UsageError, match=r"version 1 of the list .* this molsig has version 2"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"])
def test_a_changed_file_is_refused(sbert: Encoder, text_model: Path, tmp_path: Path, name: str) -> None:
    own = shutil.copytree(text_model, tmp_path / "tiny")
    sbert.save(tmp_path)
    data = bytearray((own / name).read_bytes())
    data[-2] ^= 1
    (own / name).write_bytes(data)
    if name.endswith(".json"):
        (own / name).write_text((text_model / name).read_text() + "\n")
    loaded = load_encoder(tmp_path, device="cpu", choice=ModelChoice(text_model=own))
    with pytest.raises(DamagedError, match=rf"{name}.*SHA-256 is [0-9a-f]{{64}}, the card says [0-9a-f]{{64}}"):
        loaded.encode(texts("x"))
    shutil.copy(text_model / name, own / name)
    np.testing.assert_array_equal(loaded.encode(texts("x")).vectors, sbert.encode(texts("x")).vectors)


def test_another_model_of_the_same_name_is_refused(
    sbert: Encoder, wide_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbert.save(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny").symlink_to(wide_model)
    monkeypatch.setenv("MOLSIG_MODELS", str(tmp_path / "models"))
    loaded = load_encoder(tmp_path, device="cpu")
    loaded.digests(texts("x"))
    with pytest.raises(DamagedError, match="not the file that report-sbert-"):
        loaded.encode(texts("x"))


def test_bfloat16_is_close(sbert: Encoder, text_model: Path) -> None:
    low = encoder_of(text_model, text_precision="bfloat16").encode(texts(*SENTENCES)).vectors
    cosine = (low * sbert.encode(texts(*SENTENCES)).vectors).sum(axis=1)
    assert (cosine > 0.99).all()
    assert (cosine < 1 - 1e-9).any()


def test_empty_text_is_refused(sbert: Encoder) -> None:
    with pytest.raises(InputError, match=r"reports\.csv: text 0002 of sample S1 is empty\. Leave it out"):
        sbert.encode(texts("fine", " \n\t"))
    assert sbert.encode(texts("fine", " \n\t"), rows=[0]).vectors.shape == (1, 768)
    assert sbert.encode(texts("fine"), rows=[]).vectors.shape == (0, 768)


def test_long_texts_are_told_and_cut(sbert: Encoder) -> None:
    long = "a " * 46 + "b"
    assert sbert.contract(texts("a " * 46, "x" * 3000)).warnings == ()
    (warning,) = sbert.contract(texts(long, "short", long)).warnings
    assert warning.startswith("at least 2 of 3 texts are longer than the 46 word pieces that tiny reads")
    got = sbert.encode(texts(long, "a " * 46, "a " * 45)).vectors
    np.testing.assert_allclose(got[0], got[1], atol=1e-5)
    assert not np.allclose(got[0], got[2], atol=1e-4)


def test_other_records_are_refused(sbert: Encoder, expression: FeatureMatrix) -> None:
    with pytest.raises(UsageError, match="encodes report, not rna"):
        sbert.encode(expression)
    with pytest.raises(UsageError, match="encodes sentences, not FeatureMatrix"):
        sbert.contract(replace(expression, modality="report"))
    with pytest.raises(UsageError, match="'float64' is no precision"):
        encoder_of(None, text_precision="float64")


def test_too_many_dimensions_are_refused(text_model: Path, tmp_path: Path) -> None:
    own = shutil.copytree(text_model, tmp_path / "tiny")
    config = own / "1_Pooling" / "config.json"
    config.write_text(config.read_text().replace("32", "1024"))
    with pytest.raises(UsageError, match=r"tiny gives 1024 dimensions, molsig stores 768\. Use a model of at most 768"):
        fit_sentences(texts("x"), choice=ModelChoice(text_model=own), seed=0, device="cpu", progress=silent)


def test_the_missing_extra_is_named(text_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(text_model)
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'molsig\[reports\]'"):
        encoder.encode(texts("x"))


def test_cards_of_fitted_networks_keep_their_identity(sbert: Encoder, rna: Encoder) -> None:
    assert replace(rna.card, licence="other").identity() != rna.card.identity()
    assert replace(sbert.card, licence="other").identity() == sbert.card.identity()
    assert replace(sbert.card, version=2).identity() != sbert.card.identity()


@pytest.mark.real
def test_the_model_of_the_source_paper() -> None:
    """all-mpnet-base-v2 itself, where it is."""
    home = os.environ.get("MOLSIG_MODELS")
    if not home:
        pytest.skip("all-mpnet-base-v2 is wanted: set MOLSIG_MODELS to the folder it lies in")
    encoder = encoder_of(None)
    shape = encoder.card.architecture
    assert shape["files"]["model.safetensors"] == "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    assert (shape["dimensions"], shape["max_tokens"], encoder.card.licence) == (768, 384, "apache-2.0")
    some = texts("The margins are free of tumor.", "No tumor at the resection margin.", "Weight 12 g.", *SENTENCES)
    vectors = encoder.encode(some).vectors
    cosine = vectors @ vectors.T
    assert cosine[0, 1] > 0.6 > 0.3 > cosine[0, 2]
    alone = np.concatenate([encoder.encode(some, rows=[row]).vectors for row in range(4)])
    np.testing.assert_allclose(alone, vectors[:4], atol=1e-5)
    low = encoder_of(None, text_precision="bfloat16").encode(some).vectors
    assert ((low * vectors).sum(axis=1) > 0.999).all()
