"""Typing by example, calibrated or not: accuracy, calibration, and how strangers are told.

    python -m benchmarks.typing REFERENCE [--work DIR] [--seeds 0 1 2] [--split sites] [--draws 12] [--queries 300]
    python -m benchmarks.typing REFERENCE --data DIR --network whitened [the same]

Needs a reference with `cancer_type` and `site`. A copy of it gets a column that is without the labels of whole sites (a
quarter of the patients, who are asked about; with ``--split random`` of a random quarter) and without `--unseen` types,
which nobody learns; evidence is learned of that column, and probabilities are calibrated on it. Examples are of the
other sites. Each draw takes other examples and leaves a third of the types out: samples of these are the strangers.
Types are asked about equally often. The reference's encoders have seen all patients, without labels. With ``--network``
RNA and miRNA are ingested anew instead, by an encoder that learns from that column alone: neither the sites nor the
types that are asked about; its pair head, the cosine of its vectors and the evidence are then compared. Prints a line
of JSON for each figure and seed, then a table of means over the seeds (in brackets the largest minus the smallest).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.choice import ModelChoice
from molsig.reference import Reference
from molsig.reference.learning import learned_for
from molsig.reference.querying import stored_queries
from molsig.reference.typing_samples import scorers
from molsig.retrieval.one_shot import Asked, Typist
from molsig.retrieval.support import Example, SupportSet
from molsig.retrieval.type_calibration import expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.route import Query
    from molsig.retrieval.type_answer import Typing

HEAD, COSINE = "single, pair head", "single, cosine"
KNOWN = "known_type"
"""The column that is learned and calibrated on."""
ASKED = (
    (("rna", "mirna", "mutation"), ("evidence", "weighted", "sum")),
    (("rna",), ("evidence", "single")),
    (("mirna",), ("evidence", "single")),
    (("mutation",), ("evidence", "single")),
)
LEARNED = (
    (("rna", "mirna"), ("evidence", "weighted", "sum")),
    (("rna",), ("evidence", HEAD, COSINE)),
    (("mirna",), ("evidence", HEAD, COSINE)),
)
"""The same of encoders that have learned from types."""
SHOTS = (1, 5)
TESTED = 0.25
FEWEST = 12
"""Patients of other sites below which a type is not asked about."""
ERROR = 0.05


@dataclass(frozen=True)
class Cohort:
    """Patients with a type, and which of them are asked about."""

    patients: NDArray[np.str_]
    types: NDArray[np.str_]
    tested: NDArray[np.bool_]
    unseen: tuple[str, ...]


def split(reference: Reference, unseen: int, seed: int, *, by_site: bool) -> Cohort:
    """Hold out whole sites, or patients, and draw the types that nobody learns."""
    store = reference._store
    patients = store.patient_ids()
    types = np.array(["" if one is None else str(one) for one in store.column("cancer_type", patients)])
    sites = np.array([str(one) for one in store.column("site", patients)])
    random = np.random.default_rng(seed)
    names, sizes = np.unique(sites, return_counts=True)
    order = random.permutation(len(names))
    held = names[order[: int(np.searchsorted(np.cumsum(sizes[order]), TESTED * len(sites)))]]
    some = types != ""
    hidden = np.sort(random.permutation(np.unique(types[some]))[:unseen])
    tested = np.isin(sites, held) if by_site else random.random(len(sites)) < TESTED
    return Cohort(np.array(patients)[some], types[some], tested[some], tuple(hidden.tolist()))


def prepare(source: Path, place: Path, cohort: Cohort, seed: int) -> Reference:
    """Copy a reference, give it the column, learn it."""
    shutil.copytree(source, place)
    shutil.rmtree(place / "fusion", ignore_errors=True)
    _put_known(place, cohort)
    reference = Reference.open(place)
    reference.learn(KNOWN, groups="site", seed=seed)
    return reference


def prepare_learned(data: Path, place: Path, cohort: Cohort, seed: int, network: str) -> Reference:
    """Ingest RNA and miRNA by encoders that learn from the column and nothing else, then learn the evidence of it."""
    tcga = data / "tcga"
    Reference.create(place).ingest(patients=tcga / "clinical.tsv", learn=False)
    _put_known(place, cohort)
    reference = Reference.open(place)
    reference.ingest(
        rna=tcga / "rna_90genes_log2.tsv.gz",
        mirna=tcga / "mirna_counts.parquet",
        choice=ModelChoice(networks={"rna": network, "mirna": network}),
        label=KNOWN,
        learn=False,
        seed=seed,
    )
    reference.learn(KNOWN, groups="site", seed=seed)
    return reference


def _put_known(place: Path, cohort: Cohort) -> None:
    """Give a reference the column that may be learned."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "known.tsv"
        learnt = ~cohort.tested & ~np.isin(cohort.types, cohort.unseen)
        lines = [f"{p}\t{t if k else ''}" for p, t, k in zip(cohort.patients, cohort.types, learnt, strict=True)]
        table.write_text("\n".join([f"patient\t{KNOWN}", *lines]) + "\n")
        Reference.open(place).ingest(patients=table, learn=False)


def ask(
    reference: Reference,
    cohort: Cohort,
    names: Sequence[str],
    modalities: tuple[str, ...],
    fusions: Sequence[str],
    *,
    draws: int,
    queries: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Figures of each fusion and number of shots, types drawn from `names`."""
    store, searcher = reference._store, reference._searcher
    spaces = store.active_spaces()
    have = np.all(
        [np.isin(cohort.patients, searcher.view(spaces[one]).patients.to_pylist()) for one in modalities], axis=0
    )
    able = [t for t in names if (have & ~cohort.tested & (cohort.types == t)).sum() >= FEWEST]
    able = [t for t in able if (have & cohort.tested & (cohort.types == t)).any()]
    random = np.random.default_rng(seed)
    drawn = []
    for name in able:
        rows = np.flatnonzero(have & cohort.tested & (cohort.types == name))
        drawn.append(random.permutation(rows)[: max(1, queries // len(able))])
    asked = np.concatenate(drawn)
    questions = [
        one
        for start in range(0, len(asked), 200)
        for one in stored_queries(store, cohort.patients[asked[start : start + 200]].tolist(), modalities, "auto")
        if set(one.vectors) == set(modalities)
    ]
    kind = dict(zip(cohort.patients.tolist(), cohort.types.tolist(), strict=True))
    out = []
    for fusion in fusions:
        for shots in SHOTS:
            typist = Typist(store, searcher)
            found: list[tuple[str, Typing]] = []
            for draw in range(draws):
                random = np.random.default_rng([seed, draw])
                kept = np.sort(random.permutation(able)[: len(able) - len(able) // 3])
                support = SupportSet.of(
                    Example(str(patient), str(name), str(patient))
                    for name in kept
                    for patient in random.choice(
                        cohort.patients[have & ~cohort.tested & (cohort.types == name)], shots, replace=False
                    )
                )
                found += _typed(reference, typist, questions, support, fusion, kind)
            out.append(
                {"modalities": "+".join(modalities), "fusion": fusion, "shots": shots, "ways": len(kept)}
                | figures(found, set(able))
            )
    return out


def _typed(
    reference: Reference,
    typist: Typist,
    questions: Sequence[Query],
    support: SupportSet,
    fusion: str,
    kind: dict[str, str],
) -> list[tuple[str, Typing]]:
    store = reference._store
    head, cosine = fusion == HEAD, fusion == COSINE
    learned, _ = learned_for(store, reference._shelf, [KNOWN], "single" if head or cosine else fusion)
    asked = Asked(learned, KNOWN, "site", "single" if head or cosine else fusion, error=ERROR)
    answers = typist.type(
        questions, support, asked, scorers(store, reference._encoders, "cpu") if head else lambda _: None
    )
    return [(kind[one.query], one) for one in answers]


def figures(found: Sequence[tuple[str, Typing]], names: set[str]) -> dict[str, Any]:
    """Accuracy and calibration of those whose type has examples; how the others are told from them."""
    known = [(truth, one) for truth, one in found if truth in one.probabilities]
    strange = [one for truth, one in found if truth in names and truth not in one.probabilities]
    best = np.array([[one.types[0].probability, 0.0] for _, one in known])
    best[:, 1] = 1 - best[:, 0]
    right = np.array([one.types[0].type == truth for truth, one in known])
    own = np.array([one.fit.score for _, one in known])
    other = np.array([one.fit.score for one in strange])
    order = np.argsort(np.concatenate([own, other]), kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    return {
        "asked": len(known),
        "accuracy": round(float(right.mean()), 3),
        "confidence": round(float(best[:, 0].mean()), 3),
        "ece": round(_ece(best[:, 0], right), 3),
        "false_none": round(float(np.mean([one.fit.none for _, one in known])), 3),
        "strangers": len(strange),
        "strangers_told": round(float(np.mean([one.fit.none for one in strange])), 3),
        "auroc": round(float((ranks[: len(own)].sum() - len(own) * (len(own) + 1) / 2) / len(own) / len(other)), 3),
        "fit_by": known[0][1].fit.source,
    }


def _ece(best: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    # One column a type that is right or wrong is all the error looks at.
    told = np.stack([best, np.zeros(len(best))], axis=1)
    return expected_calibration_error(told, np.where(right, 0, 1))


def speed(reference: Reference, cohort: Cohort, seed: int) -> dict[str, Any]:
    """Milliseconds of typing one new sample against one, five and all examples of each type, once loaded."""
    modalities = ASKED[0][0]
    asked = [
        stored_queries(reference._store, [str(one)], modalities, "auto")[0]
        for one in np.random.default_rng(seed).choice(cohort.patients[cohort.tested], 100)
        if len(reference._store.embeddings_of(str(one))[1]) >= len(modalities)
    ]
    full = [dict(one.vectors) for one in asked if set(one.vectors) == set(modalities)][:50]
    told: dict[str, Any] = {}
    for shots in (1, 5, None):
        taken, worked = [], []
        for vectors in (full[0], *full):
            start, busy = time.perf_counter(), time.process_time()
            found = reference.type_samples("cancer_type", vectors=vectors, shots=shots)[0]
            taken.append(1000 * (time.perf_counter() - start))
            worked.append(1000 * (time.process_time() - busy))
        told["all" if shots is None else str(shots)] = {
            "types": len(found.types),
            "examples": sum(one.samples for one in found.types),
            "first_ms": round(taken[0]),
            "median_ms": round(float(np.median(taken[1:])), 1),
            "p95_ms": round(float(np.percentile(taken[1:], 95)), 1),
            "median_cpu_ms": round(float(np.median(worked[1:])), 1),
        }
    return told


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over seeds as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["types"], row["modalities"], row["fusion"], row["shots"]), []).append(row)
    lines = [
        "| types | modalities | fusion | shots | ways | accuracy | ECE | false none | strangers told | AUROC |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, some in groups.items():
        ways = sorted({row["ways"] for row in some})
        cells = [*map(str, key), "-".join(str(one) for one in dict.fromkeys((ways[0], ways[-1])))]
        for name in ("accuracy", "ece", "false_none", "strangers_told", "auroc"):
            values = [row[name] for row in some]
            cells.append(f"{np.mean(values):.3f} ({max(values) - min(values):.3f})".replace("0.", "."))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument(
        "--work", type=Path, help="keep the copies that were learned here, and use those that are there"
    )
    parser.add_argument("--split", choices=("sites", "random"), default="sites")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--unseen", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, help="folder that holds tcga/, for --network")
    parser.add_argument("--network", help="encode RNA and miRNA anew by whitened, contrastive or siamese")
    parser.add_argument("--speed", action="store_true", help="how long one new sample takes, and nothing else")
    options = parser.parse_args()
    if options.network and (options.data is None or not (options.data / "tcga").is_dir()):
        parser.error(f"--network needs the real cohorts: there is no tcga/ in --data {options.data}")
    if options.speed:
        reference = Reference.open(options.reference)
        print(json.dumps(speed(reference, split(reference, 0, 0, by_site=True), options.seeds[0])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            name = "-".join(filter(None, ("typing", options.split, options.network, str(seed))))
            place = (options.work or Path(scratch)) / f"{name}.molsig"
            by_site = options.split == "sites"
            cohort = split(Reference.open(options.reference), options.unseen, seed, by_site=by_site)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                if options.network:
                    prepare_learned(options.data, place, cohort, seed, options.network)
                else:
                    prepare(options.reference, place, cohort, seed)
            reference = Reference.open(place)
            seen = sorted(set(cohort.types.tolist()) - set(cohort.unseen))
            for group, names in (("unseen", cohort.unseen), ("learned", seen)):
                for modalities, fusions in LEARNED if options.network else ASKED:
                    how = {"draws": options.draws, "queries": options.queries, "seed": seed}
                    for row in ask(reference, cohort, names, modalities, fusions, **how):
                        rows.append({"seed": seed, "types": group, **row})
                        print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
