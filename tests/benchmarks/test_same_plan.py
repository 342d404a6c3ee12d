"""molsig beside raw faiss in the same plan, tried at a size that takes seconds."""

from __future__ import annotations

import json

import pytest

from benchmarks import same_plan


def test_both_find_the_same_in_the_same_plan(capsys: pytest.CaptureFixture[str]) -> None:
    same_plan.main(["--rows", "3000,4500", "--queries", "30", "--rounds", "1", "--json"])
    lines = json.loads(capsys.readouterr().out)
    assert [one["patients"] for one in lines] == [3000, 4500]
    for one in lines:
        assert one["own"]["structure"] == "pca-sq8"
        assert one["structure"] == "rabitq"
        assert min(one["recall"].values()) >= 0.97
        assert one["recall"]["molsig"] == pytest.approx(one["recall"]["faiss"], abs=0.01)
        for name in ("own", "molsig"):
            assert one["one_us"][name] == pytest.approx(one["one_ratio"][name] * one["one_us"]["faiss"], rel=0.05)
        assert one["batch_us"]["faiss"] > 0
    table = same_plan.as_text(lines).splitlines()
    assert len(table) == 8
    assert table[2].startswith("| 3,000 | molsig as it chooses: pca-sq8, 1 of 1 cells, ")
    assert table[4].startswith("| 3,000 | faiss, rabitq, ")


def test_so_few_patients_that_no_index_is_used_are_refused() -> None:
    with pytest.raises(SystemExit, match="ask for more than 2,000"):
        same_plan.main(["--rows", "40", "--queries", "2", "--rounds", "1"])
