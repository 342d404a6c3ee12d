"""Single queries that are asked alike, one after the other: the way of one is kept for the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.errors import DamagedError
from molsig.index.approximate import reach, search_one
from molsig.index.exact import HeldRows
from molsig.index.search_result import SearchResult
from molsig.index.vectors import StaleViewError

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from molsig.index.approximate import Placed
    from molsig.index.device_rows import DeviceRows
    from molsig.index.hits import Ranked
    from molsig.index.view import SpaceView


def question(
    space: str,
    k: int,
    patients: Collection[str] | None,
    kinds: tuple[str, ...] | None,
    method: str,
    *,
    rough: bool = False,
) -> tuple[object, ...]:
    """What makes one single query like another: the arguments of `Searcher.search`."""
    return space, k, id(patients), kinds, method, rough


@dataclass
class HeldSpace:
    """A space as it was read: of which state of the files, and what is wrong with its index."""

    stamp: object
    view: SpaceView
    problem: str | None
    placed: Placed | None = None
    on_device: DeviceRows | None = None


@dataclass(frozen=True, eq=False)
class Single:
    """The way that a query took, for single ones asked alike while the reference stands still.

    Attributes
    ----------
    space, stamp, held
        Of which state of the reference.
    patients
        Those allowed, the very object that was given, None for all.
    way
        Through what is known of a structure, or among rows that are held.
    k, rough
        As asked.
    method, reason, recall, rows
        As a `SearchResult` tells them.
    beside
        What the one who asks keeps of that state.
    """

    space: str
    stamp: object
    held: HeldSpace
    patients: Collection[str] | None
    way: Placed | HeldRows
    k: int
    rough: bool
    method: str
    reason: str
    recall: float
    rows: int
    beside: object = None

    def serves(self, now: object) -> bool:
        """Whether the reference is still as it was, and sound as far as is known."""
        if now is None or self.stamp != now or self.held.view.vectors.damage:
            return False
        return isinstance(self.way, HeldRows) or not self.held.problem

    @property
    def candidates(self) -> int:
        """How many rows each query looks at."""
        return self.rows if isinstance(self.way, HeldRows) else reach(self.way, self.k, rough=self.rough)[1]

    def ranked(self, query: NDArray[np.float32]) -> Ranked | None:
        """The hits of one query (1, 768); None where too few are found this way, or a row is damaged."""
        way = self.way
        try:
            if isinstance(way, HeldRows):
                return way.search(query, self.k)
            return search_one(way, query, self.k, rough=self.rough)
        except (DamagedError, StaleViewError):
            return None  # met again, and told of, by the search that follows

    def result(self, query: NDArray[np.float32]) -> SearchResult | None:
        """As `ranked`, with how it was found."""
        ranked = self.ranked(query)
        if ranked is None:
            return None
        return SearchResult(
            ranked=ranked,
            method=self.method,
            reason=self.reason,
            recall=self.recall,
            rows=self.rows,
            candidates=self.candidates,
            snapshot=self.held.view.standing.snapshot,
        )
