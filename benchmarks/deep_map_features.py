"""What the map of TCGA miRNA rests on: ``python -m benchmarks.deep_map_features --data DIR --output FILE``.

A map is fitted to all samples without their labels, and activation gradients are averaged over each class of tissue and
neoplasticity. Known biology is then looked for, which nobody told it: tissue markers and the miRNAs that most tumours
have too much of. A marker is found where one of its precursors is among the first `FIRST` inputs of the class, and
above the mean of all samples. ``--table`` prints what a run has written as Markdown.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.deep_map import fitted
from benchmarks.deep_map_cohort import Cohort
from molsig.encoders.encoder import load_encoder
from molsig.encoders.map_encoder import DeepMap
from molsig.retrieval.activation import activations
from molsig.retrieval.landing import NodeLabels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.activation import Activations

FIRST = 20
MARKERS = {
    "liver": ("122",),
    "brain": ("9", "124"),
    "colorectum": ("192", "194", "215"),
    "stomach": ("192", "194", "215"),
    "head and neck": ("205",),
    "skin": ("205", "211"),
    "blood": ("142", "223"),
    "lymph node": ("142", "150"),
    "kidney": ("204",),
    "prostate": ("148a", "375"),
    "pancreas": ("217", "216a"),
    "thyroid": ("138",),
    "paraganglia": ("375", "7"),
    "testis": ("372", "302a"),
    "soft tissue": ("143", "145"),
}
"""Mature numbers that reviews name for a tissue."""


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="JSON of the results")
    parser.add_argument(
        "--map", type=Path, help="folder of a map of this cohort that `molsig map` kept; else one is fitted"
    )
    parser.add_argument("--epochs", type=int, help="most epochs of each stage; by default what the recipe says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.output.read_text())))
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    cohort = Cohort(options.data)
    if options.map is None:
        encoder, _ = fitted(cohort.matrix, "map", options.seed, options.epochs)
    else:
        kept = load_encoder(options.map)
        assert isinstance(kept, DeepMap)
        encoder = kept
    options.output.write_text(json.dumps(measure(cohort, encoder, options.seed), indent=1))


def measure(cohort: Cohort, encoder: DeepMap, seed: int) -> dict[str, Any]:
    """Explain, and look for what is known."""
    matrix, classes = cohort.matrix, cohort.truth["both"].tolist()
    nodes = encoder.place(encoder.encode(matrix).vectors)[0]
    living = NodeLabels.of(nodes, classes, len(encoder.nodes))
    crowded = living.crowded()
    told, looked_at = activations(encoder, matrix, classes, nodes, crowded[:8].tolist(), seed=seed)
    values = matrix.values[:, [matrix.features.index(name) for name in encoder.features]]
    return {
        "map": encoder.space,
        "lattice": list(encoder.lattice),
        "crowded nodes": len(crowded),
        "markers": {
            tissue: {number: place_of(told, f"{tissue} +", number) for number in numbers}
            for tissue, numbers in MARKERS.items()
            if f"{tissue} +" in told.classes
        },
        "miR-21": raised(cohort, told, np.asarray(values, dtype=np.float64), "21"),
        "beside": {
            name.removesuffix(" +"): told.beside(name, f"{name.removesuffix(' +')} -")
            for name in told.classes
            if name.endswith(" +") and f"{name.removesuffix(' +')} -" in told.classes
        },
        "top": {name: told.top(name) for name in told.classes},
        "crowded": [one.to_dict() for one in looked_at],
    }


def of_number(name: str, number: str) -> bool:
    """Whether a precursor (hsa-mir-9-2, hsa-mir-124-1) is of a mature miRNA of that number."""
    return re.fullmatch(rf"hsa-mir-{number}(-\d+)?", name.lower()) is not None


def place_of(told: Activations, name: str, number: str) -> dict[str, Any] | None:
    """Best rank of the precursors of a miRNA in a class, and its mean value; None where none was measured."""
    row = told.average[told.classes.index(name)]
    rank = np.empty(len(row), dtype=np.int64)
    rank[np.argsort(-row, kind="stable")] = np.arange(1, len(row) + 1)
    some = [i for i, feature in enumerate(told.features) if of_number(feature, number)]
    if not some:
        return None
    best = min(some, key=lambda i: rank[i])
    value = float(told.values[told.classes.index(name), best])
    return {
        "feature": told.features[best],
        "rank": int(rank[best]),
        "value": round(value, 2),
        "found": bool(rank[best] <= FIRST and value > 0),
    }


def raised(cohort: Cohort, told: Activations, values: NDArray[np.float64], number: str) -> dict[str, Any]:
    """Difference of means of a miRNA between tumours and normals of each tissue, log2, and its ranks there."""
    place = next(i for i, feature in enumerate(told.features) if of_number(feature, number))
    tissue, kind = cohort.truth["tissue"], cohort.truth["neoplastic"]
    out = {}
    for name in sorted({one.removesuffix(" -") for one in told.classes if one.endswith(" -")}):
        if f"{name} +" not in told.classes:
            continue
        tumours, normals = (values[(tissue == name) & (kind == sign), place].mean() for sign in "+-")
        ranks = [place_of(told, f"{name} {sign}", number) for sign in "+-"]
        out[name] = {
            "log2 difference": round(float(tumours - normals), 2),
            "rank in tumours": ranks[0]["rank"] if ranks[0] else None,
            "rank in normals": ranks[1]["rank"] if ranks[1] else None,
        }
    return out


def table(told: dict[str, Any]) -> str:
    """Markdown of all that was measured."""
    lines = ["| tissue | marker | best precursor | rank | mean, sd | found |", "|---|---|---|---:|---:|---|"]
    for tissue, markers in told["markers"].items():
        for number, one in markers.items():
            if one is None:
                lines.append(f"| {tissue} | miR-{number} | not measured | | | |")
                continue
            found = "yes" if one["found"] else "no"
            lines.append(
                f"| {tissue} | miR-{number} | {one['feature']} | {one['rank']} | {one['value']:+.2f} | {found} |"
            )
    lines += ["", "| miR-21 in | tumours less normals, log2 | rank in tumours | in normals |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {one['log2 difference']:+.2f} | {one['rank in tumours']} | {one['rank in normals']} |"
        for name, one in told["miR-21"].items()
    ]
    lines += ["", "| node | classes | shared | on average only |", "|---|---|---|---|"]
    arrows = {"up": "↑", "down": "↓", "": ""}
    for one in told["crowded"]:
        members = ", ".join(f"{name} ({n})" for name, n in one["members"].items())
        cells = [
            ", ".join(f"{row['feature']}{arrows[row['trend']]}" for row in one[key][:6]) or "none"
            for key in ("shared", "average_only")
        ]
        lines.append(f"| {one['node']} | {members} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
