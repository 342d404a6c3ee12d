"""`molsig evaluate` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("--label", "cancer_type", "--fusion", "sum", "--fusion", "rna", "--folds", "3", "--draws", "20")


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_and_meters_are_printed(built: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--missing", "0,0.5")
    assert done.returncode == 0, done.stderr
    for words in (
        "whole sites held out",
        "random folds",
        "Leak meters",
        "left out",
        "vote@10",
        "50%",
        "note: encoders",
    ):
        assert words in done.stdout
    assert done.stderr == ""


def test_json_and_files_hold_the_same_document(built: Path, tmp_path: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--missing", "0", "--json", "--output", tmp_path / "e.json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "e.json").read_text())
    assert document["settings"]["label"] == "cancer_type"
    assert document["settings"]["missing"] == [0.0]
    assert {part["scheme"] for part in document["parts"]} == {"groups_held_out", "random"}
    assert document["leaks"]
    assert document["unknown"][0]["auroc"]["value"] > 0.5


def test_the_page_is_written(built: Path, tmp_path: Path) -> None:
    done = molsig("evaluate", built, *QUICK, "--leave-out", "ALDR,BIRC", "--output", tmp_path / "e.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "e.html" in done.stderr
    page = (tmp_path / "e.html").read_text()
    assert page.count("<svg") == 10
    assert "ALDR, BIRC" in page


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--label", "kind"), 2, "--label kind"),
        (("--label", "cancer_type", "--missing", "0,1"), 2, "--missing 0,1"),
        (("--label", "cancer_type", "--missing", "few"), 2, "--missing few"),
        (("--label", "cancer_type", "--output", "e.pdf"), 2, "e.pdf"),
        (("--label", "cancer_type", "--leave-out", "NONE"), 2, "NONE"),
    ],
)
def test_what_cannot_be_done_is_said(built: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = molsig("evaluate", built, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
