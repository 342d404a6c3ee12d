"""Searches of several spaces at the same time, for few queries: most of each is faiss's, which leaves Python alone."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from molsig.index.stamp import looked_at, one_look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    T = TypeVar("T")


def at_once(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Return what tasks give, in their order, each thread taking the next one that is left; the longest come first.

    Threads are started for the call, which takes a tenth of a millisecond: none is left idle, or lost by a fork. They
    see the files as this thread saw them in its present look. What a task raised is raised here, once all threads are
    through: an interruption before errors, and of these the first task's. This thread must not keep a database open
    (`connection.is_kept_open`) that a task may want to open.
    """
    left = deque(enumerate(tasks))
    done: dict[int, T] = {}
    failed: dict[int, BaseException] = {}
    seen = looked_at()

    def work() -> None:
        with one_look(seen):
            while not failed:
                try:
                    number, task = left.popleft()
                except IndexError:
                    return
                try:
                    done[number] = task()
                except BaseException as error:
                    failed[number] = error

    threads: list[threading.Thread] = []
    try:
        for _ in range(min(len(tasks), _processors()) - 1):
            thread = threading.Thread(target=work, name="molsig search")
            try:
                thread.start()
            except RuntimeError:
                break  # the system gives no more threads: those there are do it all
            threads.append(thread)
        work()
    finally:
        left.clear()
        for thread in threads:
            thread.join()
    try:
        if failed:
            raise failed[min(failed, key=lambda number: (isinstance(failed[number], Exception), number))]
    finally:
        # An error holds the frames that hold it.
        failed.clear()
    return [done[number] for number in range(len(tasks))]


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
