"""What a user says of encoders that stand on weights given from outside: which model, where it lies, how it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

Truncate = Literal["last", "first", "pca"]
TRUNCATIONS: tuple[Truncate, ...] = ("last", "first", "pca")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Models of reports and tiles.

    Attributes
    ----------
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
        How a tile model's longer vectors come down to 768: their last half (as the source paper has it), their first,
        or principal components of the cohort.
    """

    text_model: str | Path | None = None
    mask_diagnosis: bool = False
    text_precision: Precision = "float32"
    tile_model: str | None = None
    tile_weights: Path | None = None
    truncate: Truncate = "last"
