"""The archive, at a thousandth of its size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import archive

ROOT = Path(__file__).parents[2]


def test_a_small_archive_is_made_ingested_reopened_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["archive", "--share", "0.001", "--folder", str(tmp_path), "--json"])
    archive.main()
    told = json.loads(capsys.readouterr().out)
    assert told["vectors"] == 3 * 500 + 1033
    assert told["ingest"]["seconds"] > 0
    # The sums are indexed too.
    assert {one["space"].split("-")[1]: one["rows"] for one in told["ingest"]["indexes"] if one["space"] != "sum"} == {
        "rna": 500,
        "mutation": 500,
        "report": 500,
        "tile": 1033,
    }
    for opened in ("reopened", "reopened from disk"):
        assert 0 < told[opened]["open_s"] < told[opened]["first_answer_s"] < told[opened]["process_s"]
    for modality, rows in (("tile", 1033), ("report", 500), ("rna", 500)):
        one = told["queries"][modality]
        assert one["rows"] == rows
        assert one["recall"] == 1
        assert 0 < one["p50_ms"] <= one["p99_ms"]
    text = archive.as_text(told)
    assert text.startswith("2,533 vectors ingested and indexed in ")
    assert text.count("\n| ") == 4
