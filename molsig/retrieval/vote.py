"""What the neighbours say of a label column."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from molsig.types import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molsig.types import Hit


def vote(column: str, hits: Sequence[Hit], labels: Mapping[str, object]) -> Call:
    """Let the hits vote on `column`, each with the weight of its cosine (a negative cosine has no voice).

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
        weight[label] += max(hit.score, 0.0)
        voters += 1
    total = sum(weight.values())
    if total <= 0:
        return Call(column, None, 0.0, voters, {}, unknown=True)
    # max() keeps the first of equals, and labels were met in the order of their best voter.
    best = max(weight, key=lambda label: weight[label])
    shares = {str(label): w / total for label, w in sorted(weight.items(), key=lambda item: -item[1])}
    return Call(column, best, weight[best] / total, voters, shares)
