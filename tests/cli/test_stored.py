"""A query by stored patients, read without typer: it means what typer makes of it, and loads little."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from molsig.cli.app import app
from molsig.cli.stored import ask, asked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

UNUSED = (
    "faiss",
    "numpy.ma",
    "numpy.random",
    "pandas.core",
    "pyarrow.compute",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "typer",
)
"""What a query of a small reference by a stored patient, printed to a pipe, has no use for. Of pandas what it consists
of: pyarrow asks for pandas itself and is told that there is none, which counts as an import, too."""

LEARNING = ("molsig.ingest", "molsig.index.verify", "molsig.index.writer", "molsig.retrieval.evidence_fit")


@pytest.fixture(autouse=True)
def _no_reference_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOLSIG_REFERENCE", raising=False)


def by_typer(words: Sequence[str]) -> dict[str, Any]:
    """What typer makes of the words after `molsig query`; options that are not given in several words as None."""
    from typer.main import get_command

    context = get_command(app).commands["query"].make_context("query", list(words))  # type: ignore[attr-defined]
    return {name: None if value == () else value for name, value in context.params.items()}


@pytest.mark.parametrize(
    "line",
    [
        "ref --patient A",
        "--patient A ref",
        "-p A -p B ref --patient=C",
        "ref -p A -k 5",
        "ref -p A --k=12 --k 3",
        "ref -p A --where age>60",
        "ref -p A --where=sex='female' --vote cancer_type --vote=stage",
        "ref -p A --modality rna --modality mirna --fusion sum --kind normal",
        "ref -p A --exact --json",
        "ref -p A --error 0.2 --columns age,sex",
        "ref -p A --error=.5 -o answer.html",
        "ref -p A --output answer.csv",
    ],
)
def test_what_is_read_is_what_typer_reads(line: str) -> None:
    words = line.split()
    read = asked(["query", *words])
    assert read is not None
    defaults = {name: p.default for name, p in inspect.signature(ask).parameters.items()}
    expected = by_typer(words)
    assert defaults | read == {name: expected[name] for name in defaults}
    # Nothing else was said: whatever `ask` does not take is as when typer is told of the patient only.
    assert {n: v for n, v in expected.items() if n not in defaults} == {
        n: v for n, v in by_typer(["r", "-p", "A"]).items() if n not in defaults
    }


@pytest.mark.parametrize(
    "line",
    [
        "",
        "info ref",
        "--debug query ref -p A",
        "query",
        "query ref",
        "query -p A",
        "query ref other -p A",
        "query ref -p",
        "query ref -p A --help",
        "query ref -p A -h",
        "query ref -p A --k 0",
        "query ref -p A --k five",
        "query ref -p A --k -1",
        "query ref -p A -k5",
        "query ref -p A -k=5",
        "query ref -pA",
        "query ref -p A --error 0.9",
        "query ref -p A --error nan",
        "query ref -p A --error ...",
        "query ref -p A --where",
        "query ref -p --json",
        "query ref -p A --json=yes",
        "query ref -p A --no-such-flag",
        "query ref -p A --rna rna.tsv",
        "query ref -p A --device cpu",
        "query ref -p A -- other",
        "query ref -p A -",
    ],
)
def test_whatever_else_is_left_to_typer(line: str) -> None:
    assert asked(line.split()) is None


def test_an_empty_word_is_left_to_typer() -> None:
    assert asked(["query", "ref", "-p", ""]) is None
    assert asked(["query", "", "-p", "A"]) is None
    assert asked(["query", "ref", "-p", "A", "--where="]) is None


def test_the_reference_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLSIG_REFERENCE", "there.molsig")
    read = asked(["query", "-p", "A"])
    assert read is not None
    assert read["reference"] == by_typer(["-p", "A"])["reference"]
    monkeypatch.setenv("MOLSIG_REFERENCE", "")
    assert asked(["query", "-p", "A"]) is None


def loaded(*words: object) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `molsig` in a process of its own; what it did, and every module that it loaded."""
    command = [sys.executable, "-X", "importtime", "-m", "molsig", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE)


def of(packages: Sequence[str], modules: Sequence[str]) -> list[str]:
    return [name for name in modules if any(name == one or name.startswith(f"{one}.") for one in packages)]


@pytest.fixture(scope="module")
def patient(built: Path) -> str:
    from molsig.index.store import Store

    return Store.open(built).patient_ids()[0]


@pytest.fixture(scope="module")
def learned(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from molsig.reference import Reference

    place = shutil.copytree(built, tmp_path_factory.mktemp("stored") / "learned.molsig")
    Reference.open(place).learn()
    return place


@pytest.mark.parametrize("words", [(), ("--json",), ("--vote", "cancer_type", "--where", "age > 1"), ("-o", "a.html")])
def test_a_query_by_a_stored_patient_loads_little(
    built: Path, patient: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    if words and words[0] == "-o":
        words = ("-o", str(tmp_path / words[1]))
    done, modules = loaded("query", built, "--patient", patient, *words)
    assert done.returncode == 0, done.stderr
    assert "pyarrow" in modules
    assert of(UNUSED, modules) == []
    assert of(LEARNING, modules) == []
    # 360 when this was written, nearly all of them those of Python, numpy, DuckDB and pyarrow themselves.
    assert len(modules) < 420


@pytest.mark.parametrize("words", [(), ("--json", "--vote", "cancer_type"), ("--modality", "rna")])
def test_a_fused_query_loads_as_little_and_says_what_an_open_reference_says(
    learned: Path, patient: str, words: tuple[str, ...]
) -> None:
    done, modules = loaded("query", learned, "--patient", patient, *words)
    assert done.returncode == 0, done.stderr
    assert of(UNUSED, modules) == []
    assert "evidence" in done.stdout
    if "--json" in words:
        from molsig.reference import Reference

        again = Reference.open(learned).query(patient, vote="cancer_type").to_dict()
        assert json.loads(done.stdout) == json.loads(json.dumps(again, default=str))


def test_help_loads_nothing_that_a_query_needs() -> None:
    done, modules = loaded("--help")
    assert done.returncode == 0, done.stderr
    assert "query" in done.stdout
    assert of(("numpy", "pyarrow", "duckdb", "pydantic", "rich", *LEARNING), modules) == []


def test_both_ways_lead_to_the_same_answer(built: Path, patient: str) -> None:
    words = ("query", built, "--patient", patient, "--json", "--vote", "cancer_type")
    quick, modules = loaded(*words)
    slow, others = loaded("--debug", *words)
    assert "typer" in others
    assert "typer" not in modules
    assert json.loads(quick.stdout) == json.loads(slow.stdout)


def test_mistakes_end_with_their_code_and_words(built: Path, patient: str, tmp_path: Path) -> None:
    def end(*words: object) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "molsig", "query", *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert end(tmp_path / "none.molsig", "-p", patient)[0] == 2
    code, said = end(built, "-p", "nobody")
    assert (code, "nobody" in said) == (1, True)
    code, said = end(built, "-p", patient, "--output", tmp_path / "answer.doc")
    assert (code, "answer.doc" in said) == (2, True)
    code, said = end(built, "-p", patient, "--k", "none")
    assert (code, "--k" in said) == (2, True)


def test_nothing_is_lost_in_a_pipe(built: Path, patient: str) -> None:
    words = [sys.executable, "-m", "molsig", "query", str(built), "--json", "--k", "150", "-p", patient]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert len(done.stdout) > 65_536
    assert len(json.loads(done.stdout)["hits"]) > 100
