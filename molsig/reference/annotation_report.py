"""What `Reference.annotate` found: predictions with their provenance, and how well such predictions do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from molsig.index.attributes import PREDICTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from molsig.reference.annotation_explanation_report import ExplanationReport
    from molsig.retrieval.annotation_scores import LabelScores, NumberScores


_KEYS = (
    *("patient", "value", "likeliest", "probability", "alternatives", "low", "high", "recorded"),
    *("method", "inputs", "snapshot", "created"),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted value of one patient.

    Attributes
    ----------
    value
        The label, or the number; None where it cannot be told: the set holds more than one label.
    likeliest, probability
        The likeliest label and its calibrated probability; None for a number.
    alternatives
        The conformal set, likeliest first; empty for a number.
    low, high
        Ends of a number's interval; None for a label, or where no interval can be promised.
    recorded
        What is recorded, as text; None where nothing is. A prediction for somebody with a record was made by models
        that had not seen them, nor, where groups were held out, their group.
    """

    patient: str
    value: str | float | None
    likeliest: str | None
    probability: float | None
    alternatives: tuple[str, ...]
    low: float | None
    high: float | None
    recorded: str | None


@dataclass(frozen=True, slots=True)
class Validation:
    """Scores of a method, or of a rule that looks at nothing measured, in one scheme.

    Attributes
    ----------
    scheme
        ``groups_held_out`` or ``random``.
    method
        ``neighbours``, ``network``, ``forest``; ``commonest`` (label, or the mean of all), or a column, such as
        ``cancer_type alone``: the commonest label, or the mean, of those who are alike in it.
    """

    scheme: str
    method: str
    scores: LabelScores | NumberScores


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """Predictions of a patient column.

    Attributes
    ----------
    field
        The column, as it is stored.
    classes
        Its labels, sorted, or intervals, ascending; empty for numbers.
    method
        Which one predicted.
    error
        Error rate of the sets and intervals.
    predictions
        By patient.
    validation
        All methods that were measured and the rules beside them, whole groups held out first.
    source
        Where the predictions come from: inputs, encoders or file, snapshot, seed, and the like. Plain JSON types.
    created
        Date, ISO 8601.
    written
        How many predictions were stored.
    explanation
        What the network's calls rest on, where that was asked for.
    """

    field: str
    classes: tuple[str, ...]
    method: str
    error: float
    predictions: tuple[Prediction, ...]
    validation: tuple[Validation, ...]
    source: Mapping[str, Any]
    created: str
    written: int
    notes: tuple[str, ...]
    explanation: ExplanationReport | None = None

    @property
    def told(self) -> int:
        """How many predictions tell a value."""
        return sum(one.value is not None for one in self.predictions)

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary per prediction, for tables: the set as one text, provenance in every row.

        Keys are those of an export, ``predicted:sex`` and ``predicted:sex:probability``: no file with such columns is
        ingested as records.
        """
        beside = {"method": self.method, "created": self.created}
        beside |= {key: self.source[key] for key in ("inputs", "snapshot")}
        told = [asdict(one) | {"alternatives": "; ".join(one.alternatives)} | beside for one in self.predictions]
        return [dict(zip(self.columns(), (one[key] for key in _KEYS), strict=True)) for one in told]

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of such a table."""
        name = f"{PREDICTED}{self.field}"
        return (_KEYS[0], name, *(f"{name}:{key}" for key in _KEYS[2:]))

    def to_dict(self, *, members: bool = False) -> dict[str, Any]:
        """Stable keys for `--json`; of an explanation `members` names the patients it was made of."""
        told = {} if self.explanation is None else {"explanation": self.explanation.to_dict(members=members)}
        return {
            "field": self.field,
            "classes": list(self.classes),
            "method": self.method,
            "error": self.error,
            "created": self.created,
            "source": dict(self.source),
            "told": self.told,
            "written": self.written,
            "predictions": [asdict(one) | {"alternatives": list(one.alternatives)} for one in self.predictions],
            "validation": [
                {"scheme": one.scheme, "method": one.method} | asdict(one.scores) for one in self.validation
            ],
            "notes": list(self.notes),
        } | told
