"""Words that name the diagnosis are hidden, the others are not."""

from __future__ import annotations

import pytest

from molsig.encoders.masking import TOKEN, mask, masked_words

TYPES = (
    "adrenocortical carcinoma",
    "bladder urothelial carcinoma",
    "breast invasive carcinoma",
    "cervical squamous cell carcinoma",
    "cholangiocarcinoma",
    "colon adenocarcinoma",
    "diffuse large B-cell lymphoma",
    "esophageal carcinoma",
    "glioblastoma multiforme",
    "head and neck squamous cell carcinoma",
    "kidney chromophobe",
    "kidney renal clear cell carcinoma",
    "kidney renal papillary cell carcinoma",
    "acute myeloid leukemia",
    "brain lower grade glioma",
    "liver hepatocellular carcinoma",
    "lung adenocarcinoma",
    "lung squamous cell carcinoma",
    "mesothelioma",
    "ovarian serous cystadenocarcinoma",
    "pancreatic adenocarcinoma",
    "pheochromocytoma and paraganglioma",
    "prostate adenocarcinoma",
    "rectum adenocarcinoma",
    "sarcoma",
    "skin cutaneous melanoma",
    "stomach adenocarcinoma",
    "testicular germ cell tumor",
    "thyroid carcinoma",
    "thymoma",
    "uterine corpus endometrial carcinoma",
    "uterine carcinosarcoma",
    "uveal melanoma",
)
NEUTRAL = {"invasive", "lower", "grade", "and", "tumor", "diffuse", "cell"}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("form", [str, str.upper, str.title], ids=["lower", "upper", "title"])
def test_nothing_of_a_type_of_tcga_is_left(name: str, form: type[str]) -> None:
    left = mask(form(name)).lower().replace("-", " ").split()
    assert TOKEN in left
    assert set(left) - {TOKEN} <= NEUTRAL


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Invasive ductal carcinoma, NOS", "Invasive term, NOS"),
        ("non-small-cell lung cancer", "term cancer"),
        ("NON SMALL\nCELL", "term"),
        ("squamous-cell  Ca of the tongue", "term of the term"),
        ("Gerota's fascia, peribronchial and extraprostatic", "term fascia, term and term"),
        ("oligo-astrocytoma", "term"),
        ("pancreatico-duodenectomy (Whipple)", "term (term)"),
        ("Carcinorna, rnelanoma, adenocarcinona", "term, term, term"),
        ("Gleason 3+4=7; Fuhrman grade 2", "term 3+4=7; term grade 2"),
        ("NSCLC. RCC", "term. term"),
        ("Nierenzellkarzinom, cœur, naïve", "Nierenzellkarzinom, cœur, naïve"),
        ("", ""),
    ],
)
def test_words_are_hidden_in_any_spelling(text: str, hidden: str) -> None:
    assert mask(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "pT2b pN0 (0/14) M1a, stage IIIA, grade 2, poorly differentiated.",
        "The malignant tumor is metastatic to 3 of 12 lymph nodes; lymphadenectomy.",
        "Hematoma and granuloma in a desmoplastic stroma, no perineural invasion.",
        "Read by a cooperating colleague; analysis of vesicular nuclei; frontier, temporary, rectangular, delivery.",
        "Sections 1-4: margin 2.5 cm, inked black, received in formalin.",
        "The location and the army legend, a headline, the necklace and the charm.",
    ],
)
def test_stage_spread_and_everyday_words_stay(text: str) -> None:
    assert mask(text) == text
    assert masked_words(text) == ()


def test_what_was_hidden_is_told_as_it_stood() -> None:
    text = "LUNG, left: Adeno-carcinoma and renal cell carcinoma."
    assert masked_words(text) == ("LUNG", "Adeno-carcinoma", "renal cell carcinoma")
    assert mask(mask(text)) == mask(text)
