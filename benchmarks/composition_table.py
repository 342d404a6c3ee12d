"""Tables and the picture of `benchmarks.composition`, from its rows of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Row = dict[str, Any]

COUNTS = tuple(range(3, 11))
"""The study's sample counts."""

COLOURS = {"molsig": "C0", "network": "C1", "logistic": "C2"}


def table(rows: Sequence[Row]) -> str:
    """MCC, one line per experiment and modality, one column per sample count; mean over the seeds (range)."""
    lines = [f"{'method':<9}{'training':<10}{'sampling':<9}{'noise':>6} {'modality':<11}"]
    lines[0] += "".join(f"{n:<14}" for n in COUNTS)
    for (method, training, sampling, noise), chosen in _experiments(rows).items():
        head = f"{method:<9}{training:<10}{sampling:<9}{noise:>6.1f} "
        for m, one in enumerate(chosen[0]["presence"]):
            cells = [_cell([r["presence"][m]["mcc"] for r in chosen if r["n"] == n]) for n in COUNTS]
            lines.append(f"{head}{one['modality']:<11}" + "".join(f"{cell:<14}" for cell in cells))
        if method != "logistic":
            cells = [_cell([r["counts"]["all"]["exact"] for r in chosen if r["n"] == n]) for n in COUNTS]
            lines.append(f"{head}{'all exact':<11}" + "".join(f"{cell:<14}" for cell in cells))
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Scores of rows with and without a modality, mean over sample counts and seeds, where there is no noise."""
    lines = [
        f"{'mean over counts 3 to 10':<42}{'balanced':>9}  {'with: precision, recall, F1':<30}"
        "without: precision, recall, F1"
    ]
    for (method, training, sampling, noise), chosen in _experiments(rows).items():
        if noise:
            continue
        for m, one in enumerate(chosen[0]["presence"]):
            scores = [row["presence"][m] for row in chosen]
            groups = [
                "".join(f"{_mean([score[group][key] for score in scores]):<9}" for key in ("precision", "recall", "f1"))
                for group in ("present", "absent")
            ]
            lines.append(
                f"{method:<9}{training:<10}{sampling:<11}{one['modality']:<12}"
                f"{_mean([score['balanced_accuracy'] for score in scores]):>9}  {groups[0]:<30}{groups[1]}"
            )
    return "\n".join(lines)


def draw(rows: Sequence[Row], file: Path) -> None:
    """MCC against the sample count: a column per modality, a row per training and sampling, a line per method.

    The band around a line reaches from the smallest to the largest of the seeds. The last row shows the composite
    models, all sample counts together, against the share of vectors that is noise.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    found = _experiments(rows)
    modalities = [one["modality"] for one in rows[0]["presence"]]
    clean = list(dict.fromkeys((training, sampling) for _, training, sampling, noise in found if not noise))
    figure, axes = plt.subplots(
        len(clean) + 1, len(modalities), figsize=(2.7 * len(modalities), 1.9 * len(clean) + 2.2), sharey=True
    )
    for place in axes.flat:
        place.axhline(0.9, color="0.8", linewidth=0.8, zorder=0)
        place.tick_params(labelsize=7)
    for row, (training, sampling) in enumerate(clean):
        for (method, *kind, noise), chosen in found.items():
            if kind == [training, sampling] and not noise:
                _lines(axes[row], chosen, method, "n", COUNTS)
        axes[row, 0].set_ylabel(f"{training}, {sampling}\nMCC", fontsize=8)
        axes[row, 0].set_xticks(COUNTS)
        for place in axes[row]:
            place.set_xticks(COUNTS)
            place.set_xlabel("vectors in the sum", fontsize=7)
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = [
            row for row in rows if (row["method"], row["training"], row["sampling"]) == (method, "composite", "simple")
        ]
        _lines(axes[-1], chosen, method, "noise", sorted({row["noise"] for row in chosen}))
    axes[-1, 0].set_ylabel("composite, simple,\nall counts: MCC", fontsize=8)
    for m, name in enumerate(modalities):
        axes[0, m].set_title(name, fontsize=10)
        axes[-1, m].set_xlabel("share of the vectors that is noise", fontsize=7)
    axes[0, 0].set_ylim(-0.1, 1.05)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", ncols=len(names), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _lines(places: Any, chosen: Sequence[Row], method: str, key: str, steps: Sequence[float]) -> None:
    seeds = sorted({row["seed"] for row in chosen})
    for m, place in enumerate(places):
        values = np.array(
            [
                [
                    _known([r["presence"][m]["mcc"] for r in chosen if r[key] == step and r["seed"] == seed], np.mean)
                    for step in steps
                ]
                for seed in seeds
            ]
        )
        place.plot(steps, values.mean(axis=0), color=COLOURS[method], marker=".", linewidth=1.2, label=method)
        place.fill_between(steps, values.min(axis=0), values.max(axis=0), color=COLOURS[method], alpha=0.2, linewidth=0)


def _experiments(rows: Sequence[Row]) -> dict[tuple[str, str, str, float], list[Row]]:
    """Rows of all counts and seeds by method, training, sampling and noise."""
    found: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in rows:
        found.setdefault((row["method"], row["training"], row["sampling"], row["noise"]), []).append(row)
    return found


def _known(values: Sequence[float | None], what: Callable[[list[float]], Any]) -> float:
    """Of those that are defined; NaN where none is."""
    known = [one for one in values if one is not None]
    return float(what(known)) if known else float("nan")


def _mean(values: Sequence[float | None]) -> str:
    mean = _known(values, np.mean)
    return "-" if np.isnan(mean) else f"{mean:.3f}"


def _cell(values: Sequence[float | None]) -> str:
    mean = _mean(values)
    return mean if mean == "-" or len(values) < 2 else f"{mean} ({_known(values, np.ptp):.3f})"
