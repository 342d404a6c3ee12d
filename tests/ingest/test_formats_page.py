"""docs/formats.md tells the truth: what it lists is what the readers do."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from molsig.ingest import (
    dialect,
    mutations,
    orientation,
    patients,
    pdf,
    report_tables,
    samples,
    scale,
    sentences,
    tile_files,
    tiles,
    tissue,
)
from molsig.ingest.cohort import OPTIONS, read_cohort
from molsig.ingest.limits import DEFAULT_LIMITS, MAX_LINE_BYTES
from molsig.ingest.ocr import Ocr
from molsig.ingest.spreadsheet import gene_of_date

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return " ".join(found[1].split())


def test_limits() -> None:
    told = dict(re.findall(r"\| `(\w+)` \| ([\d,]+) \|", PAGE))
    assert {name: int(value.replace(",", "")) for name, value in told.items()} == asdict(DEFAULT_LIMITS)
    assert f"{MAX_LINE_BYTES >> 20} MiB" in WORDS


@pytest.mark.parametrize("word", sorted(mutations.ALTERING | mutations.SILENT))
def test_variant_classes(word: str) -> None:
    told = section("Mutations")
    altering, silent = told.split("Silent or outside of the protein")
    silent = silent.split("Any other class")[0]
    stem = re.sub(r"(?<=Splice_Site)_(SNP|Del|Ins)", "", re.sub(r"^([53])(?=[UF])", r"\1'", word))
    assert (f"`{stem}`" in altering) == (word in mutations.ALTERING)
    assert (f"`{stem}`" in silent) == (word in mutations.SILENT)


def test_words_for_missing() -> None:
    told = {word.casefold() for word in re.findall(r"`([^`]+)`", section("Patients").split("**Missing**")[1])}
    assert set(patients.MISSING_WORDS) - {""} <= told
    told = {word.casefold() for word in re.findall(r"`([^`]+)`", section("Missing"))}
    assert {word.casefold() for word in dialect.MISSING} - {""} == told


def test_quantifiers() -> None:
    told = section("Which way round").casefold()
    assert all(f"`{reads}`" in told for reads in orientation.QUANTIFICATIONS.values())


def test_names_of_columns() -> None:
    for name in report_tables.TEXT_COLUMNS:
        assert f"`{name}`" in section("Reports")
    for name in re.findall(r"`(\w+)`", section("Patients").split("(or `key`")[0]):
        assert name in samples.PATIENT_COLUMNS


def test_numbers_of_the_reports() -> None:
    told = section("Reports")
    assert f"fewer than {pdf.LEAST_LETTERS} letters" in told
    assert f"rendered at {pdf.DPI} dpi" in told
    assert f"under {pdf.LEAST_CONFIDENCE}" in told
    assert f"less than {pdf.LEAST_DPI} dpi" in told
    assert f"fewer than {sentences.LEAST_WORDS} words or {sentences.LEAST_LETTERS} letters" in told
    assert f"more than {sentences.LONGEST:,} characters" in told
    assert all(f"`{name}`" in told for name in get_args(Ocr))


def test_numbers_of_the_scale() -> None:
    told = section("Units")
    assert f"{scale.LIBRARY_GENES:,} genes or more" in told
    assert f"a sum of {scale.RNA_TOTAL:,.0f}" in told
    assert f"{scale.PANEL_GENES} to {scale.LIBRARY_GENES - 1:,} genes" in told
    assert f"a mean of {scale.PANEL_MEAN:,.0f} per gene" in told
    assert f"max(v, {scale.LOG2_FLOOR:g}) - {2**scale.LOG2_FLOOR:g}" in told
    for name in scale.SCALES:
        assert name == "auto" or f"`{name}`" in told


DATES = {"2-Sep": 1, "Sep-02": 1, "2009-09-02": 1, "3-Mar": 1, "15-Sep": 1, "1-Dec": 1}
DATES |= {"1-Mar": 2, "2-Mar": 2, "3/1/2001": 0, "#NAME?": 0}


@pytest.mark.parametrize(("date", "genes"), DATES.items())
def test_dates(date: str, genes: int) -> None:
    assert f"`{date}`" in section("Gene names")
    assert len(gene_of_date(date) or ()) == genes


def test_the_cohort_of_the_page_is_read(write: Callable[..., Path]) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    cohort = read_cohort(write("cohort.toml", example[1]))
    assert len(cohort.all_sources()) == 9
    used = {(source.kind, name) for source in cohort.all_sources() for name in source.options}
    assert {name for _, name in used} >= {
        "scale",
        "orientation",
        "kinds",
        "ids",
        "reduce",
        "text_column",
        "sample_table",
    }
    assert all(name in OPTIONS[kind] for kind, name in used)


def test_numbers_of_tiles() -> None:
    told = section("Slides and tiles")
    assert f"{tissue.OVERVIEW} x {tissue.OVERVIEW} pixels a tile" in told
    assert f"darkest channel is {tissue.WHITE_FROM} or more" in told
    assert f"differ by less than {tissue.COLOURLESS_BELOW}" in told
    assert f"exceeds red by more than {tissue.GREEN_OVER_RED}" in told
    assert f"over {tissue.MOST_BACKGROUND:.0%}".replace("%", " %") in told
    assert tiles.READY_MADE == 2
    assert "at most two tiles' edge" in told
    assert tiles.LEAST_INSIDE == 0.75
    assert "three quarters of its width and height" in told
    for table in tile_files.TABLES:
        assert f"`{table.partition('.')[0]}`" in told
    for option in OPTIONS["tile"]:
        assert f"`{option}`" in told
