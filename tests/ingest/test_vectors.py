"""Ready vectors keep their distances on the way to 768 dimensions."""

from __future__ import annotations

import io
import mmap
import resource
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.errors import InputError, UsageError
from molsig.geometry import isometry
from molsig.ingest import mapped
from molsig.ingest import parquet as parquet_file
from molsig.ingest.lift import to_768
from molsig.ingest.limits import Limits
from molsig.ingest.vectors import read_vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def some(n: int, dims: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, dims)).astype(np.float32)


def npy(array: Any, *, pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickle)
    return buffer.getvalue()


def parquet(path: Path, columns: dict[str, Any], encoder: str | None = None) -> Path:
    table = pa.table(columns)
    pq.write_table(table if encoder is None else table.replace_schema_metadata({"encoder": encoder}), path)
    return path


IDS = ["TCGA-OR-A5J1-01A", "TCGA-OR-A5J2-01A", "S3"]


# The lift


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(2, 6),
    dims=st.integers(1, 767),
    numbers=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-3, 1.0, 100.0]),
    zeros=st.floats(0, 1),
    seed=st.integers(0, 3),
)
def test_the_lift_keeps_all_inner_products(
    rows: int, dims: int, numbers: int, size: float, zeros: float, seed: int
) -> None:
    # The numbers come from a seed: hundreds of floats drawn one by one are more than a property test may draw.
    vectors = size * some(rows, dims, numbers)
    vectors = np.where(np.random.default_rng(numbers).random(vectors.shape) < zeros, 0, vectors).astype(np.float32)
    lifted, suffix, _ = to_768(vectors, None, seed, "f")
    assert lifted.shape == (len(vectors), 768)
    assert suffix == f".lift{vectors.shape[1]}-s{seed}"
    before = vectors.astype(np.float64)
    largest = np.abs(before @ before.T).max() + 1e-9
    np.testing.assert_allclose(
        lifted.astype(np.float64) @ lifted.T.astype(np.float64), before @ before.T, atol=1e-5 * largest
    )


def test_the_lift_is_the_same_for_the_same_seed() -> None:
    np.testing.assert_array_equal(isometry(64, 768, 1), isometry(64, 768, 1))
    assert np.abs(isometry(64, 768, 1) - isometry(64, 768, 2)).max() > 0.01
    np.testing.assert_allclose(isometry(64, 768, 1) @ isometry(64, 768, 1).T, np.eye(64), atol=1e-12)
    # Gram-Schmidt by hand on the seed's numbers: a lift that changed between versions would part vectors of one space.
    expected = [0.148911463696, 0.758499217072, -0.63443227667], [-0.29584641873, 0.646371847904, 0.70333372645]
    np.testing.assert_allclose(isometry(2, 3, 0), expected, atol=1e-10)


def test_768_dimensions_stay_as_they_are(tmp_path: Path) -> None:
    vectors = some(3, 768)
    found = read_vectors(
        parquet(tmp_path / "v", {"sample": IDS, "vector": list(vectors)}), modality="tile", encoder="uni"
    )
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.encoder == "uni"
    assert found.vectors.dtype == np.float32
    assert [(s.sample, s.patient) for s in found.samples] == [
        ("TCGA-OR-A5J1-01A", "TCGA-OR-A5J1"),
        ("TCGA-OR-A5J2-01A", "TCGA-OR-A5J2"),
        ("S3", "S3"),
    ]
    assert found.items == ("", "", "")


def test_more_dimensions_need_a_reduction(write: Callable[..., Path]) -> None:
    vectors = some(40, 1536)
    path = write("v.npy", npy(vectors))
    ids = write("ids.txt", "".join(f"S{i}\n" for i in range(40)))
    options: dict[str, Any] = {"modality": "tile", "ids": ids, "encoder": "gigapath"}
    with pytest.raises(InputError, match=r"1,536 dimensions.*reduce='first'"):
        read_vectors(path, **options)
    first = read_vectors(path, reduce="first", **options)
    np.testing.assert_array_equal(first.vectors, vectors[:, :768])
    assert first.encoder == "gigapath.first1536"
    last = read_vectors(path, reduce="last", **options)
    np.testing.assert_array_equal(last.vectors, vectors[:, -768:])
    random = read_vectors(path, reduce="random", seed=3, **options)
    assert random.encoder == "gigapath.random1536-s3"
    ratio = np.linalg.norm(random.vectors, axis=1) / np.linalg.norm(vectors, axis=1)
    assert abs(ratio.mean() - 1) < 0.02
    with pytest.raises(UsageError, match="reduce='pca' is not known"):
        read_vectors(path, reduce="pca", **options)  # type: ignore[arg-type]


def test_a_reduction_that_leaves_nothing(write: Callable[..., Path]) -> None:
    vectors = some(2, 1000)
    vectors[1, :768] = 0
    path, ids = write("v.npy", npy(vectors)), write("ids.txt", "S1\nS2\n")
    with pytest.raises(InputError, match="leaves nothing") as caught:
        read_vectors(path, modality="tile", ids=ids, reduce="first")
    assert caught.value.row == 2


# The files


@pytest.mark.parametrize("spilled", [False, True])
def test_the_same_vectors_from_every_format(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spilled: bool
) -> None:
    h5py = pytest.importorskip("h5py")
    if spilled:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    vectors = some(3, 64)
    with h5py.File(tmp_path / "h", "w") as file:
        file["embeddings"] = vectors
        file["ids"] = IDS
    files: list[tuple[Path, Path | None]] = [
        (parquet(tmp_path / "a", {"sample": IDS, "v": list(vectors)}), None),
        (parquet(tmp_path / "b", {"sample": IDS, "v": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 64)}), None),
        (parquet(tmp_path / "c", {"sample": IDS, **{f"d{i}": vectors[:, i] for i in range(64)}}), None),
        (parquet(tmp_path / "d", {"v": list(vectors.astype(np.float64)), "sample": IDS}), None),
        (write("v.npy", npy(vectors)), write("ids.txt", "\n".join(IDS) + "\n")),
        (
            write("f.npy", npy(np.asfortranarray(vectors))),
            write("ids.tsv", "sample\tx\n" + "".join(f"{i}\tq\n" for i in IDS)),
        ),
        (tmp_path / "h", None),
    ]
    for path, ids in files:
        found = read_vectors(path, modality="tile", ids=ids)
        np.testing.assert_allclose(found.vectors, to_768(vectors, None, 0, "f")[0], atol=1e-6)
        assert found.encoder == "ready-tile-64d.lift64-s0"
        assert found.samples[2].sample == "S3"
        assert found.report.features == 64
        assert isinstance(_owner(found.vectors), mmap.mmap) == spilled
    if spilled:
        assert list(temporary.iterdir()) == []


def _owner(array: object) -> object:
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_batches_are_small_however_long_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = some(1_000, 768)
    path = parquet(
        tmp_path / "a",
        {"sample": [f"S{i}" for i in range(1_000)], "v": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 768)},
    )
    monkeypatch.setattr(parquet_file, "_BATCH_BYTES", 1 << 20)
    rows = [batch.num_rows for batch in parquet_file.read_parquet_batches(path, Limits())[2]]
    assert max(rows) < 400
    np.testing.assert_array_equal(read_vectors(path, modality="tile").vectors, vectors)


def test_no_room_for_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a", {"sample": [f"S{i}" for i in range(500)], "v": list(some(500, 768))})
    monkeypatch.setattr(mapped, "_IN_MEMORY", 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(InputError, match=r"1,536,000 bytes in .*TMPDIR"):
            read_vectors(path, modality="tile")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_items_kinds_and_patients(tmp_path: Path) -> None:
    columns = {
        "patient": ["P1", "P1", "P2"],
        "sample": ["S1", "S1", "S2"],
        "tile": ["0,0", "0,256", "0,0"],
        "kind": ["tumour", "tumour", "normal"],
        "magnification": ["40x"] * 3,
        "v": list(some(3, 768)),
    }
    found = read_vectors(parquet(tmp_path / "v", columns, encoder="uni-v2"), modality="tile")
    assert found.items == ("0,0", "0,256", "0,0")
    assert [(s.patient, s.kind) for s in found.samples] == [("P1", "tumour"), ("P1", "tumour"), ("P2", "normal")]
    assert found.encoder == "uni-v2"
    assert (found.report.rows, found.report.samples, found.report.patients) == (3, 2, 2)
    assert "columns not used: magnification" in found.report.notes


def test_a_slide_file_of_tiles_is_named_by_its_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "TCGA-OR-A5J1-01Z-00-DX1.h5"
    with h5py.File(path, "w") as file:
        file["features"] = some(2, 768)[None]
        file["features"].attrs["encoder"] = "conch"
        file["coords"] = np.array([[0, 0], [0, 256]])
    found = read_vectors(path, modality="tile")
    assert found.items == ("0,0", "0,256")
    assert {sample.patient for sample in found.samples} == {"TCGA-OR-A5J1"}
    assert found.encoder == "conch"


def test_sample_table(write: Callable[..., Path]) -> None:
    table = write("s.csv", "sample,patient,kind\nS1,P9,normal\n")
    ids = write("ids.txt", "sample\nS1\n")
    found = read_vectors(write("v.npy", npy(some(1, 768))), modality="tile", ids=ids, sample_table=table)
    assert (found.samples[0].patient, found.samples[0].kind) == ("P9", "normal")


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "zeros"), (1e-25, "too short")]
)
def test_vectors_without_a_direction(write: Callable[..., Path], value: float, problem: str) -> None:
    vectors = some(3, 768)
    vectors[1] = value
    with pytest.raises(InputError, match=problem) as caught:
        read_vectors(write("v.npy", npy(vectors)), modality="tile", ids=write("i.txt", "A\nB\nC\n"))
    assert (caught.value.row, caught.value.column) == (2, "B")


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.array([{"a": 1}], dtype=object), "damaged, or not an array of plain numbers"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((0, 768)), r"shape \(0, 768\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((2, 3), dtype="S3"), "numbers are needed"),
        (np.zeros((2, 3), dtype=complex), "numbers are needed"),
    ],
)
def test_hostile_arrays(write: Callable[..., Path], array: Any, problem: str) -> None:
    path = write("v.npy", npy(array, pickle=array.dtype == object))
    with pytest.raises(InputError, match=problem):
        read_vectors(path, modality="tile", ids=write("i.txt", "A\nB\n"))


def test_arrays_whose_header_lies(write: Callable[..., Path]) -> None:
    ids = write("i.txt", "A\nB\n")
    whole = npy(some(2, 768))
    for data in (whole[:200], whole.replace(b"(2, 768)", b"(9, 768)"), b"\x93NUMPY" + b"\xff" * 50):
        with pytest.raises(InputError, match="damaged"):
            read_vectors(write("v.npy", data), modality="tile", ids=ids)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"sample": IDS}, "no vectors"),
        ({"v": [[1.0]] * 3}, "no column names the sample"),
        ({"sample": IDS, "v": [[1.0, 2.0], [1.0], [1.0, 2.0]]}, "a vector of 1 numbers, others have 2"),
        ({"sample": IDS, "v": [[1.0], None, [1.0]]}, "no vector"),
        ({"sample": IDS, "v": pa.array([[]] * 3, pa.list_(pa.float32()))}, "a vector without numbers"),
        ({"sample": IDS, "v": [["x"], ["y"], ["z"]]}, "lists of numbers are needed"),
        ({"sample": IDS, "v": [[1.0]] * 3, "w": [[1.0]] * 3}, "2 columns hold lists"),
        ({"sample": ["A", "A", "B"], "v": [[1.0]] * 3}, "'A' is there twice, first in row 1"),
        ({"sample": ["A", None, "B"], "v": [[1.0]] * 3}, "without a sample"),
        ({"sample": IDS, "v": [[[1.0]]] * 3}, "lists of numbers are needed"),
        ({"sample": IDS, "v": [[1.0]] * 3, "junk": [{"a": 1}] * 3}, "neither ids nor numbers"),
    ],
)
def test_hostile_parquet(tmp_path: Path, columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_vectors(parquet(tmp_path / "v", columns), modality="tile")


def test_hostile_h5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    def h5(name: str, fill: Callable[[Any], None]) -> Path:
        with h5py.File(tmp_path / name, "w") as file:
            fill(file)
        return tmp_path / name

    other = h5("other.h5", lambda f: f.create_dataset("vectors", data=some(2, 768)))

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout(shape=(2, 768), dtype="f4")
        layout[:] = h5py.VirtualSource(str(other), "vectors", shape=(2, 768))
        file.create_virtual_dataset("vectors", layout)

    def outside(file: Any) -> None:
        file.create_dataset("vectors", shape=(2, 768), dtype="f4", external=[(str(tmp_path / "raw"), 0, 6144)])

    def link(file: Any) -> None:
        file["vectors"] = h5py.ExternalLink(str(other), "vectors")

    def ring(file: Any) -> None:
        file.create_group("g")["self"] = file["/"]
        file["vectors"] = some(2, 3)[0]

    def soft(file: Any) -> None:
        file["vectors"] = h5py.SoftLink("/nowhere")

    (tmp_path / "raw").write_bytes(b"\1" * 6144)
    for fill, problem in (
        (virtual, "lies in another file"),
        (outside, "lies in another file"),
        (link, "leads to another file"),
        (soft, "soft link"),
        (ring, r"shape \(3,\)"),
        (lambda f: f.create_dataset("x1", data=[1]), "no dataset of vectors; there are x1"),
        (lambda f: f.create_dataset("vectors", data=b"text"), "numbers are needed|shape"),
        (lambda f: f.create_dataset("vectors", shape=(90_000, 90_000), dtype="f4"), "more than the limit"),
    ):
        with pytest.raises(InputError, match=problem):
            read_vectors(h5("v.h5", fill), modality="tile")


@pytest.mark.parametrize(
    ("options", "kind", "problem"),
    [
        ({"modality": "Tile"}, UsageError, "cannot name a modality"),
        ({"modality": "sum"}, UsageError, "cannot name a modality"),
        ({"modality": "tile", "encoder": "../x"}, UsageError, "cannot name an encoder"),
        ({"modality": "tile"}, InputError, "no ids in it"),
    ],
)
def test_options(write: Callable[..., Path], options: dict[str, Any], kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        read_vectors(write("v.npy", npy(some(2, 768))), **options)


def test_ids_that_do_not_fit(write: Callable[..., Path]) -> None:
    path = write("v.npy", npy(some(2, 768)))
    with pytest.raises(InputError, match="3 ids for 2 vectors"):
        read_vectors(path, modality="tile", ids=write("i.txt", "A\nB\nC\n"))
    with pytest.raises(InputError, match="no Parquet, NPY or H5"):
        read_vectors(write("v.tsv", "a\tb\n"), modality="tile")
    with pytest.raises(InputError, match="more than the limit of 100 cells"):
        read_vectors(path, modality="tile", ids=write("i.txt", "A\nB\n"), limits=Limits(max_cells=100))
