"""One reference of all cohorts for other benchmarks: ``python -m benchmarks.whole_reference --data DIR REFERENCE``.

RNA (90 genes), mutations, miRNA, clinical columns, the sequencer of the miRNA library and, with ``--model FOLDER
--cache FOLDER``, report sentences. The sentences are encoded by `benchmarks.reports`, which keeps them in the cache
(half an hour on two cores the first time), and are then ingested as ready vectors, one per sentence.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.reports import encode
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.ingest.reports import read_reports
from molsig.reference import Reference
from molsig.types import DIM


def report_vectors(data: Path, model: str, cache: Path, file: Path) -> None:
    """Write a vector per report sentence, with sample and item, as Parquet."""
    records = read_reports(data / "tcga" / "reports.csv.gz")
    choice = ModelChoice(text_model=model, text_precision="bfloat16")
    vectors = encode(fit_encoder(records, choice=choice), records, cache / "text")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    samples = [one.sample for one in records.samples]
    pq.write_table(pa.table({"sample": samples, "item": records.items, "vector": flat}), file)


def write_sequencers(mirna: Path, file: Path) -> None:
    """Write the sequencer of each patient's library; of several the first in alphabetical order."""
    table = pq.read_table(mirna, columns=["patient", "sequencer"]).sort_by([("sequencer", "descending")])
    of = dict(zip(table["patient"].to_pylist(), table["sequencer"].to_pylist(), strict=True))
    lines = [f"{patient}\t{sequencer}" for patient, sequencer in sorted(of.items())]
    file.write_text("patient\tsequencer\n" + "\n".join(lines) + "\n")


def main() -> None:
    """Build the reference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--model", help="folder of the text model; no reports without")
    parser.add_argument("--cache", type=Path, help="where sentence vectors are kept")
    parser.add_argument("--no-learn", action="store_true")
    options = parser.parse_args()
    if options.model and not options.cache:
        parser.error("--model needs --cache")
    tcga = options.data / "tcga"
    reference = Reference.create(options.reference)
    with tempfile.TemporaryDirectory() as folder:
        ready = {}
        if options.model:
            ready["report"] = Path(folder) / "report.parquet"
            report_vectors(options.data, options.model, options.cache, ready["report"])
        report = reference.ingest(
            rna=tcga / "rna_90genes_log2.tsv.gz",
            mutations=tcga / "mutations.maf.gz",
            mirna=tcga / "mirna_counts.parquet",
            patients=tcga / "clinical.tsv",
            vectors=ready,
            learn=False,
        )
        sequencers = Path(folder) / "sequencers.tsv"
        write_sequencers(tcga / "mirna_counts.parquet", sequencers)
        reference.ingest(patients=sequencers, learn=not options.no_learn)
    print(report.added)


if __name__ == "__main__":
    main()
