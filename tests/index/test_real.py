"""The real cohort through the store: its patient table and its expression, z-scored per gene, as vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pytest

from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import DIM, Encoded, SampleId


@pytest.mark.real
def test_the_cohort_is_stored_filtered_and_searched(data_dir: Path, store: Store) -> None:
    missing = csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    clinical = csv.read_csv(
        data_dir / "tcga" / "clinical.tsv", parse_options=csv.ParseOptions(delimiter="\t"), convert_options=missing
    )
    expression = csv.read_csv(
        data_dir / "tcga" / "rna_90genes_log2.tsv.gz", parse_options=csv.ParseOptions(delimiter="\t")
    )
    barcodes = expression.column(0).to_pylist()
    numeric = [name for name in expression.column_names if pa.types.is_floating(expression[name].type)]
    values = np.stack([np.array(expression[name].to_pylist(), np.float64) for name in numeric], axis=1)
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    vectors = np.zeros((len(barcodes), DIM), np.float32)
    vectors[:, : scaled.shape[1]] = scaled
    samples = tuple(SampleId(barcode, barcode[:12]) for barcode in barcodes)
    names = [name for name in clinical.column_names if name != "patient"]
    with store.writer("test") as writer:
        change = writer.put_patients(clinical)
        assert (change.new, set(change.columns_added)) == (clinical.num_rows, set(names))
        assert writer.put_patients(clinical).unchanged == clinical.num_rows
        for start in range(0, len(samples), 1_000):
            part = slice(start, start + 1_000)
            writer.commit(
                [
                    Encoded(
                        "rna", "rna-z", samples[part], ("",) * len(samples[part]), vectors[part], tuple(barcodes[part])
                    )
                ]
            )
        writer.build_indexes()

    wanted = clinical.filter(
        pc.and_(pc.equal(pc.ascii_lower(clinical["sex"]), "female"), pc.greater(clinical["age"], 60))
    )["patient"]
    elderly = store.select_patients("lower(sex) = 'female' AND age > 60")
    assert elderly == sorted(wanted.to_pylist())
    assert len(elderly) > 500

    types = dict(zip(clinical["patient"].to_pylist(), clinical["cancer_type"].to_pylist(), strict=True))
    asked = np.random.default_rng(0).choice(len(samples), 200, replace=False)
    exact, graph = (Searcher(store).search("rna-z", vectors[asked], 11, method=method) for method in ("exact", "index"))
    assert exact.method == "exact" != graph.method
    same = total = agree = 0
    for place, left, right in zip(asked.tolist(), exact.hits, graph.hits, strict=True):
        assert left[0].patient == samples[place].patient, "a stored sample finds itself first"
        same += len({hit.id for hit in left} & {hit.id for hit in right})
        total += len(left)
        agree += sum(types.get(hit.patient) == types.get(left[0].patient) for hit in left[1:])
    assert same >= 0.99 * total
    assert agree >= 0.7 * 10 * len(asked), "neighbours are mostly of the query's own cancer type"
    filtered = Searcher(store).search("sum", vectors[asked], 5, patients=elderly)
    assert {hit.patient for hits in filtered.hits for hit in hits} <= set(elderly)
    assert all(check.ok for check in verify(store))
