"""Type new samples, or stored patients, by the examples of a support set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from molsig.errors import UsageError
from molsig.reference.encoding import load_encoders
from molsig.reference.learning import GROUPS, LABEL, learned_for
from molsig.reference.measured import check_label
from molsig.retrieval.one_shot import Asked
from molsig.retrieval.pair_scores import PairScorer
from molsig.retrieval.taught import taught_encoders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from molsig.index.store import Store
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.reference.typing_support import Support
    from molsig.retrieval.one_shot import Typist
    from molsig.retrieval.route import Query
    from molsig.retrieval.shelf import Shelf
    from molsig.retrieval.support import SupportSet
    from molsig.retrieval.taught import Taught
    from molsig.retrieval.type_answer import Typing


_NAMED = 6
"""Types that a note lists."""
_HEADS = ("metric", "pair_head")
"""Words of a card's architecture that promise a pair head: others need not be loaded to find out."""


def type_queries(
    store: Store,
    typist: Typist,
    shelf: Shelf,
    encoders: EncoderShelf,
    queries: Sequence[Query],
    given: Support,
    support: SupportSet,
    *,
    label: str | None,
    fusion: str,
    kind: str,
    shots: int | None,
    error: float,
    seed: int,
    device: str,
) -> list[Typing]:
    """Type each query against a support set.

    The labelled column that calibrates is the one named, else the one the support set is made of, else the one that
    evidence was learned of, else ``cancer_type``, if there are such.

    Raises
    ------
    UsageError
        There is no such column, or no such fusion.
    """
    if shots is not None and shots < 1:
        raise UsageError(f"--shots {shots}: at least 1 sample of each type is needed")
    columns = store.columns()
    if label is not None:
        check_label(store, label)
    own = given if isinstance(given, str) and given in columns else None
    learned, notes = learned_for(store, shelf, [one for one in (label, own) if one], fusion)
    if label is None:
        label = own or _first((None if learned is None else learned.label, LABEL), columns)
    groups = _first((None if learned is None else learned.groups, GROUPS), columns)
    asked = Asked(learned, label, groups, fusion, kind, shots, error, seed)
    found = typist.type(queries, support, asked, scorers(store, encoders, device))
    taught = taught_encoders(store)
    if taught:
        pairs = zip(queries, found, strict=True)
        found = [_with_taught(query, one, taught) for query, one in pairs]
    return [replace(one, notes=(*one.notes, *notes)) for one in found] if notes else found


def _with_taught(query: Query, one: Typing, taught: Sequence[Taught]) -> Typing:
    """Say which of the types an encoder has learned from labels."""
    compared = [each for each in taught if each.modality in one.modalities]
    known = {each.modality: types for each in compared if (types := each.known(one.probabilities))}
    notes = [
        f"the {modality} encoder has learned {len(types)} of these {len(one)} types from stored patients: it tells "
        "them better than types it has not seen, and new samples may seem to fit none of them"
        + ("" if len(types) == len(one) else f" ({_named(one, types)})")
        for modality, types in known.items()
    ]
    if query.stored and compared:
        names = " and ".join(each.modality for each in compared)
        notes.append(f"{query.name} may be one of those the {names} encoder learned from: it is typed too well then")
    return replace(one, taught=known, notes=(*one.notes, *notes))


def _named(one: Typing, types: Sequence[str]) -> str:
    """The types that were not learned, or how many."""
    unseen = sorted(set(one.probabilities) - set(types))
    return f"not learned: {', '.join(unseen[:_NAMED])}{', ...' if len(unseen) > _NAMED else ''}"


def scorers(store: Store, shelf: EncoderShelf, device: str) -> Callable[[str], PairScorer | None]:
    """Give the pair head of the encoder in use for a modality, if its card says that it has one."""

    def scorer(modality: str) -> PairScorer | None:
        space = store.active_spaces().get(modality)
        cards = {row.space: row.card for row in store.encoders()}
        made_of = {} if space is None else cards.get(space, {}).get("architecture", {})
        if not any(made_of.get(word) for word in _HEADS):
            return None
        encoder = load_encoders(store, [modality], device, shelf=shelf).get(modality)
        return encoder if isinstance(encoder, PairScorer) else None

    return scorer


def _first(names: Sequence[str | None], columns: dict[str, str]) -> str | None:
    return next((name for name in names if name is not None and name in columns), None)
