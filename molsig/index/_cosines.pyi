from numpy import float32, float64, int16, int32, int64
from numpy.typing import NDArray

VERSION: int

def unit(vectors: NDArray[float32] | NDArray[float64], unit: NDArray[float64], rounded: NDArray[float32], /) -> int: ...
def lengths(vectors: NDArray[float32], lengths: NDArray[float64], /) -> None: ...
def pairs(
    directions: NDArray[float64],
    queries: NDArray[int64],
    vectors: NDArray[float32],
    rows: NDArray[int64],
    lengths: NDArray[float64],
    scores: NDArray[float32],
    /,
) -> None: ...
def cells(query: NDArray[float32], centres: NDArray[int16], cells: NDArray[int64], /) -> None: ...
def best(
    directions: NDArray[float64],
    rounded: NDArray[float32],
    vectors: NDArray[float32],
    lengths: NDArray[float64],
    codes: NDArray[int32],
    rows: NDArray[int64],
    found: NDArray[int64],
    scores: NDArray[float32],
    k: int,
    slack: float,
    /,
) -> None: ...
