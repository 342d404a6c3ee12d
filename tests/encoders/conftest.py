"""Small cohorts made in memory: six made-up types, log2 expression and mutations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.encoders.encoder import fit_encoder
from molsig.types import ContractReport, FeatureMatrix, MutationSet, SampleId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from molsig.encoders.encoder import Encoder

TYPES = 6
PATIENTS = 120


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the cores; nets this small gain nothing from a second thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples_of(n: int, patients: int) -> tuple[SampleId, ...]:
    """`n` samples of `patients` patients: the first ones have two."""
    return tuple(SampleId(f"P{i % patients:03}-{i // patients + 1:02}", f"P{i % patients:03}") for i in range(n))


def matrix(values: np.ndarray, features: Sequence[str] | None = None, scale: str = "log2") -> FeatureMatrix:
    """A matrix of invented samples."""
    n, width = values.shape
    names = tuple(features) if features is not None else tuple(f"G{i}" for i in range(width))
    report = ContractReport("cohort.tsv", "rna", n, n, n, features=width, scale=scale)
    return FeatureMatrix("rna", samples_of(n, PATIENTS), names, values.astype(np.float32), scale, report)


def mutations(pairs: Sequence[tuple[int, str]], n: int, silent: Sequence[tuple[int, str]] = ()) -> MutationSet:
    """Mutations of `n` invented samples from (sample, gene) pairs."""
    rows = sorted({(i, gene, False) for i, gene in pairs} | {(i, gene, True) for i, gene in silent})
    genes = tuple(sorted({gene for _, gene, _ in rows}))
    place = {gene: i for i, gene in enumerate(genes)}
    return MutationSet(
        samples=samples_of(n, max(n, 1)),
        genes=genes,
        sample_index=np.array([i for i, _, _ in rows], dtype=np.int32),
        gene_index=np.array([place[gene] for _, gene, _ in rows], dtype=np.int32),
        silent=np.array([quiet for _, _, quiet in rows], dtype=bool),
        report=ContractReport("cohort.maf", "mutation", len(rows), n, n),
    )


def kinds_of(n: int) -> np.ndarray:
    """Type of each sample; two samples of one patient share it."""
    return np.arange(n) % PATIENTS % TYPES


@pytest.fixture(scope="session")
def expression() -> FeatureMatrix:
    """150 samples, 200 genes; each type lifts 20 genes by 2 under a noise of 1, at depths that differ fourfold."""
    rng = np.random.default_rng(7)
    n = 150
    base = rng.uniform(3, 12, 200)
    programme = rng.random((TYPES, 200)) < 0.1
    values = base + 2 * programme[kinds_of(n)] + rng.normal(0, 1, (n, 200)) + rng.uniform(-1, 1, (n, 1))
    return matrix(values.clip(0))


@pytest.fixture(scope="session")
def somatic() -> MutationSet:
    """150 samples; each type has four drivers, 60 passengers are the same in all; sample 0 has only a silent one."""
    rng = np.random.default_rng(8)
    n = 150
    pairs = []
    for i, kind in enumerate(kinds_of(n)):
        drivers = [f"D{kind}{j}" for j in range(4) if rng.random() < 0.7]
        passengers = [f"PASS{j}" for j in range(60) if rng.random() < 0.05]
        pairs += [(i, gene) for gene in drivers + passengers if i != 0]
    return mutations(pairs, n, silent=[(0, "PASS0"), (1, "D03")])


@pytest.fixture(scope="session")
def rna(expression: FeatureMatrix) -> Encoder:
    """An expression encoder after few epochs."""
    return fit_encoder(expression, epochs=12, device="cpu")


@pytest.fixture(scope="session")
def netvae(somatic: MutationSet) -> Encoder:
    """A mutation encoder after few epochs."""
    return fit_encoder(somatic, epochs=40, device="cpu")


@pytest.fixture(scope="session")
def nearest_agree() -> Callable[[np.ndarray, np.ndarray], float]:
    """Share of rows whose nearest other row of another patient (cosine) is of the same type."""

    def agree(vectors: np.ndarray, kinds: np.ndarray) -> float:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = unit @ unit.T
        patient = np.arange(len(vectors)) % PATIENTS
        cosine[patient[:, None] == patient[None, :]] = -2
        return float((kinds[cosine.argmax(axis=1)] == kinds).mean())

    return agree


def shift(records: FeatureMatrix, values: np.ndarray, features: Sequence[str] | None = None) -> FeatureMatrix:
    """The same samples with other values."""
    names = records.features if features is None else tuple(features)
    return replace(records, values=values.astype(np.float32), features=names)


def write_text_model(folder: Path, *, width: int = 32, seed: int = 0) -> Path:
    """A sentence-transformers folder: a small BERT with random weights that spells every word letter by letter."""
    import json
    import string

    from molsig.encoders.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = {word: i for i, word in enumerate([*marks, *letters, *(f"##{one}" for one in letters)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=48, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        # Larger than usual, so that a network that was never trained still tells sentences apart.
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config).eval()
    model.save_pretrained(folder)
    package = "sentence_transformers.models"
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [{"idx": i, "name": str(i), "path": at, "type": f"{package}.{one}"} for i, (at, one) in enumerate(parts)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc0-1.0\n---\n\n# tiny\n")
    return folder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sentence-transformers model of 32 dimensions; copy it before changing it."""
    pytest.importorskip("transformers", reason="pip install 'molsig[reports]'")
    return write_text_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Path:
    """Another one, of 768 dimensions."""
    return write_text_model(tmp_path_factory.mktemp("models") / "wide", width=768, seed=1)
