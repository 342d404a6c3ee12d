"""What an index structure can do, whichever it is: take vectors in, propose rows near a query, become bytes and back.

A structure holds unit vectors in a shortened form and proposes rows by it; their final scores come from the float32
vectors. Which ones a space may get is told by `methods_for`; each is tuned by two numbers, `depth` (rows proposed for
ten neighbours) and `effort` (what it means, and its ladder, is the structure's own).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from molsig.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

K = 10
"""Recall is measured, and `depth` given, at this many neighbours."""

ALWAYS_FLAT, NEVER_FLAT = 4_000, 50_000
"""Where leading directions do not tell enough, spaces up to the one length get the flat structure of RaBitQ codes too,
above the other its cells. Between them both are built, which takes seconds. Of what was built the one that has less to
do for a query of that space is kept."""

ALONE = 4
"""With fewer queries than this one thread searches."""

METHODS = ("auto", "pca-sq8", "rabitq", "ivf-rabitq", "hnsw")

HELD = 8
"""Rows that the cells opened hold at least, for each that is wanted of them."""


@dataclass(frozen=True, eq=False)
class CellsWith:
    """Cells that hold any of some rows.

    Attributes
    ----------
    bits
        One for each cell, lowest first, uint8.
    uneven
        How unlike the cells are in the share of their rows that are meant: its standard deviation over rows, beyond
        what chance gives, as a multiple of the mean share that is meant or is not, whichever is less. About 0 for rows
        drawn by chance, 1.7 for all rows of a quarter of the cells, and for all but those. 1 where there is but one
        cell, which cannot tell.
    lanes
        Where rows lie in blocks of 16: a bit of each block for each of its rows that is meant, uint16 (blocks,).
    """

    bits: NDArray[np.uint8]
    uneven: float
    lanes: NDArray[np.uint16] | None = None

    @classmethod
    def of(cls, cell_of: NDArray[np.int32], meant: NDArray[np.bool_], cells: int) -> CellsWith:
        """Of the cell of each row, int32 (rows,), which rows are meant, bool (rows,), and how many cells there are."""
        held, sizes = (np.bincount(some, minlength=cells) for some in (cell_of[meant], cell_of))
        if cells == 1:
            return cls(np.packbits(held > 0, bitorder="little"), 1.0)
        rows = len(cell_of)
        mean = float(held.sum()) / rows
        some = sizes > 0
        shares = held[some] / sizes[some]
        beyond = float(((shares - mean) ** 2 * sizes[some]).sum() - mean * (1 - mean) * some.sum()) / rows
        rarer = min(mean, 1 - mean)
        uneven = math.sqrt(max(0.0, beyond)) / rarer if rarer > 0 else 0.0
        return cls(np.packbits(held > 0, bitorder="little"), uneven)


class Structure(Protocol):
    """One index over rows that are numbered from 0."""

    @property
    def method(self) -> str:
        """Its name, as in manifests."""
        ...

    @property
    def at_a_time(self) -> int:
        """How many queries are searched before what they propose is scored."""
        ...

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        ...

    @property
    def holds_out(self) -> bool:
        """Whether a row is left out while the search for it is measured: one that is in is found too well."""
        ...

    @property
    def suits(self) -> bool:
        """Whether it can tell vectors like those that it learned from apart."""
        ...

    @property
    def settles(self) -> bool:
        """Whether no other structure is expected to have less to do where this one finds enough."""
        ...

    @property
    def selects(self) -> bool:
        """Whether it looks after a filter by itself."""
        ...

    def efforts(self) -> Sequence[int]:
        """Return the efforts worth trying, least first."""
        ...

    def depths(self) -> Sequence[int]:
        """Return the depths worth trying, least first."""
        ...

    def parameters(self) -> dict[str, int]:
        """Return what it was built with."""
        ...

    def sample(self, rows: int) -> int:
        """Return how many vectors it wants to be trained on before `rows` are added; 0 for none."""
        ...

    def train(self, vectors: NDArray[np.float32], seed: int) -> None:
        """Learn from a sample of unit vectors."""
        ...

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Take in unit vectors, float32 (n, 768), as rows of these numbers."""
        ...

    def cells_with(self, rows: NDArray[np.bool_]) -> CellsWith | None:
        """Return which cells hold any of these rows; None where are no cells.

        Parameters
        ----------
        rows
            Which of all rows are meant, bool (rows,).
        """
        ...

    def search(
        self,
        queries: NDArray[np.float32],
        depth: int,
        effort: int,
        kept: NDArray[np.uint8] | None = None,
        cells: CellsWith | None = None,
    ) -> NDArray[np.int64]:
        """Return the numbers of about the `depth` nearest rows of each unit query, in any order, -1 for none last.

        Int64 (q, depth), or as many columns as there are rows where these are fewer.

        Parameters
        ----------
        kept
            One bit for each row, lowest first, of those that may be proposed. Structures that cannot select ignore it.
        cells
            With `kept`, what `cells_with` says of these rows, or of more: no other cells are opened; all by default.
        """
        ...

    def effort_for(self, effort: int, share: float, depth: int) -> int:
        """Return the effort that a search needs which goes `share` times as deep as the tuned one, to `depth`."""
        ...

    def cost(self, depth: int, effort: int) -> float:
        """Return what one query takes, in units of one code compared; only structures of codes can be compared so."""
        ...

    def serialised(self) -> NDArray[np.uint8]:
        """Return it as bytes, uint8 (n,)."""
        ...


def methods_for(method: str, rows: int) -> tuple[str, ...]:
    """Return the structures a space of `rows` rows may get, where `method` is ``auto`` or what was asked for."""
    if method != "auto":
        return (method,)
    flat, cells = ("rabitq",) if rows <= NEVER_FLAT else (), ("ivf-rabitq",) if rows > ALWAYS_FLAT else ()
    return ("pca-sq8", *flat, *cells)


def methods_to_build(method: str, rows: int) -> tuple[str, ...]:
    """Return those of `methods_for` that are worth building here: without compiled parts one of them is slow."""
    from molsig.index.pca_sq8 import compiled

    some = methods_for(method, rows)
    return some if len(some) == 1 or compiled() else tuple(one for one in some if one != "pca-sq8")


def numbers_of_cells(cells: int) -> list[int]:
    """Return how many of so many cells are worth opening: from one to all of them, by about a third."""
    ladder = {1, 2, 3, *(round(2 ** (step / 2.5)) for step in range(3, 40))}
    return [*sorted(some for some in ladder if some < cells), cells]


def more_cells(cells: int, rows: int, effort: int, share: float, depth: int) -> int:
    """Return how many cells to open for a search `share` times as deep as one that opens `effort`, to `depth`.

    As many times the cells, and no fewer than hold `HELD` times the rows that are wanted, up to all of them.
    """
    least = HELD * depth * cells / max(rows, 1)
    return math.ceil(min(cells, max(effort * max(1.0, share), least)))


def empty(method: str, rows: int) -> Structure:
    """Return a structure without rows, made for about `rows` of them.

    Raises
    ------
    MissingExtraError
        faiss is not installed.
    """
    return _kind(method).empty(rows)  # type: ignore[no-any-return]


def from_bytes(method: str, data: NDArray[np.uint8]) -> Structure:
    """Return a structure as it was serialised; `MissingExtraError` where faiss is not installed."""
    return _kind(method).from_bytes(data)  # type: ignore[no-any-return]


def _kind(method: str) -> Any:
    if method == "hnsw":
        from molsig.index.hnsw import Hnsw

        return Hnsw
    if method == "pca-sq8":
        from molsig.index.pca_sq8 import PcaSq8

        return PcaSq8
    if method == "rabitq":
        from molsig.index.rabitq import FlatRabitq

        return FlatRabitq
    if method == "ivf-rabitq":
        from molsig.index.rabitq import IvfRabitq

        return IvfRabitq
    raise ValueError(f"no structure {method!r}")


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the rows of (n, 768) to length 1; a row of zeros stays."""
    norms: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    norms[norms == 0] = 1
    return vectors / norms[:, None]


def faiss() -> Any:
    """Return the module; `MissingExtraError` where it is not installed."""
    try:
        import faiss as module
    except ModuleNotFoundError as error:
        raise MissingExtraError("A search index", "cpu") from error
    return module


class threads_for:  # noqa: N801 (a context manager that is used like a function; a generator costs several times as much)
    """Let faiss search on one thread while there are few queries: waking others, and waiting for them, takes longer."""

    def __init__(self, queries: int) -> None:
        self._queries = queries
        self._before = 0

    def __enter__(self) -> None:
        if self._queries < ALONE:
            module = faiss()
            self._before = module.omp_get_max_threads()
            module.omp_set_num_threads(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            faiss().omp_set_num_threads(self._before)


def inner_products(
    queries: NDArray[np.float32], matrix: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return <queries[i], matrix[rows[i, j]]>, float32 (q, m): in faiss, on all its threads, without a copy of rows."""
    module = faiss()
    queries = np.ascontiguousarray(queries)
    out = np.empty(rows.shape, np.float32)
    pointers: Sequence[Any] = [module.swig_ptr(array) for array in (out, queries, matrix, np.ascontiguousarray(rows))]
    products: Callable[..., None] = module.fvec_inner_products_by_idx
    products(*pointers, matrix.shape[1], len(queries), rows.shape[1])
    return out
