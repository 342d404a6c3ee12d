"""Gene sets that a list of genes has more of than by chance: hypergeometric test, false discovery rate.

    p = P(X >= k),  X ~ Hypergeometric(N, K, n)
        N genes could have been chosen (the background), K of them are in the set, n in the list, k in both

The tests are SciPy's `hypergeom` and `false_discovery_control` (Benjamini and Hochberg 1995). gseapy 1.3 calls the same
`hypergeom.sf` for the same numbers, and would bring requests and its plotting along, which a program that opens no
connection has no use for. Other than there, sets without a hit are tested too: the false discovery rate is over all
sets that were asked about. The landmark-gene study tested GO terms in this way with clusterProfiler, whose limits of
set size are the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from molsig.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LEAST, MOST = 10, 500
"""Genes of the background that a set must and may have."""


@dataclass(frozen=True, slots=True)
class EnrichedSet:
    """What was found of one set.

    Attributes
    ----------
    size
        Genes of the set in the background.
    hits
        Those of them in the list, in its order.
    expected
        Hits that chance gives.
    p, q
        Of so many hits or more by chance; false discovery rate over all tested sets.
    """

    name: str
    size: int
    hits: tuple[str, ...]
    expected: float
    p: float
    q: float

    @property
    def fold(self) -> float:
        """Hits over expected hits."""
        return len(self.hits) / self.expected


@dataclass(frozen=True, slots=True)
class Enrichment:
    """All tested sets, the least likely by chance first.

    Attributes
    ----------
    genes
        Of the list, in the background.
    outside
        Of the list, not in the background: they count nowhere.
    too_small, too_large
        Sets left out for their size.
    """

    sets: tuple[EnrichedSet, ...]
    genes: int
    outside: tuple[str, ...]
    background: int
    too_small: int
    too_large: int

    def significant(self, q: float = 0.05) -> int:
        """How many sets are below a false discovery rate."""
        return sum(one.q < q for one in self.sets)


def enriched(
    genes: Sequence[str],
    sets: Mapping[str, Collection[str]],
    background: Collection[str] | None = None,
    *,
    least: int = LEAST,
    most: int = MOST,
) -> Enrichment:
    """Test every set for having more of the genes than by chance.

    Parameters
    ----------
    genes
        The list, each gene once.
    sets
        Genes of each set by its name.
    background
        Genes that could have been in the list. By default all genes of the sets, which is right only if any of these
        could have been chosen: a list out of a panel of expressed genes looks enriched in whatever is expressed.
    least, most
        Sets with fewer or more genes of the background are left out.

    Raises
    ------
    UsageError
        Limits that no set can meet.
    InputError
        No gene of the list, or of the sets, is in the background; no set is of such a size.
    """
    if not 1 <= least <= most:
        raise UsageError(f"sets of {least} to {most} genes: the first must be at least 1 and not above the second")
    known = set().union(*sets.values())
    pool = known if background is None else set(background)
    inside = [one for one in genes if one in pool]
    if not inside:
        where = "the gene sets" if background is None else "the background"
        raise _nothing_common(f"none of the {len(genes):,} genes is in {where}", genes, pool)
    if not pool & known:
        raise _nothing_common("no gene of the sets is in the background", sorted(known), pool)
    of = {name: pool.intersection(members) for name, members in sets.items()}
    tested = {name: members for name, members in of.items() if least <= len(members) <= most}
    if not tested:
        raise InputError(
            f"none of the {len(sets):,} sets has {least} to {most} genes in the background of {len(pool):,}",
            hint="`molsig enrich` allows other sizes with --min-size and --max-size",
        )
    hits = {name: tuple(one for one in inside if one in members) for name, members in tested.items()}
    sizes = np.array([len(one) for one in tested.values()])
    found = np.array([len(one) for one in hits.values()])
    p = stats.hypergeom.sf(found - 1, len(pool), sizes, len(inside))
    q = stats.false_discovery_control(np.clip(p, 0.0, 1.0))
    rows = [
        EnrichedSet(name, int(size), hits[name], len(inside) * int(size) / len(pool), float(one), float(rate))
        for name, size, one, rate in zip(tested, sizes, p, q, strict=True)
    ]
    rows.sort(key=lambda one: (one.p, one.name))
    return Enrichment(
        sets=tuple(rows),
        genes=len(inside),
        outside=tuple(one for one in genes if one not in pool),
        background=len(pool),
        too_small=sum(len(one) < least for one in of.values()),
        too_large=sum(len(one) > most for one in of.values()),
    )


def _nothing_common(problem: str, some: Sequence[str], pool: Collection[str]) -> InputError:
    return InputError(
        f"{problem}: {some[0]} beside {min(pool)}, for instance",
        hint="If one side has Ensembl or Entrez ids, give a table of genes with --genes",
    )
