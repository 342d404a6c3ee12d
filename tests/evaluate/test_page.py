"""The page: whole, closed in itself, safe with any name, and with the figures of the document on it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.evaluate.report import HELD_OUT, Evaluation
from molsig.evaluate.run import Labelled, evaluate
from molsig.evaluate.svg import Dots, Series, dots, lines, matrix, number, ticks
from molsig.evaluate.tables import FEWEST_BY_ASSAYS
from molsig.retrieval.plain import Plain

from ..patients import cohort

VOID = {"meta", "br", "hr", "img"}


class Tags(HTMLParser):
    """Checks that every tag is closed in order, and keeps what links and what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        assert tag not in ("script", "link", "iframe", "object", "img")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    whole = cohort(400, labels=20, sites=15, seed=2, noise=1.5)
    # Names as a user's table may hold them.
    labels = np.where(whole.labels == "T1", "<b>A&B</b>", whole.labels.astype("U12"))
    labelled = Labelled(whole.vectors, labels, whole.groups, {"se<quencer": np.where(np.arange(400) % 2, "x", "y")})
    methods = [Plain(), Plain("rna")]
    return evaluate(labelled, methods, label="kind<i>", group="si&te", draws=30, left_out=2, missing=(0, 0.5))


@pytest.fixture(scope="module")
def page(found: Evaluation) -> str:
    return found.to_html()


def test_the_page_is_whole_and_closed_in_itself(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {name for name, _ in tags.attributes} & {"href", "src", "onclick", "onload", "srcset"}
    assert "http" not in page
    assert "url(" not in page
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", page.lower())


def test_names_are_shown_and_not_obeyed(page: str) -> None:
    assert "<b>A" not in page
    assert "kind<i>" not in page
    assert "se<quencer" not in page
    assert "&lt;b&gt;A&amp;B&lt;/b&gt;" in page


def test_every_picture_is_there_and_well_formed(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    titles = []
    for one in drawings:
        title = ElementTree.fromstring(one).find("title")
        assert title is not None
        titles.append(title.text)
    assert titles == [
        *("P@10", "P@10", "Accuracy of the vote of 10", "Accuracy of the vote of 10"),
        *("Reliability diagram", "Accuracy against coverage", "Conformal coverage", "Size of conformal sets"),
        *("Confusion matrix", "Leak meters"),
    ]


def test_the_page_says_what_the_document_says(found: Evaluation, page: str) -> None:
    tags = Tags()
    tags.feed(page)
    said = " ".join(tags.said)
    for part in found.parts:
        for figure in part.overall.figures.values():
            assert f"{figure.value:.3f}" in said
    for note in found.notes:
        assert note in said
    for comparison in found.comparisons:
        if comparison.patients >= FEWEST_BY_ASSAYS and comparison.scheme == HELD_OUT:
            assert f"{comparison.differences['vote@10'].value:+.3f}" in said
    for leak in found.leaks:
        for meter in leak.meters:
            assert f"{meter.excess.value:.3f}" in said


def test_labels_beyond_the_biggest_are_one_row(found: Evaluation, page: str) -> None:
    assert "4 others" in page
    part = found.part(HELD_OUT, "sum")
    assert part is not None
    drawing = page[page.index("<title>Confusion matrix") :]
    counts = re.findall(r'class="count"[^>]*>([\d,]+)<', drawing[: drawing.index("</svg>")])
    assert sum(int(count) for count in counts) == part.overall.patients


def test_a_page_of_one_method_one_scheme_and_no_meter(found: Evaluation) -> None:
    first = replace(found, parts=found.parts[:1], comparisons=(), leaks=(), unknown=(), notes=())
    first = replace(first, settings=replace(found.settings, missing=(0.0,)))
    tags = Tags()
    tags.feed(first.to_html())
    assert tags.open == []
    assert "Measured with all assays only." in " ".join(tags.said)


def test_an_evaluation_is_written_by_the_ending(found: Evaluation, tmp_path: Path) -> None:
    found.save(tmp_path / "a.html")
    found.save(tmp_path / "a.json")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "a.json").read_text().startswith("{")
    with pytest.raises(UsageError, match=r"\.html or \.json"):
        found.save(tmp_path / "a.pdf")


def test_points_stand_where_their_numbers_say() -> None:
    drawing = lines("t", [Series("a", (0.0, 0.5, 1.0), (0.0, 0.5, 1.0))], "x", "y", y_range=(0, 1), diagonal=True)
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in ElementTree.fromstring(drawing).iter("circle")]
    (x0, y0), (x1, y1), (x2, y2) = circles[1:]  # after the legend's
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert x0 < x2
    assert y0 > y2
    ideal = next(e for e in ElementTree.fromstring(drawing).iter("line") if e.get("class") == "ideal")
    assert [float(ideal.get(k, 0)) for k in ("x1", "y1", "x2", "y2")] == pytest.approx([x0, y0, x2, y2], abs=0.1)


def test_more_methods_than_colours_and_no_point_at_all() -> None:
    many = [Series(f"method {i}", (0.0, 1.0), (i / 12, 1.0)) for i in range(12)]
    ElementTree.fromstring(lines("t", [*many, Series("none", (), ())], "x", "y"))
    ElementTree.fromstring(lines("t", [], "x", "y"))
    ElementTree.fromstring(dots("t", [Dots("a", 0.5, 0.4, 0.6, (0.1,))], "x", "f", ["m"]))
    ElementTree.fromstring(matrix("t", ["a"], ["a"], [[0]]))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.21, 0.79, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (0, 24, [0, 5, 10, 15, 20, 25]),
    ],
)
def test_ticks_are_round_and_span_the_data(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_ticks_of_one_value() -> None:
    found = ticks(0.5, 0.5)
    assert found[0] <= 0.5 <= found[-1]
    assert len(found) > 1


def test_numbers_are_short() -> None:
    assert [number(v) for v in (0.0, 0.25, 12.0, 1234.5)] == ["0", "0.25", "12", "1,234"]
