"""Tumour types from pathology reports: ``python -m benchmarks.reports --data DIR --model FOLDER --cache FOLDER``.

Every sentence is read by molsig's reader and encoded by its encoder; a patient is the sum of their sentence vectors. On
whole submitting sites held out, and on random folds of the same patients: the vote of the ten nearest neighbours
(cosine, of the sum as it is and with the gallery's mean taken away) and a linear probe (logistic regression on the sum
at length 1, standardised), beside TF-IDF + logistic regression on the words of the same patients. Strengths of
regularisation are chosen on the validation part alone; everything is then fitted anew to training and validation part
and asked about the test part. All of it once with the texts as they are and once with the words that name the
diagnosis hidden.

With ``--cache`` a run that was killed goes on where it stopped: vectors are kept in Parquet parts by the SHA-256 of the
sentence that the model sees, in a folder named by the SHA-256 of the model's files. A sentence in which nothing is
hidden is encoded once for both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.splits import cell, read_labels, score, split_at_random, split_by_site, vote
from molsig.encoders.choice import PRECISIONS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.masking import mask
from molsig.ingest.reports import read_reports
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.splits import Label, Score
    from molsig.encoders.encoder import Encoder
    from molsig.types import TextSet

SPLITS = {"site": split_by_site, "random": split_at_random}
METHODS = ("knn", "knn_centred", "probe", "tfidf", "chance")
PROBE_C = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TFIDF_C = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
CHUNK = 2048
"""Sentences of one part of the cache: under two minutes of work to lose."""


@dataclass(frozen=True)
class Row:
    """Scores on one split, each as top-1 and balanced accuracy, and the strengths that validation chose."""

    split: str
    seed: int
    masked: bool
    gallery: int
    queries: int
    scores: dict[str, Score]
    probe_c: float
    tfidf_c: float


def encode(encoder: Encoder, records: TextSet, cache: Path | None) -> NDArray[np.float32]:
    """One vector per sentence, (n, 768), out of the cache where it has them."""
    digests = encoder.digests(records)
    shape, use = encoder.card.architecture, encoder.card.hyperparameters
    model = json.dumps([shape["files"], shape["max_tokens"], use["precision"], use["lift_seed"]], sort_keys=True)
    home = None if cache is None else cache / hashlib.sha256(model.encode()).hexdigest()[:16]
    known: dict[str, NDArray[np.float32]] = {}
    for part in sorted(home.glob("*.parquet")) if home is not None and home.is_dir() else ():
        table = pq.read_table(part)
        vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
        known.update(zip(table["sha256"].to_pylist(), vectors, strict=True))
    first: dict[str, int] = {}
    for row, digest in enumerate(digests):
        if digest not in known:
            first.setdefault(digest, row)
    todo = list(first.values())
    print(f"{len(digests):,} sentences, {len(set(digests)):,} different, {len(todo):,} to encode", file=sys.stderr)
    start = time.perf_counter()
    for at in range(0, len(todo), CHUNK):
        rows = todo[at : at + CHUNK]
        vectors = encoder.encode(records, rows=rows).vectors
        names = [digests[row] for row in rows]
        known.update(zip(names, vectors, strict=True))
        if home is not None:
            home.mkdir(parents=True, exist_ok=True)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
            unfinished = home / f".{names[0]}-{os.getpid()}"
            pq.write_table(pa.table({"sha256": names, "vector": flat}), unfinished, compression="none")
            unfinished.rename(home / f"{names[0]}.parquet")
        done = at + len(rows)
        rate = done / (time.perf_counter() - start)
        left = (len(todo) - done) / rate / 60
        print(f"{done:,} of {len(todo):,}, {rate:.1f} sentences/s, {left:.0f} min left", file=sys.stderr, flush=True)
    return np.stack([known[digest] for digest in digests])


def sums(records: TextSet, vectors: NDArray[np.float32], patients: Sequence[str]) -> NDArray[np.float32]:
    """Sum of the sentence vectors of each patient."""
    place = {patient: i for i, patient in enumerate(patients)}
    total = np.zeros((len(patients), DIM))
    for one, vector in zip(records.samples, vectors, strict=True):
        if one.patient in place:
            total[place[one.patient]] += vector
    return total.astype(np.float32)


def words(records: TextSet, patients: Sequence[str], *, masked: bool) -> list[str]:
    """All sentences of each patient as one text."""
    texts: dict[str, list[str]] = defaultdict(list)
    for one, text in zip(records.samples, records.texts, strict=True):
        texts[one.patient].append(mask(text) if masked else text)
    return [" ".join(texts[patient]) for patient in patients]


def regress(make: Any, x: Any, types: NDArray[np.str_], parts: NDArray[np.str_], strengths: Sequence[float]) -> Any:
    """Answers for the test part, and the strength that did best on the validation part."""

    def answers(strength: float, fitted: Sequence[str], asked: str) -> list[str]:
        model = make(strength).fit(_take(x, np.isin(parts, fitted)), types[np.isin(parts, fitted)])
        return list(model.predict(_take(x, parts == asked)))

    truth = types[parts == "validation"].tolist()
    tried = {one: score(answers(one, ["train"], "validation"), truth) for one in strengths}
    best = max(strengths, key=lambda one: (tried[one].top1, tried[one].balanced, -one))
    return answers(best, ["train", "validation"], "test"), best


def _take(x: Any, rows: NDArray[np.bool_]) -> Any:
    return [text for text, keep in zip(x, rows, strict=True) if keep] if isinstance(x, list) else x[rows]


def _probe(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _tfidf(strength: float) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(C=strength, max_iter=1000))


def measure(
    labels: dict[str, Label],
    patients: Sequence[str],
    vectors: NDArray[np.float32],
    texts: list[str],
    split: str,
    seed: int,
    masked: bool,
) -> Row:
    """Score everything on one split."""
    place = SPLITS[split](labels, seed)
    parts = np.array([place[patient] for patient in patients])
    types = np.array([labels[patient].cancer_type for patient in patients])
    gallery, asked = parts != "test", parts == "test"
    known, truth = types[gallery].tolist(), types[asked].tolist()
    centred = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    probe, probe_c = regress(_probe, centred, types, parts, PROBE_C)
    tfidf, tfidf_c = regress(_tfidf, texts, types, parts, TFIDF_C)
    centred = centred - centred[gallery].mean(axis=0)
    answers = {
        "knn": vote(vectors[asked], vectors[gallery], known),
        "knn_centred": vote(centred[asked], centred[gallery], known),
        "probe": probe,
        "tfidf": tfidf,
        "chance": [Counter(known).most_common(1)[0][0]] * len(truth),
    }
    scores = {name: score(answers[name], truth) for name in METHODS}
    return Row(split, seed, masked, len(known), len(truth), scores, probe_c, tfidf_c)


def main() -> None:
    """Print one line per split and kind of text: mean over the seeds, and their spread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--model", help="folder or name of the text model; all-mpnet-base-v2 by default")
    parser.add_argument("--cache", type=Path, help="folder in which vectors are kept, so that a killed run goes on")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--masked", nargs="+", choices=["no", "yes"], default=["no", "yes"])
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=list(SPLITS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="every run as JSON on stdout instead of the table")
    options = parser.parse_args()
    records = read_reports(options.data / "tcga" / "reports.csv.gz")
    every = read_labels(options.data / "tcga" / "clinical.tsv")
    patients = sorted({one.patient for one in records.samples} & every.keys())
    labels = {patient: every[patient] for patient in patients}
    print(f"{len(patients):,} patients, {len(set(labels.values())):,} sites", file=sys.stderr)
    rows = []
    for masked in (one == "yes" for one in options.masked):
        choice = ModelChoice(text_model=options.model, mask_diagnosis=masked, text_precision=options.precision)
        encoder = fit_encoder(records, choice=choice, device=options.device)
        vectors = sums(records, encode(encoder, records, options.cache), patients)
        texts = words(records, patients, masked=masked)
        for split in options.split:
            for seed in range(options.seeds):
                rows.append(measure(labels, patients, vectors, texts, split, seed, masked))
                print(rows[-1], file=sys.stderr, flush=True)
    if options.json:
        shown = [asdict(row) | {"scores": {k: v._asdict() for k, v in row.scores.items()}} for row in rows]
        print(json.dumps({"model": encoder.card.architecture["called"], "k": 10, "rows": shown}, indent=1))
        return
    print(f"{encoder.card.architecture['called']}, {options.precision}; top-1 / balanced accuracy on test patients;")
    print("mean (largest - smallest) of seeds")
    print(f"{'text':10}{'split':8}{'seeds':>6}{'gallery':>9}{'queries':>9}  " + "".join(f"{n:30}" for n in METHODS))
    for masked in (one == "yes" for one in options.masked):
        for split in options.split:
            some = [row for row in rows if (row.masked, row.split) == (masked, split)]
            sizes = f"{np.mean([r.gallery for r in some]):9.0f}{np.mean([r.queries for r in some]):9.0f}"
            cells = "".join(f"{cell([row.scores[name] for row in some]):30}" for name in METHODS)
            print(f"{'masked' if masked else 'as it is':10}{split:8}{len(some):6}{sizes}  {cells}")


if __name__ == "__main__":
    main()
