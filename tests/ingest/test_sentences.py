"""Running text is cut into sentences."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.errors import MissingExtraError
from molsig.ingest.running_text import running_text
from molsig.ingest.sentences import LONGEST, Splitter, is_fragment


@pytest.fixture(scope="module")
def splitter() -> Splitter:
    return Splitter()


@pytest.mark.parametrize(
    "sentences",
    [
        ["The tumour measures 2.5 cm.", "Sections show an adenocarcinoma, grade II.", "The margins are free of it."],
        ["The case was seen by Dr. Meyer on the same day.", "See block no. 3 for the margins, approx. 2 mm away."],
        [
            "A. Right lung, upper lobe, lobectomy.",
            "B. Lymph node, level 7, excision (0/3).",
            "C. Pleura with fibrosis.",
        ],
        ["AF1. Representative section of the tumour.", "AF2. Two lymph nodes, bisected."],
        ["Normal. The left kidney is without a lesion.", "Lymph nodes are free of tumour. None."],
        ["Three of four nodes with metastases. (3/4).", "The capsule is intact and smooth."],
        ["The tumour is positive for p53 (80 %), Ki-67 30 %.", "(The control was positive as well.)"],
    ],
)
def test_sentences_of_reports(splitter: Splitter, sentences: list[str]) -> None:
    assert splitter.split(" ".join(sentences)) == sentences


def test_headings_join_what_follows_and_the_last_piece_what_precedes(splitter: Splitter) -> None:
    text = "DIAGNOSIS:\nLung, left, biopsy\nSquamous cell carcinoma\nNo\nMargins: free of tumour\nSigned\nDr. X"
    assert splitter.split(text) == [
        "DIAGNOSIS: Lung, left, biopsy",
        "Squamous cell carcinoma",
        "No Margins: free of tumour Signed Dr. X",
    ]
    assert splitter.split("pT2. G2.") == ["pT2. G2."]
    assert splitter.split("") == []


def test_over_long_sentences_are_cut_at_punctuation(splitter: Splitter) -> None:
    clause = "a block of tissue with tumour from the margin"
    found = splitter.split("; ".join([clause] * 100))
    assert len(found) > 2
    assert all(len(one) <= LONGEST for one in found)
    assert all(one.endswith(("margin;", "margin")) for one in found)
    assert " ".join(found) == "; ".join([clause] * 100)
    solid = splitter.split("word " * 10 + "x" * 4000)
    assert max(map(len, solid)) == LONGEST
    assert "".join(solid).count("x") == 4000


def test_an_open_quote_does_not_hold_a_page_together(splitter: Splitter) -> None:
    one = "The specimen is a piece of tan tissue from the left side."
    found = splitter.split(f'Labelled "left lobe and received fresh. {" ".join([one] * 20)}')
    assert found.count(one) == 20


def letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["Dr.", "A.", "1.", "(0/3).", "AF1.", "e.g.", "3 x 2 cm.", '"left', "∯", "ȸ", "&ᓴ&", "...", "\n"]
            ),
            st.text(st.characters(codec="utf-8"), max_size=12),
            st.sampled_from(["Tumour", "is", "free", "nodes.", "of", "margins;", "x" * 900]),
        ),
        max_size=60,
    ).map(" ".join)
)
def test_no_letter_is_lost_and_no_sentence_too_long(splitter: Splitter, text: str) -> None:
    found = splitter.split(running_text(text))
    assert letters("".join(found)) == letters(unicodedata.normalize("NFKC", text))
    assert all(len(one) <= LONGEST for one in found)
    assert found == splitter.split(running_text(text))
    if len(found) > 1 and all(len(one) < LONGEST // 2 for one in found):
        assert not any(map(is_fragment, found))


def test_time_grows_with_the_length_of_the_text(splitter: Splitter) -> None:
    page = "The specimen No. 3 is labelled as approx. 2 cm of tissue. Sections of A. and B. show no tumour. " * 100

    def seconds(text: str) -> float:
        started = time.process_time()
        splitter.split(text)
        return time.process_time() - started

    seconds(page)
    assert seconds(page * 8) < 20 * max(seconds(page) for _ in range(3))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysbd", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'molsig\[reports\]'"):
        Splitter()
