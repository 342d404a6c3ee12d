"""`molsig demo`: the whole way on a simulated cohort."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_answer, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molsig.retrieval.answer import Answer


def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to keep the simulated files and the reference; a new folder.")
    ] = None,
    patients: Annotated[int, typer.Option("--patients", min=200, max=20_000, help="Simulated patients.")] = 400,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same cohort.")] = 0,
    json: options.Json = False,
) -> None:
    """Simulate a small cohort, ingest it, and find patients like new ones.

    All patients of the demo are simulated: its figures say that the tool works, nothing about any disease.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="molsig-demo-") as scratch:
            _run(Path(scratch), patients, seed, json, kept=False)
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder for the demo")
    folder.mkdir(parents=True, exist_ok=True)
    _run(folder, patients, seed, json, kept=True)


def _run(folder: Path, patients: int, seed: int, json: bool, *, kept: bool) -> None:
    from molsig.ingest.cohort import Cohort
    from molsig.reference import Reference
    from molsig.simulate import simulate_cohort

    note(f"Simulating {patients} tumour patients of 8 invented types. None of them is real.")
    files = simulate_cohort(folder, patients=patients, seed=seed)
    cohort = Cohort.of(rna=files.rna, mutations=files.mutations, mirna=files.mirna, patients=files.clinical)
    place = folder / "demo.molsig"
    note("Training one encoder per assay, writing the reference, learning what each assay says of the tumour type ...")
    with progress_bar() as progress:
        report = Reference.ingest_into(place, cohort, seed=seed, progress=progress)
    reference = Reference.open(place)
    start = time.perf_counter()
    new = Cohort.of(rna=files.new_rna, mutations=files.new_mutations)
    answers = {
        "RNA": reference.query_files(new, modality="rna", vote="cancer_type"),
        "mutations": reference.query_files(new, modality="mutation", vote="cancer_type"),
        "RNA + mutations": reference.query_files(new, vote="cancer_type"),
        "RNA + mutations, plain sum": reference.query_files(new, vote="cancer_type", fusion="sum"),
    }
    seconds = time.perf_counter() - start
    table = _accuracy(answers, files.truth)
    if json:
        print_json({"simulated": True, "ingest": report.to_dict(), "typing": table})
        return
    added = ", ".join(f"{n:,} {modality}" for modality, n in report.added.items())
    note(f"Stored {added} vectors in {report.seconds:.1f} s.")
    note(f"Queried {len(files.truth)} new patients four times in {seconds:.1f} s.\n")
    print_answer(answers["RNA + mutations"][0], None)
    asked = answers["RNA + mutations"][0].query
    print(f"  truth: {_truth(asked, files.truth)}\n")
    print_table("New simulated patients typed: the call, and their 10 nearest neighbours", table)
    print("Simulated data: the figures show that the tool works, not how well it types real tumours.")
    if kept:
        nearest = answers["RNA"][0].hits[0].patient
        note(f"Kept in {folder}. Try: molsig query {place} --patient {nearest} --vote cancer_type")


def _accuracy(answers: Mapping[str, Sequence[Answer]], truth: Mapping[str, str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, group in answers.items():
        # "unknown" counts as wrong.
        right = [answer.calls["cancer_type"].label == _truth(answer.query, truth) for answer in group]
        same = [
            hit.attributes.get("cancer_type") == _truth(answer.query, truth) for answer in group for hit in answer.hits
        ]
        rows.append(
            {
                "query by": name,
                "new patients": len(group),
                "type right": sum(right) / len(right),
                "neighbours of the same type": sum(same) / len(same),
                "by chance": 1 / len(set(truth.values())),
            }
        )
    return rows


def _truth(query: str, truth: Mapping[str, str]) -> str:
    """The type of a new patient; a sample's name is its patient's with an ending."""
    return truth[query.removesuffix("-T")]
