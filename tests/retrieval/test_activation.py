"""Activation gradients: what they add up to, what is found with them, what classes that meet at a node share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molsig.encoders.choice import ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.map_encoder import DeepMap
from molsig.retrieval.activation import Activations, activations, contributions, crowded_node
from molsig.types import ContractReport, FeatureMatrix, SampleId

KINDS, GENES = 4, 60


@pytest.fixture(scope="module")
def cohort() -> tuple[FeatureMatrix, np.ndarray]:
    """120 samples; type k lifts genes 5k to 5k+4."""
    rng = np.random.default_rng(5)
    kinds = np.arange(120) % KINDS
    values = rng.uniform(4, 9, GENES) + rng.normal(0, 0.5, (120, GENES))
    for kind in range(KINDS):
        values[kinds == kind, 5 * kind : 5 * kind + 5] += 4
    samples = tuple(SampleId(f"S{i:03}", f"P{i:03}") for i in range(120))
    report = ContractReport("cohort.tsv", "rna", 120, 120, 120, features=GENES, scale="raw")
    genes = tuple(f"G{i}" for i in range(GENES))
    return FeatureMatrix("rna", samples, genes, values.astype(np.float32), "raw", report), kinds


@pytest.fixture(scope="module")
def fitted(cohort: tuple[FeatureMatrix, np.ndarray]) -> DeepMap:
    choice = ModelChoice(networks={"rna": "map"})
    encoder = fit_encoder(cohort[0], epochs=15, choice=choice, device="cpu")
    assert isinstance(encoder, DeepMap)
    return encoder


def test_contributions_are_those_of_the_jacobian(fitted: DeepMap, cohort: tuple[FeatureMatrix, np.ndarray]) -> None:
    inputs = fitted.network_inputs(cohort[0], np.arange(3))
    found = contributions(fitted, inputs)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    encoder = fitted.network().encoder
    for x, row in zip(torch.from_numpy(inputs), found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda one: encoder(one[None])[0], x)  # type: ignore[no-untyped-call]
        expected = (jacobian * x).abs().sum(dim=0)
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-5)


def test_the_genes_of_a_type_are_what_its_code_rests_on(
    fitted: DeepMap, cohort: tuple[FeatureMatrix, np.ndarray]
) -> None:
    matrix, kinds = cohort
    nodes = fitted.place(fitted.encode(matrix).vectors)[0]
    told, nowhere = activations(fitted, matrix, [f"T{kind}" for kind in kinds], nodes)
    assert nowhere == ()
    assert told.samples == (30,) * KINDS
    for kind in range(KINDS):
        own = {f"G{i}" for i in range(5 * kind, 5 * kind + 5)}
        first = told.top(f"T{kind}", 5)
        assert len(own & {one["feature"] for one in first}) >= 4
        assert all(one["value"] > 0 for one in first if one["feature"] in own)


def test_a_sample_without_a_class_counts_nowhere(fitted: DeepMap, cohort: tuple[FeatureMatrix, np.ndarray]) -> None:
    matrix, kinds = cohort
    nodes = np.zeros(120, dtype=np.int64)
    classes = [None if i >= 100 else f"T{kind}" for i, kind in enumerate(kinds)]
    told, (node,) = activations(fitted, matrix, classes, nodes, [0])
    assert told.samples == (25,) * KINDS
    assert node.members == {f"T{kind}": 25 for kind in range(KINDS)}
    assert all(trend == "" for _, trend in node.shared), "where all of a class are, nothing is above its average"


def test_a_node_shares_what_each_of_its_classes_rests_on() -> None:
    told = Activations(
        features=("a", "b", "c", "d"),
        classes=("x", "y"),
        samples=(10, 10),
        average=np.array([[0.5, 0.3, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]]),
        values=np.zeros((2, 4)),
    )
    here = {"x": np.array([[0.7, 0.05, 0.2, 0.05]]), "y": np.array([[0.6, 0.1, 0.1, 0.2], [0.6, 0.0, 0.3, 0.1]])}
    node = crowded_node(told, 3, 4, here)
    assert node.shared == (("a", "up"), ("c", "up"))
    assert node.average_only == (("b", "down"),)
    assert node.members == {"y": 2, "x": 1}
    assert node.to_dict()["node"] == [3, 4]


def test_two_classes_are_told_apart_by_what_is_first_in_each() -> None:
    average = np.array([[0.5, 0.3, 0.1, 0.1], [0.4, 0.1, 0.4, 0.1]])
    told = Activations(("a", "b", "c", "d"), ("x", "x normal"), (3, 3), average, np.zeros((2, 4)))
    assert told.beside("x", "x normal", 2) == {"shared": ["a"], "x": ["b"], "x normal": ["c"]}
