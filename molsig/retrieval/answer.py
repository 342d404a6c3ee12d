"""The answer to one query: hits, calls and the plan, made to be looked at in a terminal or a notebook."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from molsig.index.patient_columns import told_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from molsig.types import Call, Hit, Plan


OURS = frozenset(("query", "rank", "patient", "sample", "score", "probability", "brought_by"))
"""Columns of an answer, beside ``cos_...`` and ``nats_...``."""


def own_name(column: str) -> str:
    """How a patient column is called in a table of hits."""
    return told_as(column, {column} if column.startswith(("cos_", "nats_")) else OURS)


@dataclass(frozen=True)
class Answer:
    """Neighbours of one query, what they say of the voted columns, and how they were found.

    Attributes
    ----------
    query
        The patient or sample asked about.
    modalities
        Modalities the query was made of.
    hits
        Stored patients, best first.
    calls
        One `Call` per voted column.
    plan
        Fusion, search method and its measured recall.
    notes
        What a careful reader should know: the query is itself stored, a damaged index was passed over, ...
    """

    query: str
    modalities: tuple[str, ...]
    hits: tuple[Hit, ...]
    calls: Mapping[str, Call]
    plan: Plan
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def rows(self) -> list[dict[str, object]]:
        """One flat dict per hit.

        Rank, patient, sample, score, probability, ``brought_by``, ``cos_<modality>`` and ``nats_<modality>``, then the
        patient's columns; one that is named as a column of ours becomes ``patient.NAME``. Probability and nats are None
        unless the fusion is ``evidence``.
        """
        modalities = sorted({m for hit in self.hits for m in hit.modalities})
        told = sorted({m for hit in self.hits for m in hit.nats})
        columns = list(dict.fromkeys(c for hit in self.hits for c in hit.attributes))
        return [
            {
                "query": self.query,
                "rank": hit.rank,
                "patient": hit.patient,
                "sample": hit.sample,
                "score": hit.score,
                "probability": hit.probability,
                "brought_by": hit.brought_by,
            }
            | {f"cos_{m}": hit.modalities.get(m) for m in modalities}
            | {f"nats_{m}": hit.nats.get(m) for m in told}
            | {own_name(c): hit.attributes.get(c) for c in columns}
            for hit in self.hits
        ]

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`."""
        return {
            "query": {"id": self.query, "modalities": list(self.modalities)},
            "plan": asdict(self.plan),
            "hits": [asdict(hit) | {"attributes": dict(hit.attributes)} for hit in self.hits],
            "calls": {column: asdict(call) for column, call in self.calls.items()},
            "notes": list(self.notes),
        }

    def to_pandas(self) -> pd.DataFrame:
        """The hits as a data frame, one row each."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        best = self.hits[0] if self.hits else None
        nearest = f", nearest {best.patient} ({best.score:.3f})" if best else ""
        calls = "".join(f", {said(call)}" for call in self.calls.values())
        return f"<Answer to {self.query}: {len(self.hits)} hits{nearest}{calls}>"

    def _repr_html_(self) -> str:
        return to_html(self)


def said(call: Call) -> str:
    """A call as one line."""
    others = ", ".join(f"{label} {share:.2f}" for label, share in list(call.classes.items())[1:4] if share >= 0.005)
    then = f"  (then {others})" if others else ""
    if isinstance(call.label, float) and not call.classes:
        mean = f"{call.column}: {call.label:.4g}  mean of {call.voters} neighbours"
        if call.interval is None or call.error is None:
            return mean
        return f"{mean}; {call.interval[0]:.4g} to {call.interval[1]:.4g} at error rate {call.error:g}"
    if call.probability is None:
        return f"{call.column}: {call.label}  share {call.share:.2f} of {call.voters} neighbours{then}"
    best = next(iter(call.classes), None)
    within = f"; one of {{{', '.join(call.set or ())}}} at error rate {call.error:g}"
    if call.unknown:
        odd = f"stranger than {call.strangeness:.1%} of the stored patients"
        return f"{call.column}: unknown  {odd}; nearest would be {best} {call.probability:.2f}{then}{within}"
    sure = ">.99" if call.probability > 0.995 else f"{call.probability:.2f}"
    return f"{call.column}: {call.label}  probability {sure}{then}{within}"


def to_html(answer: Answer) -> str:
    """An HTML fragment: heading, calls, table of hits, plan. All text from data is escaped."""
    e = html.escape
    rows = answer.rows()
    calls = "".join(f"<li>{e(said(call))}</li>" for call in answer.calls.values())
    shown = [{name: value for name, value in row.items() if name != "query"} for row in rows]
    notes = "".join(f"<li>{e(note)}</li>" for note in answer.notes)
    plan = answer.plan
    return (
        f"<section><h3>Patients like {e(answer.query)}</h3>"
        f"<ul>{calls}{notes}</ul>{table_html(shown)}"
        f"<p><small>fusion {e(plan.fusion)}, {e(plan.method)} search over {plan.rows:,} vectors, recall@10 "
        f"{plan.recall:.3f}. Research use only.</small></p></section>"
    )


def table_html(rows: Sequence[Mapping[str, object]]) -> str:
    """A table of flat rows, columns without a value left out; all text is escaped."""
    e = html.escape
    names = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    head = "".join(f"<th>{e(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{e(text(row[name]))}</td>" for name in names) + "</tr>" for row in rows)
    return f"<div style='overflow-x:auto'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def text(value: object) -> str:
    """A cell for people: empty where missing, three decimals for a fraction."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and 1 < abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def documents(answers: Sequence[Answer]) -> Any:
    """JSON of one answer, or of several under the key ``answers``."""
    return answers[0].to_dict() if len(answers) == 1 else {"answers": [answer.to_dict() for answer in answers]}


def page(answers: Sequence[Answer]) -> str:
    """A whole HTML page without scripts or outside links, so that it can be kept beside the patient's file."""
    return whole_page("".join(to_html(answer) for answer in answers))


def whole_page(body: str) -> str:
    """A page around sections."""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#1c2430}"
        "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
        "th,td{padding:.3rem .6rem;border-bottom:1px solid #d9dee6;text-align:left;white-space:nowrap}"
        "th{border-bottom:2px solid #7b8794}tr:hover{background:#f3f6fa}section{margin-bottom:2.5rem}"
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>molsig</title>"
        f"<style>{style}</style></head><body>{body}</body></html>\n"
    )
