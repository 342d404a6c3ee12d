"""What the landmark benchmark has measured, as Markdown."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

SETS = ("greedy", "autoencoder", "variance", "medoids", "pca", "random")
MODELS = {"ridge": "ridge", "deep": "D-GEX"}
WAYS = (
    "same pipeline",
    "as read",
    "quantiles",
    "quantiles of landmarks",
    "quantiles, cohort standardised",
    "per kilobase, quantiles",
)


def table(rows: dict[str, Any]) -> str:
    """All tables, each under the name of what it is of."""
    by_kind: dict[str, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(dict)
    for key, row in rows.items():
        kind, *rest = key.split("/")
        by_kind[kind][tuple(rest)] = row
    parts = []
    inferred = _grouped(by_kind["inference"])
    for (cohort, how, part), some in inferred.items():
        parts.append(f"### {cohort}, {how} split, {part} patients\n\n" + _sizes(some) + "\n\n" + _inference(some))
        parts.append("One set less another, seed 0:\n\n" + _paired(some))
    for (cohort, how, part), some in _grouped(by_kind["transfer"]).items():
        parts.append(f"### {cohort} to the other pipeline, {how} split, {part}\n\n" + _transfer(some))
        parts.append("One set less another on the other pipeline (quantiles), seed 0:\n\n" + _paired(some))
    if by_kind["autoencoder"]:
        parts.append("### The autoencoder itself\n\n" + _autoencoder(by_kind["autoencoder"]))
    return "\n\n".join(parts)


def _grouped(
    rows: dict[tuple[str, ...], dict[str, Any]],
) -> dict[tuple[str, ...], dict[tuple[str, int], dict[int, dict[str, Any]]]]:
    """cohort, split, part -> model, n -> seed -> row."""
    out: dict[tuple[str, ...], dict[tuple[str, int], dict[int, dict[str, Any]]]] = {}
    for (cohort, how, part, seed, model, n), row in rows.items():
        of = out.setdefault((cohort, how, part), {})
        of.setdefault((model, int(n)), {})[int(seed)] = row
    return out


def _present(seeds: dict[int, dict[str, Any]]) -> list[str]:
    """Sets that were measured, random draws as one."""
    held = {name.split()[0] for name in next(iter(seeds.values()))["sets"]}
    return [name for name in SETS if name in held]


def _mean_of(row: dict[str, Any], name: str, *path: str) -> float:
    """A figure of a set, or its mean over the random draws."""
    found = []
    for one, figures in row["sets"].items():
        if one == name or one.startswith(f"{name} "):
            for step in path:
                figures = figures[step]
            found.append(figures)
    return float(np.mean(found))


def _cell(seeds: dict[int, dict[str, Any]], name: str, *path: str) -> str:
    """Mean over seeds, and from smallest to largest where there are several."""
    values = [_mean_of(row, name, *path) for row in seeds.values()]
    mean = f"{np.mean(values):.4f}".lstrip("0") if path[-1] != "significant" else f"{100 * np.mean(values):.1f} %"
    if len(values) == 1:
        return mean
    scale = 100 if path[-1] == "significant" else 1
    digits = 1 if path[-1] == "significant" else 3
    low, high = (f"{scale * one:.{digits}f}" for one in (min(values), max(values)))
    if path[-1] != "significant":
        mean, low, high = f"{np.mean(values):.3f}".lstrip("0"), low.lstrip("0"), high.lstrip("0")
    return f"{mean} ({low}-{high})"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sizes(some: dict[tuple[str, int], dict[int, dict[str, Any]]]) -> str:
    told = []
    for (model, n), seeds in sorted(some.items(), key=lambda one: (one[0][0] != "ridge", one[0][1])):
        first = seeds[min(seeds)]
        told.append(
            f"{MODELS[model]}, {n}: {len(seeds)} seeds, {first['genes']:,} genes, {first['train']} samples learned "
            f"from, {first['test']} asked, {first['common']:,} common targets"
        )
    return "; ".join(told) + "."


def _inference(some: dict[tuple[str, int], dict[int, dict[str, Any]]]) -> str:
    head = ["n", "set", "judge", "MAE, log2", "MAE, SD", "PCC", "passing", "PCC, own targets"]
    lines = [_line(head), "|---:|---|---|" + "---:|" * 5]
    for n in sorted({n for _, n in some}):
        for model in ("ridge", "deep"):
            seeds = some.get((model, n))
            if not seeds:
                continue
            figures = (("common", "mae"), ("common", "mae_sd"), ("common", "pcc"), ("common", "significant"))
            for name in _present(seeds):
                cells = [_cell(seeds, name, *path) for path in (*figures, ("own", "pcc"))]
                lines.append(_line([str(n), name, MODELS[model], *cells]))
    return "\n".join(lines)


def _paired(some: dict[tuple[str, int], dict[int, dict[str, Any]]]) -> str:
    lines = [
        _line(
            [
                "n",
                "judge",
                "set",
                "less",
                "genes",
                "MAE, log2 (95 %)",
                "lower in",
                "PCC (95 %)",
                "higher in",
                "largest p",
            ]
        ),
        "|---:|---|---|---|" + "---:|" * 6,
    ]
    for (model, n), seeds in sorted(some.items(), key=lambda one: (one[0][1], one[0][0] != "ridge")):
        for pair in seeds[min(seeds)]["paired"]:
            if pair["first"] not in {"greedy", "autoencoder"}:
                continue
            mae, pcc = pair["mae"], pair["pcc"]
            worst = max(mae["t_p"], mae["wilcoxon_p"], pcc["t_p"], pcc["wilcoxon_p"])
            lines.append(
                _line(
                    [
                        str(n),
                        MODELS[model],
                        pair["first"],
                        pair["second"].removesuffix(" 0"),
                        f"{mae['genes']:,}",
                        f"{mae['difference']:+.4f} ({mae['low']:+.4f} to {mae['high']:+.4f})",
                        f"{mae['lower']:.0%}",
                        f"{pcc['difference']:+.4f} ({pcc['low']:+.4f} to {pcc['high']:+.4f})",
                        f"{1 - pcc['lower']:.0%}",
                        f"{worst:.0e}",
                    ]
                )
            )
    return "\n".join(lines)


def _transfer(some: dict[tuple[str, int], dict[int, dict[str, Any]]]) -> str:
    lines = [
        _line(["n", "set", "judge", "values of the other pipeline", "MAE, log2", "MAE, SD", "PCC", "passing"]),
        "|---:|---|---|---|" + "---:|" * 4,
    ]
    for (model, n), seeds in sorted(some.items(), key=lambda one: (one[0][1], one[0][0] != "ridge")):
        ways = next(iter(next(iter(seeds.values()))["sets"].values()))
        for name in _present(seeds):
            for way in (one for one in WAYS if one in ways):
                cells = [_cell(seeds, name, way, "common", one) for one in ("mae", "mae_sd", "pcc", "significant")]
                lines.append(_line([str(n), name, MODELS[model], way, *cells]))
    return "\n".join(lines)


def _autoencoder(rows: dict[tuple[str, ...], dict[str, Any]]) -> str:
    lines = [
        _line(["cohort", "held out", "seed", "genes", "samples", "MAE, log2", "MAE, SD", "PCC", "passing"]),
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (cohort, how, _, seed), row in rows.items():
        figures = [f"{row[one]:.4f}".lstrip("0") for one in ("mae", "mae_sd", "pcc")]
        asked = f"{row['train']} + {row['test']}"
        lines.append(_line([cohort, how, seed, f"{row['genes']:,}", asked, *figures, f"{row['significant']:.1%}"]))
    return "\n".join(lines)
