"""Tasks done at the same time: their results in order, their errors told, one look at the files for all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from molsig.index.stamp import database_stamp, one_look
from molsig.retrieval import side_by_side as module
from molsig.retrieval.side_by_side import side_by_side


@pytest.mark.parametrize("processors", [1, 2, 5])
@pytest.mark.parametrize("tasks", [0, 1, 3, 9])
def test_results_come_in_the_order_of_the_tasks(tasks: int, processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: processors)
    before = threading.active_count()

    def task(number: int) -> int:
        time.sleep(0.002 * (tasks - number))
        return number

    assert side_by_side([lambda number=number: task(number) for number in range(tasks)]) == list(range(tasks))
    assert threading.active_count() == before


def test_two_tasks_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)
    met = threading.Barrier(2, timeout=30)
    assert len({*side_by_side([met.wait, met.wait])}) == 2


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_is_raised_where_it_was_asked_for(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processors", lambda: 2)
    before = threading.active_count()

    def task(number: int) -> None:
        if number == failing:
            raise ValueError(f"task {number}")

    with pytest.raises(ValueError, match=f"task {failing}"):
        side_by_side([lambda number=number: task(number) for number in range(3)])
    assert threading.active_count() == before


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
        assert side_by_side([look, look]) == [first, first]
    assert side_by_side([look, look]) == [database_stamp(file)] * 2 != [first, first]
