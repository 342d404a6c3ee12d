"""The plain method does what every method promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from molsig.errors import UsageError
from molsig.retrieval.method import Fitted, Method, Selective
from molsig.retrieval.plain import ABSENT, VOTERS, FittedPlain, Plain

from ..patients import Cohort, cohort


def split(whole: Cohort, at: int) -> tuple[Cohort, Cohort]:
    first, rest = np.arange(at), np.arange(at, len(whole.vectors))
    return tuple(Cohort(whole.vectors.take(r), whole.labels[r], whole.groups[r]) for r in (first, rest))  # type: ignore[return-value]


def fit(method: Method, stored: Cohort) -> Fitted:
    return method.fit(stored.vectors, stored.labels, stored.groups)


def test_neighbours_are_those_of_scikit_learn() -> None:
    stored, asked = split(cohort(), 240)
    rows, scores = fit(Plain(), stored).nearest(asked.vectors, 15)
    golden = NearestNeighbors(n_neighbors=15, metric="cosine").fit(stored.vectors.sums())
    distance, expected = golden.kneighbors(asked.vectors.sums())
    assert np.array_equal(rows, expected)
    assert np.allclose(1 - scores, distance, atol=1e-5)


def test_one_modality_ranks_those_who_lack_it_last_and_answers_only_who_has_it() -> None:
    stored, asked = split(cohort(), 240)
    fitted = fit(Plain("rna"), stored)
    assert isinstance(fitted, Selective)
    assert np.array_equal(fitted.answers(asked.vectors), asked.vectors.present["rna"])
    rows, scores = fitted.nearest(asked.vectors, 1000)
    assert rows.shape == (60, 240)
    assert (np.sort(rows, axis=1) == np.arange(240)).all()
    held = stored.vectors.present["rna"]
    assert held[rows[:, : held.sum()]].all()
    assert (scores[:, held.sum() :] == ABSENT).all()


def test_probabilities_are_smoothed_shares_of_the_neighbours() -> None:
    stored, asked = split(cohort(), 240)
    fitted = fit(Plain(), stored)
    found = fitted.probabilities(asked.vectors)
    assert found.shape == (60, 4)
    assert np.allclose(found.sum(axis=1), 1)
    rows, _ = fitted.nearest(asked.vectors, VOTERS)
    shares = np.stack([(stored.labels[rows] == one).mean(axis=1) for one in fitted.classes], axis=1)
    prior = np.array([(stored.labels == one).mean() for one in fitted.classes])
    assert np.allclose(found, (VOTERS * shares + 2 * prior) / (VOTERS + 2))


def test_unlabelled_patients_are_found_but_do_not_vote() -> None:
    stored, asked = split(cohort(), 240)
    labels = stored.labels.copy()
    labels[::3] = ""
    fitted = Plain().fit(stored.vectors, labels, stored.groups)
    assert "" not in fitted.classes
    rows, _ = fitted.nearest(asked.vectors, 20)
    assert (labels[rows] == "").any()
    assert np.allclose(fitted.probabilities(asked.vectors).sum(axis=1), 1)


@pytest.mark.parametrize("error", [0.2, 0.1, 0.05])
def test_sets_miss_no_more_than_they_say(error: float) -> None:
    missed = []
    for seed in range(6):
        stored, asked = split(cohort(1500, noise=1.6, site_shift=0.0, seed=seed), 1000)
        fitted = fit(Plain(), stored)
        chosen = fitted.sets(asked.vectors, fitted.probabilities(asked.vectors), error)
        missed.append(1 - chosen[np.arange(500), np.searchsorted(fitted.classes, asked.labels)].mean())
        assert chosen.mean() < 1
    assert np.mean(missed) <= error + 0.01


def test_sets_grow_as_the_error_shrinks() -> None:
    stored, asked = split(cohort(noise=2.0), 240)
    fitted = fit(Plain(), stored)
    p = fitted.probabilities(asked.vectors)
    assert (fitted.sets(asked.vectors, p, 0.2) <= fitted.sets(asked.vectors, p, 0.05)).all()
    assert fitted.sets(asked.vectors, p, 1e-9).all()


def test_strangers_are_stranger() -> None:
    whole = cohort(400, labels=5)
    known = whole.labels != "T4"
    stored = np.flatnonzero(known)[:250]
    fitted = Plain().fit(whole.vectors.take(stored), whole.labels[stored], whole.groups[stored])
    strange = fitted.strangeness(whole.vectors.take(np.flatnonzero(~known)))
    familiar = fitted.strangeness(whole.vectors.take(np.flatnonzero(known)[250:]))
    assert np.median(strange) > np.quantile(familiar, 0.75)


def test_calibration_looks_at_other_sites_only() -> None:
    # Each site is a tight cluster of its own with one label of two at random: within the site a vote is always right,
    # across sites it is chance. Sets calibrated within sites would hold one label; those across sites need both.
    whole = cohort(600, labels=2, sites=60, noise=0.05, site_shift=3.0, held=1.0)
    label_of = np.random.default_rng(0).permutation(60) % 2
    site = np.array([int(one[1:]) for one in whole.groups])
    labels = label_of[site].astype(str)
    far = Plain().fit(whole.vectors, labels, whole.groups)
    near = Plain().fit(whole.vectors, labels, np.full(600, ""))
    assert isinstance(far, FittedPlain)
    assert isinstance(near, FittedPlain)
    assert np.quantile(near.misfits, 0.8) < 0.5 < np.quantile(far.misfits, 0.8)


def test_a_gallery_without_labels_is_refused() -> None:
    whole = cohort(20)
    with pytest.raises(UsageError, match="sum"):
        Plain().fit(whole.vectors, np.full(20, ""), whole.groups)
    with pytest.raises(UsageError, match="tile"):
        Plain("tile").fit(whole.vectors, whole.labels, whole.groups)
