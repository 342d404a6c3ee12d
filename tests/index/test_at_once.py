"""Tasks done at the same time: their results in order, their errors told, one look at the files for all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from molsig.index import at_once as module
from molsig.index.at_once import at_once
from molsig.index.stamp import database_stamp, one_look


def left_over() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "molsig search"]


@pytest.mark.parametrize("processors", [1, 2, 5])
@pytest.mark.parametrize("tasks", [0, 1, 3, 9])
def test_results_come_in_the_order_of_the_tasks(tasks: int, processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: processors)

    def task(number: int) -> int:
        time.sleep(0.002 * (tasks - number))
        return number

    assert at_once([lambda number=number: task(number) for number in range(tasks)]) == list(range(tasks))
    assert not left_over()


def test_two_tasks_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)
    met = threading.Barrier(2, timeout=30)
    assert len({*at_once([met.wait, met.wait])}) == 2


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_is_raised_where_it_was_asked_for(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)

    def task(number: int) -> None:
        if number == failing:
            raise ValueError(f"task {number}")

    with pytest.raises(ValueError, match=f"task {failing}"):
        at_once([lambda number=number: task(number) for number in range(3)])
    assert not left_over()


def test_an_interruption_comes_before_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)
    met = threading.Barrier(2, timeout=30)

    def task(error: BaseException) -> None:
        met.wait()
        raise error

    tasks = [lambda: task(ValueError("first")), lambda: task(KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        at_once(tasks)


def test_a_system_without_further_threads_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 3)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert at_once([lambda number=number: number for number in range(4)]) == [0, 1, 2, 3]


def test_all_threads_share_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)
    file = tmp_path / "a.duckdb"
    file.write_text("one")
    time.sleep(0.1)
    met = threading.Barrier(2, timeout=30)

    def look() -> object:
        met.wait()
        return database_stamp(file)

    with one_look():
        first = database_stamp(file)
        file.write_text("longer")
        time.sleep(0.1)
        assert at_once([look, look]) == [first, first]
    assert at_once([look, look]) == [database_stamp(file)] * 2 != [first, first]
