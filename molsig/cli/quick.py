"""Keep a short command short."""

from __future__ import annotations

import sys


class _NoPandas:
    """Says that there is no pandas."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is kept out of short commands", name="pandas")


def keep_pandas_out() -> None:
    """Let pyarrow believe that this process has no pandas.

    pyarrow imports pandas, if it is installed, the first time it builds an array, only to ask whether its input is a
    data frame. That is a third of the time of a query by a stored patient. pyarrow asks once and remembers the answer;
    pandas itself stays importable. Only for verbs that make no data frame.
    """
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
    blocker = _NoPandas()
    sys.meta_path.insert(0, blocker)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(blocker)
