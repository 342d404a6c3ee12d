"""What explanations rest on: ``python -m benchmarks.explain REFERENCE --data DIR --output FILE``.

Stored patients with all three assays are drawn, each is asked about, and the nearest hit that has them too is
explained. Beside the contributions of the encoder stand those of its copy with shuffled weights, explaining the same
two samples by its own vectors, and the plain product of the two standardised values of each feature: what all three
have in common is what the samples are, the rest is what the encoder has learned.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig import Reference
from molsig.encoders.attribution import randomised
from molsig.ingest.cohort import Cohort, load
from molsig.reference.encoding import load_encoders
from molsig.retrieval.explain import Known, carried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.encoders.network import NetworkEncoder
    from molsig.types import PatientTable, Records

    Array = NDArray[np.float64]

TOP = 10


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="JSON of the results")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.data / "tcga"
    if not folder.is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    cohort = Cohort.of(
        rna=folder / "rna_90genes_log2.tsv.gz",
        mirna=folder / "mirna_counts.parquet",
        mutations=folder / "mutations.maf.gz",
    )
    found = measure(Reference.open(options.reference), cohort, options.pairs, options.seed)
    options.output.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


def measure(reference: Reference, cohort: Cohort, pairs: int, seed: int) -> dict[str, Any]:
    """By modality: how alike contributions are to those of shuffled weights and to products, and what a pair takes."""
    records = {source.modality: load(source) for source in cohort.sources()}
    places = {modality: _tumours(one) for modality, one in records.items()}
    both = sorted(set.intersection(*map(set, places.values())) & set(reference._store.patient_ids()))
    drawn = [both[i] for i in np.random.default_rng(seed).permutation(len(both))[:pairs]]
    hits = {}
    for name in drawn:
        near = (hit.patient for hit in reference.query(name, k=50).hits)
        if (hit := next((one for one in near if all(one in place for place in places.values())), None)) is not None:
            hits[name] = hit
    encoders: Mapping[str, Any] = load_encoders(reference._store, records, "cpu")
    return {
        "pairs": len(hits),
        "seed": seed,
        "modalities": {m: _of_modality(encoders[m], records[m], places[m], hits) for m in records},
    }


def _tumours(records: Records | PatientTable) -> dict[str, int]:
    """First row of each patient that is no normal tissue."""
    rows: dict[str, int] = {}
    for row, one in enumerate(getattr(records, "samples", ())):
        if one.kind != "normal":
            rows.setdefault(one.patient, row)
    return rows


def _of_modality(
    encoder: NetworkEncoder, records: Any, place: Mapping[str, int], hits: Mapping[str, str]
) -> dict[str, float]:
    shuffled = _Shuffled(encoder)
    rows, missed, seconds = [], 0.0, 0.0
    for query, hit in hits.items():
        inputs = encoder.network_inputs(records, np.array([place[query], place[hit]]))
        if not inputs.any(axis=1).all():
            continue
        started = time.process_time()
        own = carried(encoder, *_pair(encoder, inputs))
        seconds += time.process_time() - started
        missed = max(missed, own.missed)
        other = carried(shuffled, *_pair(shuffled, inputs))  # type: ignore[arg-type]
        product = (inputs[0] * inputs[1]).astype(np.float64)
        there = (inputs != 0).any(axis=0)
        some = [one[there] for one in (own.contributions, other.contributions, product)]
        best = [set(np.argsort(-one, kind="stable")[:TOP].tolist()) for one in some]
        rows.append(
            (
                _ranked_alike(some[0], some[1]),
                _ranked_alike(some[0], some[2]),
                len(best[0] & best[1]) / TOP,
                len(best[0] & best[2]) / TOP,
            )
        )
    names = ("rank_with_shuffled", "rank_with_product", "top_with_shuffled", "top_with_product")
    mean = dict(zip(names, np.mean(rows, axis=0).round(3).tolist(), strict=True))
    return mean | {"pairs": len(rows), "missed": missed, "seconds_a_pair": round(seconds / len(rows), 4)}


class _Shuffled:
    """An encoder with the weights of another, shuffled."""

    def __init__(self, encoder: NetworkEncoder) -> None:
        self.features, self.space, self.scale = encoder.features, encoder.space, encoder.scale
        self._network = randomised(encoder.network())

    def network(self) -> Any:
        return self._network


def _pair(encoder: NetworkEncoder | _Shuffled, inputs: NDArray[np.float32]) -> tuple[Known, Known]:
    import torch

    with torch.no_grad():
        vectors = encoder.network().embed(torch.from_numpy(inputs)).numpy() * np.float32(encoder.scale)
    return Known("query", vectors[0], inputs[0]), Known("hit", vectors[1], inputs[1])


def _ranked_alike(a: Array, b: Array) -> float:
    ranks = [np.argsort(np.argsort(one, kind="stable"), kind="stable") for one in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
