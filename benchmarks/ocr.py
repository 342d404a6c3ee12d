"""Which OCR engine reads report pages better: character error rate and seconds a page of each.

    python -m benchmarks.ocr --data ../shared/data [--reports 20] [--letters 900] [--all] [--json]

Texts of real reports are laid out as A4 pages in DejaVu fonts (serif, sans, mono in turn) at 150 and 200 dpi, clean and
as a scan has them: turned by up to 0.7 degrees, blurred, with grey noise. Each report is rendered once, in one of the
four conditions in turn (`--all`: in every one), and all engines read the same pixels. The character error rate is the
Levenshtein distance over the length of the truth, white space normalised; once with spaces and once with none. Its
spread is the 95 % interval of a bootstrap over pages. "rapidocr, as it comes" is the engine with its own settings and
spaces, which molsig does not use. The fonts are those of matplotlib; `pip install matplotlib rapidfuzz` first.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.ingest.ocr import PageText, RapidOcr, Tesseract, has_tesseract
from molsig.ingest.page_lines import reading_order

if TYPE_CHECKING:
    from PIL.Image import Image

    from molsig.ingest.ocr import PageReader

FONTS = ("DejaVuSerif.ttf", "DejaVuSans.ttf", "DejaVuSansMono.ttf")
CONDITIONS = tuple((dpi, scan) for scan in (False, True) for dpi in (150, 200))
POINTS = 10.5


@dataclass(frozen=True)
class Reading:
    """One page read by one engine."""

    engine: str
    font: str
    dpi: int
    scan: bool
    cer: float
    cer_without_spaces: float
    seconds: float
    confidence: float


class AsItComes(RapidOcr):
    """rapidocr with its own settings; only the order of the lines is ours."""

    name = "rapidocr, as it comes"

    def read(self, page: Image) -> PageText:
        found, _ = self._engine(np.asarray(page.convert("RGB")), use_cls=True, return_word_box=False, text_score=0.5)
        boxes = []
        for corners, words, _ in found or ():
            (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
            boxes.append((float(left), float(top), float(right), float(bottom), str(words), 1.0))
        return PageText(reading_order(boxes), float(np.mean([one[2] for one in found])) if found else 0.0)


def texts(data: Path, count: int, letters: int, seed: int) -> list[str]:
    """Beginnings of `count` reports drawn at random, cut at a space."""
    csv.field_size_limit(10_000_000)
    with gzip.open(data / "tcga/reports.csv.gz", "rt", encoding="utf-8", newline="") as file:
        every = [" ".join(row["text"].split()) for row in csv.DictReader(file)]
    long = [text for text in every if len(text) >= letters]
    picked = np.random.default_rng(seed).choice(len(long), count, replace=False)
    return [long[i][:letters].rsplit(" ", 1)[0] for i in picked]


def render(text: str, font: str, dpi: int, scan: bool, seed: int) -> Image:
    """Lay a text out as an A4 page, in grey; no word is broken at a line end."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    face = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / font), round(POINTS * dpi / 72))
    page = Image.new("L", (round(8.27 * dpi), round(11.69 * dpi)), 255)
    pen = ImageDraw.Draw(page)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if face.getlength(longer) <= 6.9 * dpi:
            lines[-1] = longer
        else:
            lines.append(word)
    for i, line in enumerate(lines):
        pen.text((round(0.7 * dpi), round((0.8 + i * 1.35 * POINTS / 72) * dpi)), line, font=face, fill=20)
    if not scan:
        return page
    random = np.random.default_rng(seed)
    page = page.rotate(random.uniform(-0.7, 0.7), resample=Image.Resampling.BICUBIC, fillcolor=255)
    page = page.filter(ImageFilter.GaussianBlur(0.45 * dpi / 100))
    pixels = np.asarray(page, dtype=np.float32) * 0.94 + random.normal(0, 14, (page.height, page.width))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def error_rate(truth: str, found: str) -> float:
    """Levenshtein distance over the length of the truth."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(truth, found) / len(truth)


def measure(readers: list[PageReader], pages: list[str], *, every: bool, seed: int) -> list[Reading]:
    """Read every page with every engine."""
    readings = []
    for i, truth in enumerate(pages):
        font = FONTS[i % len(FONTS)]
        for dpi, scan in CONDITIONS if every else (CONDITIONS[i % len(CONDITIONS)],):
            page = render(truth, font, dpi, scan, seed + i)
            for reader in readers:
                started = time.perf_counter()
                found = reader.read(page)
                seconds = time.perf_counter() - started
                words = " ".join(found.text.split())
                reading = Reading(
                    reader.name,
                    font.removesuffix(".ttf"),
                    dpi,
                    scan,
                    error_rate(truth, words),
                    error_rate(truth.replace(" ", ""), words.replace(" ", "")),
                    seconds,
                    found.confidence,
                )
                readings.append(reading)
                print(f"{i + 1}/{len(pages)} {reading}", file=sys.stderr, flush=True)
    return readings


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean, and the 95 % interval of a bootstrap over pages."""
    array = np.asarray(values)
    draws = np.random.default_rng(0).choice(array, (2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(array.mean()), float(low), float(high)


def table(readings: list[Reading]) -> str:
    """The readings as a Markdown table, all pages of an engine first."""
    lines = ["| engine | pages | n | CER % (95 %) | CER % without spaces | confidence | s a page |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for engine in dict.fromkeys(one.engine for one in readings):
        mine = [one for one in readings if one.engine == engine]
        groups = {"all": mine}
        for dpi, scan in CONDITIONS:
            name = f"{dpi} dpi, {'scan' if scan else 'clean'}"
            groups[name] = [one for one in mine if (one.dpi, one.scan) == (dpi, scan)]
        for font in dict.fromkeys(one.font for one in mine):
            groups[font] = [one for one in mine if one.font == font]
        for name, some in groups.items():
            if not some:
                continue
            mean, low, high = (100 * value for value in interval([one.cer for one in some]))
            bare = 100 * float(np.mean([one.cer_without_spaces for one in some]))
            sure = float(np.mean([one.confidence for one in some]))
            seconds = float(np.median([one.seconds for one in some]))
            lines.append(
                f"| {engine} | {name} | {len(some)} | {mean:.2f} ({low:.2f} to {high:.2f}) | {bare:.2f} | {sure:.3f} "
                f"| {seconds:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real cohorts")
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--letters", type=int, default=900, help="how much of each report goes on its page")
    parser.add_argument("--all", action="store_true", help="render every report in every condition")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    readers: list[PageReader] = [RapidOcr(), AsItComes()]
    if has_tesseract():
        readers.insert(0, Tesseract())
    else:
        print("tesseract is not installed, so it is not measured", file=sys.stderr)
    pages = texts(options.data, options.reports, options.letters, options.seed)
    readings = measure(readers, pages, every=options.all, seed=options.seed)
    print(json.dumps([asdict(one) for one in readings], indent=2) if options.json else table(readings))


if __name__ == "__main__":
    main()
