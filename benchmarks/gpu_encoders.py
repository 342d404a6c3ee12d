"""Every encoder on a device in float32 and in bfloat16, on invented records; the encoders' part of `benchmarks.gpu`."""

from __future__ import annotations

import string
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from molsig.encoders.choice import PRECISIONS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.errors import MissingExtraError
from molsig.streaming import PLANS, Plan
from molsig.types import ContractReport, FeatureMatrix, MutationSet, SampleId, TextSet, TileSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Encoder
    from molsig.types import Records

NEAREST = 10
COMPARED = 2000
"""Rows whose nearest others are compared between the precisions."""


@dataclass(frozen=True)
class Encoding:
    """One encoder in one precision. `precision` is what was computed in, `asked` what was asked for."""

    encoder: str
    rows: int
    asked: str
    precision: str
    seconds: float
    rows_a_second: float
    operations: int
    floor_s: float
    of_floor: float
    least_cosine: float
    same_nearest: float

    def cells(self) -> tuple[object, ...]:
        """For the table."""
        precision = self.precision if self.precision == self.asked else f"{self.precision}, {self.asked} refused"
        return (
            self.encoder,
            f"{self.rows:,}",
            precision,
            f"{self.seconds:.3f}",
            f"{self.rows_a_second:,.0f}",
            f"{self.floor_s:.4f}",
            f"{self.of_floor:.0%}",
            f"{self.least_cosine:.6f}",
            f"{self.same_nearest:.3f}",
        )


def samples(n: int) -> tuple[SampleId, ...]:
    return tuple(SampleId(f"S{i}", f"P{i}") for i in range(n))


def told(modality: str, n: int) -> ContractReport:
    return ContractReport("invented", modality, n, n, n)


def matrix(n: int, genes: int) -> FeatureMatrix:
    """log2 expression: a level per gene, a programme of each of ten types, noise."""
    rng = np.random.default_rng(4)
    values = rng.standard_normal((n, genes), dtype=np.float32)
    values += rng.uniform(4, 12, genes).astype(np.float32)
    values += 2 * (rng.random((10, genes)) < 0.1).astype(np.float32)[np.arange(n) % 10]
    names = tuple(f"G{i}" for i in range(genes))
    return FeatureMatrix("rna", samples(n), names, np.maximum(values, 0), "log2", told("rna", n))


def mutations(n: int, genes: int) -> MutationSet:
    rng = np.random.default_rng(5)
    hit = rng.random((n, genes)) < rng.uniform(0.01, 0.1, genes)
    sample, gene = np.nonzero(hit)
    names = tuple(f"G{i:04}" for i in range(genes))
    quiet = np.zeros(len(sample), dtype=bool)
    report = told("mutation", n)
    return MutationSet(samples(n), names, sample.astype(np.int32), gene.astype(np.int32), quiet, report)


def tiles(n: int, edge: int = 256) -> TileSet:
    """Noise of three grains; tile i is one of 64 that lie in memory."""
    rng = np.random.default_rng(6)
    few = []
    for i in range(64):
        grain = (2, 4, 8)[i % 3]
        coarse = rng.integers(60, 255, (edge // grain, edge // grain, 3), dtype=np.uint8)
        few.append(coarse.repeat(grain, 0).repeat(grain, 1))
    pixels = np.stack(few)

    def read(rows: Sequence[int]) -> NDArray[np.uint8]:
        return pixels[np.asarray(rows) % len(pixels)]

    items, digests = tuple(f"{i},0" for i in range(n)), tuple(f"{i:064x}" for i in range(n))
    return TileSet(samples(n), items, digests, read, edge, 0.5, told("tile", n))


def sentences(n: int) -> TextSet:
    """Of three to thirty words out of two hundred."""
    rng = np.random.default_rng(7)
    words = ["".join(rng.choice(list(string.ascii_lowercase), size)) for size in rng.integers(2, 9, 200)]
    texts = tuple(" ".join(rng.choice(words, size)) for size in rng.integers(3, 31, n))
    return TextSet(samples(n), tuple(f"{i:06}" for i in range(n)), texts, told("report", n))


def write_text_model(folder: Path, layers: int, width: int) -> Path:
    """A sentence-transformers folder: BERT of random weights; every word is spelt by its letters."""
    import json

    from molsig.encoders.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    except ModuleNotFoundError:
        raise MissingExtraError("Encoding reports", "reports") from None
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *(f"##{one}" for one in string.ascii_lowercase)]
    vocabulary = {word: i for i, word in enumerate(marks + letters)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **named).save_pretrained(folder)
    heads, inner = max(1, width // 64), 4 * width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
        BertModel(BertConfig(vocab_size=len(vocabulary), intermediate_size=inner, **shape)).save_pretrained(folder)
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    kinds = [{"idx": i, "path": at, "type": f"sentence_transformers.models.{one}"} for i, (at, one) in enumerate(parts)]
    (folder / "modules.json").write_text(json.dumps([{**one, "name": str(one["idx"])} for one in kinds]))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def random_weights(name: str, folder: Path) -> Path:
    """A safetensors file of a timm model as it is before training."""
    from safetensors.torch import save_file

    from molsig.encoders.timm_model import _timm

    timm = _timm()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        state = timm.create_model(name, pretrained=False).state_dict()
    save_file({key: one.contiguous() for key, one in state.items()}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def made(
    device: str, scale: int, folder: Path, model: str | None, tile_model: str | None, tile_weights: Path | None
) -> Iterator[tuple[str, Callable[[], tuple[Encoder, Records]]]]:
    """Each encoder by name, and what makes it and its records."""
    large = scale > 1
    edge = 256 if large else 64
    image = tile_model or ("vit_base_patch16_224" if large else "test_vit")

    def fitted(records: Records, choice: ModelChoice | None = None) -> tuple[Encoder, Records]:
        return fit_encoder(records, epochs=1, device=device, choice=choice), records

    def vae() -> tuple[Encoder, Records]:
        return fitted(tiles(80 * scale if large else 24, edge), ModelChoice(tile_model="vae"))

    def timm() -> tuple[Encoder, Records]:
        weights = tile_weights or random_weights(image, folder)
        choice = ModelChoice(tile_model=image, tile_weights=weights)
        return fitted(tiles(20 * scale if large else 16, edge), choice)

    def text() -> tuple[Encoder, Records]:
        own = model or write_text_model(folder / "text", *((12, 768) if large else (1, 64)))
        return fitted(sentences(200 * scale if large else 16), ModelChoice(text_model=own))

    yield "rna-vae", lambda: fitted(matrix(200 * scale, 3500 if large else 80))
    yield "mutation-vae", lambda: fitted(mutations(200 * scale, 500 if large else 40))
    yield "tile-vae", vae
    yield f"tile, {image}", timm
    yield "report, " + (Path(model).name if model else "BERT of random weights"), text


def encoders(
    device: str,
    scale: int,
    rounds: int,
    floors: dict[str, float],
    model: str | None,
    tile_model: str | None,
    tile_weights: Path | None,
) -> Iterator[Encoding]:
    """Measure each encoder in both precisions; `floors` are operations a second of a large product."""
    kind = torch.device(device).type
    before = PLANS.get(kind)
    # What CUDA does anyway; on other devices this walks the same way.
    PLANS[kind] = Plan(ahead=2, low=True)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            for name, make in made(device, scale, Path(temporary), model, tile_model, tile_weights):
                yield from _both(name, *make(), rounds, floors)
    finally:
        if before is None:
            del PLANS[kind]
        else:
            PLANS[kind] = before


def _both(name: str, encoder: Encoder, records: Records, rounds: int, floors: dict[str, float]) -> Iterator[Encoding]:
    from torch.utils.flop_counter import FlopCounterMode

    exact = None
    for asked in PRECISIONS:
        encoder.use(ModelChoice(cuda_precision=asked))
        with warnings.catch_warnings():
            # That bfloat16 is refused is told in the table.
            warnings.simplefilter("ignore", RuntimeWarning)
            vectors = encoder.encode(records, allow_missing=True).vectors
        seconds = np.inf
        for _ in range(rounds):
            start = time.perf_counter()
            encoder.encode(records, allow_missing=True)
            seconds = min(seconds, time.perf_counter() - start)
        with FlopCounterMode(display=False) as counter:
            encoder.encode(records, allow_missing=True)
        exact = vectors if exact is None else exact
        computed = encoder.computed_in
        operations = int(counter.get_total_flops())
        floor, n = operations / floors[computed], len(vectors)
        apart = cosines(exact, vectors).min(), same_nearest(exact[:COMPARED], vectors[:COMPARED])
        yield Encoding(
            name, n, asked, computed, seconds, n / seconds, operations, floor, floor / seconds, *map(float, apart)
        )


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the vectors of the same rows."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    found: NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


def same_nearest(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Share of each row's nearest others (cosine, the mean vector taken off first) that both have."""
    near = []
    for one in (left, right):
        x = one.astype(np.float64) - one.mean(axis=0, dtype=np.float64)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        cosine = x @ x.T
        np.fill_diagonal(cosine, -2)
        near.append(np.argpartition(-cosine, NEAREST, axis=1)[:, :NEAREST])
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(shared)) / NEAREST
