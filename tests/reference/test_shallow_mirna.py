"""A cohort whose miRNA libraries are shallow throughout is learned from all the same, and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from molsig.ingest.cohort import Cohort
from molsig.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path


def write_counts(path: Path, deep: int, shallow: int) -> Path:
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(120), deep + shallow)
    reads = np.where(np.arange(deep + shallow) < deep, 4e6, 2e5)
    counts = rng.poisson(share * reads[:, None])
    names = [f"TCGA-{i // 100:02}-{i:04}-01A" for i in range(deep + shallow)]
    pd.DataFrame(counts, index=pd.Index(names, name="sample"), columns=[f"hsa-mir-{i + 1}" for i in range(120)]).to_csv(
        path, sep="\t"
    )
    return path


def test_too_few_deep_libraries_are_not_all_that_is_learned_from(tmp_path: Path) -> None:
    file = write_counts(tmp_path / "mirna.tsv", deep=4, shallow=60)
    report = Reference.ingest_into(tmp_path / "a.molsig", Cohort.of(mirna=file), epochs=2)
    assert report.added == {"mirna": 64}
    (line,) = (one for one in report.warnings if "learns from all samples" in one)
    assert "only 4 of 64 samples are good enough" in line
    assert "60 samples, fewer than 1,000,000 reads" in line
    card = Reference.open(tmp_path / "a.molsig").encoders()[0]["card"]
    assert card["n_samples"] == 64


def test_enough_deep_libraries_are(tmp_path: Path) -> None:
    file = write_counts(tmp_path / "mirna.tsv", deep=30, shallow=34)
    report = Reference.ingest_into(tmp_path / "a.molsig", Cohort.of(mirna=file), epochs=2)
    assert report.added == {"mirna": 64}
    assert any("left out of the training of the mirna encoder" in one for one in report.warnings)
    assert Reference.open(tmp_path / "a.molsig").encoders()[0]["card"]["n_samples"] == 30
