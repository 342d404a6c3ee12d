"""Why two patients are neighbours: features, sentences and tiles that add up, and what is said where nothing can be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.errors import InputError, NotFoundError, UsageError
from molsig.ingest.cohort import Cohort
from molsig.retrieval.explanation import Explanation, Shared
from molsig.simulate import SimulatedCohort

from ..encoders.conftest import write_text_model
from ..tile_images import save, tissue

N, GENES, KINDS = 130, 60, 5


def profiles(path: Path, patients: range = range(N), *, moved: dict[tuple[int, int], float] | None = None) -> Path:
    """Patient i is of type i % 5, which lifts genes 10 to 15 of its dozen by 3; some values are set."""
    rng = np.random.default_rng(1)
    kind = np.arange(N) % KINDS
    values = 8 + rng.normal(0, 0.6, (N, GENES))
    for one in range(KINDS):
        values[kind == one, 12 * one : 12 * one + 6] += 3
    for (patient, gene), value in (moved or {}).items():
        values[patient, gene] = value
    names = [f"TCGA-AA-{i:04d}-01A" for i in patients]
    table = {"sample": names} | {f"GENE{g}": values[list(patients), g] for g in range(GENES)}
    pq.write_table(pa.table(table), path)
    return path


RAW = {"scale": "log2"}
# In gene 50 one is far above the mean and the other far below.
MOVED = {(0, 50): 12.0, (5, 50): 4.0}
FIRST, SECOND = "TCGA-AA-0000", "TCGA-AA-0005"


@pytest.fixture(scope="module", params=["vae", "whitened"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reference of profiles and their file."""
    folder = tmp_path_factory.mktemp("planted")
    file, patients = profiles(folder / "rna.parquet", moved=MOVED), folder / "clinical.tsv"
    lines = [f"TCGA-AA-{i:04d}\tT{i % KINDS}\n" for i in range(N)]
    patients.write_text("patient\tcancer_type\n" + "".join(lines))
    Reference.create(folder / "r.molsig").ingest(
        rna=file, patients=patients, rna_options=RAW, epochs=8, choice=ModelChoice(networks={"rna": request.param}),
        label="cancer_type", learn=False,
    )  # fmt: skip
    return folder / "r.molsig", file


def one_of(found: Explanation, modality: str = "rna") -> Shared:
    return next(one for one in found.shared if one.modality == modality)


def test_the_genes_of_the_type_carry_it_and_what_parts_them_speaks_against(planted: tuple[Path, Path]) -> None:
    place, file = planted
    reference = Reference.open(place)
    every = one_of(reference.explain(SECOND, FIRST, rna=file, rna_options=RAW, top=2 * GENES)).features
    assert every is not None
    assert every.rest == pytest.approx(0, abs=1e-9)
    parts = {one.name: one.contribution for one in (*every.speak_for, *every.against)}
    # A tenth of the genes are those of the type: by chance they would carry a tenth.
    assert sum(parts.get(f"GENE{g}", 0.0) for g in range(6)) > 0.3 * every.score
    found = one_of(reference.explain(SECOND, FIRST, rna=file, rna_options=RAW))
    of = found.features
    assert of is not None
    assert "GENE50" in {one.name for one in of.against}
    apart = next(one for one in of.against if one.name == "GENE50")
    assert apart.query is not None
    assert apart.hit is not None
    assert apart.query > 1 > -1 > apart.hit
    listed = sum(one.contribution for one in (*of.speak_for, *of.against))
    assert listed + of.rest == pytest.approx(of.score, rel=2e-3)
    assert of.missed <= 1e-3
    for one in (*of.speak_for, *of.against):
        assert one.of_query is not None
        assert one.of_hit is not None
        assert one.contribution == pytest.approx((one.of_query + one.of_hit) / 2)
    assert found.told == () or "in common" in found.told[0]


def test_the_score_is_the_cosine_of_the_vectors_seen_from_the_reference(planted: tuple[Path, Path]) -> None:
    import torch

    place, file = planted
    reference = Reference.open(place)
    found = one_of(reference.explain(SECOND, FIRST, rna=file, rna_options=RAW))
    from molsig.reference.encoding import load_encoders

    encoder: Any = load_encoders(reference._store, ["rna"], "cpu")["rna"]
    table, vectors = reference._store.embeddings_of([FIRST, SECOND])
    with torch.no_grad():
        origin = encoder.network().embed(torch.zeros(1, GENES)).numpy()[0] * encoder.scale
    a, b = (vectors.astype(np.float64)[table["patient"].to_pylist().index(name)] for name in (FIRST, SECOND))

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert found.features is not None
    assert found.features.score == pytest.approx(cosine(a - origin, b - origin), abs=1e-4)
    assert found.cosine == pytest.approx(cosine(a, b), abs=1e-5)
    of_pairs = reference.explain("TCGA-AA-0001", FIRST).shared[0]
    assert found.percentile is not None
    assert of_pairs.percentile is not None
    assert found.percentile > 80 > of_pairs.percentile


def test_one_of_the_two_is_enough_and_another_file_may_have_the_other(
    planted: tuple[Path, Path], tmp_path: Path
) -> None:
    place, file = planted
    reference = Reference.open(place)
    alone = profiles(tmp_path / "alone.parquet", range(3), moved=MOVED)
    found = one_of(reference.explain(SECOND, FIRST, rna=alone, rna_options=RAW))
    assert found.features is not None
    assert any("told from TCGA-AA-0000 alone" in line for line in found.told)
    best = found.features.speak_for[0]
    assert best.hit is None
    assert best.of_hit is None
    assert best.contribution == best.of_query
    listed = sum(one.contribution for one in (*found.features.speak_for, *found.features.against))
    assert listed + found.features.rest == pytest.approx(found.features.score, rel=2e-3)
    both = one_of(
        reference.explain(SECOND, FIRST, rna=alone, rna_options=RAW, hit_cohort=Cohort.of(rna=file, rna_options=RAW))
    )
    assert both.features is not None
    assert both.features.speak_for[0].hit is not None
    assert not any("alone" in line for line in both.told)
    with pytest.raises(InputError, match="holds neither TCGA-AA-0000 nor TCGA-AA-0005"):
        reference.explain(SECOND, FIRST, rna=profiles(tmp_path / "x.parquet", range(20, 24)), rna_options=RAW)
    changed = profiles(tmp_path / "changed.parquet", moved=MOVED | {(0, 1): 2.0})
    other = one_of(reference.explain(SECOND, FIRST, rna=changed, rna_options=RAW))
    assert any("the values of TCGA-AA-0000" in line and "not those that were stored" in line for line in other.told)


def test_another_sample_of_a_patient_is_named_as_what_it_is(planted: tuple[Path, Path], tmp_path: Path) -> None:
    place, file = planted
    table = pq.read_table(file).to_pydict()
    again = tmp_path / "again.parquet"
    table["sample"][0] = "TCGA-AA-0000-01B"
    pq.write_table(pa.table(table), again)
    found = one_of(Reference.open(place).explain(SECOND, FIRST, rna=again, rna_options=RAW))
    assert found.samples == ("TCGA-AA-0000-01B", "TCGA-AA-0005-01A")
    assert any("has no sample TCGA-AA-0000-01A" in line and "-01B is explained" in line for line in found.told)


def test_what_modality_leaves_out_is_said_to_be_left_out(built: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(built)
    store = reference._store
    has = {m: set(store.rows(space)["patient"].to_pylist()) for m, space in store.active_spaces().items()}
    first, second = sorted(has["rna"] & has["mutation"])[:2]
    found = reference.explain(
        second, first, rna=cohort_files.rna, mutations=cohort_files.mutations, modality="rna", fusion="sum"
    )
    assert [one.modality for one in found.shared] == ["rna"]
    assert found.only_hit == ()
    assert "the mutation file was not looked at: --modality leaves it out" in found.notes
    assert not any("not both of them" in line for line in found.notes)


def test_a_new_patient_is_explained_by_their_files(built: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(built)
    files = {"rna": cohort_files.new_rna, "mutations": cohort_files.new_mutations}
    hits = {one.query: one.hits[0].patient for one in reference.query_files(**files, k=1)}
    new = next(name for name in hits if name in cohort_files.truth)
    held = {row["modality"] for row in reference._store.embeddings_of(hits[new])[0].to_pylist()}
    found = reference.explain(hits[new], new, **files)
    assert not found.stored
    assert found.query == new
    assert {one.modality for one in found.shared} <= held
    assert all(one.features is None or one.features.speak_for[0].hit is None for one in found.shared)
    with pytest.raises(UsageError, match="say with --patient"):
        reference.explain(hits[new], **files)
    with pytest.raises(NotFoundError, match="nor in the files"):
        reference.explain(hits[new], "SIM-nobody", **files)


def test_what_is_asked_wrongly_is_told(built: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(built)
    store = reference._store
    has = {m: set(store.rows(space)["patient"].to_pylist()) for m, space in store.active_spaces().items()}
    both = sorted(has["rna"] & has["mutation"])
    with pytest.raises(UsageError, match="both the query and the hit"):
        reference.explain(both[0], both[0])
    with pytest.raises(NotFoundError, match="no patient 'SIM-nobody'"):
        reference.explain("SIM-nobody", both[0])
    with pytest.raises(NotFoundError, match="is not stored"):
        reference.explain(both[0], "SIM-nobody")
    with pytest.raises(UsageError, match="who is asked about"):
        reference.explain(both[0])
    lacking = sorted(set(store.patient_ids()) - has["mirna"])[0]
    with pytest.raises(NotFoundError, match="no modality in common"):
        reference.explain(lacking, sorted(has["mirna"])[0], modality="mirna")
    found = reference.explain(both[1], both[0], mirna=cohort_files.mirna)
    assert all(one.features is None for one in found.shared if one.modality != "mirna")
    told = {one.modality: one.told for one in found.shared}
    assert "--rna FILE" in told["rna"][0]
    assert "--mutations FILE" in told["mutation"][0]


def test_mutated_genes_are_named_with_how_often_they_are(built: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(built)
    name, hit = sorted(reference._store.rows(reference._store.active_spaces()["mutation"])["patient"].to_pylist())[:2]
    of = one_of(reference.explain(hit, name, mutations=cohort_files.mutations), "mutation").features
    assert of is not None
    assert of.reference == "a tumour without mutations"
    assert of.binary
    told = (*of.speak_for, *of.against)
    assert told
    for one in told:
        assert 1.0 in (one.query, one.hit)
        assert one.frequency is not None
        assert 0 < one.frequency < 1


SAID = (
    "The specimen was received in formalin and labelled with the name.",
    "Sections show hepatocellular carcinoma with pseudoglandular growth.",
    "The gallbladder is without any pathological finding whatsoever.",
    "A fragment of skin measures two by one by one centimetres.",
)


def test_sentences_are_shown_where_the_file_is_given(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="pip install 'molsig[reports]'")
    model, file = write_text_model(tmp_path / "tiny"), tmp_path / "reports.csv"
    words = {"P1": (0, 1), "P2": (0, 1, 3), "P3": (0, 2), "P4": (0, 3), "P5": (2,)}

    def write(path: Path, changed: str = "") -> Path:
        rows = [f'{name},"{" ".join(SAID[i] for i in some)}{changed}"\n' for name, some in words.items()]
        path.write_text("patient,text\n" + "".join(rows))
        return path

    reference = Reference.create(tmp_path / "r.molsig")
    reference.ingest(reports=write(file), choice=ModelChoice(text_model=model), learn=False)
    blind = one_of(reference.explain("P2", "P1"), "report")
    assert any("--reports FILE" in line for line in blind.told)
    assert {one.query_text for one in blind.items} == {None}
    shown = one_of(reference.explain("P2", "P1", reports=file), "report")
    assert shown.told == ()
    first = shown.items[0]
    assert (first.query_text, first.hit_text) == (SAID[1], SAID[1])
    assert (first.query_item, first.hit_item) == ("0002", "0002")
    other = one_of(
        reference.explain("P2", "P1", reports=write(tmp_path / "b.csv", " And so on it goes here.")), "report"
    )
    assert other.items[0].query_text == SAID[1]
    gone = write(tmp_path / "c.csv").read_text().replace("hepatocellular", "squamous")
    (tmp_path / "c.csv").write_text(gone)
    changed = one_of(reference.explain("P2", "P1", reports=tmp_path / "c.csv"), "report")
    assert any("is not what was stored" in line for line in changed.told)


def test_ready_vectors_have_no_words(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 768)).astype(np.float32)
    file = tmp_path / "v.parquet"
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 768)
    samples, items = [f"P{i // 3}" for i in range(12)], [f"{i % 3:04d}" for i in range(12)]
    table = pa.table({"sample": samples, "item": items, "vector": flat})
    pq.write_table(table.replace_schema_metadata({"encoder": "mine"}), file)
    reference = Reference.create(tmp_path / "r.molsig")
    reference.ingest(vectors={"report": file}, learn=False)
    told = one_of(reference.explain("P1", "P0", vectors={"report": file}), "report").told
    assert told == (f"{file} holds ready vectors, which neither words nor pictures can be shown of",)


def test_tiles_are_shown_where_their_pictures_are_given(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    for patient in range(6):
        for number in range(3):
            grain = 4 if patient < 2 and number == 1 else 20
            pixels = tissue(256, 256, seed=10 * patient + number, grain=grain, red=150.0 + 20 * number)
            save(folder / f"TCGA-AA-000{patient}" / f"t{number}.png", pixels)
    reference = Reference.create(tmp_path / "r.molsig")
    given = {"tiles": folder, "tile_options": {"source_mpp": 0.5}}
    reference.ingest(**given, choice=ModelChoice(tile_model="vae"), epochs=3, learn=False)
    blind = one_of(reference.explain("TCGA-AA-0001", "TCGA-AA-0000"), "tile")
    assert any("--tiles FILE" in line for line in blind.told)
    found = one_of(reference.explain("TCGA-AA-0001", "TCGA-AA-0000", **given), "tile")
    best = found.items[0]
    assert best.query_picture is not None
    assert best.hit_picture is not None
    assert Image.open(io.BytesIO(best.hit_picture)).size == (256, 256)
    assert "picture" not in str(best.to_dict())
    assert found.told == ()
