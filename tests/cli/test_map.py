"""`molsig map` as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from molsig.evaluate.map_pictures import SIDE
from molsig.reference import Reference
from molsig.simulate import SimulatedCohort


def molsig(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def test_a_map_is_drawn_kept_and_landed_on(own: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    page, figure = tmp_path / "map.html", tmp_path / "map.svg"
    asked = ("map", own, "--mirna", cohort_files.mirna, "--epochs", 4)
    done = molsig(*asked, "--json", "--html", page, "--figure", figure)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"map", "modality", "label", "lattice", "nodes", "crowded", "activations", "landings"} <= told.keys()
    assert told["map"].startswith("mirna-map-")
    assert told["fitted"] is True
    assert sum(sum(one["members"].values()) for one in told["nodes"]) == told["samples"]
    assert set(told["activations"]) == {name for one in told["nodes"] for name in one["members"]}
    text = page.read_text()
    assert text.count("<svg ") == 4
    assert "SIM-" not in text + done.stdout, "no sample is named"
    assert not re.search(r"(src|href)=", text), "nothing is fetched"
    assert figure.read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    names = re.findall(r'class="name" x="([\d.-]+)" [^>]*>([^<]+)<', text)
    assert names
    assert all(3.5 * len(name) <= float(x) <= SIDE - 3.5 * len(name) for x, name in names), "none is cut off"

    again = molsig(*asked, "--query", cohort_files.mirna, "--json", "--members", "--html", page)
    assert again.returncode == 0, again.stderr
    landed = json.loads(again.stdout)
    assert landed["fitted"] is False
    assert landed["map"] == told["map"]
    assert len(landed["landings"]) == told["samples"]
    assert "live on the map themselves" in again.stderr
    labels = {tuple(one["node"]): one["label"] for one in told["nodes"]}
    for one in landed["landings"]:
        assert one["label"] == (labels[tuple(one["node"])] if one["fits"] else None)
    assert landed["landings"][0]["sample"] in page.read_text()

    weights = next((own / "maps").glob("*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert molsig("verify", own).returncode == 4
    damaged = molsig(*asked)
    assert damaged.returncode == 4
    assert "--refit" in damaged.stderr
    assert molsig("forget", own, "--patient", Reference.open(own)._store.patient_ids()[0], "--yes").returncode == 0
    assert not (own / "maps").exists(), "its nodes were fitted to who was forgotten"


def test_stored_vectors_are_mapped_without_a_file(own: Path, cohort_files: SimulatedCohort) -> None:
    done = molsig("map", own, "--modality", "rna", "--epochs", 3, "--query", cohort_files.new_rna)
    assert done.returncode == 0, done.stderr
    assert "inputs are not at hand" in done.stderr
    assert "who lives there" in done.stdout


def test_a_file_of_another_modality_is_not_passed_over(own: Path, cohort_files: SimulatedCohort) -> None:
    other = molsig("map", own, "--modality", "rna", "--mirna", cohort_files.mirna)
    assert other.returncode == 2
    assert "given: mirna" in other.stderr


def test_what_is_missing_is_told(built: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    nothing = molsig("map", built)
    assert nothing.returncode == 2
    assert "--modality" in nothing.stderr
    column = molsig("map", built, "--modality", "mirna", "--label", "histology")
    assert column.returncode == 2
    assert "cancer_type" in column.stderr
    absent = molsig("map", built, "--modality", "tile")
    assert absent.returncode == 2
    assert "no vectors of it" in absent.stderr
    page = molsig("map", built, "--modality", "mirna", "--html", tmp_path / "map.pdf")
    assert page.returncode == 2
    strangers = molsig("map", built, "--rna", cohort_files.new_rna)
    assert strangers.returncode == 3
    assert "at least 20 samples" in strangers.stderr
