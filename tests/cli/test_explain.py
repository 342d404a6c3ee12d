"""`molsig explain` as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from molsig.reference import Reference
from molsig.simulate import SimulatedCohort


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture(scope="module")
def pair(built: Path) -> tuple[str, str]:
    """A query and a hit who have all three assays."""
    store = Reference.open(built)._store
    has = [set(store.rows(space)["patient"].to_pylist()) for space in store.active_spaces().values()]
    both = sorted(set.intersection(*has))
    return both[0], both[1]


def test_a_pair_is_explained_with_stable_keys_and_drawn(
    built: Path, cohort_files: SimulatedCohort, pair: tuple[str, str], tmp_path: Path
) -> None:
    page = tmp_path / "why.html"
    files = ("--rna", cohort_files.rna, "--mutations", cohort_files.mutations, "--mirna", cohort_files.mirna)
    asked = ("explain", built, "--patient", pair[0], "--hit", pair[1], *files, "--top", 6)
    done = molsig(*asked, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == {
        "query", "hit", "fusion", "score", "probability", "chance", "nats", "brought_by", "label", "call",
        "modalities", "only_query", "only_hit", "notes",
    }  # fmt: skip
    assert told["query"]["patient"] == pair[0]
    assert told["modalities"].keys() == {"rna", "mutation", "mirna"}
    for one in told["modalities"].values():
        assert one.keys() == {"cosine", "percentile", "pairs", "nats", "samples", "features", "items", "notes"}
        of = one["features"]
        assert of.keys() == {
            "speak_for", "against", "score", "rest", "total", "reference", "unit", "method", "missed", "outside",
        }  # fmt: skip
        listed = [*of["speak_for"], *of["against"]]
        assert sum(each["contribution"] for each in listed) + of["rest"] == pytest.approx(of["score"], abs=2e-3)
        assert len(of["speak_for"]) <= 6
        assert len(of["against"]) <= 3
        assert of["missed"] <= 1e-3
        assert listed[0].keys() == {"name", "contribution", "of_query", "of_hit", "query", "hit", "frequency"}
    text = page.read_text()
    assert text.count("<svg ") == 3, "features of three modalities; there is no evidence to draw"
    assert told["modalities"]["rna"]["features"]["speak_for"][0]["name"] in text
    assert not re.search(r"(src|href)=|<script|https?://", text), "nothing is fetched"
    table = molsig("explain", built, "--patient", pair[0], "--hit", pair[1], "--mirna", cohort_files.mirna)
    assert table.returncode == 0, table.stderr
    assert pair[1] in table.stdout
    assert "--mutations FILE" in table.stderr
    best = told["modalities"]["mirna"]["features"]["speak_for"][0]
    assert f"{best['contribution']:+.3f}" in table.stdout


def test_what_is_wrong_is_told_with_its_exit_code(
    built: Path, cohort_files: SimulatedCohort, pair: tuple[str, str], tmp_path: Path
) -> None:
    same = molsig("explain", built, "--patient", pair[0], "--hit", pair[0])
    assert same.returncode == 2
    assert "both the query and the hit" in same.stderr
    unknown = molsig("explain", built, "--patient", pair[0], "--hit", "SIM-nobody")
    assert unknown.returncode == 1
    assert "no patient" in unknown.stderr
    strangers = molsig("explain", built, "--patient", pair[0], "--hit", pair[1], "--rna", cohort_files.new_rna)
    assert strangers.returncode == 3
    assert f"holds neither {pair[0]} nor {pair[1]}" in strangers.stderr
    page = molsig("explain", built, "--patient", pair[0], "--hit", pair[1], "--html", tmp_path / "why.pdf")
    assert page.returncode == 2
    assert "Traceback" not in same.stderr + unknown.stderr + strangers.stderr + page.stderr
