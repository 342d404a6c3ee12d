"""Questions of the one-shot benchmarks, the answers on file, and their tables.

A sheet is a JSON file of one cohort. A method and seed that is on it is not measured again: a benchmark that stopped
goes on where it was, and methods and seeds can be added later.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.evaluate.episodes import answer_episodes, draw_episodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from molsig.evaluate.episodes import Episodes, PairScore

PAPER = {6: 0.8967, 8: 0.8732, 10: 0.8459}
"""CancerSiamese with 19 training types on log2 FPKM of 4,858 genes: other data, for orientation only."""
SHOTS = (5,)
DRAWS = 200
"""Of the bootstraps."""


def questions(
    types: Sequence[str],
    patients: Sequence[str],
    ways: Sequence[int],
    asked: Sequence[int] | None = None,
    standing: Sequence[int] | None = None,
) -> dict[str, Episodes]:
    """Episodes by what they are called; all methods of a cohort are asked the same.

    Parameters
    ----------
    types, patients
        Of each row; the barcode's second part is the hospital.
    asked, standing
        Rows that are queries, and rows that stand for their types; all by default.
    """
    most = max(ways)
    plans = [(f"{one}-way, 1", one, 1, patients) for one in ways]
    plans += [(f"{most}-way, {shots}", most, shots, patients) for shots in SHOTS]
    # With the hospital in the place of the patient no support sample is of the query's hospital, a batch of its own.
    hospitals = [one.split("-")[1] for one in patients]
    placed = {(types[i], hospitals[i]) for i in (range(len(types)) if standing is None else standing)}
    several = min(most, sum(n > 1 for n in Counter(kind for kind, _ in placed).values()))
    plans.append((f"{several}-way, other hospital, 1", several, 1, hospitals))
    return {
        name: draw_episodes(types, apart, ways=n, shots=shots, queries=asked, supports=standing, seed=1)
        for name, n, shots, apart in plans
    }


class Sheet:
    """What was measured on one cohort.

    Parameters
    ----------
    file
        JSON that holds it; goes on with what is there.
    told
        What the cohort is: name, told, training, unseen, training_samples, test_samples, features.

    Raises
    ------
    ValueError
        The file is of another cohort.
    """

    def __init__(self, file: Path, told: Mapping[str, Any], asked: Mapping[str, Episodes]) -> None:
        self._file, self._asked = file, asked
        told = json.loads(json.dumps(told))
        self.told: dict[str, Any] = {**told, "methods": {}, "notes": {}}
        if file.exists():
            before = json.loads(file.read_text())
            if {key: before.get(key) for key in told} != told:
                raise ValueError(f"{file} was measured on another cohort: give another folder, or remove it")
            self.told = before

    def has(self, names: Sequence[str], seed: int) -> bool:
        """Whether methods were measured with a seed."""
        return all(str(seed) in self.told["methods"].get(name, {}) for name in names)

    def note(self, name: str, seed: int, score: PairScore, seconds: float) -> None:
        """Ask a method all questions and write down what it answers; `seconds` of processor time made it."""
        results = {}
        for column, episodes in self._asked.items():
            found = answer_episodes(episodes, score, draws=DRAWS)
            results[column] = {
                "accuracy": found.accuracy,
                "patients": found.patients,
                "types": found.types,
                "by_type": found.by_type,
            }
        self.told["methods"].setdefault(name, {})[str(seed)] = {"seconds": round(seconds, 2), "results": results}
        self._keep()
        rounded = ", ".join(f"{one['accuracy']:.3f}" for one in results.values())
        print(f"{self.told['name']}: {name}, seed {seed}: {rounded} ({seconds:.1f} s)", flush=True)

    def remark(self, name: str, seed: int, what: Mapping[str, float]) -> None:
        """Write down something else that was measured with a seed."""
        self.told["notes"].setdefault(name, {})[str(seed)] = dict(what)
        self._keep()
        print(f"{self.told['name']}: {name}, seed {seed}: {what}", flush=True)

    def _keep(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.told, indent=1))
        part.rename(self._file)


def table(told: Mapping[str, Any]) -> str:
    """Markdown: a cohort, its methods, and what else was noted."""
    runs_of: dict[str, list[dict[str, Any]]] = {name: list(runs.values()) for name, runs in told["methods"].items()}
    columns = list(next(iter(runs_of.values()))[0]["results"])
    last = [name for name in columns if name.endswith("-way, 1")][-1]
    lines = [
        f"### {told['name']}",
        "",
        f"{told['told']}. Trained on {len(told['training'])} types ({told['training_samples']:,} tumours: "
        f"{', '.join(told['training'])}); unseen {', '.join(told['unseen'])} ({told['test_samples']:,} samples); "
        f"{told['features']} features.",
        "",
        f"| method | {' | '.join(f'{name} shot' for name in columns)} | 95 % over patients | over types | seeds | s |",
        "|---|" + "---:|" * (len(columns) + 4),
    ]
    for name, runs in runs_of.items():
        cells = [spread([run["results"][column]["accuracy"] for run in runs]) for column in columns]
        # Of the first seed: the middle of the interval is that run's figure, not the mean of the seeds.
        first = runs[0]["results"][last]
        cells += ["" if one is None else f"{one[0]:.3f} to {one[1]:.3f}" for one in (first["patients"], first["types"])]
        seconds = float(np.mean([run["seconds"] for run in runs]))
        lines.append(f"| {name} | {' | '.join(cells)} | {len(runs)} | {seconds:.1f} |")
    published = [_published(one) for one in columns]
    if any(published):
        lines.append(f"| CancerSiamese as published, on other data | {' | '.join(published)} | | | | |")
    if told["notes"]:
        lines.append("")
    for name, by_seed in told["notes"].items():
        keys = next(iter(by_seed.values()))
        means = ", ".join(f"{key} {spread([one[key] for one in by_seed.values()])}" for key in keys)
        lines.append(f"- {name}: {means}.")
    return "\n".join([*lines, ""])


def spread(values: Sequence[float]) -> str:
    """Mean, and with several half the range."""
    return f"{np.mean(values):.3f}" + (f" ±{(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else "")


def _published(column: str) -> str:
    ways, _, rest = column.partition("-way, ")
    return f"{PAPER[int(ways)]:.3f}" if rest == "1" and int(ways) in PAPER else ""
