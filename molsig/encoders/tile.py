"""Encoders of tiles: a pathology model whose weights lie at hand, or a small VAE fitted to the cohort's own tiles."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.network import NetworkEncoder
from molsig.errors import DamagedError, InputError, UsageError
from molsig.types import DIM, TileSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.card import Card
    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.disk import Contents
    from molsig.encoders.encoder import Rows
    from molsig.types import ContractReport, Progress, Records

VAE = "vae"
"""What `ModelChoice.tile_model` says for the small one."""

MOST_TILES = 4096
"""Tiles that a VAE is fitted to, or principal components are computed from; taken evenly from all patients."""

MOST_SCALE_TILES = 256
"""Tiles that a given model's unit of length is computed from."""

FEWEST_TILES = 3

OTHER_SCALE = 1.1
"""Tiles whose micrometres per pixel differ by a larger factor from the fitted ones are refused."""

_BATCH_BYTES = 64 << 20


class TileEncoder(NetworkEncoder):
    """An encoder of a `TileSet`; pixels are read a batch at a time."""

    @property
    def _size(self) -> int:
        return int(self.card.hyperparameters["tile"])

    def contract(self, records: Records) -> ContractReport:
        tiles = self._tiles(records)
        notes, warnings = list(tiles.report.notes), list(tiles.report.warnings)
        if statement := self.card.training.get("statement"):
            notes.append(str(statement))
        fitted = self.card.hyperparameters["mpp"]
        if (tiles.mpp is None) != (fitted is None):
            unknown = "these tiles" if tiles.mpp is None else f"the tiles that {self.space} was made for"
            warnings.append(f"the scale of {unknown} is not known, so they may not compare")
        return replace(tiles.report, notes=tuple(notes), warnings=tuple(warnings))

    def _tiles(self, records: Records) -> TileSet:
        self._check_modality(records)
        if not isinstance(records, TileSet):
            raise UsageError(f"{self.space} encodes tiles, not {type(records).__name__}")
        return records

    def _check_coverage(self, records: Records, rows: Rows, allow_missing: bool) -> None:
        tiles = self._tiles(records)
        if tiles.size != self._size:
            raise InputError(
                f"tiles of {tiles.size} pixels, and {self.space} takes {self._size}",
                file=tiles.report.file,
                hint=f"Cut them with tile = {self._size}",
            )
        fitted = self.card.hyperparameters["mpp"]
        if fitted is None or tiles.mpp is None or allow_missing:
            return
        if max(fitted, tiles.mpp) > OTHER_SCALE * min(fitted, tiles.mpp):
            raise InputError(
                f"tiles of {tiles.mpp:g} micrometres a pixel, and {self.space} takes {fitted:g}",
                file=tiles.report.file,
                hint=f"Cut them with mpp = {fitted:g}, or allow missing features to encode them all the same",
            )

    def _digest(self, records: Records, rows: Rows) -> Iterator[str]:
        tiles = self._tiles(records)
        return (tiles.digests[row] for row in rows)

    def _batches(self, records: Records, n: int) -> Iterator[slice]:
        step = max(1, min(256, _BATCH_BYTES // (3 * self._size**2)))
        return (slice(start, min(n, start + step)) for start in range(0, n, step))

    @abstractmethod
    def _inputs(self, records: Records, rows: Rows) -> NDArray[Any]:
        """What the network is fed with; pixels are read here."""


class TileVAEEncoder(TileEncoder):
    """Texture statistics of a tile through the network of `tile_vae`."""

    def __init__(self, contents: Contents, device: str = "auto") -> None:
        super().__init__(contents, device)
        shape = getattr(contents.tensors.get("input.components"), "shape", ())
        if shape != (self.card.architecture["components"], self.card.n_features):
            raise DamagedError(f"the components of {self.space} do not fit its {self.card.n_features} statistics")

    def _inputs(self, records: Records, rows: Rows) -> NDArray[np.uint8]:
        return self._tiles(records).pixels(rows.tolist())

    def _compute(self, network: Any, inputs: Any) -> Any:
        import torch

        from molsig.encoders.tile_vae import describe

        # Through the host, where a row does not depend on how many are multiplied at once; 71 numbers a tile.
        x = project(describe(inputs).cpu().numpy(), self._contents.tensors)
        return network.embed(torch.from_numpy(x).to(inputs.device))

    def _build(self) -> Any:
        from molsig.encoders.tile_vae import TileVAE

        return TileVAE(self.card.architecture["components"], self.card.architecture["hidden"])


def _describe(tiles: TileSet, rows: Rows, device: str) -> NDArray[np.float32]:
    import torch

    from molsig.encoders.device import choose_device
    from molsig.encoders.tile_vae import describe

    with torch.inference_mode():
        pixels = torch.from_numpy(tiles.pixels(rows.tolist())).to(choose_device(device))
        found: NDArray[np.float32] = describe(pixels).cpu().numpy()
    return found


_FARTHEST = 8.0
"""Standard deviations beyond which a statistic counts as this far: an empty tile is far from tissue in all of them."""


def project(described: NDArray[np.float32], around: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Texture statistics, (n, 71), as the input of the network, (n, components)."""
    standard = (described - around["input.mean"]) / around["input.deviation"]
    standard = np.clip(standard, -_FARTHEST, _FARTHEST)
    # Summed along the last axis of a product, so that a row does not depend on how many are multiplied at once.
    out: NDArray[np.float32] = np.einsum("nf,cf->nc", standard, around["input.components"]).astype(np.float32)
    return out


def fit_projection(described: NDArray[np.float32], most: int) -> dict[str, NDArray[np.float32]]:
    """The tensors that `project` needs: components of unit mean square after scaling by variance^(1/4)."""
    x = described.astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    standard = np.clip((x - mean) / deviation, -_FARTHEST, _FARTHEST)
    standard -= standard.mean(axis=0)
    variances, vectors = np.linalg.eigh(standard.T @ standard / len(x))
    order = np.argsort(-variances, kind="stable")[: min(most, len(x) - 1)]
    order = order[variances[order] > max(1e-6 * variances.max(), 1e-9)]
    components = vectors[:, order].T
    components *= np.where(components[np.arange(len(order)), np.abs(components).argmax(axis=1)] < 0, -1, 1)[:, None]
    components *= (np.maximum(variances[order], 0) ** -0.25)[:, None]
    if len(order):
        components /= np.sqrt(np.square(standard @ components.T).mean())
    return {
        "input.mean": mean.astype(np.float32),
        "input.deviation": deviation.astype(np.float32),
        "input.components": components.astype(np.float32),
    }


def choose_tiles(tiles: TileSet, most: int, seed: int) -> Rows:
    """Positions of at most `most` tiles, sorted: patients in turn, each giving a random one that it still has."""
    rng = np.random.default_rng(seed)
    of_patient: dict[str, list[int]] = {}
    for row, one in enumerate(tiles.samples):
        of_patient.setdefault(one.patient, []).append(row)
    turns = []
    for patient in sorted(of_patient):
        shuffled = rng.permutation(of_patient[patient])
        turns += [(turn, rng.random(), int(row)) for turn, row in enumerate(shuffled)]
    return np.array(sorted(row for _, _, row in sorted(turns)[:most]), dtype=np.int64)


def fit_tiles(
    tiles: TileSet,
    *,
    choice: ModelChoice,
    seed: int,
    epochs: int | None,
    device: str,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> TileEncoder:
    """Put a given model to use, or fit the small one; see `molsig.encoders.encoder.fit_encoder`.

    Without a name, Prov-GigaPath is taken where its weights are found; where not, the small VAE is fitted to these
    tiles, and the card's ``training["statement"]`` says so.

    Raises
    ------
    InputError
        The weights asked for are not there, are a pickle, or are of another model; too few tiles.
    """
    from molsig.encoders.timm_model import PROV_GIGAPATH
    from molsig.encoders.weights import MODELS, find_weights

    statement = "asked for by its name"
    if choice.tile_model != VAE:
        from molsig.encoders.tile_timm import fit_timm

        if choice.tile_model is not None or choice.tile_weights is not None:
            return fit_timm(tiles, choice, seed, device, progress)
        if find_weights(PROV_GIGAPATH.name, PROV_GIGAPATH.repositories) is not None:
            return fit_timm(tiles, choice, seed, device, progress)
        statement = (
            f"no weights of Prov-GigaPath were found (${MODELS}/{PROV_GIGAPATH.name}/model.safetensors or the cache of "
            "the Hugging Face hub), so a small VAE was fitted to this cohort's own tiles instead: it knows their stain "
            "and texture, not pathology"
        )
    elif choice.tile_weights is not None:
        raise UsageError(
            "tile weights belong to a timm model; the VAE is fitted to the tiles. Name a model, or leave them out"
        )
    return _fit_vae(tiles, statement, seed, epochs, device, validation_groups, progress)


def _fit_vae(
    tiles: TileSet,
    statement: str,
    seed: int,
    epochs: int | None,
    device: str,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> TileVAEEncoder:
    from molsig.encoders import tile_vae
    from molsig.encoders.disk import ENCODED
    from molsig.encoders.fitting import Job, fit
    from molsig.encoders.training import Settings

    rows = choose_tiles(tiles, MOST_TILES, seed)
    if len(rows) < FEWEST_TILES:
        raise InputError(
            f"an encoder needs at least {FEWEST_TILES} tiles, there are {len(rows)}",
            file=tiles.report.file,
            hint="An encoder is fitted to a cohort; to query single slides, use one that was fitted before",
        )
    parts = []
    for start in range(0, len(rows), 64):
        parts.append(_describe(tiles, rows[start : start + 64], device))
        progress("read tiles", min(start + 64, len(rows)), len(rows))
    described = np.concatenate(parts)
    around = fit_projection(described, tile_vae.COMPONENTS)
    inputs = project(described, around)
    n_components = inputs.shape[1]
    if n_components == 0:
        raise InputError("all tiles look alike, so there is nothing to fit", file=tiles.report.file)
    job = Job(
        name="tile-vae",
        version=1,
        modality=tiles.modality,
        scale="rgb",
        samples=[tiles.samples[row] for row in rows],
        inputs=lambda some: inputs[some],
        uses=dict.fromkeys(tile_vae.names(), ENCODED),
        around=around,
        architecture={"kind": "tile-vae", "hidden": tile_vae.HIDDEN, "components": n_components, "edge": tile_vae.EDGE},
        hyperparameters={"tile": tiles.size, "mpp": tiles.mpp, "sigma": tile_vae.SIGMA, "most_tiles": MOST_TILES},
    )
    contents = fit(
        lambda: tile_vae.TileVAE(n_components),
        job,
        Settings(
            epochs=epochs or tile_vae.EPOCHS,
            batch_size=max(16, min(128, len(rows) // 32)),
            patience=tile_vae.PATIENCE,
        ),
        seed=seed,
        device=device,
        validation_groups=None if validation_groups is None else [validation_groups[row] for row in rows],
        progress=progress,
    )
    return TileVAEEncoder(replace(contents, card=described_card(contents.card, tiles, len(rows), statement)), device)


def described_card(card: Card, tiles: TileSet, fitted: int, statement: str) -> Card:
    """The card with samples counted as samples, tiles as tiles, and why this model was taken."""
    changed = replace(
        card,
        n_samples=len(set(tiles.samples)),
        n_patients=len({one.patient for one in tiles.samples}),
        training={**card.training, "tiles": len(tiles.samples), "fitted_tiles": fitted, "statement": statement},
        hash="",
    )
    return replace(changed, hash=changed.identity())


def load_tile_encoder(contents: Contents, device: str, choice: ModelChoice) -> TileEncoder:
    """Bring a tile encoder back; a given model's weights are looked for where they are first needed."""
    if contents.card.architecture.get("kind") == "timm":
        from molsig.encoders.tile_timm import TimmEncoder

        return TimmEncoder(contents, device, choice)
    return TileVAEEncoder(contents, device)


def lower(vectors: NDArray[np.float32], tensors: dict[str, NDArray[np.float32]], truncate: str) -> NDArray[np.float32]:
    """Vectors of a given model brought to 768 dimensions: cut, projected or lifted."""
    if "output.lift" in tensors:
        return np.asarray(vectors @ tensors["output.lift"], dtype=np.float32)
    if truncate == "pca":
        return np.asarray((vectors - tensors["output.mean"]) @ tensors["output.components"].T, dtype=np.float32)
    return np.ascontiguousarray(vectors[:, :DIM] if truncate == "first" else vectors[:, -DIM:])
