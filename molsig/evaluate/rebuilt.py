"""What a reference on landmark genes tells, beside the one it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molsig.types import silent

if TYPE_CHECKING:
    from molsig.reference import Reference
    from molsig.reference.rebuilding import Rebuilt
    from molsig.types import Progress

FIGURES = ("p@10", "vote@10")


def accuracy(
    before: Reference, after: Reference, label: str, modality: str, *, seed: int = 0, progress: Progress = silent
) -> list[dict[str, Any]]:
    """How well the vectors of a modality tell a label, in both references, on the same folds.

    Returns
    -------
    list of dict
        A row for each way of holding out, whole sites first, and figure: its value in both and the ends of their
        intervals.
    """
    asked = [
        one.evaluate(label, fusion=modality, missing=(0.0,), left_out=0, seed=seed, progress=progress)
        for one in (before, after)
    ]
    rows = []
    for scheme in asked[0].schemes:
        for name in FIGURES:
            row: dict[str, Any] = {"held_out": scheme, "figure": name}
            for which, found in zip(("before", "after"), asked, strict=True):
                part = found.part(scheme, modality)
                if part is not None:
                    figure = part.overall.figures[name]
                    row |= {which: figure.value, f"{which}_low": figure.low, f"{which}_high": figure.high}
            rows.append(row)
    return rows


def costs(found: Rebuilt) -> list[dict[str, object]]:
    """What both references take, a row for each thing, as text."""
    before, after = found.before, found.after

    def megabytes(n: int) -> str:
        return f"{n / 1e6:.1f} MB"

    rows = [
        ("genes the encoder is given", f"{before.genes:,}", f"{after.genes:,}"),
        ("file of measurements (Parquet)", megabytes(before.file_bytes), megabytes(after.file_bytes)),
        ("seconds to read it", f"{before.read:.2f}", f"{after.read:.2f}"),
        ("seconds to encode it", f"{before.encode:.2f}", f"{after.encode:.2f}"),
        ("database (vectors stay 768 long)", megabytes(before.database), megabytes(after.database)),
        ("indexes", megabytes(before.indexes), megabytes(after.indexes)),
        ("encoders", megabytes(before.encoders), megabytes(after.encoders)),
        ("anything else", megabytes(before.other), megabytes(after.other)),
        ("whole reference", megabytes(before.total), megabytes(after.total)),
    ]
    return [{"": name, "before": one, "after": other} for name, one, other in rows]
