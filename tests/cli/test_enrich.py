"""`molsig enrich` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GENES = [f"GENE{i}" for i in range(60)]


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", "enrich", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    path = tmp_path / "sets.gmt"
    rows = {"LOW": GENES[:12], "HIGH": GENES[30:50], "FEW": GENES[:3]}
    path.write_text("".join("\t".join([name, "made up", *genes]) + "\n" for name, genes in rows.items()))
    return path


def test_a_table_of_landmarks_brings_its_background(tmp_path: Path, sets: Path) -> None:
    table = tmp_path / "landmarks.csv"
    table.write_text("rank,gene,landmark\n" + "".join(f"{i},{one},{i < 8}\n" for i, one in enumerate(GENES)))
    target = tmp_path / "found.csv"
    done = molsig(table, "--gene-sets", sets, "--json", "--output", target)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["genes"] == 8
    assert told["background"] == {"genes": 60, "of": f"all genes of {table}"}
    assert [one["set"] for one in told["sets"]] == ["LOW", "HIGH"]
    assert told["sets"][0] | {"p": 0, "q": 0} == {
        "set": "LOW", "hits": 8, "size": 12, "expected": 1.6, "fold": 5.0, "p": 0, "q": 0, "genes": GENES[:8],
    }  # fmt: skip
    assert told["too_small"] == 1
    assert "1 sets with fewer than 10" in done.stderr
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert rows[0]["genes"].split() == GENES[:8]


def test_a_plain_list_says_what_it_was_compared_with(tmp_path: Path, sets: Path) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("\n".join([*GENES[:5], "STRANGER", GENES[0]]))
    done = molsig(listed, "--gene-sets", sets)
    assert done.returncode == 0, done.stderr
    assert "all genes of the sets count" in done.stderr
    assert "1 genes of the list are not in the background and count nowhere: STRANGER" in done.stderr
    assert "1 repeated genes" in done.stderr
    assert "LOW" in done.stdout
    pool = tmp_path / "all.txt"
    pool.write_text("\n".join(GENES))
    done = molsig(listed, "--gene-sets", sets, "--background", pool, "--json")
    assert json.loads(done.stdout)["background"] == {"genes": 60, "of": str(pool)}


def test_slips_are_told(tmp_path: Path, sets: Path) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("ENSG00000141510\n")
    strangers = molsig(listed, "--gene-sets", sets)
    assert strangers.returncode == 3
    assert "--genes" in strangers.stderr
    page = molsig(listed, "--gene-sets", sets, "--output", tmp_path / "page.html")
    assert page.returncode == 2
    assert ".parquet" in page.stderr
