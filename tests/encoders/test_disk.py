"""An encoder comes back as it was written, or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders import disk
from molsig.encoders.card import Card
from molsig.encoders.encoder import files_sha256, fit_encoder, load_encoder
from molsig.errors import DamagedError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.encoders.encoder import Encoder
    from molsig.types import FeatureMatrix, MutationSet


@pytest.fixture
def saved(rna: Encoder, tmp_path: Path) -> Path:
    folder = tmp_path / rna.space
    folder.mkdir()
    rna.save(folder)
    return folder


def test_an_expression_encoder_comes_back(rna: Encoder, expression: FeatureMatrix, saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted(disk.FILES)
    loaded = load_encoder(saved, device="cpu", sha256=files_sha256(saved))
    assert (loaded.space, loaded.card, loaded.features) == (rna.space, rna.card, rna.features)
    np.testing.assert_array_equal(loaded.encode(expression).vectors, rna.encode(expression).vectors)
    assert loaded.digests(expression) == rna.digests(expression)


def test_a_mutation_encoder_comes_back(netvae: Encoder, somatic: MutationSet, tmp_path: Path) -> None:
    netvae.save(tmp_path)
    loaded = load_encoder(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.encode(somatic).vectors, netvae.encode(somatic).vectors)
    assert loaded.contract(somatic) == netvae.contract(somatic)


@pytest.mark.parametrize("name", disk.FILES)
@pytest.mark.parametrize("known", [True, False], ids=["hashes-known", "hashes-unknown"])
def test_every_flipped_bit_is_noticed(saved: Path, name: str, known: bool) -> None:
    hashes = files_sha256(saved) if known else None
    path = saved / name
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for place in [0, len(whole) - 1, *rng.integers(0, len(whole), 20).tolist()]:
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(DamagedError, match=r"Restore|format"):
            load_encoder(saved, sha256=hashes)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedError):
        load_encoder(saved, sha256=hashes)
    path.unlink()
    with pytest.raises(DamagedError, match="cannot be read"):
        load_encoder(saved, sha256=hashes)


def test_a_file_of_another_encoder_is_noticed(saved: Path, expression: FeatureMatrix, tmp_path: Path) -> None:
    hashes = files_sha256(saved)
    other = tmp_path / "other"
    other.mkdir()
    fit_encoder(expression, seed=9, epochs=1, device="cpu").save(other)
    with pytest.raises(DamagedError, match="SHA-256 differs"):
        load_encoder(other, sha256=hashes)
    shutil.copy(other / disk.WEIGHTS, saved / disk.WEIGHTS)
    with pytest.raises(DamagedError, match="SHA-256 differs"):
        load_encoder(saved)


def test_a_hash_that_is_not_known_is_no_match(saved: Path) -> None:
    with pytest.raises(DamagedError, match=r"card\.json"):
        load_encoder(saved, sha256={disk.WEIGHTS: files_sha256(saved)[disk.WEIGHTS]})


def test_weights_of_another_shape_are_noticed(rna: Encoder, expression: FeatureMatrix) -> None:
    contents = rna._contents
    with pytest.raises(DamagedError, match=r"input\.mean"):
        type(rna)(replace(contents, tensors=contents.tensors | {"input.mean": np.zeros(3, np.float32)}))
    short = contents.tensors | {"net.mean.weight": np.zeros((768, 3), np.float32)}
    with pytest.raises(DamagedError, match="do not fit its card"):
        type(rna)(replace(contents, tensors=short), "cpu").encode(expression)
    with pytest.raises(DamagedError, match="do not fit its card"):
        type(rna)(replace(contents, tensors=short), "cpu").encode(expression, rows=[0])


def test_nothing_is_overwritten(rna: Encoder, saved: Path) -> None:
    with pytest.raises(FileExistsError):
        rna.save(saved)


def test_cards_round_trip_and_name_no_patient(rna: Encoder, saved: Path) -> None:
    data = (saved / disk.CARD).read_bytes()
    assert Card.from_bytes(data, saved) == rna.card
    assert Card.from_bytes(data, saved).to_bytes() == data
    assert rna.card.to_dict()["n_patients"] == 120
    json.dumps(rna.card.to_dict(), allow_nan=False)
    for name in disk.FILES:
        assert b"P001" not in (saved / name).read_bytes()


def test_the_card_keeps_the_digests_of_the_input(expression: FeatureMatrix, tmp_path: Path) -> None:
    encoder = fit_encoder(expression, epochs=1, device="cpu", inputs={"cohort.tsv": "ab" * 32})
    encoder.save(tmp_path)
    loaded = load_encoder(tmp_path)
    assert loaded.card.inputs == {"cohort.tsv": "ab" * 32}
    assert loaded.space == fit_encoder(expression, epochs=1, device="cpu").space


def test_date_and_machine_are_not_part_of_the_identity(rna: Encoder) -> None:
    assert replace(rna.card, created="1999-01-01", device="cuda").identity() == rna.card.identity()
    assert replace(rna.card, seed=1).identity() != rna.card.identity()
    assert rna.space == f"rna-vae-{rna.card.hash[:10]}"


def test_cards_are_checked(rna: Encoder, tmp_path: Path) -> None:
    def refused(change: dict[str, object], message: str) -> None:
        data = json.dumps({"card": rna.card.to_dict() | change, "sha256": ""}).encode()
        with pytest.raises(DamagedError, match=message):
            Card.from_bytes(data, tmp_path)

    refused({"format": 99}, "card format 99")
    refused({"seed": "zero"}, "'seed' is not of type int")
    refused({"seed": True}, "'seed' is not of type int")
    refused({"files": {"a": 1}}, "a value of 'files' is not of type str")
    refused({"extra": 1}, "unknown fields: extra")
    refused({"seed": 77}, "not as it was written")
    for text in (b"", b"[]", b"{}", b'{"card": 3}', b"\xff"):
        with pytest.raises(DamagedError):
            Card.from_bytes(text, tmp_path)


def test_names_that_would_break_the_list_are_refused() -> None:
    with pytest.raises(InputError, match="line break"):
        disk.features_bytes({"A\nB": disk.ENCODED})


def test_contract_and_digests_need_no_torch(saved: Path, expression: FeatureMatrix, tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", expression.values)
    code = """
import sys, numpy as np
from pathlib import Path
from molsig.encoders.encoder import load_encoder
from molsig.types import ContractReport, FeatureMatrix, SampleId
encoder = load_encoder(Path(sys.argv[1]))
values = np.load(sys.argv[2], allow_pickle=False)
samples = tuple(SampleId(str(i), str(i)) for i in range(len(values)))
features = tuple(f"G{i}" for i in range(values.shape[1]))
records = FeatureMatrix("rna", samples, features, values, "log2", ContractReport("f", "rna", 1, 1, 1))
assert encoder.contract(records).matched == 200
print(encoder.digests(records)[0])
assert not {"torch", "pandas", "faiss", "duckdb"} & set(sys.modules), "loaded something heavy"
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(tmp_path / "values.npy")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 64


def test_transposed_arrays_come_back_the_right_way_round() -> None:
    from safetensors.numpy import load

    table = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(load(disk.weights_bytes({"a": table}))["a"], table)
