"""The Deep Neural Map on TCGA miRNA: ``python -m benchmarks.deep_map --data DIR --output FILE [--seeds N]``.

Three questions, as in the study (doi:10.1186/s12859-022-04559-4, Table 1): neoplastic or not, tissue of origin, both. A
node answers with the label of most of its training samples; a test sample on a node without a label is answered wrong.
Beside it: a supervised MLP of the same widths, and the ten nearest training samples by cosine in the map's own latent
space, which is the same network without the lattice.

Two splits, each drawn anew with the seed: 40 % of the patients, type by type, as in the study; and whole submitting
sites. Latent size, lattice and epochs are chosen on a tenth of the training patients. ``--left-out`` leaves
whole types out of the fit and asks how many of their samples no node is said to fit. ``--table`` prints what a run has
written as Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.deep_map_cohort import Cohort
from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.fitting import seeded
from molsig.encoders.map_encoder import DeepMap
from molsig.encoders.mirna_autoencoder import widths
from molsig.encoders.training import split_groups
from molsig.retrieval.landing import STRANGE, NodeLabels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

    Rows = NDArray[np.int64]
    Names = NDArray[np.str_]

LEFT_OUT = ("LAML", "LIHC", "PCPG", "THCA", "UVM")
"""Types for the question of strangers: alone in their organ, so that nothing like them is left in."""
TASKS = ("neoplastic", "tissue", "both")
PAPER = {"map": (91.07, 86.36, 84.28), "MLP": (96.26, 95.23, 93.28)}
MLP_EPOCHS, MLP_BATCH, MLP_RATE, DROPOUT = 40, 64, 1e-3, 0.3


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/")
    parser.add_argument("--output", type=Path, required=True, help="JSON of the results; runs that are in it are kept")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="most epochs of each stage; by default what the recipe says")
    parser.add_argument("--network", choices=("map", "map-paper"), default="map")
    parser.add_argument("--split", choices=("patients", "sites"), nargs="+", default=["patients", "sites"])
    parser.add_argument("--left-out", action="store_true", help="ask for strangers instead")
    parser.add_argument("--table", action="store_true", help="print what was measured instead of measuring")
    options = parser.parse_args()
    told: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    if options.table:
        print(table(told))
        return
    if options.data is None or not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    cohort = Cohort(options.data)
    told["cohort"] = cohort.told()
    if options.left_out:
        told["left out"] = strangers(cohort, options.network, options.epochs)
        options.output.write_text(json.dumps(told, indent=1))
        return
    for seed in range(options.seeds):
        for split in options.split:
            runs = told.setdefault(split, {})
            if str(seed) not in runs:
                runs[str(seed)] = run(cohort, split, seed, options.network, options.epochs)
                print(f"{split} {seed}: {json.dumps(runs[str(seed)])}", flush=True)
                options.output.write_text(json.dumps(told, indent=1))


def run(cohort: Cohort, split: str, seed: int, network: str, epochs: int | None) -> dict[str, Any]:
    """Fit on one side of a split and ask the other."""
    fit, test = cohort.split(split, seed)
    encoder, seconds = fitted(cohort.part(fit), network, seed, epochs)
    known, asked = (encoder.encode(cohort.part(rows)).vectors for rows in (fit, test))
    nodes, landed = encoder.place(known)[0], encoder.place(asked)[0]
    answers: dict[str, dict[str, Names]] = {"map": {}, "nearest": {}}
    unlabelled = {}
    for task, truth in cohort.truth.items():
        labels = NodeLabels.of(nodes, truth[fit].tolist(), len(encoder.nodes)).labels()
        answers["map"][task] = np.array([labels[node] or "" for node in landed.tolist()])
        answers["nearest"][task] = nearest(known, asked, truth[fit])
        unlabelled[task] = float((answers["map"][task] == "").mean())
    start = time.process_time()
    answers["MLP"] = mlp(cohort, encoder, fit, test, seed)
    after = encoder.card.training["joint"]
    return {
        "training": len(fit),
        "test": len(test),
        "lattice": encoder.lattice[0],
        "latent": encoder.card.architecture["latent"],
        "seconds": {"map": round(seconds, 1), "MLP": round(time.process_time() - start, 1)},
        "joint": {"before": after["before"], "after": after["after"]},
        "unlabelled": {task: round(share, 4) for task, share in unlabelled.items()},
        "always neoplastic": round(float((cohort.truth["neoplastic"][test] == "+").mean()), 4),
        **{name: scores(cohort, test, told) for name, told in answers.items()},
    }


def fitted(matrix: FeatureMatrix, network: str, seed: int, epochs: int | None) -> tuple[DeepMap, float]:
    """A map and the processor time it took."""
    start = time.process_time()
    choice = ModelChoice(networks={"mirna": network})
    encoder = fit_encoder(matrix, seed=seed, epochs=epochs, choice=choice, device="cpu")
    assert isinstance(encoder, DeepMap)
    return encoder, time.process_time() - start


def scores(cohort: Cohort, test: Rows, answers: dict[str, Names]) -> dict[str, float]:
    """Accuracy and its mean over classes of each task; sensitivity and specificity for neoplastic samples."""
    out = {}
    for task, told in answers.items():
        truth = cohort.truth[task][test]
        right = told == truth
        out[task] = round(float(right.mean()), 4)
        out[f"{task}, balanced"] = round(float(np.mean([right[truth == one].mean() for one in np.unique(truth)])), 4)
    truth, told = cohort.truth["neoplastic"][test], answers["neoplastic"]
    out["sensitivity"] = round(float((told[truth == "+"] == "+").mean()), 4)
    out["specificity"] = round(float((told[truth == "-"] == "-").mean()), 4)
    return out


def nearest(known: NDArray[np.float32], asked: NDArray[np.float32], labels: Names, k: int = 10) -> Names:
    """Commonest label of the nearest by cosine."""
    unit, other = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (known, asked))
    names, code = np.unique(labels, return_inverse=True)
    found = np.empty(len(asked), dtype=np.int64)
    for start in range(0, len(asked), 1024):
        best = np.argpartition(-(other[start : start + 1024] @ unit.T), k, axis=1)[:, :k]
        ballots = np.zeros((len(best), len(names)), dtype=np.int64)
        np.add.at(ballots, (np.arange(len(best))[:, None], code[best]), 1)
        found[start : start + 1024] = ballots.argmax(axis=1)
    return names[found]


def mlp(cohort: Cohort, encoder: DeepMap, fit: Rows, test: Rows, seed: int) -> dict[str, Names]:
    """Answers of a supervised network of the map's widths; one of its tasks is asked by adding up its classes."""
    import torch
    from torch import nn

    x, other = (torch.from_numpy(_inputs(encoder, cohort.part(rows))) for rows in (fit, test))
    names, code = np.unique(cohort.truth["both"][fit], return_inverse=True)
    y = torch.from_numpy(code)
    train, held_back = (
        torch.from_numpy(rows) for rows in split_groups([cohort.matrix.samples[row] for row in fit], None, 0.1, seed)
    )

    def build() -> nn.Module:
        first, second = widths(x.shape[1], encoder.card.architecture["latent"])[1:3]
        layers: list[nn.Module] = []
        for into, out in ((x.shape[1], first), (first, second)):
            layers += [nn.Linear(into, out), nn.LayerNorm(out), nn.GELU(), nn.Dropout(DROPOUT)]
        return nn.Sequential(*layers, nn.Linear(second, len(names)))

    network = seeded(build, seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=MLP_RATE, weight_decay=1e-5)
    order = torch.Generator().manual_seed(seed)
    best, kept = -1.0, {key: value.clone() for key, value in network.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(MLP_EPOCHS):
            network.train()
            shuffled = train[torch.randperm(len(train), generator=order)]
            for start in range(0, len(shuffled), MLP_BATCH):
                some = shuffled[start : start + MLP_BATCH]
                loss = nn.functional.cross_entropy(network(x[some]), y[some])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            network.eval()
            with torch.inference_mode():
                right = float((network(x[held_back]).argmax(dim=1) == y[held_back]).float().mean())
            if right > best:
                best, kept = right, {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(kept)
    with torch.inference_mode():
        probability = network(other).softmax(dim=1).double().numpy()
    told = {}
    for task in TASKS:
        of_class = np.array([one.rpartition(" ")[{"tissue": 0, "neoplastic": 2}.get(task, 0)] for one in names])
        of_class = names if task == "both" else of_class
        labels, where = np.unique(of_class, return_inverse=True)
        total = np.zeros((len(probability), len(labels)))
        np.add.at(total.T, where, probability.T)
        told[task] = labels[total.argmax(axis=1)]
    return told


def _inputs(encoder: DeepMap, matrix: FeatureMatrix) -> NDArray[np.float32]:
    return np.asarray(encoder.network_inputs(matrix, np.arange(len(matrix.samples))))


def strangers(cohort: Cohort, network: str, epochs: int | None) -> dict[str, Any]:
    """Fit without some types: how many of their samples does no node fit, and how many of those that belong?"""
    fit, test = cohort.split("patients", 0)
    types = np.array([cohort.labels[patient].cancer_type for patient in cohort.patients.tolist()])
    out = np.isin(types, LEFT_OUT)
    encoder, _ = fitted(cohort.part(fit[~out[fit]]), network, 0, epochs)
    flagged: dict[str, dict[str, float]] = {}
    asked = {"known types": test[~out[test]], **{one: np.flatnonzero(types == one) for one in LEFT_OUT}}
    for name, rows in asked.items():
        part = cohort.part(rows)
        distances = encoder.place(encoder.encode(part).vectors)[1]
        errors = encoder.node_errors(part, np.arange(len(rows)))
        both = encoder.strangeness(distances, errors)
        flagged[name] = {
            "samples": len(rows),
            "no node fits": round(float((both > STRANGE).mean()), 4),
            "by distance alone": round(float((encoder.strangeness(distances) > STRANGE).mean()), 4),
        }
    return flagged


def table(told: dict[str, Any]) -> str:
    """Markdown of all that was measured."""
    lines = []
    columns = ("neoplastic", "tissue", "both", "sensitivity", "specificity", *(f"{one}, balanced" for one in TASKS))
    for split in ("patients", "sites"):
        runs = list(told.get(split, {}).values())
        if not runs:
            continue
        what = "40 % of the patients" if split == "patients" else "whole sites"
        lines += [
            f"### {what} held out: {runs[0]['training']:,} to fit, {runs[0]['test']:,} asked, {len(runs)} seeds",
            "",
            "| | " + " | ".join(columns) + " |",
            "|---|" + "---:|" * len(columns),
        ]
        for name in ("map", "nearest", "MLP"):
            cells = [spread([run[name][column] for run in runs]) for column in columns]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        always = spread([run["always neoplastic"] for run in runs])
        lines += [f"| always neoplastic | {always} | " + " | ".join([""] * (len(columns) - 1)) + " |"]
        for name, figures in PAPER.items():
            cells = [f"{one:.2f}" for one in figures] + [""] * (len(columns) - 3)
            lines.append(f"| {name}, in the paper, on its own cohort | " + " | ".join(cells) + " |")
        none = spread([run["unlabelled"]["both"] for run in runs])
        sides = sorted({run["lattice"] for run in runs})
        seconds = [run["seconds"]["map"] for run in runs]
        lines += [
            "",
            f"On nodes without a label of both: {none} %. Sides of the lattice: {', '.join(map(str, sides))}. "
            f"Processor time of a fit: {min(seconds):.0f} to {max(seconds):.0f} s.",
            "",
        ]
    if "left out" in told:
        lines += [
            "| types left out of the fit | samples | no node fits, % | by distance alone, % |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {name} | {one['samples']:,} | {100 * one['no node fits']:.1f} | {100 * one['by distance alone']:.1f} |"
            for name, one in told["left out"].items()
        ]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and standard deviation in per cent."""
    percent = 100 * np.array(values)
    return f"{percent.mean():.2f} ({percent.std(ddof=1):.2f})" if len(values) > 1 else f"{percent.mean():.2f}"


if __name__ == "__main__":
    main()
