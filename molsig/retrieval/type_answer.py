"""What typing by example answers: a probability a type, the example behind it, and whether any fits at all."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from molsig.retrieval.answer import table_html, whole_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from molsig.retrieval.type_calibration import Temperature


@dataclass(frozen=True, slots=True)
class Spread:
    """A type's probability from a single example of each type, over the choice of the examples.

    Attributes
    ----------
    mean, sd, low, high
        Mean, standard deviation, and 5 % and 95 % quantile.
    share
        Share of all choices in which this type is the most similar one; exact.
    """

    mean: float
    sd: float
    low: float
    high: float
    share: float


@dataclass(frozen=True, slots=True)
class TypeScore:
    """One type.

    Attributes
    ----------
    probability
        Of this type, given that it is one of those there are examples of; all are held equally common.
    support, patient
        The most similar example, and whose it is.
    similarity
        Of that example; see `Typing.similarity`.
    samples
        Examples of the type that were compared.
    modalities
        Cosine with that example in each modality both have.
    spread
        Where a type has several examples.
    """

    type: str
    probability: float
    support: str
    patient: str
    similarity: float
    samples: int
    modalities: Mapping[str, float] = field(default_factory=dict)
    spread: Spread | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """How well the query fits the best type, beside samples of known types.

    Attributes
    ----------
    none
        Whether it is told to be none of the types.
    score
        Type score of the best type.
    p_value
        Share of samples whose type is among the examples that fit no better; None where none could be asked.
    error
        At or below this p-value it is none of the types: the share of right ones that are turned away.
    stranger_p
        Share of samples whose own type was taken out that fit at least as well.
    told
        Share of these that are told to be none of the types at this error rate.
    source
        Who these samples are: of the ``support`` set, labelled ones of the ``reference``, ``pairs`` of different types
        alone, or ``none``: nothing can be said.
    samples
        How many.
    """

    none: bool
    score: float
    p_value: float | None
    error: float
    stranger_p: float | None
    told: float | None
    source: str
    samples: int


@dataclass(frozen=True, slots=True)
class Typing:
    """The types of one query, most probable first.

    Attributes
    ----------
    query, modalities
        What was asked about, and what of it was compared.
    types
        Every type that has an example.
    fit
        Whether it is any of them.
    temperature
        How similarities became probabilities; of the source ``none`` they are not calibrated.
    fusion, similarity
        How pairs were compared.
    learned_types
        Whether the evidence has learned the types, so that more than the examples is known of them; None where the
        fusion is not ``evidence``.
    taught
        By modality that was compared, those of the types that its encoder has learned from labels: told better than
        types that it has not seen. Empty for encoders that look at no label.
    choices
        Choices of one example a type that spreads were measured on; 0 where no type has several.
    """

    query: str
    modalities: tuple[str, ...]
    types: tuple[TypeScore, ...]
    fit: Fit
    temperature: Temperature
    fusion: str
    similarity: str
    learned_types: bool | None = None
    choices: int = 0
    notes: tuple[str, ...] = ()
    taught: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.types)

    def __iter__(self) -> Iterator[TypeScore]:
        return iter(self.types)

    @property
    def type(self) -> str | None:
        """The most probable type; None where the query fits none of them."""
        return None if self.fit.none else self.types[0].type

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability by type, most probable first."""
        return {one.type: one.probability for one in self.types}

    def rows(self) -> list[dict[str, object]]:
        """One flat dict per type."""
        shared = sorted({m for one in self.types for m in one.modalities})
        return [
            {
                "query": self.query,
                "rank": rank,
                "type": one.type,
                "probability": one.probability,
                "support": one.support,
                "patient": one.patient,
                "similarity": one.similarity,
                "samples": one.samples,
            }
            | {f"cos_{m}": one.modalities.get(m) for m in shared}
            | (
                {}
                if one.spread is None
                else {
                    "choice_mean": one.spread.mean,
                    "choice_sd": one.spread.sd,
                    "choice_low": one.spread.low,
                    "choice_high": one.spread.high,
                    "choice_share": one.spread.share,
                }
            )
            | {"none_of_these": self.fit.none, "p_value": self.fit.p_value}
            for rank, one in enumerate(self.types, 1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`."""
        return {
            "query": {"id": self.query, "modalities": list(self.modalities)},
            "type": self.type,
            "probability": self.types[0].probability,
            "none_of_these": asdict(self.fit),
            "types": [asdict(one) | {"modalities": dict(one.modalities)} for one in self.types],
            "plan": {
                "fusion": self.fusion,
                "similarity": self.similarity,
                "types": len(self.types),
                "samples": sum(one.samples for one in self.types),
                "choices": self.choices,
                "learned_types": self.learned_types,
                "taught": {modality: list(types) for modality, types in self.taught.items()},
                "calibrated": self.temperature.source != "none",
                "temperature": asdict(self.temperature),
            },
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        return to_html(self)

    def to_pandas(self) -> pd.DataFrame:
        """The types as a data frame, one row each."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        best = self.types[0]
        said = "none of these" if self.fit.none else f"{best.type} {best.probability:.2f} by {best.support}"
        return f"<Typing of {self.query} among {len(self.types)} types: {said}>"


def said_of_fit(fit: Fit) -> str:
    """Whether it is one of the types, as one line."""
    whose = {"support": "of the support set", "reference": "of the reference's labelled patients"}.get(fit.source)
    if fit.source == "none":
        return "whether it is any of these cannot be told: nothing to compare its fit with"
    if fit.source == "pairs":
        alike = "less alike" if fit.none else "more alike"
        return (
            f"{'none of these' if fit.none else 'one of these'}, roughly: {alike} than different types mostly are "
            f"({fit.samples} pairs; no type has two samples, and no patient is labelled)"
        )
    power = "" if fit.told is None else f"; strangers are told in {fit.told:.0%} of cases"
    if fit.none:
        return f"none of these: {fit.p_value:.1%} of {fit.samples:,} samples {whose} fit their type as badly{power}"
    like = "" if fit.stranger_p is None else f", {fit.stranger_p:.1%} of strangers as well"
    return f"one of these: {fit.p_value:.0%} of {fit.samples:,} samples {whose} fit no better{like}{power}"


def said_of_source(fit: Fit) -> str:
    """What "none of these" rests on, of any number of samples, as one line."""
    if fit.source == "none":
        return said_of_fit(fit)
    if fit.source == "pairs":
        return (
            f"whether a sample is one of these is told roughly, by {fit.samples:,} pairs of different types: no type "
            "has two samples, and no patient is labelled"
        )
    whose = "the support set" if fit.source == "support" else "the reference's labelled patients"
    power = "" if fit.told is None else f"; strangers are told in {fit.told:.0%} of cases"
    return f"none of these: fits its type as badly as {fit.error:.0%} of {whose}, by {fit.samples:,} samples{power}"


def said_of_temperature(known: Temperature) -> str:
    """What probabilities are worth, as one line."""
    if known.source == "none":
        return "probabilities are NOT calibrated: no type has two samples, and no patient is labelled"
    by = f"{known.label} of {known.patients:,} stored patients" if known.source == "reference" else "the support set"
    shots = "one sample" if known.shots == 1 else f"{known.shots} samples"
    measured = (
        "" if known.ece is None or known.accuracy is None else f", {known.accuracy:.0%} right, off by {known.ece:.3f}"
    )
    return f"probabilities calibrated on {by}: {known.ways} types, {shots} each{measured}"


def to_html(one: Typing) -> str:
    """An HTML fragment: heading, table of types, what they are worth. All text from data is escaped."""
    rows = [{name: value for name, value in row.items() if name not in _SAID_ABOVE} for row in one.rows()]
    head = "none of these types" if one.fit.none else f"{one.types[0].type} {one.types[0].probability:.2f}"
    lines = (said_of_fit(one.fit), said_of_temperature(one.temperature), *one.notes)
    return (
        f"<section><h3>{html.escape(f'{one.query}: {head}')}</h3>"
        f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>{table_html(rows)}"
        f"<p><small>fusion {html.escape(one.fusion)} ({html.escape(one.similarity)}). Research use only.</small></p>"
        "</section>"
    )


_SAID_ABOVE = ("query", "none_of_these", "p_value")


def documents(found: Sequence[Typing]) -> Any:
    """JSON of one answer, or of several under the key ``answers``."""
    return found[0].to_dict() if len(found) == 1 else {"answers": [one.to_dict() for one in found]}


def page(found: Sequence[Typing]) -> str:
    """A whole HTML page without scripts or outside links."""
    return whole_page("".join(map(to_html, found)))
