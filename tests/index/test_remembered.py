"""A store that remembers says what one that reads says, of the database as it is now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from molsig.errors import UsageError
from molsig.index import remembered as module
from molsig.index.remembered import RememberedStore, remembered
from molsig.index.search import Searcher
from molsig.index.stamp import file_stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.index.store import Store

SAID: dict[str, Callable[[Store], object]] = {
    "spaces": lambda store: store.spaces(),
    "columns": lambda store: store.columns(),
    "patients": lambda store: store.select_patients(),
    "condition": lambda store: list(store.select_patients("age > 40 OR stage = 'I'")),
    "spaces in use": lambda store: store.active_spaces(),
    "encoders": lambda store: store.encoders(),
    "genes": lambda store: store.genes(),
    "attributes": lambda store: store.attributes(["P2", "nobody", "P0"], ["AGE", "patient"]).to_pylist(),
    "all attributes": lambda store: store.attributes(["P1"]).to_pylist(),
    "nobody": lambda store: store.attributes([]).to_pylist(),
    "records": lambda store: store.records(["P2", "nobody", "P0"]),
    "column": lambda store: store.column("AGE", ["P2", "nobody", "P0"]),
    "names of spaces": lambda store: store.space_names(),
    "classes": lambda store: store.classes_of("STAGE", ["I", "II"], SOME, PLACES).tolist(),
    "numbers as classes": lambda store: store.classes_of("age", ["60", "40"], SOME, PLACES).tolist(),
}
SOME, PLACES = pa.array(["P2", "nobody", "P0", "P1"]), np.array([3, 0, 1, 2, 3])


def test_classes_are_told_by_their_place(filled: Store) -> None:
    assert filled.classes_of("stage", ["II", "I"], SOME, PLACES).tolist() == [0, -1, -1, 1, 0]
    assert remembered(filled).classes_of("stage", ["II", "I"], SOME, PLACES).tolist() == [0, -1, -1, 1, 0]


def put(store: Store, **columns: object) -> None:
    with store.writer("test") as writer:
        writer.put_patients(pa.table(columns), replace=True)


def add(store: Store, encoded: object) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded])


@pytest.fixture
def filled(store: Store, encoded: Callable[..., object]) -> Store:
    add(store, encoded(["P0", "P1", "P2"]))
    put(store, patient=["P0", "P1", "P2"], age=[40, None, 60], stage=["I", "II", None])
    return store


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("cells", [0, 8, 10_000], ids=["none", "a column", "all"])
def test_it_says_what_a_store_says_before_and_after_a_commit(
    filled: Store, encoded: Callable[..., object], what: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_CELLS", cells)
    memory, say = remembered(filled), SAID[what]
    for _ in range(2):
        assert say(memory) == say(filled)
    time.sleep(0.06)
    assert say(memory) == say(filled)
    put(filled, patient=["P0", "P9"], age=[41, 90], grade=["low", "high"])
    add(filled, encoded(["P9"], modality="mirna"))
    for _ in range(2):
        assert say(memory) == say(filled)


def test_conditions_met_lately_are_held_and_not_more(filled: Store) -> None:
    memory = remembered(filled)
    time.sleep(0.06)
    asked = [f"age > {number}" for number in range(module.HELD_CONDITIONS + 3)]
    first = [memory.select_patients(where) for where in asked]
    again = [memory.select_patients(where) for where in reversed(asked)][::-1]
    assert first == again
    held = [a is b for a, b in zip(first, again, strict=True)]
    assert held == [False] * 3 + [True] * module.HELD_CONDITIONS


def test_a_table_without_columns_names_its_patients(store: Store, encoded: Callable[..., object]) -> None:
    add(store, encoded(["A", "B"]))
    assert remembered(store).attributes(["B", "A"]).to_pylist() == [{"patient": "B"}, {"patient": "A"}]


def test_an_unknown_column_is_named_with_those_there_are(filled: Store) -> None:
    for store in (filled, remembered(filled)):
        with pytest.raises(UsageError, match=r"'ages'.*age.*known: age, stage"):
            store.attributes(["P0"], ["ages"])
        with pytest.raises(UsageError, match=r"'ages'.*age.*known: age, stage"):
            store.column("ages", ["P0"])


def test_only_those_asked_for_are_read_the_first_time(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = remembered(filled)
    time.sleep(0.06)
    assert memory.records(["P1"]) == {"P1": {"age": None, "stage": "II"}}
    assert "attributes" not in memory._known
    memory.records(["P1"])
    assert "attributes" in memory._known, "who asks twice will ask again"


def test_spaces_that_have_rows_are_named(filled: Store, encoded: Callable[..., object]) -> None:
    add(filled, encoded(["P0"], modality="mirna"))
    assert filled.space_names() == [("mirna-test", "mirna", True), ("rna-test", "rna", True)]
    assert [one.space for one in filled.space_names()] == [one.space for one in filled.spaces()][:-1]


def test_the_database_is_opened_once_for_each_state(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = remembered(filled)
    time.sleep(0.06)
    memory.columns()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the database was opened")

    with monkeypatch.context() as patched:
        patched.setattr("molsig.index.store.reading", refuse)
        memory.columns()
    memory.columns()["made up"] = "text"
    assert "made up" not in memory.columns(), "what is given out is a copy"
    assert remembered(memory) is memory
    assert isinstance(memory, RememberedStore)


def test_the_stamp_tells_of_a_change_and_of_a_file_too_fresh_to_tell(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert file_stamp([file]) == ()
    file.write_text("1")
    assert file_stamp([file]) is None
    time.sleep(0.06)
    first = file_stamp([file])
    assert first is not None
    assert file_stamp([file]) == first
    file.write_text("2")
    time.sleep(0.06)
    assert file_stamp([file]) != first


def test_rows_of_patients_are_found_in_a_view(store: Store, encoded: Callable[..., object]) -> None:
    add(store, encoded(["C", "A", "C", "B"], items=["0", "0", "1", "0"]))
    searcher = Searcher(store)
    assert searcher.held("rna-test") is None
    time.sleep(0.06)
    view = searcher.view("rna-test")
    assert searcher.held("rna-test") is view
    of = view.rows["patient"].to_pylist()
    for asked in (["C"], ["B", "C"], ["nobody"], []):
        found = view.positions_of(asked).tolist()
        assert found == [place for place, patient in enumerate(of) if patient in asked]
    np.testing.assert_array_equal(
        view.vectors.take(view.positions_of(["B"])), store.vectors("rna-test")[1][[of.index("B")]]
    )
