"""The same function for many arguments, in this process or shared out to some others.

Folds, methods and figures do not depend on each other and each has a seed of its own, so the results are the same
whoever computes them. Processes, since fitting spends much of its time in Python and threads would take turns.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    T = TypeVar("T")

MOST = 4
"""Processes at most, unless more are asked for: each holds a fold's gallery, about 1 GB for 10,000 patients."""
WORTH = 2_000
"""Patients below which starting processes takes longer than they save."""


def workers_for(patients: int) -> int:
    """How many processes share an evaluation of so many patients."""
    free = os.cpu_count() or 1
    if sys.platform == "linux":
        free = len(os.sched_getaffinity(0))
    return min(MOST, free) if patients >= WORTH else 1


def each(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """Results in the order of the arguments, each as soon as it and those before it are there."""
    if workers == 1:
        yield from (function(*some) for some in arguments)
        return
    from joblib import Parallel, delayed

    # Patients' vectors go to the others through pipes: joblib would leave large ones in files when it is killed.
    parallel = Parallel(n_jobs=workers, return_as="generator", max_nbytes=None)
    yield from parallel(delayed(function)(*some) for some in arguments)
