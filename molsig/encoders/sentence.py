"""The encoder of reports: one unit vector per sentence from a sentence-BERT whose weights are given.

Sentence-BERT: N. Reimers, I. Gurevych (EMNLP 2019, arXiv:1908.10084). The source paper (doi 10.1101/2025.05.14.653900,
Methods, "Embedding generation") encodes each segment of a report by the pretrained model and sums a patient's vectors.
Nothing is fitted: the card keeps hashes of the given files, and a model of other files is refused.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
from contextlib import nullcontext
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders import disk, masking
from molsig.encoders.card import Card
from molsig.encoders.choice import PRECISIONS
from molsig.encoders.device import choose_device
from molsig.encoders.encoder import Encoder
from molsig.encoders.pretrained import compare_files
from molsig.encoders.sentence_model import find_sentence_model, load_pipeline
from molsig.errors import DamagedError, InputError, UsageError
from molsig.geometry import isometry
from molsig.streaming import CHECKED, plan_of, stream, to_device
from molsig.types import DIM, TextSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.choice import ModelChoice, Precision
    from molsig.encoders.encoder import Rows
    from molsig.types import ContractReport, Progress, Records

VERSION = 1
LIFT_SEED = 768
"""Of the isometry that lifts shorter vectors; part of every card."""

TOKENS = {"cpu": 512, "other": 65536}
"""Word pieces of a batch, padding included. On a CPU small batches stay in its caches: all-mpnet-base-v2, float32, one
thread: 512 gave 27 sentences/s, 2,048 gave 22, 8,192 gave 16."""

_PIECE = re.compile(r"[^\W_]+|[^\w\s]")


class SentenceEncoder(Encoder):
    """Encoder of a `TextSet`: one vector of length 1 per sentence.

    A vector depends on its sentence only; what else is in its batch moves it by less than 1e-5 in any coordinate
    (float32; 1e-2 in bfloat16). The same call gives the same bits.
    """

    def __init__(self, contents: disk.Contents, device: str, choice: ModelChoice) -> None:
        super().__init__(contents, device)
        shape, use = contents.card.architecture, contents.card.hyperparameters
        try:
            self._max_tokens = int(shape["max_tokens"])
            self._dimensions = int(shape["dimensions"])
            self._files = dict(shape["files"])
            self._called = str(shape["called"])
            self._masked = bool(use["mask_diagnosis"])
            self._precision = str(use["precision"])
            listed = use["mask_version"]
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"the card of {self.space} lacks what a sentence encoder needs: {error}") from None
        if self._precision not in PRECISIONS:
            raise UsageError(f"{self.space} computes in {self._precision}, which this molsig does not know")
        if self._masked and listed != masking.VERSION:
            raise UsageError(
                f"{self.space} was made with version {listed} of the list of words to hide, this molsig has version "
                f"{masking.VERSION}. Use the molsig it was made with ({self.card.molsig_version}), or encode anew"
            )
        self._given = choice.text_model

    @property
    def computed_in(self) -> Precision:
        return "bfloat16" if self._precision == "bfloat16" else super().computed_in

    def contract(self, records: Records) -> ContractReport:
        texts = self._texts(records)
        notes, warnings = list(texts.report.notes), list(texts.report.warnings)
        if self._masked:
            notes.append(f"words that name the diagnosis are hidden (word list {masking.VERSION})")
        # A lower bound that needs no tokenizer: each run of letters or digits and each sign is one word piece or more.
        room = self._max_tokens - 2
        long = sum(len(text) > room and sum(1 for _ in _PIECE.finditer(text)) > room for text in texts.texts)
        if long:
            warnings.append(
                f"at least {long:,} of {len(texts.texts):,} texts are longer than the {room} word pieces that "
                f"{self._called} reads; the rest of each is not encoded. Split them into sentences"
            )
        return replace(texts.report, notes=tuple(notes), warnings=tuple(warnings))

    def _texts(self, records: Records) -> TextSet:
        self._check_modality(records)
        if not isinstance(records, TextSet):
            raise UsageError(f"{self.space} encodes sentences, not {type(records).__name__}")
        return records

    def _check_coverage(self, records: Records, rows: Rows, allow_missing: bool) -> None:
        texts = self._texts(records)
        for row in rows:
            if not texts.texts[row].strip():
                raise InputError(
                    f"text {texts.items[row]} of sample {texts.samples[row].sample} is empty",
                    file=texts.report.file,
                    hint="Leave it out",
                )

    def _read(self, text: str) -> str:
        """What of a text the model gets to see: composed Unicode, single spaces, and, if asked for, words hidden."""
        plain = " ".join(unicodedata.normalize("NFC", text).split())
        return masking.mask(plain) if self._masked else plain

    def _digest(self, records: Records, rows: Rows) -> Iterator[str]:
        texts = self._texts(records).texts
        return (hashlib.sha256(self._read(texts[row]).encode("utf-8", "surrogatepass")).hexdigest() for row in rows)

    def _vectors(self, records: Records, rows: Rows, progress: Progress) -> NDArray[np.float32]:
        texts = self._texts(records).texts
        place: dict[str, int] = {}
        which = np.array([place.setdefault(self._read(texts[row]), len(place)) for row in rows], dtype=np.int64)
        if not len(which):
            return np.empty((0, DIM), dtype=np.float32)
        vectors: NDArray[np.float32] = self._encode_unique(list(place), progress)[which]
        return vectors

    def _encode_unique(self, texts: Sequence[str], progress: Progress) -> NDArray[np.float32]:
        """Vectors of texts that all differ, in their order; longest first, so that a lack of memory shows at once."""
        pipeline = self._pipeline()
        lengths = np.array([min(len(ids), self._max_tokens) for ids in _tokens(pipeline, texts)])
        order = np.argsort(-lengths, kind="stable")
        batches: list[Rows] = []
        room, start = TOKENS["cpu" if pipeline.device.type == "cpu" else "other"], 0
        while start < len(order):
            batches.append(order[start : start + max(1, room // int(lengths[order[start]]))])
            start += len(batches[-1])
        some = ([texts[row] for row in rows] for rows in batches)
        sample = [texts[row] for row in order[:: -(-len(order) // CHECKED)]]
        ahead = plan_of(pipeline.device).ahead
        # A model that asks for a prompt before each text leaves its pooling to know of it.
        streamed = ahead > 0 and pipeline.default_prompt_name is None
        computed = self._streamed(some, sample, ahead) if streamed else map(self._one_by_one, some)
        found = np.empty((len(texts), self._dimensions), dtype=np.float32)
        done = 0
        for rows, vectors in zip(batches, computed, strict=True):
            found[rows] = vectors
            done += len(rows)
            progress(f"encode {self.modality}", done, len(order))
        return self._lift(found)

    def _one_by_one(self, texts: list[str]) -> NDArray[np.float32]:
        """What the library itself does with a batch of texts."""
        import torch

        pipeline = self._pipeline()
        low = self._precision == "bfloat16"
        with torch.autocast(pipeline.device.type, dtype=torch.bfloat16) if low else nullcontext():
            found: NDArray[np.float32] = pipeline.encode(
                texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
            )
        return found

    def _streamed(self, texts: Iterator[list[str]], sample: list[str], ahead: int) -> Iterator[NDArray[np.float32]]:
        """The same, batch for batch, the next one cut into word pieces while this one is computed.

        `sample` are texts of all lengths, on which is seen whether bfloat16 will do.
        """
        pipeline = self._pipeline()
        # Of old called `tokenize`.
        pieces = getattr(pipeline, "preprocess", None) or pipeline.tokenize
        products = self._products(plan_of(pipeline.device))
        if self._precision == "bfloat16":
            products.low = True

        def work(features: Any) -> Any:
            return pipeline(features)["sentence_embedding"]

        if products.low is None:
            products.settle(work, to_device(pieces(sample), pipeline.device), self.space)
        return stream(map(pieces, texts), products.of(work, self.space), pipeline.device, ahead)

    def _lift(self, found: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring vectors to length 1 and, isometrically, to 768 dimensions."""
        unit = found.astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        if self._dimensions < DIM:
            unit = unit @ isometry(self._dimensions, DIM, self.card.hyperparameters["lift_seed"])
        return unit.astype(np.float32)

    def _pipeline(self) -> Any:
        """The model, once found, compared with the card and loaded."""
        if self._running is None:
            device = choose_device(self._device)
            model = find_sentence_model(self._given, self._called)
            compare_files(model.folder, model.files, self._files, owner=self.space)
            self._running = load_pipeline(model, device)
        return self._running


def _tokens(pipeline: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), 4096):
        yield from pipeline.tokenizer(list(texts[start : start + 4096]), truncation=True, padding=False)["input_ids"]


def fit_sentences(
    records: TextSet, *, choice: ModelChoice, seed: int, device: str, progress: Progress
) -> SentenceEncoder:
    """Put a given model to use for reports; nothing is learned from `records` and nothing is drawn by `seed`.

    The model's files are found and hashed here; they are loaded when something is encoded.

    Raises
    ------
    UsageError
        The model is not on this machine, is not one molsig accepts, or gives more than 768 dimensions.
    """
    if choice.text_precision not in PRECISIONS:
        raise UsageError(f"{choice.text_precision!r} is no precision: use {' or '.join(PRECISIONS)}")
    model = find_sentence_model(choice.text_model)
    if model.dimensions > DIM:
        raise UsageError(
            f"{model.called} gives {model.dimensions} dimensions, molsig stores {DIM}. Use a model of at most {DIM}, "
            f"or encode outside and give ready vectors, which can be reduced to {DIM}"
        )
    tensors: disk.Tensors = {"output.scale": np.ones(1, dtype=np.float32)}
    card = Card(
        name=f"{records.modality}-sbert",
        version=VERSION,
        modality=records.modality,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        molsig_version=metadata.version("molsig"),
        seed=LIFT_SEED,
        device="none",
        n_samples=0,
        n_patients=0,
        n_features=0,
        dropped={},
        scale="text",
        architecture={
            "kind": "sentence",
            "called": model.called,
            "modules": list(model.modules),
            "pooling": model.pooling,
            "dimensions": model.dimensions,
            "max_tokens": model.max_tokens,
            "files": dict(model.files),
        },
        hyperparameters={
            "mask_diagnosis": choice.mask_diagnosis,
            "mask_version": masking.VERSION if choice.mask_diagnosis else 0,
            "precision": choice.text_precision,
            "lift_seed": LIFT_SEED if model.dimensions < DIM else None,
            "length": "unit",
        },
        training={},
        files={
            disk.WEIGHTS: disk.sha256(disk.weights_bytes(tensors)),
            disk.FEATURES: disk.sha256(disk.features_bytes({})),
        },
        licence=model.licence,
    )
    contents = disk.Contents(replace(card, hash=card.identity()), tensors, {})
    return SentenceEncoder(contents, device, choice)
