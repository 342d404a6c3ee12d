"""A query, and where it is asked: the fusion that suits it, the space and the kinds of samples it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from molsig.errors import NotFoundError, UsageError
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.retrieval.learned import Learned

FUSIONS = ("auto", "evidence", "weighted", "sum", "single")
TUMOUR_KINDS = ("tumour", "metastasis", "recurrence", "other")
"""Sample kinds that the default search looks at for a query that is not normal tissue."""


@dataclass(frozen=True)
class Query:
    """One question: the vectors of a patient or sample, per modality, each in its space.

    Attributes
    ----------
    name
        What the answer is headed with.
    vectors
        By modality: float32 of shape (n, 768).
    spaces
        By modality: the space those vectors belong to.
    normal
        Whether the specimen is normal tissue.
    exclude
        Stored patients that may not be found.
    stored
        Whether it is a stored patient's own vectors.
    notes
        Said again in the answer.
    """

    name: str
    vectors: Mapping[str, NDArray[np.float32]]
    spaces: Mapping[str, str]
    normal: bool = False
    exclude: tuple[str, ...] = ()
    stored: bool = False
    notes: tuple[str, ...] = field(default=())


def selected(store: Store, where: str | None) -> Sequence[str] | None:
    """Patients that meet a condition; None for all. Raise `NotFoundError` where it leaves nobody."""
    if where is None:
        return None
    allowed = store.select_patients(where)
    if not allowed:
        raise NotFoundError(f"no stored patient meets --where {where!r}")
    return allowed


def check_summable(store: Store, queries: Sequence[Query]) -> None:
    """Raise `UsageError` for vectors of a space that the stored sums have no part in: their cosine means nothing."""
    active = {info.space for info in store.spaces() if info.active}
    for query in queries:
        for modality, space in query.spaces.items():
            if space not in active:
                raise UsageError(
                    f"{query.name}: its {modality} vectors are of the space {space}, which is not in the stored sums "
                    f"(they hold {', '.join(sorted(active))})"
                )


def fusion_of(query: Query, fusion: str, kind: str, learned: Learned | None) -> str:
    """The fusion that answers a query."""
    shared = [] if learned is None else [m for m, space in query.spaces.items() if learned.spaces.get(m) == space]
    telling = [
        m for m in shared if learned is not None and learned.evidence is not None and m in learned.evidence.heads
    ]
    if fusion in ("evidence", "weighted"):
        if learned is None or (fusion == "evidence" and learned.evidence is None):
            raise UsageError(f"--fusion {fusion}: nothing has been learned yet; run: molsig learn REF --label COLUMN")
        if not (telling if fusion == "evidence" else shared):
            raise UsageError(f"--fusion {fusion}: {query.name} has no modality that it was learned on")
        if query.normal or kind in ("any", "normal"):
            raise UsageError(f"--fusion {fusion} compares tumours: use --fusion single and --modality")
        return fusion
    if fusion != "auto":
        return fusion
    if learned is not None and shared and not query.normal and kind not in ("any", "normal"):
        if telling:
            return "evidence"
        if len(shared) > 1:
            return "weighted"
    return "single" if len(query.vectors) == 1 else "sum"


def space_of(query: Query, chosen: str, kind: str) -> str:
    """The space a query is searched in; none in particular where several are."""
    if chosen in ("evidence", "weighted"):
        return ""
    if chosen == "sum":
        if query.normal:
            raise UsageError(
                f"{query.name} is normal tissue and summed aggregates hold tumours: leave out --fusion sum and choose "
                f"one of its modalities with --modality ({', '.join(query.vectors)})"
            )
        if kind not in ("auto", "any"):
            raise UsageError(
                f"--kind {kind}: summed aggregates hold all kinds of tumour samples together; choose one modality with "
                f"--modality ({', '.join(query.vectors)})"
            )
        return SUM_SPACE
    if len(query.vectors) > 1:
        raise UsageError(
            f"{query.name} has {', '.join(query.vectors)}: --fusion single needs one of them, named with --modality"
        )
    return next(iter(query.spaces.values()))


def kinds_of(query: Query, kind: str) -> tuple[str, ...] | None:
    if kind == "any":
        return None
    if kind == "auto":
        return ("normal",) if query.normal else TUMOUR_KINDS
    return (kind,)


def check_kind(kind: str) -> None:
    """Raise `UsageError` unless `kind` says which samples to search."""
    if kind not in ("auto", "any", "normal", *TUMOUR_KINDS):
        raise UsageError(f"--kind {kind}: choose auto, any, normal, {', '.join(TUMOUR_KINDS)}")
