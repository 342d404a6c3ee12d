"""What two patients share in one modality: how alike they are, and the features, sentences or tiles it rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.reference.explained_files import altered, frequencies, picture
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.explain_standing import draw, share_less_alike
from molsig.retrieval.explanation import MUTATED, Feature, Features, ItemPair, Shared
from molsig.types import MutationSet, TextSet, TileSet, VectorSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Encoder
    from molsig.encoders.network import NetworkEncoder
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
    from molsig.reference.explained_files import Files
    from molsig.retrieval.explain import Carried, Known
    from molsig.retrieval.explain_standing import Drawn
    from molsig.types import Progress, Records

MOST_OTHERS = 2000
"""Sentences or tiles of other patients that those of the two are compared with."""
COMMON = 0.2
"""From how much less the features have to explain than the cosine says, it is told."""
FLAGS = {"rna": "--rna", "mutation": "--mutations", "mirna": "--mirna", "report": "--reports", "tile": "--tiles"}
ONE_IN_FILE = "{file} has no {missing}: its part is told from {there} alone"


@dataclass(frozen=True, eq=False)
class Rows:
    """The vectors of a patient in one modality, and which sample and item each is of."""

    samples: tuple[str, ...]
    items: tuple[str, ...]
    vectors: NDArray[np.float32]
    stored: bool


def explain_modality(
    store: Store,
    view: SpaceView,
    encoder: Encoder | None,
    files: Files,
    query: tuple[str, Rows],
    hit: tuple[str, Rows],
    *,
    modality: str,
    kinds: Sequence[str],
    nats: float | None,
    top: int,
    pairs: int,
    seed: int,
    progress: Progress,
) -> Shared:
    """Compare two patients in a modality that both have.

    Parameters
    ----------
    encoder
        That of the space; None for ready vectors.
    query, hit
        Name and vectors of either.
    """
    progress(f"explain {modality}", 0, 1)
    drawn = draw(view, kinds, [query[0], hit[0]], seed)
    sums = [aggregate([rows.vectors]).astype(np.float64) for _, rows in (query, hit)]
    lengths = [float(np.linalg.norm(one)) for one in sums]
    cosine = float(sums[0] @ sums[1] / max(lengths[0] * lengths[1], 1e-12))
    share, counted = share_less_alike(view, drawn, cosine)
    samples: tuple[str, str] | None = None
    features: Features | None = None
    items: tuple[ItemPair, ...] = ()
    told: list[str] = []
    if any(query[1].items) or any(hit[1].items):
        items, told = _items(store, view, encoder, files, query, hit, modality, drawn, pairs)
    elif encoder is None or not encoder.features:
        told = [f"the vectors of {modality} were given ready: what they rest on is not known here"]
    else:
        samples, features, told = _features(store, encoder, files, query, hit, modality, kinds, top)
        if features is not None and cosine - features.score > COMMON:
            told.append(
                f"the cosine of {cosine:.3f} is mostly what vectors of this encoder have in common: seen from "
                f"{features.reference} it is {features.score:.3f}"
            )
    progress(f"explain {modality}", 1, 1)
    percentile = None if share is None else 100 * share
    return Shared(modality, cosine, percentile, counted, nats, samples, features, items, tuple(told))


def _features(
    store: Store,
    encoder: Encoder,
    files: Files,
    query: tuple[str, Rows],
    hit: tuple[str, Rows],
    modality: str,
    kinds: Sequence[str],
    top: int,
) -> tuple[tuple[str, str] | None, Features | None, list[str]]:
    """What features carry the similarity of the nearest samples of the two; which these are, and what to know of it."""
    from molsig.encoders.network import NetworkEncoder
    from molsig.retrieval.explain import Known, carried

    assert isinstance(encoder, NetworkEncoder)
    if not files.named(modality):
        flag = FLAGS.get(modality, f"--matrix {modality}=")
        file = f"{flag}FILE" if flag.endswith("=") else f"{flag} FILE"
        return None, None, [f"a reference keeps vectors, not measurements: {file} tells which features carry this"]
    places = _nearest(query[1].vectors, hit[1].vectors)
    told: list[str] = []
    known: list[Known] = []
    found: list[tuple[Records, int] | None] = []
    for (patient, rows), place in zip((query, hit), places, strict=True):
        at = files.row_of(modality, patient, rows.samples[place], kinds)
        found.append(at)
        if at is None:
            known.append(Known(patient, rows.vectors[place]))
            continue
        records, row = at
        encoded = encoder.encode(records, rows=[row], allow_missing=True)
        name = encoded.samples[0].sample
        if name != rows.samples[place]:
            told.append(f"{records.report.file} has no sample {rows.samples[place]} of {patient}: {name} is explained")
        elif rows.stored and not store.recognised(encoder.space, [name], encoded.items, encoded.digests)[0]:
            told.append(_other(patient, records, row, encoded.vectors[0], rows.vectors[place]))
        inputs = encoder.network_inputs(records, np.array([row], dtype=np.int64))[0]
        known.append(Known(patient, encoded.vectors[0], inputs))
    missing = [one.name for one in known if one.inputs is None]
    if len(missing) == 2:
        raise InputError(
            f"holds neither {query[0]} nor {hit[0]}",
            file=files.named(modality),
            hint=f"Give the {modality} file that was ingested, or leave it out",
        )
    if missing:
        there = next(one.name for one in known if one.inputs is not None)
        told.append(ONE_IN_FILE.format(file=files.named(modality), missing=missing[0], there=there))
    names = _samples_of(found[0], query[1], places[0]), _samples_of(found[1], hit[1], places[1])
    try:
        parts = carried(encoder, known[0], known[1])
    except InputError as error:
        return names, None, [*told, str(error)]
    return names, _told_features(encoder, parts, known, found, top), told


def _samples_of(at: tuple[Records, int] | None, rows: Rows, place: int) -> str:
    """Which sample stands for a patient: that of the file, where one has any."""
    return rows.samples[place] if at is None else at[0].samples[at[1]].sample


def _other(patient: str, records: Records, row: int, vector: NDArray[np.float32], stored: NDArray[np.float32]) -> str:
    near = float(vector @ stored / max(float(np.linalg.norm(vector) * np.linalg.norm(stored)), 1e-12))
    return (
        f"{records.report.file}: the values of {patient} (sample {records.samples[row].sample}) are not those that "
        f"were stored; the cosine of the two vectors is {near:.3f}, and the file's is explained"
    )


def _told_features(
    encoder: NetworkEncoder,
    parts: Carried,
    known: Sequence[Known],
    found: Sequence[tuple[Records, int] | None],
    top: int,
) -> Features:
    order = np.argsort(-parts.contributions, kind="stable")
    best = [i for i in order[:top].tolist() if parts.contributions[i] > 0]
    worst = [i for i in order[::-1][: max(1, top // 2)].tolist() if parts.contributions[i] < 0]
    mutated = [one for one in found if one is not None and isinstance(one[0], MutationSet)]
    often: dict[str, float] = {}
    outside: tuple[str, ...] = ()
    if mutated:
        silent = bool(encoder.card.hyperparameters.get("include_silent"))
        first = mutated[0][0]
        assert isinstance(first, MutationSet)
        often = frequencies(first, [parts.features[i] for i in (*best, *worst)], silent)
        if len(mutated) == 2:
            both = [altered(one, row, silent) for one, row in mutated if isinstance(one, MutationSet)]
            outside = tuple(sorted((both[0] & both[1]) - set(parts.features)))

    def feature(i: int) -> Feature:
        sides = (parts.query, parts.hit)
        of = [None if side is None else float(side[i]) for side in sides]
        values = [None if one.inputs is None else float(one.inputs[i]) for one in known]
        name = parts.features[i]
        return Feature(name, float(parts.contributions[i]), of[0], of[1], values[0], values[1], often.get(name))

    listed = float(parts.contributions[[*best, *worst]].sum())
    return Features(
        speak_for=tuple(map(feature, best)),
        against=tuple(map(feature, worst)),
        score=parts.score,
        rest=float(parts.contributions.sum()) - listed,
        total=len(parts.features),
        reference="a tumour without mutations" if mutated else "the mean of the samples the encoder was fitted on",
        unit=MUTATED if mutated else _unit_of(encoder),
        method=parts.method,
        missed=parts.missed,
        outside=outside,
    )


def _unit_of(encoder: NetworkEncoder) -> str:
    """Autoencoders and maps divide by one deviation for all features, so that strong ones stay strong."""
    of_all = "latent" in encoder.card.architecture
    return "standard deviations of all features together" if of_all else "standard deviations of the fitted samples"


def _nearest(query: NDArray[np.float32], hit: NDArray[np.float32]) -> tuple[int, int]:
    """Places of the two rows with the highest cosine."""
    units = [
        one.astype(np.float64) / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (query, hit)
    ]
    cosines = units[0] @ units[1].T
    i, j = divmod(int(cosines.argmax()), cosines.shape[1])
    return i, j


def _items(
    store: Store,
    view: SpaceView,
    encoder: Encoder | None,
    files: Files,
    query: tuple[str, Rows],
    hit: tuple[str, Rows],
    modality: str,
    drawn: Drawn,
    pairs: int,
) -> tuple[tuple[ItemPair, ...], list[str]]:
    """Sentences or tiles that are alike, with their words or pictures where the files have them."""
    from molsig.retrieval.explain_items import closest

    step = max(1, -(-len(drawn.positions) // MOST_OTHERS))
    others = view.vectors.take(np.sort(drawn.positions[::step]))
    (_, a), (_, b) = query, hit
    items = files.items(modality)
    found = []
    told: dict[str, None] = {}
    for one in closest(a.vectors, b.vectors, others, pairs):
        words: list[str | None] = []
        seen: list[bytes | None] = []
        for rows, place in ((a, one.query), (b, one.hit)):
            key = (rows.samples[place], rows.items[place])
            records, row = items.get(key, (None, -1))
            words.append(records.texts[row] if isinstance(records, TextSet) else None)
            seen.append(picture(records, row) if isinstance(records, TileSet) else None)
            if records is not None and rows.stored and encoder is not None and not _same(store, encoder, records, row):
                told[f"{records.report.file}: {key[0]}, item {key[1]} is not what was stored under that name"] = None
        found.append(
            ItemPair(
                a.samples[one.query],
                a.items[one.query],
                b.samples[one.hit],
                b.items[one.hit],
                one.cosine,
                one.beyond,
                one.nearest,
                words[0],
                words[1],
                seen[0],
                seen[1],
            )
        )
    if not files.named(modality):
        flag = FLAGS.get(modality)
        told["items are named by number or place" + (f": {flag} FILE shows them" if flag else "")] = None
    elif all(isinstance(held.get(modality), VectorSet | None) for held in (files.given, files.more)):
        told[f"{files.named(modality)} holds ready vectors, which neither words nor pictures can be shown of"] = None
    elif encoder is None and any(isinstance(records, TextSet) for records, _ in items.values()):
        told["vectors were given ready: sentences are matched to them by their number, which nothing confirms"] = None
    elif any(pair.query_text is None and pair.query_picture is None for pair in found) or any(
        pair.hit_text is None and pair.hit_picture is None for pair in found
    ):
        told[f"{files.named(modality)} lacks some of these items"] = None
    return tuple(found), list(told)


def _same(store: Store, encoder: Encoder, records: TextSet | TileSet, row: int) -> bool:
    """Whether a sentence or tile is what was stored under its name."""
    sample, item = records.samples[row], records.items[row]
    if isinstance(records, TextSet):
        one = replace(records, samples=(sample,), items=(item,), texts=(records.texts[row],))
        digests = encoder.digests(one)
    else:
        digests = (records.digests[row],)
    return bool(store.recognised(encoder.space, [sample.sample], [item], digests)[0])
