"""The tables of a run, in Markdown, and how times grow with the number of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.task import WIDTHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAD = ("engine", "gives", "build s", "open s", "disk MB", "memory MB")
SEARCHED = ("recall", "one by one /s", "p50 ms", "p99 ms", "batch /s")


def markdown(document: Mapping[str, Any]) -> str:
    """All tables of a run."""
    parts = []
    for size in document["sizes"]:
        runs = size["engines"]
        parts.append(f"## {size['rows']:,} patients\n")
        parts.append(_table(HEAD, [_built(run) for run in runs if "build_s" in run]))
        for target in document["targets"]:
            for name in WIDTHS:
                rows = [_searched(run, name, target) for run in runs if "cells" in run]
                told = "no condition" if name == "none" else f"a condition that {name} meet"
                parts.append(f"Recall@10 of {target}, {told}:\n")
                parts.append(_table(("engine", *SEARCHED), sorted(rows, key=_by_batch)))
        if left := [run for run in runs if run["state"] != "done"]:
            parts.append(
                "\n".join(f"- {run['engine']}: {run['state']}, {run.get('reason', '')}" for run in left) + "\n"
            )
    if growth := exponents(document):
        parts.append("## Growth with the number of patients, recall@10 of .99, no condition\n")
        rows = [
            (name, f"{one['p50']:.2f}", f"{one['batch']:.2f}", f"{one['build']:.2f}") for name, one in growth.items()
        ]
        parts.append(_table(("engine", "p50 ~ n^", "batch time ~ n^", "build ~ n^"), rows))
    return "\n".join(parts)


def exponents(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Slopes of log time over log patients, by least squares, of engines with figures at two sizes or more."""
    found: dict[str, dict[str, float]] = {}
    for name, points in series(document).items():
        if len(points) > 1:
            n = np.log([point["rows"] for point in points])
            found[name] = {
                key: float(np.polyfit(n, np.log([point[key] for point in points]), 1)[0])
                for key in ("p50", "batch", "build")
            }
    return found


def series(document: Mapping[str, Any]) -> dict[str, list[dict[str, float]]]:
    """Of each engine by size: seconds of a single query, of a query in a batch, and of building."""
    found: dict[str, list[dict[str, float]]] = {}
    for size in document["sizes"]:
        for run in size["engines"]:
            cell = cell_of(run, "none", max(document["targets"]))
            if cell is not None and cell["reached"]:
                found.setdefault(run["engine"], []).append(
                    {
                        "rows": size["rows"],
                        "p50": cell["p50_ms"] / 1e3,
                        "batch": 1 / cell["batch_qps"],
                        "build": run["build_s"],
                    }
                )
    return found


def cell_of(run: Mapping[str, Any], name: str, target: float) -> Mapping[str, Any] | None:
    """The figures of a condition and a target."""
    return next((c for c in run.get("cells", ()) if c["filter"] == name and c["target"] == target), None)


def _built(run: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        run["engine"],
        run.get("gives", ""),
        f"{run['build_s']:.1f}",
        f"{run['open_s']:.2f}" if "open_s" in run else "",
        f"{run['disk_bytes'] / 1e6:,.0f}",
        f"{run['memory_bytes'] / 1e6:,.0f}" if "memory_bytes" in run else "",
    )


def _searched(run: Mapping[str, Any], name: str, target: float) -> tuple[str, ...]:
    cell = cell_of(run, name, target)
    if cell is None:
        missing = "not measured" if name == "none" or run.get("filters", True) else "no conditions"
        return (run["engine"], missing, "", "", "", "")
    found = f"{cell['recall']:.3f}" + ("" if cell["reached"] else " (not reached)")
    times = (f"{cell['qps']:,.0f}", f"{cell['p50_ms']:.2f}", f"{cell['p99_ms']:.2f}", f"{cell['batch_qps']:,.0f}")
    return (run["engine"], found, *times)


def _by_batch(row: Sequence[str]) -> tuple[bool, float]:
    """Those that reach the target first, by their rate."""
    return "(" in row[1] or not row[5], -float(row[5].replace(",", "") or 0)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
