"""What is measured of an engine that has been opened: recall, time of single queries, rate of a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.task import WIDTHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.peers.engine import Engine
    from benchmarks.peers.task import Task

TARGETS = (0.95, 0.99)
MARGIN = 0.002
"""The tuned recall lies this far above its target, so that other queries reach the target too."""

FEWEST = 20
REPEATS = 3


@dataclass(frozen=True)
class Cell:
    """Figures of one condition at one target; rates are in queries a second, `recall` is of the single queries."""

    filter: str
    target: float
    reached: bool
    knob: Any
    recall: float
    queries: int
    qps: float
    p50_ms: float
    p99_ms: float
    batch: int
    batch_qps: float


def recall(found: Sequence[Sequence[int]], truth: NDArray[np.int64]) -> float:
    """Share of the nearest rows that were found, over all queries."""
    hits = sum(
        len(set(rows) & set(best[best >= 0].tolist())) for rows, best in zip(found, truth[: len(found)], strict=True)
    )
    possible = int((truth[: len(found)] >= 0).sum())
    return hits / possible if possible else 1.0


def cells(engine: Engine, task: Task, seconds: float) -> Iterator[Cell]:
    """Tune the engine on held-out queries and measure it on others, condition by condition.

    `seconds` is the time for the single queries of a cell, and for its batch.
    """
    for name, width in WIDTHS.items():
        if width is not None and not engine.filters:
            continue
        tried: dict[int, float] = {}
        measured: dict[int, Cell] = {}
        for target in TARGETS:
            place = tune(engine, task, name, target, tried, seconds)
            engine.turn(engine.knobs[place])
            if place not in measured:
                measured[place] = measure(engine, task, name, target, engine.knobs[place], seconds)
            one = measured[place]
            yield Cell(**{**vars(one), "target": target, "reached": tried[place] >= target})


def tune(engine: Engine, task: Task, name: str, target: float, tried: dict[int, float], seconds: float) -> int:
    """Return the place of the first knob that reaches the target on held-out queries, of the best one if none does."""
    truth, width = task.truth[f"tuning/{name}"], WIDTHS[name]
    for place, knob in enumerate(engine.knobs):
        if place not in tried:
            engine.turn(knob)
            # A slow engine is tuned on fewer queries.
            engine.one(task.tuning[0], width)
            once = _seconds(lambda: engine.one(task.tuning[0], width))
            some = task.tuning[: _affordable(once, len(task.tuning), seconds)]
            tried[place] = recall(engine.rows_of_many(engine.many(some, width)), truth)
        if tried[place] >= min(target + MARGIN, 1.0):
            return place
    return max(tried, key=lambda place: (tried[place], -place))


def measure(engine: Engine, task: Task, name: str, target: float, knob: Any, seconds: float) -> Cell:
    """Ask the queries one by one, then as a batch."""
    width, truth = WIDTHS[name], task.truth[f"queries/{name}"]
    for query in task.tuning[:5]:
        engine.one(query, width)
    answers, taken = [], []
    end = time.perf_counter() + seconds
    for query in task.queries:
        started = time.perf_counter()
        answers.append(engine.one(query, width))
        taken.append(time.perf_counter() - started)
        if time.perf_counter() > end and len(taken) >= FEWEST:
            break
    p50 = float(np.median(taken))
    batch = task.queries[: _affordable(p50, len(task.queries), seconds)]
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < seconds:
        times.append(_seconds(lambda: engine.many(batch, width)))
    return Cell(
        filter=name,
        target=target,
        reached=True,
        knob=knob,
        recall=recall([engine.rows_of_one(one) for one in answers], truth),
        queries=len(taken),
        qps=len(taken) / sum(taken),
        p50_ms=1e3 * p50,
        p99_ms=1e3 * float(np.percentile(taken, 99)),
        batch=len(batch),
        batch_qps=len(batch) / min(times),
    )


def _affordable(once: float, most: int, seconds: float) -> int:
    """How many queries take about as long as a cell may."""
    return max(FEWEST, min(most, int(seconds / once)))


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
