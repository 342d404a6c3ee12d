"""What a user says of the encoders that are to be made: which network, which given weights, how they are used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

Metric = Literal["siamese", "contrastive", "whitened"]
METRICS: tuple[Metric, ...] = ("siamese", "contrastive", "whitened")
"""Networks of a matrix that learn from labels."""
DEFAULT_METRIC: Metric = "whitened"
"""The one that told unseen types apart best on the large cohorts of ``docs/one_shot.md``, with nothing to train."""

Truncate = Literal["last", "first", "pca"]
TRUNCATIONS: tuple[Truncate, ...] = ("last", "first", "pca")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model encodes what, where there is a choice.

    Attributes
    ----------
    networks
        Network by modality of a matrix: ``vae`` (the default), ``autoencoder``, ``map``, the Deep Neural Map, which is
        that autoencoder with a self-organising map (``map-paper``: for as many epochs as in the paper), or one that
        learns from the types of the tumours: ``whitened``, ``contrastive``, ``siamese``.
    all_features
        Encode features of a matrix that whole groups of samples lack, too.
    text_model
        Folder of a sentence-transformers model, or a name to find in ``MOLSIG_MODELS`` or the hub cache.
    mask_diagnosis
        Hide words that name the diagnosis from the text model.
    text_precision
        Of the text model's matrix products. ``bfloat16`` is about twice as fast on processors that have it (AVX-512
        BF16, AMX, GPUs), much slower on others, and moves a vector by a cosine of .9999: a space of its own.
    tile_model
        Name of a timm model; ``vae`` for a small one fitted to the cohort.
    tile_weights
        Safetensors file of the tile model's weights.
    truncate
        How a tile model's longer vectors come down to 768: their last part (the source paper keeps the latter half of
        1,536), their first, or principal components of the cohort.
    cuda_precision
        Of matrix products on a CUDA device, of every encoder: ``bfloat16`` as long as vectors stay within a cosine of
        `streaming.LEAST_COSINE` of those of ``float32``. No part of an encoder: its space is the same with either.
    """

    networks: Mapping[str, str] = field(default_factory=dict)
    all_features: bool = False
    text_model: str | Path | None = None
    mask_diagnosis: bool = False
    text_precision: Precision = "float32"
    tile_model: str | None = None
    tile_weights: Path | None = None
    truncate: Truncate = "last"
    cuda_precision: Precision = "bfloat16"


def metric_named(asked: str) -> Metric | None:
    """The network of that name that learns from labels, None where there is none."""
    return next((one for one in METRICS if one == asked), None)
