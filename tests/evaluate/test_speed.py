"""`molsig bench` and what it finds."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.evaluate.clustered import Mixture
from molsig.evaluate.speed import Speed, crossover, measure_structures
from molsig.index.search import EXACT_ROWS
from molsig.index.structure import ALWAYS_FLAT


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", "bench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def speed(rows: int, method: str, p50: float) -> Speed:
    return Speed(rows, method, 1.0, p50, p50, 1.0, 0.0)


def test_the_command_prints_stable_keys() -> None:
    done = molsig("--rows", "600,300", "--queries", 20, "--structures", "pca-sq8,rabitq,ivf-rabitq,hnsw", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document.keys() == {"structures", "crossovers"}
    assert [(one["from"], one["to"], one["used_above"]) for one in document["crossovers"]] == [
        ("exact", "pca-sq8", EXACT_ROWS),
        ("rabitq", "ivf-rabitq", ALWAYS_FLAT),
    ]
    assert [(one["rows"], one["method"]) for one in document["structures"]] == [
        (rows, method) for rows in (300, 600) for method in ("exact", "pca-sq8", "rabitq", "ivf-rabitq", "hnsw")
    ]
    keys = {"rows", "method", "recall", "p50_ms", "p99_ms", "batch_qps", "build_s"}
    assert all(one.keys() == keys and one["p50_ms"] <= one["p99_ms"] for one in document["structures"])
    assert all(one["recall"] == 1.0 for one in document["structures"] if one["method"] == "exact")
    assert all(one["recall"] >= 0.98 for one in document["structures"])


def test_the_table_ends_with_the_crossover() -> None:
    done = molsig("--rows", 300, "--queries", 5)
    assert done.returncode == 0, done.stderr
    assert "rabitq" in done.stdout
    assert "hnsw" not in done.stdout
    assert f"molsig considers it above {EXACT_ROWS:,}" in done.stderr


@pytest.mark.parametrize("words", [("--rows", "0"), ("--rows", "10,many"), ("--rows", ""), ("--structures", "annoy")])
def test_sizes_that_are_none_are_refused(words: tuple[str, str]) -> None:
    done = molsig(*words)
    assert done.returncode == 2
    assert words[0] in done.stderr


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        list(measure_structures([]))


def test_the_crossover_lies_where_the_lines_meet() -> None:
    # 1 against 4 ms at 1,000 rows and 4 against 1 at 100,000: equal half-way between, on logarithms.
    found = [speed(1000, "exact", 1.0), speed(1000, "hnsw", 4.0), speed(100_000, "exact", 4.0)]
    assert crossover([*found, speed(100_000, "hnsw", 1.0)], "exact", "hnsw") == 10_000
    assert crossover([*found, speed(100_000, "hnsw", 5.0)], "exact", "hnsw") is None
    assert crossover([speed(1000, "exact", 2.0), speed(1000, "hnsw", 1.0)], "exact", "hnsw") == 1000
    assert crossover(found, "exact", "rabitq") is None


def test_invented_vectors_lie_in_clusters_and_come_again() -> None:
    rows, cluster, queries = Mixture(centres=5).draw(400, 10, seed=1)
    assert (rows.shape, cluster.shape, queries.shape) == ((400, 768), (400,), (10, 768))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = cluster[:, None] == cluster[None, :]
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > cosines[cluster[:, None] != cluster[None, :]].mean() + 0.3
    again = Mixture(centres=5).draw(400, 10, seed=1)
    assert np.array_equal(again[0], rows)
    assert np.array_equal(again[2], queries)
    assert not np.array_equal(Mixture(centres=5).draw(400, 10, seed=2)[0], rows)
