"""Choosing a panel: features that keep one-shot typing, chosen beside each other and judged where they were not chosen.

Types are dealt into parts. The panel of a part is chosen on the tumours of the other types, standardised by these, and
judged by one-shot episodes among its own; the curve is the mean over parts. With too few types for that, the patients
of each type are dealt out instead, and what is measured says nothing of types that nobody has seen. The panel that is
given is chosen on all of them, and beside each feature stands in how many parts it was chosen too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError, UsageError
from molsig.evaluate.episodes import draw_episodes
from molsig.evaluate.marker_selection import PRESELECTED, STEP, accuracies, forward_selection, most_discriminating
from molsig.evaluate.panel import PARTS, Panel, Point
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.episodes import Episodes
    from molsig.reference.measured import EncoderInputs
    from molsig.types import Progress

    Rows = NDArray[np.int64]

WAYS_OF_CHOOSING = ("forward", "discrimination")
FEWEST_TYPES = 9
"""Types from which on some can be held out of the choosing: three in each part."""
FEWEST_PATIENTS = 2 * PARTS
"""Patients of a type that is asked about: two in each part, a query and a support sample."""
LEAST_TYPES = 3
MOST_OF_TYPE = 100
"""Tumours of a type that choose and judge in episodes."""
MOST_WAYS = 10
CANDIDATES = 300
"""Features that the forward selection chooses from: the most discriminating ones of the types it is chosen on."""
CHOOSING, JUDGING = 2_000, 10_000
"""Episodes that the forward selection looks at, and those that judge."""


def choose_panel(
    of: EncoderInputs, *, most: int = 100, by: str = "forward", seed: int = 0, progress: Progress = silent
) -> Panel:
    """Choose a panel of features and judge it; see `Reference.marker_panel`.

    Raises
    ------
    UsageError
        An unknown way of choosing, or less than one feature.
    InputError
        Fewer than three types have enough patients.
    """
    if by not in WAYS_OF_CHOOSING:
        raise UsageError(f"--by {by}: choose {' or '.join(WAYS_OF_CHOOSING)}")
    if most < 1:
        raise UsageError(f"--select {most}: at least 1 feature is needed")
    patients = np.array([one.patient for one in of.samples])
    types = np.array(of.types)
    names, rows = _asked(of, patients, types)
    if len(names) < LEAST_TYPES:
        raise InputError(
            f"a panel needs {LEAST_TYPES} types with primary tumours of {FEWEST_PATIENTS} patients, there are "
            f"{len(names)}: {', '.join(names) or 'none'}",
            file=of.file,
        )
    patients, types = patients[rows], types[rows]
    x = of.inputs[rows]
    notes = list(of.notes)
    limit = min(x.shape[1], CANDIDATES if by == "forward" else PRESELECTED)
    if most > limit:
        why = "there are no more" if limit == x.shape[1] else f"no more are looked at by {by}"
        notes.append(f"{limit:,} features were chosen instead of {most:,}: {why}")
        most = limit
    random = np.random.default_rng(seed)
    by_types = len(names) >= FEWEST_TYPES
    part_of, parts = _dealt(names, types, patients, random, by_types=by_types)
    few = _few(types, random)
    judged = [few[part_of[few] == part] for part in range(PARTS)]
    ways = min(MOST_WAYS, *(len(np.unique(types[some])) for some in judged))
    everything = [*range(STEP, most, STEP), *dict.fromkeys((most, x.shape[1]))]
    told = []
    panels = []
    for part in range(PARTS):
        progress("choose and judge", part, PARTS + 1)
        mine = part_of != part
        ready = _standardised(x, mine)
        on = few[mine[few]]
        panel = _chosen(by, ready, np.flatnonzero(mine), on, types, patients, most, ways, seed + part)
        panels.append(set(panel.tolist()))
        anything = random.permutation(x.shape[1])
        at_home = _questions(types, patients, on, ways, JUDGING, seed + part)
        asked = _questions(types, patients, judged[part], ways, JUDGING, seed + part)
        rest = np.setdiff1d(np.arange(x.shape[1]), panel)
        order = np.concatenate([panel, rest])
        told.append(
            [
                accuracies(ready[judged[part]], order, everything, asked),
                accuracies(ready[on], order, everything, at_home),
                accuracies(ready[judged[part]], anything, everything, asked),
            ]
        )
    progress("choose and judge", PARTS, PARTS + 1)
    everybody = np.ones(len(x), dtype=bool)
    whole = _standardised(x, everybody)
    chosen = _chosen(by, whole, np.arange(len(x)), few, types, patients, most, ways, seed + PARTS)
    progress("choose and judge", PARTS + 1, PARTS + 1)
    table = np.array(told)
    return Panel(
        of=of,
        rows=rows,
        by=by,
        chosen=chosen,
        agreed=tuple(sum(place in panel for panel in panels) for place in chosen.tolist()),
        held_out="types" if by_types else "patients",
        parts=parts,
        ways=ways,
        curve=tuple(
            Point(size, *map(float, (out.mean(), out.min(), out.max(), home.mean(), chance.mean())))
            for size, out, home, chance in zip(everything, *np.moveaxis(table, 0, 2), strict=True)
        ),
        notes=(*notes, *_notes(of, names, types, by_types=by_types)),
    )


def _notes(of: EncoderInputs, names: Sequence[str], types: NDArray[np.str_], *, by_types: bool) -> list[str]:
    out = []
    if by_types:
        out.append(
            f"accuracy is of types that the features were not chosen on: {len(names)} types in {PARTS} parts, each "
            "held out in turn; the panel itself is chosen on all of them"
        )
    else:
        out.append(
            f"{len(names)} types are too few to hold any out ({FEWEST_TYPES} are needed): accuracy is of other "
            "patients of the types that the features were chosen on, and says nothing of types that nobody has seen"
        )
    tumours = {t for t, one in zip(of.types, of.samples, strict=True) if one.kind == "tumour"}
    if gone := sorted(tumours - set(types.tolist())):
        out.append(f"{', '.join(gone)}: fewer than {FEWEST_PATIENTS} patients, not asked about")
    return out


def _asked(of: EncoderInputs, patients: NDArray[np.str_], types: NDArray[np.str_]) -> tuple[list[str], Rows]:
    """Types with enough patients, and their primary tumours."""
    primary = np.array([one.kind == "tumour" for one in of.samples])
    names = [
        str(name)
        for name in np.unique(types[primary])
        if len(np.unique(patients[primary & (types == name)])) >= FEWEST_PATIENTS
    ]
    return names, np.flatnonzero(primary & np.isin(types, names))


def _dealt(
    names: Sequence[str],
    types: NDArray[np.str_],
    patients: NDArray[np.str_],
    random: np.random.Generator,
    *,
    by_types: bool,
) -> tuple[Rows, tuple[tuple[str, ...], ...]]:
    """Part of each row, and the types of each part."""
    if by_types:
        dealt = random.permutation(len(names)) % PARTS
        part_of_type = dict(zip(names, dealt.tolist(), strict=True))
        parts = tuple(tuple(n for n in names if part_of_type[n] == part) for part in range(PARTS))
        return np.array([part_of_type[one] for one in types.tolist()], dtype=np.int64), parts
    part_of = np.zeros(len(types), dtype=np.int64)
    for name in names:
        own, place = np.unique(patients[types == name], return_inverse=True)
        part_of[types == name] = (random.permutation(len(own)) % PARTS)[place]
    return part_of, (tuple(names),)


def _few(types: NDArray[np.str_], random: np.random.Generator) -> Rows:
    """At most `MOST_OF_TYPE` rows of each type."""
    parts = [random.permutation(np.flatnonzero(types == one))[:MOST_OF_TYPE] for one in np.unique(types)]
    return np.sort(np.concatenate(parts))


def _standardised(x: NDArray[np.float32], by: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean 0 and deviation 1 over some rows."""
    some = x[by].astype(np.float64)
    return np.asarray((x - some.mean(axis=0)) / np.maximum(some.std(axis=0), 1e-6), dtype=np.float32)


def _questions(
    types: NDArray[np.str_], patients: NDArray[np.str_], rows: Rows, ways: int, episodes: int, seed: int
) -> Episodes:
    return draw_episodes(types[rows].tolist(), patients[rows].tolist(), ways=ways, episodes=episodes, seed=seed)


def _chosen(
    by: str,
    x: NDArray[np.float32],
    every: Rows,
    few: Rows,
    types: NDArray[np.str_],
    patients: NDArray[np.str_],
    most: int,
    ways: int,
    seed: int,
) -> Rows:
    """A panel chosen on `every` row (of them `few` in episodes)."""
    if by == "discrimination":
        return most_discriminating(x[every], types[every].tolist(), most)
    candidates = most_discriminating(x[every], types[every].tolist(), CANDIDATES)
    asked = _questions(types, patients, few, ways, CHOOSING, seed)
    return forward_selection(x[few], asked, candidates, most)
