"""Lines become running text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.ingest.running_text import running_text


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("invasive carci-\nnoma of the breast", "invasive carcinoma of the breast"),
        ("invasive carci-  \r\n  noma", "invasive carcinoma"),
        ("carci\u00ad\nnoma, carci\x02noma, car\u00adcinoma", "carcinoma, carcinoma, carcinoma"),
        ("a HER2-\nnegative tumour", "a HER2-negative tumour"),
        ("positive for S-\n100 protein", "positive for S-100 protein"),
        ("an ER-\npositive tumour, non-\nsmall", "an ER-positive tumour, non-small"),
        ("well-\ndifferentiated, tan-\nwhite", "well-differentiated, tan-white"),
        ("a spindle-\ncell tumour", "a spindle-cell tumour"),
        ("lympho-vascular. Seen is lympho-\nvascular invasion", "lympho-vascular. Seen is lympho-vascular invasion"),
        ("the lowgrade lesion is low-\ngrade", "the lowgrade lesion is lowgrade"),
        ("pT2-\nN0", "pT2-N0"),
        ("Salpingo-\nOophorectomy", "Salpingo-Oophorectomy"),
        ("a mass -\nseen before", "a mass - seen before"),
        ("a tumor-. free margin", "a tumor-free margin"),
    ],
)
def test_words_broken_at_a_line_end(text: str, joined: str) -> None:
    assert running_text(text) == joined


def test_characters_are_normalised() -> None:
    assert running_text("in\ufb01ltrating\u00a0\u00a0tumour,\t3\u202fcm\u00b2\x00 (\uff25\uff32+)") == (
        "infiltrating tumour, 3 cm2 (ER+)"
    )
    assert running_text("can\u200bcer \u2010 e\u0301") == "cancer - é"
    assert running_text(" \n\t\n ") == ""


def test_full_lines_are_joined_and_the_author_s_are_kept() -> None:
    wrapped = (
        "DIAGNOSIS:\nLung, right upper lobe, lobectomy, showing an invasive tumour of the\nbronchus that does not "
        "reach the pleura.\nTumour size: 2 cm\nMargins: free\n- nodes free\n2. Pleura\nBenign\n\nend of the report"
    )
    assert running_text(wrapped).split("\n") == [
        "DIAGNOSIS:",
        "Lung, right upper lobe, lobectomy, showing an invasive tumour of the bronchus that does not reach the pleura.",
        "Tumour size: 2 cm",
        "Margins: free",
        "- nodes free",
        "2. Pleura",
        "Benign",
        "end of the report",
    ]


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("The end of the. optic nerve is of. the usual kind.", "The end of the optic nerve is of the usual kind."),
        (
            "Tumour of the. lung with necrotic. areas. Nodes free.",
            "Tumour of the lung with necrotic areas. Nodes free.",
        ),
        ("Cores 2 x. 0.5 cm.", "Cores 2 x 0.5 cm."),
        ("HYSTERECTOMY WITH. BILATERAL TUBES", "HYSTERECTOMY WITH BILATERAL TUBES"),
        ("EXCISION -. NO TUMOUR", "EXCISION - NO TUMOUR"),
        # Abbreviations and items keep theirs, and a text without capitals keeps its sentences.
        ("Seen by Dr. who said of. it: approx. two.", "Seen by Dr. who said of it: approx. two."),
        ("Part of. it. c. Margins free.", "Part of it. c. Margins free."),
        ("no tumour. nodes free. pleura free.", "no tumour. nodes free. pleura free."),
        ("Nodes free. no tumour. Pleura.", "Nodes free. no tumour. Pleura."),
    ],
)
def test_stops_in_the_middle_of_sentences(text: str, mended: str) -> None:
    assert running_text(text) == mended


def letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


@given(
    st.text(
        st.one_of(
            st.sampled_from("aAxnN .-,:;\n\r\t\"'()12\u00ad\x02\u2010\ufb01\u0301"), st.characters(codec="utf-8")
        ),
        max_size=200,
    )
)
def test_no_letter_is_lost_or_added(text: str) -> None:
    assert letters(running_text(text)) == letters(unicodedata.normalize("NFKC", text))
