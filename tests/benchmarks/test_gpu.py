"""The measurements for a GPU, tried on the CPU at small sizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_encoders import cosines, same_nearest
from molsig import streaming
from molsig.index.scoring import directions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("torch sees no CUDA device here")


def test_all_of_it_runs_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert gpu.main(["--device", "cpu", "--json", str(tmp_path / "gpu.json")]) == 0
    finally:
        torch.set_num_threads(before)
    assert "cpu" not in streaming.PLANS
    out = capsys.readouterr().out
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert sorted(figures) == ["device", "encoders", "overlap", "search"]
    assert all(figures["device"][key] > 0 for key in figures["device"] if key not in {"name", "torch"})
    assert figures["overlap"]["hidden"] is None
    assert min(figures["overlap"][f"{key}_s"] for key in ("send", "compute", "in_turn", "streamed")) > 0

    names = list(dict.fromkeys(one["encoder"] for one in figures["encoders"]))
    assert names == ["rna-vae", "mutation-vae", "tile-vae", "tile, test_vit", "report, BERT of random weights"]
    assert [one["asked"] for one in figures["encoders"]] == ["float32", "bfloat16"] * 5
    for one in figures["encoders"]:
        assert one["precision"] == one["asked"]
        assert one["operations"] > 0
        assert one["rows_a_second"] == pytest.approx(one["rows"] / one["seconds"])
        assert one["of_floor"] == pytest.approx(one["floor_s"] / one["seconds"])
        assert one["least_cosine"] >= streaming.LEAST_COSINE
        assert (one["same_nearest"] == 1) if one["asked"] == "float32" else (one["same_nearest"] > 0.8)
    # Counted the same whatever they are computed in.
    operations = [one["operations"] for one in figures["encoders"]]
    assert operations[::2] == operations[1::2]

    asked = [(one["rows"], one["queries"], one["held"]) for one in figures["search"]]
    batches = [(1, True), (10, True), (50, True), (50, False)]
    assert asked == [(rows, *batch) for rows in (500, 3000) for batch in batches]
    assert all(one["agreement"] == 1 and one["checked"] == one["queries"] for one in figures["search"])
    assert out.count("\n|---|") == 4
    assert f"| 3,000 | 50 | sent | {figures['search'][-1]['seconds']:.5f} |" in out


def test_the_answer_that_is_compared_with_is_exact() -> None:
    x = gpu.vectors(700, 1)
    x[100:140] = x[7]
    asked = directions(gpu.vectors(9, 2))
    asked[0] = x[7] / np.linalg.norm(x[7].astype(np.float64))
    products = asked @ x.T.astype(np.float64)
    found = gpu.exact(x, asked)
    assert found[0].tolist() == [7, *range(100, 109)]
    for own, places in zip(products[1:], found[1:], strict=True):
        assert places.tolist() == np.argsort(-own, kind="stable")[:10].tolist()


def test_figures_of_two_precisions() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5)).astype(np.float32)
    assert same_nearest(x, 3 * x) == 1
    assert same_nearest(x, rng.permutation(x)) < 0.5
    np.testing.assert_allclose(cosines(x, -2 * x), -1)
