"""However records are split into commits, in whatever order, forgotten and given again: the same reference results."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import DIM, SUM_SPACE, Encoded, SampleId

Record = tuple[str, str, str, str]


def one(record: Record) -> Encoded:
    """The `Encoded` of one record (modality, patient, kind, item); its vector follows from its name."""
    modality, patient, kind, item = record
    random = np.random.default_rng(abs(hash(record)) % 2**32)
    sample = SampleId(f"{patient}-{kind}", patient, kind)  # type: ignore[arg-type]
    vector = random.standard_normal((1, DIM), dtype=np.float32)
    return Encoded(modality, f"{modality}-s", (sample,), (item,), vector, ("/".join(record),))


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["rna", "mutation"]),
        st.sampled_from(["A", "B", "C", "D"]),
        st.sampled_from(["tumour", "normal", "metastasis"]),
        st.sampled_from(["", "1", "2"]),
    ),
    unique=True,
    min_size=1,
    max_size=14,
)


def content(store: Store) -> dict[object, bytes]:
    """Everything a reader can tell, but for row ids and snapshots."""
    told: dict[object, bytes] = {}
    for info in store.spaces():
        rows, (_, vectors) = store.rows(info.space), store.vectors(info.space)
        for row, vector in zip(rows.to_pylist(), vectors, strict=True):
            told[info.space, row["patient"], row["sample"], row["kind"], row["item"]] = vector.tobytes()
    return told


def split(records: list[Record], cuts: list[int]) -> list[list[Encoded]]:
    places = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    return [[one(record) for record in records[a:b]] for a, b in pairwise(places)]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECORDS, st.data())
def test_order_and_split_do_not_matter(tmp_path_factory, records: list[Record], data) -> None:
    folder = tmp_path_factory.mktemp("algebra")
    stores = []
    for name in ("one", "other"):
        store = Store.create(folder / name)
        order = data.draw(st.permutations(records))
        repeats = data.draw(st.lists(st.sampled_from(records), max_size=3))
        with store.writer("test") as writer:
            for batch in split([*order, *repeats], data.draw(st.lists(st.integers(0, 20), max_size=4))):
                writer.commit(batch)
        stores.append(store)
    first, second = map(content, stores)
    assert first == second, "aggregates too, bit for bit"
    assert len([key for key in first if key[0] != SUM_SPACE]) == len(records)
    for store in stores:
        assert all(check.ok for check in verify(store))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECORDS, st.data())
def test_forgotten_and_given_again_is_as_before(tmp_path_factory, records: list[Record], data) -> None:
    store = Store.create(tmp_path_factory.mktemp("algebra") / "r")
    with store.writer("test") as writer:
        writer.commit([one(record) for record in records])
        before = content(store)
        ids = set(store.rows(SUM_SPACE)["id"].to_pylist()) | set(store.rows("rna-s")["id"].to_pylist())
        gone = data.draw(st.sets(st.sampled_from([patient for _, patient, _, _ in records]), min_size=1))
        writer.forget(sorted(gone), compact=data.draw(st.booleans()))
        assert content(store) == {key: vector for key, vector in before.items() if key[1] not in gone}
        writer.commit([one(record) for record in data.draw(st.permutations(records))])
        assert content(store) == before
        replay = writer.commit([one(record) for record in records])
        assert (replay.added, replay.skipped) == ({}, len(records))
    with store.reading() as connection:
        highest = connection.execute("SELECT next_id FROM state").fetchall()[0][0]
    assert max(ids, default=-1) < highest
    assert all(check.ok for check in verify(store))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECORDS)
def test_an_aggregate_is_the_sum_of_its_rows(tmp_path_factory, records: list[Record]) -> None:
    store = Store.create(tmp_path_factory.mktemp("algebra") / "r")
    with store.writer("test") as writer:
        for record in records:
            writer.commit([one(record)])
    expected: dict[str, np.ndarray] = {}
    for record in records:
        if record[2] != "normal":
            expected[record[1]] = expected.get(record[1], np.zeros(DIM)) + one(record).vectors[0]
    rows = store.rows(SUM_SPACE)["patient"].to_pylist()
    assert sorted(rows) == sorted(expected)
    for patient, vector in zip(rows, store.vectors(SUM_SPACE)[1], strict=True):
        np.testing.assert_allclose(vector, expected[patient], atol=1e-5)
