from numpy import float32, int8, int16, int32, int64, uint8
from numpy.typing import NDArray

VERSION: int

def propose(
    queries: NDArray[float32],
    basis: NDArray[int16],
    centres: NDArray[float32],
    biases: NDArray[float32],
    starts: NDArray[int64],
    codes: NDArray[int8],
    rows: NDArray[int32],
    kept: NDArray[uint8] | None,
    opened: NDArray[uint8] | None,
    found: NDArray[int64],
    effort: int,
    /,
) -> None: ...
def use(level: int, /) -> int: ...
