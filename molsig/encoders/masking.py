"""Words that name the diagnosis, replaced before a report is encoded.

A report names the tumour and the organ outright, so that typing from its text can be reading the answer. With these
words hidden, what is left is how the tumour looks, how far it has spread, and how the report is written.

What it does not do: it knows the spellings below, in any case, joined, hyphenated or apart, but not every spelling
error of OCR ("carcinorna" is caught by its stem, "rnelanoma" by its ending, "pros tate" is not). Immunohistochemistry
(TTF-1, ER, HER2), gross descriptions, specimen sizes, regional lymph nodes and the style of the hospital stay and
still tell the organ. A masked score is therefore an upper bound of what the words beside the diagnosis tell, no proof
that nothing leaks. Grade, stage and TNM words stay, but for grading systems that belong to one organ. Words are
hidden wherever they stand: "no evidence of melanoma" and "colonic metastasis of breast cancer" lose their names as
well.
"""

from __future__ import annotations

import re
from functools import cache

VERSION = 1
"""Raised when a word is added or taken away: vectors of two lists do not mix."""

TOKEN = "term"
"""Stands for one hidden word or a run of them: an ordinary English noun, which a text model has seen."""

PHRASES = """
non small cell; small cell; oat cell; large cell; clear cell; renal cell; transitional cell; germ cell; giant cell;
basal cell; squamous cell; spindle cell; signet ring; signet ring cell; hurthle cell; islet cell; merkel cell; yolk
sac; granulosa cell; sertoli leydig; leydig cell; diffuse large b cell; b cell; acute myeloid; soft tissue; bone
marrow; head and neck; floor of mouth; seminal vesicle; seminal vesicles; vas deferens; bile duct; bile ducts; common
bile duct; porta hepatis; ampulla of vater; lamina propria; gerota s; bloom richardson; scarff bloom; clark level;
clark s level; fallopian tube; fallopian tubes; true vocal; false vocal; vocal cord; vocal cords; corpus callosum;
spinal cord; spermatic cord; tunica albuginea; rete testis; ciliary body
"""
"""Words that name a type or a site only side by side."""

ANYWHERE = """
carcin; sarcom; adenocarc; melano; gliobl; glioma; blastom; cytoma; lymphoma; leukem; leukaem; myelom; mesotheli;
thymom; seminom; teratom; germinom; carcinoid; astrocyt; oligodendr; ependym; schwann; paragangl; pheochrom;
phaeochrom; cholangio; hepatocell; hepatocyt; urothel; squamous; endometri; ductal; lobular; serous; mucinous;
papillar; chromophob; medullary; follicular; oncocyt; neuroendocrin; choriocarc; chordoma; hodgkin; liposarc; leiomyo;
fibrohistiocyt; nephrectom; ectomy
"""
"""Stems that name a histology, or an organ by its removal, wherever in a word they stand."""

STARTS = """
breast; mammar; mastopath; nipple; areol; axill; lung; pulmon; bronch; alveol; pleur; trache; pneumon; hilar; hilum;
thyroid; parathyroid; thymus; thymic; mediastin; adren; pituitar; liver; hepat; biliar; gallbladder; cholecyst;
pancrea; duoden; stomach; gastr; pylor; esophag; oesophag; bowel; intestin; colon; colect; colorect; mesocol;
mesorect; sigmoid; rectum; rectal; recto; cecum; cecal; caecum; caecal; ileum; ileal; ileo; jejun; appendix; appendic;
anorect; periton; retroperiton; oment; mesenter; kidney; renal; nephr; perinephr; perirenal; ureter; urethr; bladder;
urinar; vesical; vesico; detrusor; trigon; prostat; testis; testes; testic; epididym; scrot; penis; penile; uterus;
uterin; utero; myometr; parametr; cervix; cervic; endocerv; exocerv; ectocerv; vagin; vulv; ovary; ovarian; ovaries;
adnex; salping; hyster; placent; brain; cereb; crani; intracran; mening; dural; frontal; fronto; temporal; temporo;
pariet; occipit; supratentor; thalam; skin; cutan; subcutan; derm; epiderm; scalp; eye; ocul; uvea; uveal; choroid;
retina; orbit; iris; larynx; laryng; supraglott; glott; subglott; pharyn; oropharyn; nasopharyn; hypopharyn;
hypophary; tongue; lingual; tonsil; mandib; maxill; buccal; gingiv; retromolar; palat; parotid; submandib; saliva;
spleen; splen; femur; femoral; tibia; humer; thigh; extremit; abdom; thorax; thorac; pelvi; groin; inguin; myeloid;
myeloblast; leydig; sertoli; islet; gleason; fuhrman; breslow; nottingham; masaoka; dukes; whipple; craniotom;
laryngoscop; bronchoscop; colonoscop; cystoscop; hepatitis; cirrho; barrett
"""
"""Beginnings of words that name an organ, a site, a grading system of one organ, or a procedure on one."""

WHOLE = """
ca; adeno; oligo; astro; corpus; multiforme; adenoca; scca; idc; ilc; dcis; lcis; scc; nsclc; sclc; hcc; rcc; ccrcc;
tcc; gbm; gist; dlbcl; aml; mfh; hgpin; pin; bph; turbt; turp; bso; tah; tahbso; brca; luad; lusc; coad; prad; paad;
kirc; kirp; kich; blca; stad; thca; ucec; ucs; skcm; uvm; lihc; chol; hnsc; esca; cesc; tgct; thym; pcpg; lgg; laml;
dlbc; sarc; meso; acc; oral; anal; anus; head; neck; chest; bone; bones; arm; leg; cardia; dura; glial; neural
"""
"""Short words, abbreviations and TCGA codes that count as whole words only. READ, a verb, and OV are left out."""

ENDING = r"\w{3,}oma(?:s|ta|tous)?"
"""Tumours are named so; words of this form that name none:"""

NOT_TUMOURS = """
stroma; stromas; hematoma; hematomas; haematoma; haematomas; granuloma; granulomas; granulomata; granulomatous;
glaucoma; diploma; hydroma; seroma; tuberculoma; xanthoma; xanthomas; xanthomatous; genoma
"""

KEPT = """
adenectomy; lymphadenectomy; ectomy; lymphoglandular; colonized; colonization; pelvicalyceal
"""
"""Words that the stems would catch and that name nothing. Dissection of lymph nodes is part of any staging."""

PREFIXES = """
ante; endo; extra; hemi; hypo; infra; inter; intra; meso; multi; non; para; per; peri; post; pre; retro; sub; supra;
trans
"""
"""May stand before such a beginning: peribronchial, extraprostatic, parathyroid."""

_WORD = re.compile(r"[^\W\d_]+")
_JOINTS = " \t\r\n-/\u2010\u2011\u2013"
_BETWEEN = r"[\s_'\u2019.\-\u2010\u2011\u2013]{0,3}"


def mask(text: str) -> str:
    """Replace words that name the diagnosis, its histology or its organ by ``term``; a run of them by one.

    Parameters
    ----------
    text
        Any text; what is not replaced stays as it is, spaces and line ends included.
    """
    parts, end = [], 0
    for start, stop in _spans(text):
        parts += [text[end:start], TOKEN]
        end = stop
    return "".join([*parts, text[end:]])


def masked_words(text: str) -> tuple[str, ...]:
    """What `mask` replaces, in order, as it stands in `text`."""
    return tuple(text[start:stop] for start, stop in _spans(text))


def _spans(text: str) -> list[tuple[int, int]]:
    """Places of hidden words; those with nothing but spaces, hyphens or slashes between them are one."""
    phrases, words, kept = _patterns()
    found = [match.span() for match in phrases.finditer(text)]
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if words.fullmatch(word) and word not in kept:
            found.append(match.span())
    runs: list[tuple[int, int]] = []
    for start, stop in sorted(found):
        if runs and (start <= runs[-1][1] or not text[runs[-1][1] : start].strip(_JOINTS)):
            runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
        else:
            runs.append((start, stop))
    return runs


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], frozenset[str]]:
    phrases = sorted(_list(PHRASES), key=len, reverse=True)
    joined = "|".join(_BETWEEN.join(map(re.escape, one.split())) for one in phrases)
    alternatives = (
        rf"\w*(?:{'|'.join(_list(ANYWHERE))})\w*",
        rf"(?:{'|'.join(_list(PREFIXES))})?(?:{'|'.join(_list(STARTS))})\w*",
        "|".join(_list(WHOLE)),
        ENDING,
    )
    return (
        re.compile(rf"(?<![^\W\d_])(?:{joined})(?![^\W\d_])", re.IGNORECASE),
        re.compile("|".join(f"(?:{one})" for one in alternatives)),
        frozenset(_list(KEPT)) | frozenset(_list(NOT_TUMOURS)),
    )


def _list(block: str) -> list[str]:
    return [one for one in (part.strip() for part in block.replace("\n", " ").split(";")) if one]
