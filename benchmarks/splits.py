"""Patients into parts, by submitting site or at random, and the vote that scores an embedding on them.

Tissue source sites are a batch: a site sends few tumour types, prepares them its own way, and a model that has seen it
scores better on it than on a hospital it has never met. Both splits are reported side by side.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TEST, VALIDATION = 0.20, 0.16
MOST = 0.35
"""No part of a type outside training is larger than this, however large its sites are."""

K = 10


class Label(NamedTuple):
    """Tumour type and submitting site of a patient."""

    cancer_type: str
    site: str


class Score(NamedTuple):
    """Share of right answers over all queries, and its mean over the types."""

    top1: float
    balanced: float


def read_labels(clinical: Path) -> dict[str, Label]:
    """Types and sites by patient. The site code NA is a hospital, not a missing value."""
    with clinical.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["patient"]: Label(row["cancer_type"], row["site"]) for row in rows}


def split_by_site(labels: Mapping[str, Label], seed: int) -> dict[str, str]:
    """Give each patient ``train``, ``validation`` or ``test``; whole sites, type by type.

    Sites of a type are drawn in random order into test until that holds 20 % of the type's patients, then into
    validation until that holds 16 %. The last site of a type always stays in training, so that every type asked for
    could be answered.

    Raises
    ------
    ValueError
        A site sent more than one type: its parts could then differ by type.
    """
    if len(set(labels.values())) != len({one.site for one in labels.values()}):
        raise ValueError("a site has more than one tumour type")
    rng = np.random.default_rng(seed)
    sites: dict[str, Counter[str]] = defaultdict(Counter)
    for one in labels.values():
        sites[one.cancer_type][one.site] += 1
    part_of: dict[Label, str] = {}
    for cancer_type, sizes in sorted(sites.items()):
        total, left = sum(sizes.values()), len(sizes)
        filled = {"test": 0, "validation": 0}
        for site in rng.permutation(sorted(sizes)):
            part_of[Label(cancer_type, str(site))] = "train"
            for part, share in (("test", TEST), ("validation", VALIDATION)):
                if left > 1 and filled[part] < share * total and filled[part] + sizes[site] <= MOST * total:
                    part_of[Label(cancer_type, str(site))] = part
                    filled[part] += sizes[site]
                    left -= 1
                    break
    return {patient: part_of[label] for patient, label in labels.items()}


def split_at_random(labels: Mapping[str, Label], seed: int) -> dict[str, str]:
    """The same shares with patients drawn regardless of their site."""
    names = sorted(labels)
    order = np.random.default_rng(seed).permutation(len(names))
    test, validation = round(TEST * len(names)), round((TEST + VALIDATION) * len(names))
    part = np.full(len(names), "train", dtype=object)
    part[order[:test]] = "test"
    part[order[test:validation]] = "validation"
    return dict(zip(names, part.tolist(), strict=True))


def vote(queries: NDArray[np.float32], gallery: NDArray[np.float32], types: Sequence[str], k: int = K) -> list[str]:
    """Commonest type among the k nearest by cosine; equal counts go to the type with the greater summed cosine."""
    names = sorted(set(types))
    number = {name: i for i, name in enumerate(names)}
    code = np.array([number[one] for one in types])
    cosine = _unit(queries) @ _unit(gallery).T
    nearest = np.argpartition(-cosine, k, axis=1)[:, :k]
    rows = np.arange(len(queries))
    ballots = np.zeros((len(queries), len(names)))
    for column in nearest.T:
        # A cosine never outweighs a vote: k of them at a thousandth each stay below one.
        np.add.at(ballots, (rows, code[column]), 1 + 1e-3 * cosine[rows, column])
    return [names[i] for i in ballots.argmax(axis=1)]


def score(answers: Sequence[str], truth: Sequence[str]) -> Score:
    """Top-1 and balanced accuracy."""
    right = np.array([a == b for a, b in zip(answers, truth, strict=True)])
    types = np.array(truth)
    return Score(float(right.mean()), float(np.mean([right[types == one].mean() for one in sorted(set(truth))])))


def cell(scores: Sequence[Score]) -> str:
    """Mean over the seeds, and in brackets the largest minus the smallest, of both figures."""
    values = np.array(scores)
    mean, spread = values.mean(axis=0), np.ptp(values, axis=0)
    return f"{mean[0]:.3f} ({spread[0]:.3f}) / {mean[1]:.3f} ({spread[1]:.3f})"


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
