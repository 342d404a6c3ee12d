"""The encoder of measured matrices around its network: choose features, align, standardise, embed.

The network is that of `expression_vae`, or that of `mirna_autoencoder` or `deep_map` where it is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from molsig.encoders import forward
from molsig.encoders.alignment import ALIGNMENTS, Profile, align, choose_alignment, fit_profile
from molsig.encoders.disk import ENCODED
from molsig.encoders.encoder import LOWEST_COVERAGE
from molsig.encoders.features import MOST_FEATURES, choose_features, gather, positions, row_blocks
from molsig.encoders.network import NetworkEncoder
from molsig.errors import CoverageError, DamagedError, InputError, UsageError
from molsig.types import FeatureMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.alignment import Alignment
    from molsig.encoders.disk import Contents
    from molsig.encoders.encoder import Rows
    from molsig.encoders.fitting import Job
    from molsig.types import ContractReport, Progress, Records

VERSION = 2

CLIP = 5.0
"""Standardised values beyond this are set to it: one wild gene must not place a sample."""

FEWEST_SAMPLES = 3
MOST_STEPS = 2000
MOST_EPOCHS, FEWEST_EPOCHS = 60, 20

FINE_TUNE_SHARE = 0.25
"""Epochs of fine-tuning for each of pre-training."""

Network = Literal["vae", "autoencoder", "map", "map-paper"]
NETWORKS: tuple[Network, ...] = ("vae", "autoencoder", "map", "map-paper")
_NAMES: dict[Network, str] = {"vae": "vae", "autoencoder": "ae", "map": "map", "map-paper": "map"}


class ExpressionEncoder(NetworkEncoder):
    """Encoder of a `FeatureMatrix`: RNA, miRNA or any other measured matrix."""

    def __init__(self, contents: Contents, device: str = "auto") -> None:
        super().__init__(contents, device)
        n = contents.card.n_features
        for name in ("mean", "deviation", "profile", "quantiles"):
            found = contents.tensors.get(f"input.{name}")
            if found is None or found.shape != (n,):
                raise DamagedError(f"the weights of {self.space} hold no input.{name} of its {n} features")
        self._alignment = cast("Alignment", contents.card.hyperparameters["alignment"])
        self._profile = Profile(contents.tensors["input.profile"], contents.tensors["input.quantiles"])

    def contract(self, records: Records) -> ContractReport:
        matrix = self._matrix(records)
        found = positions(matrix.features, self.features) >= 0
        matched = int(found.sum())
        warnings = list(matrix.report.warnings)
        if matrix.scale != self.card.scale:
            warnings.append(f"values are on the scale {matrix.scale}, {self.space} was fitted on {self.card.scale}")
        if matched < len(found):
            share = f"{matched} of the {len(found)} features of {self.space} are in the file"
            verdict = "" if matched >= LOWEST_COVERAGE * len(found) else ", too few to encode by default"
            warnings.append(f"{share}{verdict}; missing: {self._names(~found)}")
        return replace(matrix.report, matched=matched, missing=len(found) - matched, warnings=tuple(warnings))

    def _matrix(self, records: Records) -> FeatureMatrix:
        self._check_modality(records)
        if not isinstance(records, FeatureMatrix):
            raise UsageError(f"{self.space} encodes a matrix, not {type(records).__name__}")
        return records

    def _names(self, absent: NDArray[np.bool_]) -> str:
        first = [self.features[i] for i in np.flatnonzero(absent)[:5]]
        return ", ".join(first) + (f" and {int(absent.sum()) - len(first)} more" if absent.sum() > len(first) else "")

    def _check_coverage(self, records: Records, rows: Rows, allow_missing: bool) -> None:
        matrix = self._matrix(records)
        if matrix.scale != self.card.scale:
            raise InputError(
                f"values are on the scale {matrix.scale!r}, {self.space} was fitted on {self.card.scale!r}",
                file=matrix.report.file,
                hint="Tell the reader the scale of the file, or fit an encoder of its own for it",
            )
        columns = positions(matrix.features, self.features)
        needed = LOWEST_COVERAGE * len(columns)
        for block in row_blocks(len(rows), len(columns)):
            absent = np.isnan(gather(matrix.values, rows[block], columns))
            measured = len(columns) - absent.sum(axis=1)
            short = np.flatnonzero((measured < needed) if not allow_missing else (measured == 0))
            if len(short):
                first = short[0]
                raise CoverageError(
                    f"sample {matrix.samples[rows[block][first]].sample} has {measured[first]} of the {len(columns)} "
                    f"features of {self.space} ({measured[first] / len(columns):.0%}, at least {LOWEST_COVERAGE:.0%} "
                    f"needed); missing: {self._names(absent[first])}",
                    file=matrix.report.file,
                    column=self.features[int(np.flatnonzero(absent[first])[0])],
                    hint="Check the id type of the features"
                    + ("" if allow_missing else ", or allow missing features to encode it all the same"),
                )

    def _digest(self, records: Records, rows: Rows) -> Iterator[str]:
        matrix = self._matrix(records)
        block = gather(matrix.values, rows, positions(matrix.features, self.features))
        block[np.isnan(block)] = np.nan  # one bit pattern for all NaN
        block += 0.0  # and one for both zeros
        for row in block.astype("<f4", copy=False):
            yield hashlib.sha256(row.tobytes()).hexdigest()

    def _inputs(self, records: Records, rows: Rows) -> NDArray[np.float32]:
        matrix = self._matrix(records)
        values = gather(matrix.values, rows, positions(matrix.features, self.features))
        align(values, self._profile, self._alignment)
        tensors = self._contents.tensors
        return standardise(values, tensors["input.mean"], tensors["input.deviation"])

    def _embed_few(self, inputs: NDArray[np.float32]) -> NDArray[np.float32] | None:
        network = forward.autoencoder if "latent" in self.card.architecture else forward.expression
        return network(self._network_weights(), inputs)

    def _build(self) -> Any:
        if "latent" in self.card.architecture:
            from molsig.encoders.mirna_autoencoder import MirnaAutoencoder

            return MirnaAutoencoder(len(self.features), self.card.architecture["latent"])
        from molsig.encoders.expression_vae import ExpressionVAE

        return ExpressionVAE(len(self.features), self.card.architecture["hidden"])


def standardise(
    values: NDArray[np.float32], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Standardise in place, clip, and put what was not measured at its mean."""
    values -= mean
    values /= deviation
    np.clip(values, -CLIP, CLIP, out=values)
    values[np.isnan(values)] = 0.0
    return values


def fit_expression(
    matrix: FeatureMatrix,
    *,
    seed: int,
    epochs: int | None,
    device: str,
    validation_groups: Sequence[str] | None,
    alignment: Alignment | None,
    learnt: Sequence[int] | None,
    network: Network,
    all_features: bool,
    progress: Progress,
) -> ExpressionEncoder:
    """Fit an expression VAE or an autoencoder; see `molsig.encoders.encoder.fit_encoder`."""
    if alignment is not None and alignment not in ALIGNMENTS:
        raise UsageError(f"{alignment!r} is no alignment: use {', '.join(ALIGNMENTS)}")
    if validation_groups is not None and len(validation_groups) != len(matrix.samples):
        raise UsageError(f"validation_groups has {len(validation_groups)} labels for {len(matrix.samples)} samples")
    from molsig.encoders.fitting import Job

    plain = network != "vae"
    uses = choose_features(matrix, faint=plain, absent=all_features)
    encoded = [name for name, use in uses.items() if use == ENCODED]
    columns = positions(matrix.features, encoded)
    rows = well_covered(matrix, columns)
    if learnt is not None:
        rows = np.intersect1d(rows, np.asarray(learnt, dtype=np.int64))
    if len(rows) < FEWEST_SAMPLES:
        raise InputError(
            f"an encoder needs at least {FEWEST_SAMPLES} samples with {LOWEST_COVERAGE:.0%} of the features measured, "
            f"there are {len(rows)}",
            file=matrix.report.file,
        )
    values = gather(matrix.values, rows, columns)
    method = alignment or choose_alignment(matrix.scale, len(encoded))
    around = prepare(values, method, together=plain)
    job = Job(
        name=f"{matrix.modality}-{_NAMES[network]}",
        version=VERSION,
        modality=matrix.modality,
        scale=matrix.scale,
        samples=[matrix.samples[row] for row in rows],
        inputs=lambda some: values[some],
        uses=uses,
        around=around,
        architecture={},
        hyperparameters={
            "alignment": method,
            "clip": CLIP,
            "most_features": MOST_FEATURES,
            "samples_left_out": len(matrix.samples) - len(rows),
        },
    )
    groups = None if validation_groups is None else [validation_groups[row] for row in rows]
    if network in {"map", "map-paper"}:
        from molsig.encoders.deep_map import MEASURED, PAPER, fit_deep_map
        from molsig.encoders.map_encoder import DeepMap

        recipe = PAPER if network == "map-paper" else MEASURED
        return DeepMap(fit_deep_map(job, len(encoded), recipe, seed, epochs, device, groups, progress), device)
    train = _fit_autoencoder if plain else _fit_vae
    return ExpressionEncoder(train(job, len(encoded), seed, epochs, device, groups, progress), device)


def prepare(
    values: NDArray[np.float32], method: Alignment, *, together: bool = False, least: float = 0.0
) -> dict[str, NDArray[np.float32]]:
    """Align and standardise what an encoder learns from, in place; return what later samples are prepared with.

    Parameters
    ----------
    values
        Shape (n_samples, n_features), NaN where not measured.
    together
        One deviation for all features.
    least
        Below this no deviation falls.
    """
    profile = fit_profile(values)
    align(values, profile, method)
    mean = np.asarray(np.nanmean(values, axis=0, dtype=np.float64), dtype=np.float32)
    deviation = np.asarray(np.nanstd(values, axis=0, dtype=np.float64), dtype=np.float32)
    if together:
        # Strong miRNAs vary most; the mean square error is to see them so.
        deviation[:] = np.sqrt(np.square(deviation).mean())
    # A gene that hardly varies must not be blown up to the spread of the others by the division.
    deviation = np.maximum(deviation, np.maximum(0.1 * np.median(deviation), np.float32(least)))
    standardise(values, mean, deviation)
    return {
        "input.mean": mean,
        "input.deviation": deviation,
        "input.profile": profile.means,
        "input.quantiles": profile.quantiles,
    }


def _fit_vae(
    job: Job,
    n_features: int,
    seed: int,
    epochs: int | None,
    device: str,
    groups: Sequence[str] | None,
    progress: Progress,
) -> Contents:
    from molsig.encoders.expression_vae import HIDDEN, NOISE, ExpressionVAE
    from molsig.encoders.fitting import fit
    from molsig.encoders.training import Settings

    n = len(job.samples)
    batch = 128 if n >= 1000 else 32
    most = int(np.clip(MOST_STEPS * batch // n, FEWEST_EPOCHS, MOST_EPOCHS)) if epochs is None else epochs
    settings = Settings(epochs=most, batch_size=batch, fine_tune_epochs=round(FINE_TUNE_SHARE * most))
    return fit(
        lambda: ExpressionVAE(n_features),
        replace(job, architecture={"hidden": HIDDEN, "noise": NOISE}),
        settings,
        seed=seed,
        device=device,
        validation_groups=groups,
        progress=progress,
    )


def _fit_autoencoder(
    job: Job,
    n_features: int,
    seed: int,
    epochs: int | None,
    device: str,
    groups: Sequence[str] | None,
    progress: Progress,
) -> Contents:
    from molsig.encoders.fitting import fit
    from molsig.encoders.mirna_autoencoder import MirnaAutoencoder, choose_size, settings_of

    settings = settings_of(epochs)
    latent, errors = choose_size(
        n_features, job, settings, seed=seed, device=device, validation_groups=groups, progress=progress
    )
    return fit(
        lambda: MirnaAutoencoder(n_features, latent),
        replace(job, architecture={"latent": latent}, notes={"error_by_latent_size": errors}),
        settings,
        seed=seed,
        device=device,
        validation_groups=groups,
        progress=progress,
    )


def well_covered(matrix: FeatureMatrix, columns: NDArray[np.int64]) -> Rows:
    """Rows in which enough of the encoded features are measured to learn from."""
    gaps = np.zeros(len(matrix.samples), dtype=np.int64)
    for block in row_blocks(len(matrix.samples), len(columns)):
        rows = np.arange(block.start, block.stop)
        gaps[block] = np.isnan(gather(matrix.values, rows, columns)).sum(axis=1)
    return np.flatnonzero(len(columns) - gaps >= LOWEST_COVERAGE * len(columns))
