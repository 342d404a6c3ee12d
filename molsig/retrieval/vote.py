"""What the neighbours say of a label column."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.numbers import VOTERS
from molsig.types import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.fused import Fused
    from molsig.retrieval.numbers import NumberVote
    from molsig.types import Hit

ERROR = 0.1
"""Error rate of the conformal set of a call."""

LEAST_TOLD = 1e-4
"""Classes less probable than this are not listed."""

UNKNOWN = 0.98
"""A query stranger than this share of the stored patients is called unknown."""


def vote(column: str, hits: Sequence[Hit], labels: Mapping[str, object]) -> Call:
    """Let the hits vote on `column`, each with the weight of its cosine (a negative cosine has no voice).

    A hit that has a probability votes with that instead.

    Parameters
    ----------
    column
        Name of the label column.
    hits
        Neighbours, best first.
    labels
        Label by patient; a patient that is absent or None does not vote.

    Returns
    -------
    Call
        The label with the largest share, ties going to the one whose best voter ranks first. `share` is a part of the
        weighted vote, not a probability. Without a voter the label is None and the call unknown.
    """
    weight: defaultdict[object, float] = defaultdict(float)
    voters = 0
    for hit in hits:
        label = labels.get(hit.patient)
        if label is None:
            continue
        weight[label] += max(hit.score if hit.probability is None else hit.probability, 0.0)
        voters += 1
    total = sum(weight.values())
    if total <= 0:
        return Call(column, None, 0.0, voters, {}, unknown=True)
    # max() keeps the first of equals, and labels were met in the order of their best voter.
    best = max(weight, key=lambda label: weight[label])
    shares = {str(label): w / total for label, w in sorted(weight.items(), key=lambda item: -item[1])}
    return Call(column, best, weight[best] / total, voters, shares)


def evidence_call(call: Call, fused: Fused, model: EvidenceModel, error: float) -> Call:
    """The call of the label whose evidence was learned: probabilities, conformal set, unknown.

    The set holds the best class even where the conformal one is empty.
    """
    assert fused.posterior is not None
    order = np.argsort(-fused.posterior, kind="stable").tolist()
    best = order[0]
    chosen = model.sets(fused.posterior[None], fused.present[:, None], error)[0].tolist()
    chosen[best] = True
    posterior = fused.posterior.tolist()
    unknown = fused.strange is not None and fused.strange > UNKNOWN
    return replace(
        call,
        label=None if unknown else model.classes[best],
        probability=posterior[best],
        classes={model.classes[i]: posterior[i] for i in order if posterior[i] >= LEAST_TOLD},
        set=tuple(model.classes[i] for i in order if chosen[i]),
        unknown=unknown,
        error=error,
        strangeness=fused.strange,
    )


def number_call(column: str, values: Sequence[float], known: NumberVote | None, error: float) -> Call:
    """The mean of the first `VOTERS` values, nearest first, with an interval where errors were learned."""
    chosen = np.array(values[:VOTERS], dtype=np.float64)
    if not len(chosen):
        return Call(column, None, 0.0, 0, {}, unknown=True)
    interval = None if known is None else known.interval(chosen, error)
    return Call(
        column,
        float(chosen.mean()),
        0.0,
        len(chosen),
        {},
        error=None if interval is None else error,
        interval=interval,
    )
