"""An explanation as one page: no script, no outside link, pictures inline."""

from __future__ import annotations

import base64
import math
from html import escape
from typing import TYPE_CHECKING

from molsig.evaluate.explain_pictures import contributions, evidence
from molsig.evaluate.marker_document import document, figure, listing

if TYPE_CHECKING:
    from molsig.retrieval.explanation import Explanation, Features, ItemPair, Shared

STYLE = """
.two{display:grid;grid-template-columns:1fr 1fr;gap:.4rem 1.6rem;max-width:62rem;margin:.2rem 0 1.1rem}
.two h4{margin:.2rem 0;font-size:13.5px;color:#4a5666;font-weight:600}.two blockquote{margin:0;padding:.2rem .8rem;
border-left:3px solid #56b4e9}.two div+div blockquote{border-color:#cc79a7}.two img{width:256px;max-width:100%;
border-radius:4px}.near{color:#4a5666;font-size:13.5px;margin:.9rem 0 0}
ul.told{color:#4a5666;font-size:14px}
"""


def page(found: Explanation) -> str:
    """The whole page."""
    sections = [("How alike they are", _overview(found))]
    sections += [(_heading(one), _shared(found, one)) for one in found.shared]
    sections.append(("What this can say", _limits()))
    return document(
        f"{found.hit} beside {found.query}",
        found.headline() + ".",
        found.notes,
        sections,
        verb="explain",
        style=STYLE,
    )


def _overview(found: Explanation) -> str:
    drawn = ""
    if any(one.nats is not None for one in found.shared):
        most = ""
        if found.chance:
            most = (
                f" By chance that is so in {found.chance:.1%}, so no modality can say more than "
                f"{-math.log(found.chance):.2f} nats."
            )
        drawn = figure(
            evidence(found.shared),
            f"A nat makes it 2.7 times as likely as by chance that both are of one type.{most}",
        )
    head = ["modality", "cosine", "more alike than", *(["evidence, nats"] if found.nats else [])]
    rows = [
        [
            one.modality,
            f"{one.cosine:.3f}",
            "" if one.percentile is None else f"{one.percentile:.2f} % of {one.pairs:,} pairs",
            *(["" if one.nats is None else f"{one.nats:+.2f}"] if found.nats else []),
        ]
        for one in found.shared
    ]
    alone = "".join(
        f"<p>{escape(name)} alone has {escape(', '.join(own))}: it says nothing of the two.</p>"
        for name, own in ((found.query, found.only_query), (found.hit, found.only_hit))
        if own
    )
    call = found.call
    said = ""
    if call is not None:
        likely = ", ".join(f"{name} {share:.2f}" for name, share in list(call.classes.items())[:3])
        said = f"<p>{escape(found.query)} by all its evidence: {escape(likely)}.</p>"
    return drawn + listing(head, rows, words=("modality",)) + said + alone


def _heading(one: Shared) -> str:
    return {"rna": "RNA", "mirna": "miRNA", "mutation": "Mutations", "report": "Reports", "tile": "Tiles"}.get(
        one.modality, one.modality
    )


def _shared(found: Explanation, one: Shared) -> str:
    parts = []
    if one.features is not None:
        parts.append(_features(found, one, one.features))
    if one.items:
        parts.append(
            "<p>Pairs whose cosine is furthest beyond what either has with the items of other patients, so that what "
            "stands in every report, or is on every slide, comes last.</p>"
        )
        parts += [_pair(found, pair) for pair in one.items]
    if one.told:
        parts.append(f"<ul class='told'>{''.join(f'<li>{escape(line)}</li>' for line in one.told)}</ul>")
    return "".join(parts)


def _features(found: Explanation, one: Shared, of: Features) -> str:
    caption = (
        f"The bars add up to {of.score:.3f} with the other features: the cosine of the two vectors, both seen from "
        f"{of.reference}. {one.rest_said()}"
    )
    whose = "" if one.samples is None else f"<p>Samples {escape(one.samples[0])} and {escape(one.samples[1])}.</p>"
    if not of.speak_for and not of.against:
        return whose + "<p>No feature contributes anything.</p>"
    return whose + figure(contributions(of, found.query, found.hit), caption).replace(
        "<figure>", "<figure class=broad>"
    )


def _pair(found: Explanation, pair: ItemPair) -> str:
    sides = (
        (found.query, pair.query_sample, pair.query_item, pair.query_text, pair.query_picture),
        (found.hit, pair.hit_sample, pair.hit_item, pair.hit_text, pair.hit_picture),
    )
    nearest = ", the nearest pair of all" if pair.nearest else ""
    cells = []
    for name, sample, item, text, picture in sides:
        of = "" if sample == name else f" sample {escape(sample)},"
        head = f"<h4>{escape(name)},{of} item {escape(item)}</h4>"
        if picture is not None:
            data = base64.b64encode(picture).decode()
            head += f"<img alt='tile {escape(item)} of {escape(sample)}' src='data:image/png;base64,{data}'>"
        if text is not None:
            head += f"<blockquote>{escape(text)}</blockquote>"
        cells.append(f"<div>{head}</div>")
    return (
        f"<p class='near'>cosine {pair.cosine:.3f}, {pair.beyond:+.2f} beyond the common{nearest}</p>"
        f"<div class='two'>{''.join(cells)}</div>"
    )


def _limits() -> str:
    return (
        "<p>Features are those that the likeness of the vectors rests on; the evidence is learned from these vectors "
        "and from who is near, and is not divided among features. What a feature contributes is what the encoder makes "
        "of it in these two samples, not a cause and not a marker of a type: an encoder that looks at no label finds "
        "likeness of purity, batch and site as well. A feature that was not measured, or is not among those the "
        "encoder was fitted on, cannot appear.</p>"
    )
