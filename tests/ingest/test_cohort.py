"""A cohort written down in TOML is the one given by flags."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from molsig.errors import InputError, UsageError
from molsig.ingest.cohort import Cohort, Source, digest_file, digest_source, load, read_cohort
from molsig.types import FeatureMatrix, MutationSet, PatientTable, TextSet, VectorSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOML = """
genes = "genes.tsv"
sample_table = "samples.csv"
mutations = "m.maf"
clinical = "clinical.tsv"

[rna]
path = "data/rna.tsv"
scale = "log2"

[report]
path = "reports"
ocr = "rapidocr"

[[vectors]]
modality = "tile"
path = "/abs/uni.parquet"
encoder = "uni"

[[vectors]]
modality = "slide"
path = "../titan.npy"
ids = "titan.ids"
reduce = "first"

[[matrix]]
modality = "protein"
path = "rppa.tsv"
scale = "raw"
"""


def test_the_same_from_toml_and_from_flags(write: Callable[..., Path], tmp_path: Path) -> None:
    written = read_cohort(write("cohort.toml", TOML))
    given = Cohort.of(
        rna=tmp_path / "data/rna.tsv",
        rna_options={"scale": "log2"},
        mutations=tmp_path / "m.maf",
        reports=tmp_path / "reports",
        report_options={"ocr": "rapidocr"},
        patients=tmp_path / "clinical.tsv",
        vectors={
            "tile": {"path": "/abs/uni.parquet", "encoder": "uni"},
            "slide": {"path": tmp_path / "../titan.npy", "ids": tmp_path / "titan.ids", "reduce": "first"},
        },
        matrices={"protein": {"path": tmp_path / "rppa.tsv", "scale": "raw"}},
        genes=tmp_path / "genes.tsv",
        sample_table=tmp_path / "samples.csv",
    )
    assert written == given
    assert [source.modality for source in written.sources()] == [
        "rna",
        "mutation",
        "report",
        "protein",
        "tile",
        "slide",
    ]
    assert [source.kind for source in written.all_sources()][-2:] == ["patients", "genes"]
    assert written.rna is not None
    assert written.rna.options["sample_table"] == tmp_path / "samples.csv"


@pytest.mark.parametrize(
    ("text", "problem", "key"),
    [
        ("rnaa = 'x'", "did you mean 'rna'", "rnaa"),
        ("[rna]\npath = 'x'\nscal = 'log2'", "did you mean 'scale'", "rna.scal"),
        ("[rna]\nscale = 'log2'", "a path is needed", "rna"),
        ("rna = 5", "a path is needed", "rna"),
        ("[rna]\npath = 5", "a path in quotes", "rna.path"),
        ("[vectors]\npath = 'x'", "array of tables", "vectors"),
        ("[[vectors]]\npath = 'x'", "a modality is needed", "vectors"),
        ("rna = ", "is not TOML", None),
        ("genes = 'x'", "names no file", None),
        ("a = " + "[" * 50_000 + "]" * 50_000, "is not TOML", None),
    ],
)
def test_refused_with_the_key(write: Callable[..., Path], text: str, problem: str, key: str | None) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        read_cohort(write("cohort.toml", text))
    assert caught.value.column == key


def test_options_of_flags_are_checked() -> None:
    with pytest.raises(UsageError, match="rna takes no option 'scal'; did you mean 'scale'"):
        Cohort.of(rna="x", rna_options={"scal": "log2"})
    with pytest.raises(UsageError, match="no path is given"):
        Cohort.of(vectors={"tile": {"encoder": "uni"}})
    with pytest.raises(UsageError, match="cannot name a modality"):
        Cohort.of(vectors={"sum": "x"})


def test_load_finds_the_reader(write: Callable[..., Path], tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "v.npy", np.eye(2, 768, dtype=np.float32))
    cohort = Cohort.of(
        rna=write("r.tsv", "sample\tTP53\tKRAS\tEGFR\nP1\t1.5\t2\t3\n"),
        mutations=write("m.maf", "Hugo_Symbol\tVariant_Classification\tTumor_Sample_Barcode\nTP53\tSilent\tP1\n"),
        mirna=write("i.tsv", "sample\thsa-mir-21\thsa-mir-22\nP1\t100\t2\n"),
        reports=write("t.csv", "patient,text\nP1,x\n"),
        patients=write("p.tsv", "patient\tage\nP1\t6\n"),
        matrices={"protein": {"path": write("q.tsv", "sample\ta\tb\nP1\t-1\t2\n"), "scale": "raw"}},
        vectors={"tile": {"path": tmp_path / "v.npy", "ids": write("ids.txt", "P1\nP2\n")}},
    )
    loaded = [load(source) for source in cohort.sources()]
    assert [type(one) for one in loaded] == [
        FeatureMatrix,
        MutationSet,
        FeatureMatrix,
        TextSet,
        FeatureMatrix,
        VectorSet,
    ]
    assert [one.modality for one in loaded if not isinstance(one, PatientTable)] == [
        source.modality for source in cohort.sources()
    ]
    assert cohort.patients is not None
    assert isinstance(load(cohort.patients), PatientTable)
    with pytest.raises(UsageError, match="holds no records"):
        load(Source("genes", "genes", tmp_path))


def test_digest_is_of_the_bytes(write: Callable[..., Path]) -> None:
    assert digest_file(write("a", "hello")) == hashlib.sha256(b"hello").hexdigest()
    with pytest.raises(InputError, match="no such file"):
        digest_file("nowhere")


def test_digest_of_a_folder_sees_names_and_contents(write: Callable[..., Path], tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        folder = tmp_path / "d"
        for old in folder.glob("*") if folder.exists() else ():
            old.unlink()
        for name, text in files.items():
            write(f"d/{name}", text)
        return digest_file(folder)

    base = digest(a="1", b="2")
    assert base == digest(b="2", a="1")
    assert len({base, digest(a="2", b="1"), digest(a="1"), digest(a="1", c="2"), digest(a="1", b="")}) == 5


def test_digest_of_a_source_sees_its_ids_and_sample_table(write: Callable[..., Path]) -> None:
    path, ids = write("v", "vectors"), write("ids", "A\n")
    alone, joined = Source("vectors", "tile", path), Source("vectors", "tile", path, {"ids": ids})
    before = digest_source(joined)
    assert digest_source(alone) == digest_file(path)
    assert before != digest_source(alone)
    write("ids", "B\n")
    assert digest_source(joined) != before
