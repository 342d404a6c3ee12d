"""What an ingest makes and says of encoders, and how a new one takes the place of the old."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.errors import UsageError
from molsig.index.verify import verify

N = 130


def expression(path: Path, patients: range = range(N), seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(N, 4)) @ rng.normal(size=(4, 60))
    values = np.clip(8 + low + rng.normal(0, 0.3, (N, 60)), 0, None)
    names = [f"TCGA-AA-{i:04d}-01A" for i in patients]
    table = {"sample": names} | {f"GENE{g}": values[list(patients), g] for g in range(60)}
    pq.write_table(pa.table(table), path)
    return path


def spaces(reference: Reference) -> dict[str, bool]:
    return {one["space"]: one["active"] for one in reference.encoders()}


def test_a_new_encoder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = expression(tmp_path / "rna.parquet")
    reference = Reference.create(tmp_path / "r.molsig")
    first = reference.ingest(rna=file, rna_options={"scale": "log2"}, epochs=1)
    before = [hit.patient for hit in reference.query("TCGA-AA-0003").hits]
    again = reference.ingest(rna=file, rna_options={"scale": "log2"}, epochs=4, seed=5, new_encoders=["rna"])
    old, new = first.encoders["rna"], again.encoders["rna"]
    assert old != new
    assert spaces(reference) == {old: False, new: True}
    assert again.added == {"rna": N}
    assert all(check.ok for check in verify(reference._store))
    hits = reference.query("TCGA-AA-0003").hits
    assert len(hits) == len(before) == 10
    # A later file is encoded by the one in use, and by it alone.
    later = reference.ingest(rna=file, rna_options={"scale": "log2"})
    assert later.encoders["rna"] == new
    assert later.added == {"rna": 0}


def test_no_switch_while_a_stored_sample_is_missing(tmp_path: Path) -> None:
    reference = Reference.create(tmp_path / "r.molsig")
    how = {"rna_options": {"scale": "log2"}, "epochs": 1}
    old = reference.ingest(rna=expression(tmp_path / "all.parquet"), **how).encoders["rna"]
    part = expression(tmp_path / "part.parquet", range(5, N))
    with pytest.raises(UsageError, match=r"5 stored rows are not in the files, the first is TCGA-AA-0000"):
        reference.ingest(rna=part, seed=5, new_encoders="rna", **how)
    assert spaces(reference)[old]
    assert len(reference.query("TCGA-AA-0003").hits) == 10


def test_a_new_encoder_needs_its_file(tmp_path: Path) -> None:
    reference = Reference.create(tmp_path / "r.molsig")
    with pytest.raises(UsageError, match="--new-encoder mirna: no file of it is given"):
        reference.ingest(rna=expression(tmp_path / "rna.parquet"), new_encoders="mirna")


def test_what_whole_types_lack_is_told_and_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ids = [f"hsa-mir-{i}" for i in range(1, 161)]
    depth = np.clip(rng.lognormal(0.0, 0.4, size=(N, 1)), 0.5, 2.0)
    values = np.floor(depth * rng.gamma(2.0, 20_000, size=(N, len(ids))))
    values[:5] = np.floor(values[:5] * 0.01)
    values[40:60, 100:150] = np.nan
    patients = [f"TCGA-AA-{i:04d}" for i in range(N)]
    columns = {"sample": [f"{one}-01A" for one in patients]}
    columns |= {name: pa.array(values[:, i], from_pandas=True) for i, name in enumerate(ids)}
    pq.write_table(pa.table(columns), tmp_path / "mirna.parquet")
    types = ["LAML" if 40 <= i < 60 else "RARE" if i >= 125 else "BRCA" for i in range(N)]
    pq.write_table(pa.table({"patient": patients, "cancer_type": types}), tmp_path / "clinical.parquet")
    reference = Reference.create(tmp_path / "r.molsig")
    report = reference.ingest(mirna=tmp_path / "mirna.parquet", patients=tmp_path / "clinical.parquet", epochs=1)
    told = "\n".join(report.warnings)
    assert "50 of 160 mirna features are not measured in 20 samples, all of LAML: left out of the encoder" in told
    assert "5 samples, fewer than 1,000,000 reads: TCGA-AA-0000" in told
    assert "5 samples, class of fewer than 10 samples: TCGA-AA-0125-01A (RARE neoplastic, 5)" in told
    assert report.added == {"mirna": N}
    card = reference.encoders()[0]["card"]
    assert card["n_samples"] == N - 10
    assert card["n_features"] == 110


def test_the_network_of_a_matrix_can_be_chosen(tmp_path: Path) -> None:
    reference = Reference.create(tmp_path / "r.molsig")
    choice = ModelChoice(networks={"rna": "autoencoder"})
    file = expression(tmp_path / "rna.parquet")
    report = reference.ingest(rna=file, rna_options={"scale": "log2"}, epochs=2, choice=choice)
    assert report.encoders["rna"].startswith("rna-ae-")
    answer = reference.query_files(rna=file, rna_options={"scale": "log2"}, exclude_self=True)[0]
    assert len(answer.hits) == 10


def test_mutational_burden_becomes_patient_columns(tmp_path: Path) -> None:
    lines = ["Hugo_Symbol\tVariant_Classification\tTumor_Sample_Barcode"]
    for i in range(40):
        lines += [f"G{g}\tMissense_Mutation\tTCGA-AA-{i:04d}-01A-11D" for g in range(i)]
        lines.append(f"G39\tSilent\tTCGA-AA-{i:04d}-01A-11D")
    (tmp_path / "m.maf").write_text("\n".join(lines) + "\n")
    reference = Reference.create(tmp_path / "r.molsig")
    reference.ingest(mutations=tmp_path / "m.maf", epochs=1)
    stored = reference._store.attributes(["TCGA-AA-0000", "TCGA-AA-0014", "TCGA-AA-0015"]).to_pydict()
    assert stored["mutated_genes"] == [0, 14, 15]
    assert stored["tmb"] == pytest.approx([0.0, 14 / 30, 0.5])
    assert stored["tmb_class"] == ["none", "low", "high"]
