"""Tumours are compared with tumours and normal tissue with normal tissue, unless the user says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.reference.querying import stored_queries
from molsig.retrieval.find import find
from molsig.retrieval.route import Query
from molsig.types import DIM, Encoded, SampleId, SampleKind

if TYPE_CHECKING:
    from pathlib import Path

KINDS: tuple[SampleKind, ...] = ("tumour", "normal", "metastasis")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Eight patients, each with a tumour, a normal and a metastasis sample in one space."""
    rng = np.random.default_rng(1)
    samples = tuple(SampleId(f"P{i}-{kind}", f"P{i}", kind) for i in range(8) for kind in KINDS)
    vectors = rng.standard_normal((len(samples), DIM)).astype(np.float32)
    digests = tuple(f"{i:064x}" for i in range(len(samples)))
    made = Store.create(tmp_path / "kinds.molsig")
    with made.writer("test") as writer:
        writer.commit([Encoded("rna", "rna-1", samples, ("",) * len(samples), vectors, digests)])
    return made


def kinds_found(store: Store, queries: list[Query], kind: str) -> set[str]:
    answer = find(store, Searcher(store), queries, kind=kind)[0]
    return {str(hit.sample).partition("-")[2] for hit in answer}


def query_of(store: Store, kind: str) -> Query:
    return stored_queries(store, ["P0"], None, kind)[0]


def test_a_tumour_is_not_compared_with_normal_tissue(store: Store) -> None:
    assert kinds_found(store, [query_of(store, "auto")], "auto") <= {"tumour", "metastasis"}


def test_normal_tissue_is_compared_with_normal_tissue_and_says_so(store: Store) -> None:
    query = query_of(store, "normal")
    assert kinds_found(store, [query], "auto") == {"normal"}
    assert "normal" in find(store, Searcher(store), [query])[0].notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_can_be_asked_for(store: Store, kind: str) -> None:
    assert kinds_found(store, [query_of(store, kind)], kind) == {kind}


def test_a_kind_that_is_not_stored_finds_nothing(store: Store) -> None:
    assert kinds_found(store, [query_of(store, "auto")], "recurrence") == set()


def test_unknown_words_are_refused(store: Store) -> None:
    query = query_of(store, "auto")
    with pytest.raises(UsageError, match="--kind"):
        find(store, Searcher(store), [query], kind="tumor")
    with pytest.raises(UsageError, match="--fusion"):
        find(store, Searcher(store), [query], fusion="mean")


def test_each_query_of_a_batch_leaves_out_its_own_patient(store: Store) -> None:
    queries = stored_queries(store, [f"P{i}" for i in range(8)], None, "auto")
    for answer in find(store, Searcher(store), queries, k=7):
        assert len(answer) == 7
        assert answer.query not in {hit.patient for hit in answer}


def test_vectors_of_a_space_outside_the_sums_are_not_compared_with_them(store: Store) -> None:
    foreign = Query("NEW", {"tile": np.ones((1, DIM), np.float32)}, {"tile": "someone-else"})
    with pytest.raises(UsageError, match="someone-else"):
        find(store, Searcher(store), [foreign], fusion="sum")


def test_a_sum_has_no_kinds(store: Store) -> None:
    with pytest.raises(UsageError, match="--modality"):
        find(store, Searcher(store), [query_of(store, "auto")], fusion="sum", kind="metastasis")
