"""Fusions in one-shot episodes of patients with three assays: ``python -m benchmarks.one_shot_fusion --data DIR ...``.

Queries and examples are patients of types that nobody has learned, who have RNA (90 genes), miRNA and mutations.
All that is fitted (standardisation, encoders, weights, the evidence and how much of it counts) is fitted on patients of
the other types alone, with all the assays they have: they are put into a reference and `molsig learn` learns on it,
as a user would. Compared are single assays and their fusions, on two kinds of vectors: of the encoders that look at no
label (``VAE``), and of those that learn from types (``whitened``; mutations have none such and stay as they are). All
answer the same episodes. Each cohort is a JSON file in ``--output``, which grows; ``--table`` prints them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.held_out_sites import take
from benchmarks.modalities import raw_features
from benchmarks.one_shot_fusion_cohorts import COHORTS, MODALITIES, samples_of
from benchmarks.one_shot_sheet import Sheet, questions, table
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.evaluate.episodes import EPISODES, cosine, euclidean
from molsig.reference import Reference
from molsig.retrieval.fusion import WITHIN
from molsig.retrieval.learned import load
from molsig.retrieval.neighbourhood import unit
from molsig.retrieval.pair_scores import PairScore
from molsig.retrieval.patient_vectors import PatientVectors, summed
from molsig.retrieval.type_labelled import Comparing, ask_labelled
from molsig.types import FeatureMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.one_shot_fusion_cohorts import FusionCohort, Records
    from molsig.evaluate import episodes

COMPARED = (("rna",), ("mirna",), ("mutation",), ("mirna", "rna"), ("mirna", "mutation", "rna"))
"""Sets of assays whose evidence is compared; those of several are summed as well."""
KINDS = ("VAE", "whitened")
LABEL, GROUPS = "cancer_type", "site"
WAYS = (6, 8, 10)
TOLD = {"rna": "RNA", "mirna": "miRNA", "mutation": "mutations"}


def raw_blocks(found: FusionCohort) -> dict[str, NDArray[np.float32]]:
    """By modality: features of those asked about, prepared on those learned from; the mean over a patient's samples."""
    out = {}
    for modality, records in found.records.items():
        x = raw_features(records, samples_of(records, found.learned)[0])
        rows, of = samples_of(records, found.asked)
        total = np.zeros((len(found.asked), x.shape[1]))
        np.add.at(total, of, x[rows])
        out[modality] = (total / np.bincount(of, minlength=len(found.asked))[:, None]).astype(np.float32)
    return out


def raw_scores(found: FusionCohort) -> Iterator[tuple[str, episodes.PairScore]]:
    """1-NN on the features."""
    blocks = raw_blocks(found)
    for modality, x in blocks.items():
        yield f"1-NN Euclidean, {TOLD[modality]}", euclidean(x)
        yield f"1-NN cosine, {TOLD[modality]}", cosine(x)
    for several in COMPARED[3:]:
        yield f"1-NN cosine, {named(several)} side by side", cosine(np.hstack([unit(blocks[m]) for m in several]))


def encoded(found: FusionCohort, modality: str, network: str | None, seed: int) -> tuple[PatientVectors, ...]:
    """Vectors of one modality, of those learned from and of those asked about, by an encoder fitted to the former."""
    records = found.records[modality]
    rows, _ = samples_of(records, found.learned)
    some = take(records, rows)
    labels = [found.labels[one.patient].cancer_type for one in some.samples]
    choice = ModelChoice(networks={modality: network}) if network else ModelChoice()
    encoder = fit_encoder(some, seed=seed, device="cpu", labels=labels, choice=choice)
    out = []
    for patients in (found.learned, found.asked):
        rows, of = samples_of(records, patients)
        vectors = encoder.encode(records, rows=rows.tolist(), allow_missing=True).vectors
        sums, present = summed(len(patients), of, np.arange(len(rows)), vectors.__getitem__)
        out.append(PatientVectors(patients, {modality: sums}, {modality: present}))
    return tuple(out)


def joined(parts: list[PatientVectors]) -> PatientVectors:
    """The same patients with all of their modalities."""
    return PatientVectors(
        parts[0].patients,
        {m: one.vectors[m] for one in parts for m in one.modalities},
        {m: one.present[m] for one in parts for m in one.modalities},
    )


def reference_of(found: FusionCohort, vectors: PatientVectors, folder: Path, seed: int) -> Reference:
    """A reference of those learned from, their types and sites, which has learned."""
    sources = {}
    for modality in vectors.modalities:
        held = np.flatnonzero(vectors.present[modality])
        file, ids = folder / f"{modality}.npy", folder / f"{modality}.txt"
        np.save(file, vectors.vectors[modality][held])
        ids.write_text("\n".join(vectors.patients[row] for row in held) + "\n")
        sources[modality] = {"path": file, "ids": ids}
    lines = [f"{one}\t{found.labels[one].cancer_type}\t{found.labels[one].site}" for one in vectors.patients]
    patients = folder / "patients.tsv"
    patients.write_text("\n".join([f"patient\t{LABEL}\t{GROUPS}", *lines]) + "\n")
    reference = Reference.create(folder / "learned.molsig")
    reference.ingest(vectors=sources, patients=patients, learn=False)
    reference.learn(LABEL, groups=GROUPS, seed=seed)
    return reference


def named(modalities: tuple[str, ...]) -> str:
    """Assays in words, RNA first."""
    return " + ".join(TOLD[m] for m in MODALITIES if m in modalities)


def names_of(kind: str) -> list[str]:
    """Methods on one kind of vectors."""
    names = [f"{kind}: cosine, {named(one)}" for one in COMPARED[:3]]
    for several in COMPARED[3:]:
        names += [f"{kind}: {fusion}, {named(several)}" for fusion in ("sum", "weighted")]
    names += [f"{kind}: evidence, {named(one)}" for one in COMPARED]
    every = named(COMPARED[-1])
    return [*names, f"{kind}: evidence profiles alone, {every}", f"{kind}: evidence as queries rank, {every}"]


def fused_scores(
    reference: Reference, vectors: PatientVectors, kind: str, seed: int
) -> tuple[dict[str, episodes.PairScore], dict[str, float]]:
    """Scores of pairs of `vectors`, by the names of `names_of`; and how much the profiles of each evidence count.

    Evidence is compared as `molsig type` does for types that it has not learned: how much the profiles count is chosen
    on the reference's own patients, types of theirs hidden in turn.
    """
    learned = load(reference.path, LABEL)
    assert learned is not None
    out: dict[str, episodes.PairScore] = {}
    shares: dict[str, float] = {}
    for several in COMPARED:
        if len(several) == 1:
            out[f"{kind}: cosine, {named(several)}"] = pairs(PairScore("single", several), vectors)
            continue
        for fusion in ("sum", "weighted"):
            score = PairScore(fusion, several, None if fusion == "sum" else learned)
            out[f"{kind}: {fusion}, {named(several)}"] = pairs(score, vectors)
    for several in COMPARED:
        how = Comparing("evidence", several, learned, None, LABEL, GROUPS, "auto", None, seed)
        found = ask_labelled(reference._store, reference._searcher, how, hidden=True, ways=max(WAYS), shots=1)
        assert found is not None
        out[f"{kind}: evidence, {named(several)}"] = pairs(found.score, vectors)
        shares[named(several)] = found.score.share
    every = named(COMPARED[-1])
    out[f"{kind}: evidence profiles alone, {every}"] = pairs(replace(found.score, share=1.0), vectors)
    out[f"{kind}: evidence as queries rank, {every}"] = ranked(found.score, vectors)
    return out, shares


def pairs(score: PairScore, vectors: PatientVectors) -> episodes.PairScore:
    """A score of prepared vectors as one of their rows."""
    prepared = score.prepared(vectors)
    return lambda a, b: score.scores(prepared[a], prepared[b]).astype(np.float32)


def ranked(score: PairScore, vectors: PatientVectors) -> episodes.PairScore:
    """What queries rank by: log-probability of being of one learned class, and the cosine of the weighted sums."""
    model = score.model
    own = np.exp(model.log_posterior(model.evidence(vectors), model.present(vectors))).astype(np.float32)
    assert score.learned is not None
    fused = score.learned.weighted.fused(vectors)
    return lambda a, b: np.log(own[a] @ own[b].T + np.float32(1e-9)) + np.float32(WITHIN) * (fused[a] @ fused[b].T)


def measure(found: FusionCohort, seeds: int, file: Path) -> None:
    """All methods on one cohort; what is known is written after each."""
    sheet = Sheet(
        file,
        {
            "name": found.name,
            "told": found.told,
            "training": found.training,
            "unseen": found.unseen,
            "training_samples": len(found.learned),
            "test_samples": len(found.asked),
            "features": " + ".join(f"{_width(one):,} {TOLD[m]}" for m, one in found.records.items()),
        },
        questions([found.labels[one].cancer_type for one in found.asked], found.asked, WAYS),
    )
    for name, score in raw_scores(found):
        if not sheet.has([name], 0):
            sheet.note(name, 0, score, 0.0)
    for seed in range(seeds):
        plain: list[tuple[PatientVectors, ...]] = []
        for kind in KINDS:
            if sheet.has(names_of(kind), seed):
                continue
            start = time.process_time()
            plain = plain or [encoded(found, modality, None, seed) for modality in MODALITIES]
            white = [encoded(found, m, "whitened", seed) for m in MODALITIES[:2]] if kind == "whitened" else []
            held = [*white, *plain[len(white) :]]
            known, asked = (joined([one[side] for one in held]) for side in (0, 1))
            with tempfile.TemporaryDirectory() as folder:
                reference = reference_of(found, known, Path(folder), seed)
                scores, shares = fused_scores(reference, asked, kind, seed)
                seconds = time.process_time() - start
                for name in names_of(kind):
                    sheet.note(name, seed, scores[name], seconds)
                sheet.remark(f"Weight of the evidence profiles, {kind}", seed, shares)


def _width(records: Records) -> int:
    return len(records.features if isinstance(records, FeatureMatrix) else records.genes)


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results, one JSON a cohort")
    parser.add_argument("--cohort", nargs="+", choices=sorted(COHORTS), default=list(COHORTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    files = [options.output / f"{name}.json" for name in options.cohort]
    if options.table:
        for file in files:
            if file.exists():
                print(table(json.loads(file.read_text())))
        print(f"{EPISODES:,} episodes each.")
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    options.output.mkdir(parents=True, exist_ok=True)
    for name, file in zip(options.cohort, files, strict=True):
        measure(COHORTS[name](options.data), options.seeds, file)


if __name__ == "__main__":
    main()
