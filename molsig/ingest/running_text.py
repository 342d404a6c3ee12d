"""Lines of a report become running text: characters normalised, broken words joined, line ends mended."""

from __future__ import annotations

import re
import unicodedata

_ENDS = str.maketrans({"\x0b": "\n", "\x0c": "\n\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n"})
"""Characters that end a line or a page."""

_BROKEN = re.compile("[\x02\ufffe](?:\r?\n)?|\u00ad(?:\r?\n)")
"""PDFium writes U+0002 or U+FFFE for the hyphen of a broken word and the line end behind it."""

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2212", "-"))

_HYPHEN_AT_END = re.compile(r"([^\W_][\w'/.]*(?:-[\w'/.]+)*)-[ \t]*\n[ \t]*(?=([^\W_]+))")

_COMPOUND = re.compile(
    r"blue|brown|cross|dark|deep|fine|follow|formalin|free|gray|green|grey|half|high|ill|large|left|light|long|low|lower|"
    r"moderate|moderately|mucin|near|non|one|pink|poorly|purple|red|right|self|semi|short|skin|small|soft|tan|thick|thin|"
    r"three|tumor|tumour|two|upper|well|white|wide|yellow"
)
"""Words that a hyphen joins to the next one, so that at a line end it is a hyphen of the word and stays."""

_TAIL = re.compile(
    r"and|appearing|based|bearing|brown|cell|differentiated|fixed|free|grade|gray|green|grey|like|lined|lymph|negative|"
    r"pink|positive|sided|size|sized|square|stage|staged|type|up|white|yellow"
)
"""Words that follow a hyphen in compounds; none that may end a broken word ("tum-or", "measu-red")."""

_STARTS_A_LINE = re.compile(r"(?:[-*\u2022\u25aa\u25cf\u2013\u2014>]\s|\(?(?:\d{1,2}|[A-Za-z]|[IVX]{1,4})[.):]\s)")
_LABEL = re.compile(r"[A-Z][\w /&(),'-]{0,48}:(?:\s|$)")

_NEVER_LAST = (
    "the|and|of|with|is|are|was|were|or|an|from|by|at|as|its|has|have|be|been|which|that|for|to|than|between|within|"
    "into|without|containing|measuring|consists"
)
_EVIDENCE = re.compile(rf"(?:\b(?:{_NEVER_LAST})|,|-)\. (?=[a-z])")
_STOP_BEFORE_LOWER = re.compile(r"(?<=[\w,;:)%\"'-])\. (?=[a-z])")
_STOP_BEFORE_CAPITAL = re.compile(r"(?<=[\w)\"'])\. (?=[\"'(]?[A-Z])")

_DOT_IN_THE_MIDDLE = re.compile(
    rf"(?:(?<=[,-])|(?<= [xX])|(?<=[a-z] [ax])|\b(?P<last>{_NEVER_LAST}|{_NEVER_LAST.upper()}))"
    r"\. (?=[^\W_]|[(\"'#])(?!\w[.)]\s)"
)
_DOT_BEFORE_LOWER = re.compile(
    r"(?P<last>[\w'/()%\"]+)(?P<mark>[,;:-]?)\. (?=(?P<next>[a-z][a-z'/]*)(?P<after>[\s,;:.)/\"'?-]|$))"
)
_KEEPS_ITS_DOT = re.compile(
    r"al|ant|appr|approx|avg|ca|cf|cyto|dept|diam|dist|dr|dx|e\.g|eg|etc|fig|figs|hr|hrs|hx|"
    r"i\.e|ie|incl|inf|lat|lt|max|med|min|mo|mr|mrs|ms|path|post|prof|prox|pt|pts|ref|resp|rt|"
    r"rx|sec|spec|st|sup|surg|tx|vs|wt|yo|yr|yrs"
)


def running_text(text: str) -> str:
    r"""Turn the text of a report into paragraphs of running text, one a line; no letter is lost or added.

    * Unicode is normalised to NFKC (ligatures, full-width forms, no-break spaces); control, format and private
      characters go; white space becomes single spaces.
    * A word broken at a line end is joined, see `join_broken_words`.
    * A line break is kept where the author made it and turned to a space where the line was full. It is the author's
      after an empty line, before a bullet, an item number or a label ("Margins:"), and where the first word of the
      next line would have fitted (in 85 % of the longest line) and starts with no small letter.
    * Full stops that a scan put at line ends are mended, see `mend_stops`.
    """
    text = unicodedata.normalize("NFKC", _BROKEN.sub("-\n", text).translate(_ENDS)).translate(_DASHES)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isprintable():
        text = "".join(_printable(c) for c in text)
    text = re.sub(r"(?<=\w)-\. (?=[a-z])", "-\n", text)
    text = join_broken_words(text)
    return mend_stops("\n".join(_paragraphs(text)))


def _printable(character: str) -> str:
    if character == "\n" or not (kind := unicodedata.category(character)).startswith("C"):
        return character
    return "" if kind == "Cf" else " "  # zero-width joiners and the like stand within words


def join_broken_words(text: str) -> str:
    r"""Join words broken by a hyphen at a line end.

    The hyphen goes ("carci-\nnoma" -> "carcinoma") when both halves are small letters. It stays, without the line
    break, when the text has the word with its hyphen elsewhere; when the first half has a digit or a later capital
    ("HER2-\nnegative", "S-\n100"), is a single letter or has a hyphen; when the second half starts with a capital or a
    digit; and when either half is one that makes compounds ("well-\ndifferentiated", "tan-\nwhite", "spindle-\ncell").
    A word that the text has elsewhere without the hyphen loses it in any case.
    """
    if "-" not in text:
        return text
    words = {word.lower() for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", text)}

    def join(found: re.Match[str]) -> str:
        first, second = found[1], found[2]
        half = re.split(r"[-'/.]", first)[-1]
        if (half + second).lower() in words and half == first:
            return first
        plain = half == first and len(half) > 1 and half.isalpha() and half[1:].islower() and second.islower()
        keep = (
            not plain
            or not second.isalpha()
            or f"{first}-{second}".lower() in words
            or _COMPOUND.fullmatch(half.lower())
            or _TAIL.fullmatch(second)
        )
        return first + "-" if keep else first

    return _HYPHEN_AT_END.sub(join, text)


def _paragraphs(text: str) -> list[str]:
    lines = [" ".join(line.split()) for line in text.split("\n")]
    width = max(map(len, lines), default=0)
    paragraphs: list[str] = []
    before = ""
    for line in lines:
        if not line:
            before = ""
            continue
        if before and not _is_own_line(before, line, width):
            paragraphs[-1] += f" {line}"
        else:
            paragraphs.append(line)
        before = line
    return paragraphs


def _is_own_line(before: str, line: str, width: int) -> bool:
    if _STARTS_A_LINE.match(line) or _LABEL.match(line):
        return True
    fits = len(before) + 1 + len(line.split(" ", 1)[0]) < 0.85 * width
    return fits and not line[0].islower()


def mend_stops(text: str) -> str:
    """Take out full stops that stand in the middle of a sentence, as text recognition leaves them at line ends.

    A stop goes after a comma, a dash, the "x" of a size or a word that ends no sentence ("the", "and", "of" ...) when
    more follows. A stop before a word in small letters goes when line ends were marked so: the text has such a stop
    after a comma, a hyphen or one of these words, or it has several and still more stops before capitals, so that it is
    no text without capitals. Stops of abbreviations and of item letters ("c. Margins") stay.
    """
    marked = _EVIDENCE.search(text) is not None
    small = len(_STOP_BEFORE_LOWER.findall(text))
    text = _DOT_IN_THE_MIDDLE.sub(lambda found: f"{found['last'] or ''} ", text)
    if not marked and (small < 2 or small > len(_STOP_BEFORE_CAPITAL.findall(text))):
        return text

    def mend(found: re.Match[str]) -> str:
        last, following = found["last"], found["next"]
        item = len(following) == 1 and found["after"] in ".)" and following not in "ax"
        initial = len(last) == 1 and last.isalpha() and last not in "ax"
        if item or initial or _KEEPS_ITS_DOT.fullmatch(last.lower().strip("(")):
            return found[0]
        return f"{last}{found['mark']} "

    return _DOT_BEFORE_LOWER.sub(mend, text)
