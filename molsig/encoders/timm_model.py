"""Image models by their timm name: made without a network, filled from a safetensors file, fed as they were trained.

Prov-GigaPath (Xu et al., A whole-slide foundation model for digital pathology from real-world data, Nature 2024) is the
tile model of the source paper (doi:10.1101/2025.05.14.653900): a vision transformer whose class token has 1,536
dimensions. Its weights are given out under terms of their own and are not part of molsig.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from molsig.encoders.torchvision_ops import declare_missing_operators
from molsig.errors import InputError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a tile to the input of a model: resize the edge, cut the middle out, standardise the channels.

    Attributes
    ----------
    resize, crop
        Edges in pixels.
    mean, std
        Of each channel, on the scale of 0 to 1.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"


@dataclass(frozen=True, slots=True)
class TileModel:
    """A model that can be filled with weights.

    Attributes
    ----------
    name
        What it is called on the command line and in `weights.MODELS`.
    architecture, options
        Name in timm, and what is different from timm's own settings of it.
    repositories
        Where its weights lie on the hub.
    preprocessing
        None for what timm says of the architecture.
    """

    name: str
    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repositories: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    licence: str | None = None


PROV_GIGAPATH = TileModel(
    name="prov-gigapath",
    architecture="vit_giant_patch14_dinov2",
    options={
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": 1536,
        "depth": 40,
        "num_heads": 24,
        "init_values": 1e-5,
        "mlp_ratio": 5.33334,
        "global_pool": "token",
    },
    repositories=("prov-gigapath/prov-gigapath",),
    preprocessing=Preprocessing(256, 224, _IMAGENET_MEAN, _IMAGENET_STD),
    licence="Prov-GigaPath License Terms: non-commercial research only, weights not to be passed on",
)


def model_named(name: str) -> TileModel:
    """The model of a name.

    Raises
    ------
    MissingExtraError
        Without ``molsig[tiles]``.
    UsageError
        timm has no such model.
    """
    if name.lower().replace("_", "-") in {"prov-gigapath", "gigapath", "prov-gigapath/prov-gigapath"}:
        return PROV_GIGAPATH
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a timm model; addresses and folders are given as the file of weights")
    timm = _timm()
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture}*")[:5]
        raise UsageError(f"timm has no model {architecture!r}" + (f"; near are {', '.join(near)}" if near else ""))
    return TileModel(name, name, {}, (f"timm/{name}" if "." in name else f"timm/{name}.*", f"timm/{name}"))


def create(architecture: str, options: Mapping[str, Any], *, with_classifier: bool = False) -> Any:
    """A timm model without weights, on no device: nothing is drawn, nothing is fetched."""
    import torch

    timm = _timm()
    classes = {} if with_classifier else {"num_classes": 0}
    with torch.device("meta"):
        return timm.create_model(architecture, pretrained=False, **classes, **options)


def preprocessing_of(model: TileModel, network: Any) -> Preprocessing:
    """How tiles are prepared: as the model says, else as timm says of its architecture."""
    if model.preprocessing is not None:
        return model.preprocessing
    said = network.pretrained_cfg
    crop = int(said["input_size"][-1])
    mean, std = tuple(map(float, said["mean"])), tuple(map(float, said["std"]))
    return Preprocessing(int(crop / float(said.get("crop_pct") or 1.0)), crop, mean, std)  # type: ignore[arg-type]


def dimensions(network: Any, preprocessing: Preprocessing) -> int:
    """Length of the model's vectors."""
    import torch

    with torch.inference_mode():
        one = torch.zeros(1, 3, preprocessing.crop, preprocessing.crop, device="meta")
        return int(network.eval()(one).shape[-1])


def check_fits(network: Any, shapes: Mapping[str, tuple[int, ...]], path: Path, name: str) -> None:
    """Raise `InputError` if a file's tensors are not those of the model; a classifier's may be there and go unused."""
    spare = _classifier_of(network)
    wanted = {
        key: tuple(one.shape) for key, one in network.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    problem = None
    for key, shape in wanted.items():
        if shapes.get(key) != shape:
            problem = f"{key} is missing" if key not in shapes else f"{key} has shape {shapes[key]}, not {shape}"
            break
    extra = [key for key in shapes if key not in wanted and not key.endswith("num_batches_tracked")]
    unknown = next((key for key in extra if not any(key.startswith(one) for one in spare)), None)
    if problem is None and unknown is not None:
        problem = f"{unknown} is not part of the model"
    if problem is not None:
        raise InputError(f"holds no weights of {name}: {problem}", file=path, hint="Name the model that they are of")


def fill(network: Any, tensors: Mapping[str, torch.Tensor], architecture: str, options: Mapping[str, Any]) -> Any:
    """Put weights into a model made by `create`; float32."""
    import torch

    saved = set(network.state_dict())
    if any(name not in saved for name, _ in network.named_buffers()):
        # Tables that are computed and not saved need a device; the weights drawn beside them are replaced.
        with torch.random.fork_rng(devices=[]):
            network = _timm().create_model(architecture, pretrained=False, num_classes=0, **options)
    counters = {name: torch.zeros((), dtype=torch.long) for name in saved if name.endswith("num_batches_tracked")}
    weights = {name: one.float() for name, one in tensors.items() if name in saved and name not in counters}
    network.load_state_dict({**weights, **counters}, assign=True)
    return network.eval().requires_grad_(False)


def prepare(pixels: NDArray[np.uint8] | torch.Tensor, how: Preprocessing, device: str) -> torch.Tensor:
    """Tiles, uint8 (n, edge, edge, 3), as the input of a model, float32 (n, 3, crop, crop)."""
    import torch
    from torch.nn import functional

    x = torch.as_tensor(pixels, device=device).permute(0, 3, 1, 2).float()
    if x.shape[-1] != how.resize:
        x = functional.interpolate(x, size=(how.resize, how.resize), mode=how.interpolation, antialias=True)
        x = x.clamp(0, 255)
    start = (how.resize - how.crop) // 2
    x = x[:, :, start : start + how.crop, start : start + how.crop] / 255
    mean, std = (torch.tensor(one, device=device).view(1, 3, 1, 1) for one in (how.mean, how.std))
    return (x - mean) / std


def _classifier_of(network: Any) -> tuple[str, ...]:
    said = network.pretrained_cfg.get("classifier") or ()
    return tuple(f"{one}." for one in ((said,) if isinstance(said, str) else said))


def _timm() -> Any:
    # Nothing is asked of the hub with `pretrained=False`; this makes sure of it, also for what timm may do later.
    os.environ["HF_HUB_OFFLINE"] = "1"
    declare_missing_operators()
    try:
        import timm
    except ModuleNotFoundError:
        raise MissingExtraError("encoding tiles with a timm model", "tiles") from None
    return timm
