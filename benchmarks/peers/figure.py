"""Curves of time against patients, with the fitted exponents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.table import exponents, series

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PANELS = {"p50": "one query, median, ms", "batch": "one query of a batch, ms", "build": "build, s"}


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the figure; the ending names its kind."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    points, slopes = series(document), exponents(document)
    figure, axes = plt.subplots(1, len(PANELS), figsize=(16, 8), layout="constrained")
    colours = plt.get_cmap("tab20").colors
    for axis, (key, label) in zip(axes, PANELS.items(), strict=True):
        for place, (name, some) in enumerate(points.items()):
            scale = 1.0 if key == "build" else 1e3
            slope = f"  n^{slopes[name][key]:.2f}" if name in slopes else ""
            own = name.startswith("molsig")
            axis.loglog(
                [one["rows"] for one in some],
                [scale * one[key] for one in some],
                marker="o" if own else ".",
                linewidth=2.5 if own else 1.2,
                color="black" if name == "molsig" else colours[place % len(colours)],
                label=name + slope,
            )
        axis.set_xlabel("patients")
        axis.set_ylabel(label)
        axis.grid(which="major", alpha=0.3)
        if points:
            # Above the lines, not on them.
            axis.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.01), borderaxespad=0)
    figure.suptitle("recall@10 of .99, no condition; exponents by least squares on both logarithms")
    figure.savefig(path, dpi=120)
    plt.close(figure)
