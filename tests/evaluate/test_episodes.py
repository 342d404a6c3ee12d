"""N-way episodes: who may meet whom, what they score, and that they are quick."""

import time

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.evaluate.episodes import answer_episodes, cosine, draw_episodes, euclidean


def invented(types: int = 10, patients: int = 12, rows: int = 2) -> tuple[list[str], list[str]]:
    """Types and patients of rows: `patients` people of each of `types` types, some with several rows."""
    pairs = [(t, p) for t in range(types) for p in range(patients) for _ in range(1 + (p % rows))]
    return [f"T{t}" for t, _ in pairs], [f"P{t}-{p}" for t, p in pairs]


@pytest.mark.parametrize(("ways", "shots"), [(2, 1), (6, 1), (10, 1), (10, 3), (5, 8)])
def test_episodes_are_what_they_should_be(ways: int, shots: int) -> None:
    types, patients = invented()
    episodes = draw_episodes(types, patients, ways=ways, shots=shots, episodes=3000, seed=2)
    assert episodes.supports.shape == (3000, ways, shots)
    kind = episodes.types[episodes.supports]
    # One type a way, all ways differ, and the right one is where it is said to be.
    assert (kind == kind[:, :, :1]).all()
    assert all(len(set(row)) == ways for row in kind[:, :, 0].tolist())
    np.testing.assert_array_equal(kind[np.arange(3000), episodes.truth, 0], episodes.types[episodes.queries])
    # No support sample is of the query's patient, no two of a type are of one patient.
    people = episodes.patients[episodes.supports]
    assert (people != episodes.patients[episodes.queries][:, None, None]).all()
    assert all(len(set(way)) == shots for row in people[:200].tolist() for way in row)
    # The right type stands everywhere, and every type is asked about.
    assert set(episodes.truth.tolist()) == set(range(ways))
    assert len(set(episodes.types[episodes.queries].tolist())) == 10


def test_all_patients_but_the_query_are_drawn_equally_often() -> None:
    types, patients = invented(types=3, patients=4, rows=3)
    episodes = draw_episodes(types, patients, ways=3, episodes=60_000, seed=1)
    own = np.take_along_axis(episodes.supports, episodes.truth[:, None, None], axis=1)[:, 0, 0]
    counts = np.zeros((12, 12))
    np.add.at(counts, (episodes.patients[episodes.queries], episodes.patients[own]), 1)
    same_type = np.kron(np.eye(3), np.ones((4, 4))) - np.eye(12)
    assert (counts[same_type == 0] == 0).all()
    np.testing.assert_allclose(counts[same_type == 1], 60_000 / 36, rtol=0.12)


def test_a_perfect_embedding_is_always_right_and_noise_is_right_once_in_n() -> None:
    types, patients = invented()
    perfect = np.eye(10)[[int(one[1:]) for one in types]]
    noise = np.random.default_rng(0).normal(size=(len(types), 64))
    for ways in (2, 5, 10):
        episodes = draw_episodes(types, patients, ways=ways, seed=3)
        found = answer_episodes(episodes, perfect, draws=50)
        assert found.accuracy == 1.0
        assert found.patients == (1.0, 1.0)
        assert found.types == (1.0, 1.0)
        chance = answer_episodes(episodes, noise, draws=100)
        assert chance.accuracy == pytest.approx(1 / ways, abs=0.05)
        assert chance.patients[0] < 1 / ways < chance.patients[1]
        # A score that says nothing is right once in N exactly: a draw is shared.
        nothing = answer_episodes(episodes, lambda q, s: np.zeros((len(q), len(s)), np.float32), draws=2)
        assert nothing.accuracy == pytest.approx(1 / ways)


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("shots", [1, 3])
def test_the_same_as_a_plain_loop(pooling: str, shots: int) -> None:
    types, patients = invented(types=6, patients=6)
    vectors = np.random.default_rng(5).normal(size=(len(types), 4)).astype(np.float32)
    episodes = draw_episodes(types, patients, ways=4, shots=shots, episodes=300, seed=4)
    right = []
    for query, ways, truth in zip(episodes.queries, episodes.supports, episodes.truth, strict=True):
        scores = []
        for way in ways:
            cosines = [
                float(vectors[query] @ vectors[one] / np.linalg.norm(vectors[query]) / np.linalg.norm(vectors[one]))
                for one in way
            ]
            scores.append(max(cosines) if pooling == "max" else sum(cosines) / len(cosines))
        right.append(int(np.argmax(scores)) == truth)
    found = answer_episodes(episodes, vectors, pooling=pooling, draws=2)
    assert found.accuracy == pytest.approx(np.mean(right))
    by_type = {
        f"T{t}": np.mean([r for r, q in zip(right, episodes.queries, strict=True) if episodes.types[q] == t])
        for t in set(episodes.types[episodes.queries].tolist())
    }
    assert found.by_type == pytest.approx(by_type)


def test_euclidean_and_cosine_are_what_they_are_called() -> None:
    vectors = np.random.default_rng(6).normal(size=(9, 5))
    a, b = np.array([0, 3]), np.array([1, 2, 8])
    distances = np.square(vectors[a][:, None] - vectors[b][None]).sum(axis=2)
    np.testing.assert_allclose(-euclidean(vectors)(a, b), distances, rtol=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(cosine(vectors)(a, b), unit[a] @ unit[b].T, atol=1e-6)


def test_metastases_are_asked_of_primaries_and_never_of_their_own_patient() -> None:
    types = ["A"] * 6 + ["B"] * 4
    patients = ["1", "2", "3", "1", "2", "9", "4", "5", "6", "4"]
    asked, standing = [3, 4, 5, 9], [0, 1, 2, 6, 7, 8]
    episodes = draw_episodes(types, patients, ways=2, episodes=500, queries=asked, supports=standing, seed=0)
    assert set(episodes.queries.tolist()) == set(asked)
    assert set(episodes.supports.ravel().tolist()) <= set(standing)
    assert (episodes.patients[episodes.supports] != episodes.patients[episodes.queries][:, None, None]).all()
    # Patient 9 has no primary tumour: all of its type stand for it.
    beside = episodes.supports[episodes.queries == 5].ravel()
    assert {0, 1, 2} <= set(beside.tolist())


def test_same_seed_same_episodes() -> None:
    types, patients = invented()
    one, two, other = (draw_episodes(types, patients, ways=5, episodes=100, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(one.supports, two.supports)
    np.testing.assert_array_equal(one.queries, two.queries)
    assert (one.queries != other.queries).any()


def test_too_few_types_or_patients_are_refused() -> None:
    types, patients = invented(types=4, patients=3)
    with pytest.raises(UsageError, match="5-way episodes of 1 need 5 types with more than 1 patients"):
        draw_episodes(types, patients, ways=5)
    with pytest.raises(UsageError, match="there are 0 types"):
        draw_episodes(types, patients, ways=2, shots=3)
    episodes = draw_episodes(types, patients, ways=2, episodes=10)
    with pytest.raises(UsageError, match="one finite number"):
        answer_episodes(episodes, lambda q, s: np.full((len(q), len(s)), np.nan))


def test_an_interval_over_patients_is_wider_than_that_of_independent_episodes() -> None:
    types, patients = invented(patients=8, rows=1)
    vectors = np.random.default_rng(1).normal(size=(len(types), 8)) + 1.2 * np.eye(10, 8)[[int(t[1:]) for t in types]]
    found = answer_episodes(draw_episodes(types, patients, ways=5, seed=1), vectors)
    binomial = 2 * 1.96 * np.sqrt(found.accuracy * (1 - found.accuracy) / found.episodes)
    assert found.patients[0] < found.accuracy < found.patients[1]
    assert found.patients[1] - found.patients[0] > 3 * binomial


def test_twenty_thousand_episodes_take_seconds() -> None:
    types, patients = invented(types=12, patients=60)
    vectors = np.random.default_rng(2).normal(size=(len(types), 768)).astype(np.float32)
    start = time.process_time()
    answer_episodes(draw_episodes(types, patients, ways=10), vectors, draws=200)
    assert time.process_time() - start < 10
