"""What differs in metastases of invented tumours."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.errors import InputError
from molsig.retrieval.metastatic import metastatic
from molsig.types import SampleId

RANDOM = np.random.default_rng(0)
TYPES = ["A"] * 60 + ["B"] * 60 + ["C"] * 20
KINDS = ["metastasis"] * 40 + ["tumour"] * 20 + ["metastasis"] * 20 + ["tumour"] * 40 + ["tumour"] * 18
KINDS += ["metastasis", "normal"]
SAMPLES = [SampleId(f"P{i:03}-{kind[0]}", f"P{i:03}", kind) for i, kind in enumerate(KINDS)]
X = RANDOM.normal(3, 1, size=(140, 30))
X[:, 0] += 4 * (np.array(TYPES) == "A")
X[:, 1] += 2 * (np.array(KINDS) == "metastasis")
X[:, 2] = 0.01 * RANDOM.normal(size=140) + 0.1 * (np.array(KINDS) == "metastasis")
X[3, 4] = np.nan
FEATURES = [f"G{i}" for i in range(30)]


def test_what_differs_within_types_comes_first_and_tells_other_patients() -> None:
    found = metastatic(X, FEATURES, SAMPLES, TYPES, least=0.8)
    assert found.features[found.whole.ranking()[0]] == "G1"
    assert found.whole.types == {"A": (40, 20), "B": (20, 40)}
    assert {name: round(of[1]) for name, of in found.by_type.items()} == {"A": 2, "B": 2}
    # G2 is faint, G4 was not measured in one of those compared.
    assert {"G2", "G4"}.isdisjoint(found.features)
    assert found.left_out == 2
    assert len(found.samples) == 120
    assert [one.features for one in found.telling] == [10, 20, 28]
    assert found.telling[0].auc > 0.85
    assert found.telling[0].low <= found.telling[0].auc <= found.telling[0].high


def test_without_the_difference_nothing_is_told() -> None:
    found = metastatic(np.random.default_rng(5).normal(3, 1, X.shape), FEATURES, SAMPLES, TYPES)
    assert found.telling[0].auc == pytest.approx(0.5, abs=0.15)
    assert (found.whole.q > 0.01).all()


def test_patients_with_both_are_counted() -> None:
    samples = [*SAMPLES]
    samples[45] = SampleId("P000-t", "P000", "tumour")
    assert metastatic(X, FEATURES, samples, TYPES).twice == 1


def test_many_samples_of_one_patient_are_one() -> None:
    """Six vials of one metastasis differ from 25 primary tumours in whatever this patient is unlike others in."""
    random = np.random.default_rng(1)
    own = random.normal(3, 1, 200)
    others = random.normal(3, 1, (25, 200))
    x = np.concatenate([own + random.normal(0, 0.1, (6, 200)), others])
    names = [SampleId(f"M-{i}", "M", "metastasis") for i in range(6)]
    names += [SampleId(f"P{i}", f"P{i}", "tumour") for i in range(25)]
    with pytest.raises(InputError, match="metastases of 3 patients"):
        metastatic(x, [f"G{i}" for i in range(200)], names, ["A"] * 31)
    more = [SampleId(f"N{i}", f"N{i}", "metastasis") for i in range(2)]
    both = np.concatenate([x, random.normal(3, 1, (2, 200))])
    found = metastatic(both, [f"G{i}" for i in range(200)], [*names, *more], ["A"] * 33)
    assert found.whole.types == {"A": (3, 25)}
    assert found.averaged == 5
    assert (found.whole.q > 0.01).all()
    np.testing.assert_allclose(found.values[0], x[:6].mean(axis=0))


def test_too_few_are_told() -> None:
    with pytest.raises(InputError, match="none of the labelled samples is a metastasis"):
        metastatic(X[40:60], FEATURES, SAMPLES[40:60], TYPES[40:60])
    with pytest.raises(InputError, match=r"no type has metastases of 3 patients .* there are: C \(1\)"):
        metastatic(X[120:], FEATURES, SAMPLES[120:], TYPES[120:])
    few = metastatic(X[34:46], FEATURES, SAMPLES[34:46], TYPES[34:46])
    assert few.telling == ()
