"""Why two patients are neighbours, as it is told: evidence by modality, features, sentences, tiles."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from molsig.types import Call


MUTATED = "1 where mutated"


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature's part in the similarity of two samples.

    Attributes
    ----------
    contribution
        Mean of `of_query` and `of_hit`, which are None for a sample that was not measured again.
    query, hit
        Its value in either sample, in the unit of `Features`.
    frequency
        Of a mutated gene: share of the file's samples in which it is mutated; None elsewhere.
    """

    name: str
    contribution: float
    of_query: float | None
    of_hit: float | None
    query: float | None
    hit: float | None
    frequency: float | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What the features of two samples contribute to the similarity of their vectors.

    Attributes
    ----------
    speak_for, against
        The strongest, strongest first.
    score
        What all contributions add up to: the cosine of the two vectors, seen from that of the reference input.
    rest, total
        What the features that are not listed add to it, and how many features there are.
    reference
        What the inputs are compared with.
    unit
        Of the values.
    method, missed
        Of `molsig.encoders.attribution`, and the share of the score that the parts miss.
    outside
        Of mutations: genes mutated in both that the encoder does not know, and that move nothing.
    """

    speak_for: tuple[Feature, ...]
    against: tuple[Feature, ...]
    score: float
    rest: float
    total: int
    reference: str
    unit: str
    method: str
    missed: float
    outside: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether the values say what is mutated."""
        return self.unit == MUTATED


@dataclass(frozen=True, slots=True)
class ItemPair:
    """A sentence or tile of either patient that are alike; see `molsig.retrieval.explain_items`."""

    query_sample: str
    query_item: str
    hit_sample: str
    hit_item: str
    cosine: float
    beyond: float
    nearest: bool
    query_text: str | None = None
    hit_text: str | None = None
    query_picture: bytes | None = None
    hit_picture: bytes | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, without the pictures."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("_picture")}


@dataclass(frozen=True, slots=True)
class Shared:
    """What two patients have in common in one modality.

    Attributes
    ----------
    cosine
        Of the sums of their vectors.
    percentile
        Share of random pairs of stored patients that are less alike, in per cent; None where there are no others.
    nats
        Evidence that they are of one type, beyond chance; None where nothing was learned of the modality.
    samples
        Which samples features are told of; None where none are.
    told
        Why something is not told, and what to think of it.
    """

    modality: str
    cosine: float
    percentile: float | None
    pairs: int
    nats: float | None
    samples: tuple[str, str] | None = None
    features: Features | None = None
    items: tuple[ItemPair, ...] = ()
    told: tuple[str, ...] = ()

    def rest_said(self) -> str:
        """What the features that are not listed add, and genes that the encoder does not know, as one line."""
        of = self.features
        if of is None:
            return ""
        left = of.total - len(of.speak_for) - len(of.against)
        said = f"The other {left:,} of {of.total:,} features add {of.rest:+.3f}."
        if of.outside:
            some = ", ".join(of.outside[:8]) + (f" and {len(of.outside) - 8:,} more" if len(of.outside) > 8 else "")
            said += f" Mutated in both, but too rare for the encoder: {some}."
        return said

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "cosine": self.cosine,
            "percentile": self.percentile,
            "pairs": self.pairs,
            "nats": self.nats,
            "samples": None if self.samples is None else list(self.samples),
            "features": None if self.features is None else asdict(self.features),
            "items": [one.to_dict() for one in self.items],
            "notes": list(self.told),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a stored patient is the neighbour of another, or of a new one.

    Attributes
    ----------
    score
        Of the fused answer: nats for ``evidence``, a cosine for the others.
    probability, chance
        That both are of one type, and of two patients drawn at random; None unless the fusion is ``evidence``.
    nats, brought_by
        As `molsig.types.Hit` has them.
    label, call
        The column that evidence was learned of, and what is called for the query.
    shared
        Modalities that both have, those with most evidence first.
    only_query, only_hit
        Modalities that one of them has.
    """

    query: str
    hit: str
    stored: bool
    query_attributes: Mapping[str, object]
    hit_attributes: Mapping[str, object]
    fusion: str
    score: float
    probability: float | None
    chance: float | None
    nats: Mapping[str, float]
    brought_by: str | None
    label: str | None
    call: Call | None
    shared: tuple[Shared, ...]
    only_query: tuple[str, ...]
    only_hit: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def headline(self) -> str:
        """Who is near whom, and how sure that is, as one line."""
        of = {
            name: f" ({known[self.label]})" if self.label and known.get(self.label) is not None else ""
            for name, known in ((self.query, self.query_attributes), (self.hit, self.hit_attributes))
        }
        said = f"Why {self.hit}{of[self.hit]} is a neighbour of {self.query}{of[self.query]}: {self.fusion}, "
        if self.probability is None or self.chance is None:
            return said + f"score {self.score:.3f}"
        return said + (
            f"probability {self.probability:.3f} that both are of one {self.label} ({self.chance:.3f} by chance)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`."""
        return {
            "query": {"patient": self.query, "stored": self.stored, "attributes": dict(self.query_attributes)},
            "hit": {"patient": self.hit, "attributes": dict(self.hit_attributes)},
            "fusion": self.fusion,
            "score": self.score,
            "probability": self.probability,
            "chance": self.chance,
            "nats": dict(self.nats),
            "brought_by": self.brought_by,
            "label": self.label,
            "call": None if self.call is None else asdict(self.call),
            "modalities": {one.modality: one.to_dict() for one in self.shared},
            "only_query": list(self.only_query),
            "only_hit": list(self.only_hit),
            "notes": list(self.notes),
        }
