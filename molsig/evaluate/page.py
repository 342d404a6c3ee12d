"""One HTML page of an evaluation: pictures inline, no scripts, no outside links, so that it can be kept."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from molsig.evaluate import charts
from molsig.evaluate.report import HELD_OUT, RANDOM
from molsig.evaluate.tables import by_assays, cell, comparisons, number, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molsig.evaluate.bootstrap import Figure
    from molsig.evaluate.report import Evaluation, Part, Scores

STYLE = """
body{font:15px/1.55 system-ui,sans-serif;margin:2rem auto;max-width:66rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.25rem;margin:2.6rem 0 .4rem}
p,li{max-width:48rem}.lead{color:#4a5666;margin-top:0}
.notes{background:#f6f4ec;border-left:4px solid #e69f00;padding:.5rem 1rem}
.notes ul{margin:0;padding-left:1.1rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.25rem .5rem;border-bottom:1px solid #e3e7ed;text-align:right;white-space:nowrap}
th{border-bottom:2px solid #7b8794;font-weight:600}th:first-child,td:first-child{text-align:left}
td small{display:block;color:#667080;font-size:11.5px}td b{font-weight:700}
tr.scheme td{background:#f3f6fa;font-weight:600}
figure{margin:.6rem 0;display:inline-block;vertical-align:top}figcaption{max-width:27rem;color:#4a5666;font-size:13.5px}
figure.broad figcaption{max-width:48rem}svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:#1c2430}svg text.name{fill:#4a5666}svg text.count{font-size:11px}svg .grid{stroke:#e3e7ed}
svg .axis{stroke:#7b8794}svg .ideal{stroke:#7b8794;stroke-dasharray:4 4}
.pair{display:flex;flex-wrap:wrap;gap:.5rem 2rem}details{margin:.5rem 0}summary{cursor:pointer;color:#0b5394}
footer{margin-top:3rem;color:#667080;font-size:13px}
"""

SUMMARY = {
    "p@10": "P@10",
    "vote@10": "vote of 10",
    "call": "call",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced",
    "map": "mAP",
    "ece": "ECE",
}
"""Figures of the first table and what they are headed with."""
LESS_IS_BETTER = frozenset({"ece", "set_size@80", "set_size@90", "set_size@95"})


def page(found: Evaluation) -> str:
    """The whole page; the pictures of one scheme are those with groups held out, where there are groups."""
    how, main = found.settings, found.schemes[0]
    parts = [part for method in found.methods if (part := found.part(main, method, how.missing[0]))]
    title = f"How well {how.label} is told"
    sections = [
        f"<h1>{escape(title)}</h1>{_lead(found)}{_notes(found)}",
        f"<h2>In short</h2>{_summary(found)}",
        f"<h2>Missing assays</h2>{_missing(found)}",
        f"<h2>By the assays a patient has</h2>{by_assays(found, main, _scheme(found, main))}",
        *(
            [f"<h2>Against each of the others</h2>{comparisons(found, main, _scheme(found, main))}"]
            if found.comparisons
            else []
        ),
        f"<h2>Is a probability what it says?</h2>{_calibration(parts)}",
        f"<h2>Which labels are mistaken for which</h2>{_confusion(parts[0])}",
        f"<h2>What the neighbours give away</h2>{_leaks(found)}",
        f"<h2>Labels never seen</h2>{_unknown(found)}",
        f"<h2>All figures</h2>{_all(found)}",
    ]
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{STYLE}</style></head><body>\n"
        + "\n".join(f"<section>{one}</section>" for one in sections)
        + f"<footer>{_footer(found)}</footer></body></html>\n"
    )


def _lead(found: Evaluation) -> str:
    how, cohort = found.settings, found.cohort
    groups = f" from {cohort.groups:,} values of <i>{escape(str(how.group))}</i>" if how.group else ""
    assays = ", ".join(f"{escape(words)} {n:,}" for words, n in cohort.assays.items())
    return (
        f"<p class='lead'>{cohort.patients:,} patients{groups}, {len(cohort.labels)} labels, {how.folds} folds, "
        f"seed {how.seed}. Assays: {assays}.</p>"
    )


def _notes(found: Evaluation) -> str:
    if not found.notes:
        return ""
    # Commands stand between backticks, as in a terminal.
    said = [re.sub("`([^`]*)`", r"<code>\1</code>", escape(note)) for note in found.notes]
    return f"<div class='notes'><ul>{''.join(f'<li>{one}</li>' for one in said)}</ul></div>"


def _summary(found: Evaluation) -> str:
    head = ["method", "patients", *SUMMARY.values(), "unknown"]
    body = []
    for scheme in found.schemes:
        parts = [part for method in found.methods if (part := found.part(scheme, method, found.settings.missing[0]))]
        strange = {one.method: one.auroc for one in found.unknown if one.scheme == scheme}
        told = _scheme(found, scheme)
        body += _block(told, {part.method: part.overall for part in parts}, strange, found.too_good)
        if any(part.overall.unanswerable for part in parts):
            told += ", only patients whose label somebody else has"
            body += _block(told, {part.method: part.answerable for part in parts}, {}, found.too_good)
    marked = "" if not found.too_good else " *: too good, since an encoder has learned the label from these patients."
    return (
        f"{table(head, body)}<p>Bold: the best where several were asked about all. A single modality is asked only "
        "about patients who have it; compare it with the others in the table by assays below. Small figures are "
        f"{found.settings.level:.0%} bootstrap intervals over patients. <i>Call</i>: accuracy of the most probable "
        "label; <i>macro F1</i>, <i>balanced</i> accuracy and <i>ECE</i> (expected calibration error) are the call's; "
        f"<i>unknown</i>: AUROC of telling labels that were left out.{marked}</p>"
    )


def _block(
    told: str, by_method: Mapping[str, Scores], strange: Mapping[str, Figure], too_good: frozenset[str]
) -> list[str]:
    """Rows of the summary: one scheme, one row per method."""
    everybody = max(one.patients for one in by_method.values())
    rivals = [one for one in by_method.values() if one.patients == everybody]
    best = _best(rivals) if len(rivals) > 1 else {}
    rows = [f"<tr class='scheme'><td colspan='{len(SUMMARY) + 3}'>{told}</td></tr>"]
    for method, one in by_method.items():
        bold = {name: one.patients == everybody and one.figures[name].value == best.get(name, -1.0) for name in SUMMARY}
        cells = [cell(one.figures[name], bold[name]) for name in SUMMARY]
        cells.append(cell(strange[method]) if method in strange else "<td></td>")
        name = escape(method) + (" *" if method in too_good else "")
        rows.append(f"<tr><td>{name}</td><td>{one.patients:,}</td>{''.join(cells)}</tr>")
    return rows


def _missing(found: Evaluation) -> str:
    if len(found.settings.missing) < 2:
        return "<p>Measured with all assays only.</p>"
    drawn = [
        _figure(charts.against_missing(found, scheme, figure, name), f"{name}: {_scheme(found, scheme)}.")
        for figure, name in (("p@10", "P@10"), ("vote@10", "Accuracy of the vote of 10"))
        for scheme in found.schemes
    ]
    return (
        "<p>Assays are taken away at random from the patients asked about, who keep at least one; stored patients keep "
        "all of theirs. A single modality is asked only about those who still have it.</p>"
        f"<div class='pair'>{''.join(drawn)}</div>"
    )


def _calibration(parts: Sequence[Part]) -> str:
    drawn = [
        _figure(
            charts.reliability(parts),
            "Reliability: on the dashed line a probability means what it says; below it the method is too sure. Bars "
            f"with fewer than {charts.FEWEST_IN_BIN} patients are not drawn.",
        ),
        _figure(charts.coverage(parts), "Accuracy when only the surest patients are called."),
        _figure(charts.conformal(parts), "Conformal sets: on or above the dashed line the promise is kept."),
        _figure(charts.set_sizes(parts), "What the promise costs: labels in a set."),
    ]
    return f"<div class='pair'>{''.join(drawn)}</div>"


def _confusion(part: Part) -> str:
    caption = (
        f"Rows: true label, columns: what {part.method} called; the shade is the share of the row. "
        f"{len(part.confusion.labels)} labels, commonest first."
    )
    return _figure(charts.confusion(part), caption, broad=True)


def _leaks(found: Evaluation) -> str:
    head = ["property", "scheme", "method", "patients", "told", "chance, same label", "commonest", "leak", "held out"]
    body = [
        f"<tr><td>{escape(meter.name)}</td><td>{charts.SHORT[one.scheme]}</td><td>{escape(one.method)}</td>"
        f"<td>{meter.told.n:,}</td>{cell(meter.told)}{cell(meter.chance_same_label)}{cell(meter.chance_commonest)}"
        f"{cell(meter.excess)}<td>{meter.held_out:,}</td></tr>"
        for one in found.leaks
        for meter in one.meters
    ]
    if not body:
        return "<p>There was nothing to tell.</p>"
    return (
        "<p>How often the majority of the ten nearest has the patient's own site, or set of assays, or another "
        "column. Some of it follows from the label: a site sends few types. <i>Chance, same label</i> is what remains "
        "when each neighbour is replaced by a random patient of its label; the <i>leak</i> is the difference. Patients "
        "whose value nobody in their gallery has, as with whole groups held out, cannot be asked.</p>"
        + _figure(charts.leaks(found), "Leak meters, with intervals.", broad=True)
        + table(head, body)
    )


def _unknown(found: Evaluation) -> str:
    if not found.unknown:
        return "<p>Not measured.</p>"
    body = [
        f"<tr><td>{escape(one.method)}</td><td>{charts.SHORT[one.scheme]}</td><td>{one.auroc.n:,}</td>"
        f"<td>{one.patients:,}</td>{cell(one.auroc)}</tr>"
        for one in found.unknown
    ]
    names = "; ".join(", ".join(map(escape, some)) for some in dict.fromkeys(found.unknown[0].left_out))
    return (
        f"<p>In each fold the gallery is without some labels ({names}). AUROC: how often a patient of these is "
        "stranger to it than a patient of the others.</p>"
        + table(["method", "scheme", "patients", "of left-out labels", "AUROC"], body)
    )


def _all(found: Evaluation) -> str:
    out = []
    for part in found.parts:
        figures = part.overall.figures
        rows = [
            f"<tr><td>{escape(name)}</td><td>{number(f.value)}</td><td>{number(f.low)}</td><td>{number(f.high)}</td></tr>"
            for name, f in figures.items()
        ]
        lost = part.overall.unanswerable
        told = f", {lost:,} of a label that nobody in their gallery has" if lost else ""
        out.append(
            f"<details><summary>{escape(part.method)}, {charts.SHORT[part.scheme]}, {part.missing:.0%} of the assays "
            f"taken away: {part.overall.patients:,} patients{told}</summary>"
            f"{table(['figure', 'value', 'low', 'high'], rows)}</details>"
        )
    return "".join(out)


def _footer(found: Evaluation) -> str:
    from molsig import __version__

    how = found.settings
    depth = "the whole gallery" if how.depth is None else f"the nearest {how.depth:,}"
    return (
        f"molsig {__version__}. mAP over {depth}; {how.draws:,} bootstrap resamples of patients. Research use only, "
        "not a medical device."
    )


def _scheme(found: Evaluation, scheme: str) -> str:
    names: Mapping[str, str] = {
        HELD_OUT: f"whole {escape(str(found.settings.group))}s held out",
        RANDOM: "random folds of patients",
    }
    return names[scheme]


def _best(scores: Sequence[Scores]) -> dict[str, float | None]:
    best: dict[str, float | None] = {}
    for name in SUMMARY:
        values = [v for one in scores if (v := one.figures[name].value) is not None]
        best[name] = (min if name in LESS_IS_BETTER else max)(values, default=None)
    return best


def _figure(drawing: str, caption: str, *, broad: bool = False) -> str:
    return f"<figure{' class=broad' if broad else ''}>{drawing}<figcaption>{caption}</figcaption></figure>"
