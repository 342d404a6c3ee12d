"""How many pairs a saliency needs: ``python -m benchmarks.marker_pairs --data DIR [--few 300] [--many 3000]``.

Features of one encoder are ranked by the saliency of a few matched pairs of each training type, of as many others, and
of many. Prints, for the whitening and for the Siamese network, how much the rankings share and what one-shot typing of
unseen types reaches with the first hundred of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.markers import MOST, PAIRS, questions, refitted
from benchmarks.one_shot import fitted
from benchmarks.one_shot_cohorts import COHORTS, at_most
from molsig.evaluate.episodes import EPISODES, answer_episodes, cosine
from molsig.retrieval.markers import MOST_PAIRS, rank_markers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.one_shot_cohorts import OneShotCohort


def by_pairs(cohort: OneShotCohort, few: int, many: int) -> Iterator[dict[str, Any]]:
    """How alike the rankings are by a few pairs, by as many others, and by many; and what the first of each reach."""
    labels = [one if one in cohort.training else None for one in cohort.types.tolist()]
    unseen, some = (at_most(cohort.rows(of), cohort.types) for of in (cohort.unseen, cohort.training))
    ways = max(cohort.ways)
    asked = questions(cohort, unseen, (ways,), EPISODES, 1)[ways]
    for network in ("whitened", "siamese"):
        encoder = fitted(cohort, network, 0)
        x = encoder.network_inputs(cohort.matrix, unseen)
        columns = np.array([cohort.matrix.features.index(name) for name in encoder.features])
        found = {
            name: rank_markers(encoder, cohort.matrix, labels, pairs=pairs, seed=seed)
            for name, pairs, seed in ((f"{few}", few, 0), (f"{few} others", few, 1), (f"{many}", many, 0))
        }
        last = found[f"{many}"]
        for name, one in found.items():
            first = one.ranking()[:MOST]
            _, theirs = refitted(cohort, np.sort(columns[first]), some, unseen)
            yield {
                "network": network,
                "pairs": name,
                "of a type": f"{min(one.pairs):,} to {max(one.pairs):,}",
                "shared": len(set(first) & set(last.ranking()[:MOST])),
                "spearman": float(spearmanr(one.overall, last.overall).statistic),
                "cosine": answer_episodes(asked, cosine(x[:, first]), draws=1).accuracy,
                "refitted": answer_episodes(asked, cosine(theirs), draws=1).accuracy,
            }


def main() -> None:
    """Parse the arguments, measure, print a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="mirna-rare")
    parser.add_argument("--few", type=int, default=PAIRS)
    parser.add_argument("--many", type=int, default=MOST_PAIRS)
    options = parser.parse_args()
    cohort = COHORTS[options.cohort](options.data)
    head = f"first {MOST} shared with {options.many}", "rank correlation with it", "1-NN cosine", "whitening refitted"
    print(f"| saliency of | pairs of a type | {' | '.join(head)} |")
    print("|---|---|" + "---:|" * len(head))
    for one in by_pairs(cohort, options.few, options.many):
        figures = f"{one['spearman']:.3f} | {one['cosine']:.3f} | {one['refitted']:.3f}"
        print(f"| {one['network']}, {one['pairs']} | {one['of a type']} | {one['shared']} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
