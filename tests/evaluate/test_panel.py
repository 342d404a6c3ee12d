"""Choosing a panel on invented tumours: a few features tell the types, the others scatter."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.errors import InputError, UsageError
from molsig.evaluate import panel_choice
from molsig.evaluate.panel import Panel
from molsig.evaluate.panel_choice import choose_panel
from molsig.reference.measured import EncoderInputs
from molsig.types import SampleId

TELLING, FEATURES, EACH = 8, 40, 14


def invented(types: int, each: int = EACH) -> EncoderInputs:
    random = np.random.default_rng(3)
    kind = np.repeat(np.arange(types), each)
    x = random.normal(size=(len(kind), FEATURES))
    x[:, :TELLING] += 3 * random.normal(size=(types, TELLING))[kind]
    samples = [SampleId(f"P{i:03}-01", f"P{i:03}") for i in range(len(kind))]
    # A metastasis chooses and judges nothing.
    samples[0] = SampleId("P000-06", "P000", "metastasis")
    return EncoderInputs(
        encoder="rna-invented-0",
        modality="rna",
        label="cancer_type",
        file="rna.tsv",
        features=tuple(f"G{i:02}" for i in range(FEATURES)),
        inputs=x.astype(np.float32),
        samples=tuple(samples),
        types=tuple(f"T{one:02}" for one in kind),
        learned_from=(),
        notes=("given",),
    )


@pytest.fixture(scope="module", params=["forward", "discrimination"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return choose_panel(invented(12), most=12, by=request.param)


def test_features_that_tell_are_chosen_first(panel: Panel) -> None:
    assert set(panel.chosen[:6].tolist()) <= set(range(TELLING))
    assert len(set(panel.chosen.tolist())) == 12
    assert panel.agreed[0] == 3
    assert 0 not in panel.rows


def test_types_are_held_out_where_there_are_enough(panel: Panel) -> None:
    assert panel.held_out == "types"
    assert sorted(name for part in panel.parts for name in part) == [f"T{i:02}" for i in range(12)]
    assert [len(part) for part in panel.parts] == [4, 4, 4]
    assert panel.ways == 4
    assert [one.features for one in panel.curve] == [10, 12, FEATURES]
    ten, _, whole = panel.curve
    assert ten.held_out > whole.held_out > ten.random
    assert ten.low <= ten.held_out <= ten.high
    assert whole.held_out == pytest.approx(whole.random, abs=1e-6)
    assert panel.enough is ten
    assert panel.notes[0] == "given"


@pytest.mark.parametrize("by", ["forward", "discrimination"])
def test_no_more_features_are_reported_than_were_chosen(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    all_of_them = choose_panel(invented(9), most=1000, by=by)
    assert len(all_of_them.chosen) == FEATURES
    assert [one.features for one in all_of_them.curve] == [10, 20, 30, FEATURES]
    assert any("40 features were chosen instead of 1,000" in line for line in all_of_them.notes)
    monkeypatch.setattr(panel_choice, "CANDIDATES", 15)
    monkeypatch.setattr(panel_choice, "PRESELECTED", 15)
    few = choose_panel(invented(9), most=30, by=by)
    assert len(few.chosen) == 15
    assert [one.features for one in few.curve] == [10, 15, FEATURES]
    assert any("15 features were chosen instead of 30" in line for line in few.notes)


def test_a_panel_is_the_same_again() -> None:
    first, again = (choose_panel(invented(12), most=5, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first.chosen, again.chosen)
    assert first.curve == again.curve


def test_what_no_feature_tells_is_at_chance_where_it_was_held_out() -> None:
    of = invented(12)
    random = np.random.default_rng(0)
    nothing = EncoderInputs(**{name: getattr(of, name) for name in of.__slots__} | {
        "inputs": random.normal(size=of.inputs.shape).astype(np.float32)
    })  # fmt: skip
    ten = choose_panel(nothing, most=10).curve[0]
    assert ten.chosen_on > 0.2
    assert ten.held_out == pytest.approx(0.25, abs=0.04)


def test_too_few_types_are_said() -> None:
    few = choose_panel(invented(5), most=5, by="discrimination")
    assert few.held_out == "patients"
    assert len(few.parts) == 1
    assert any("too few to hold any out" in note for note in few.notes)
    with pytest.raises(InputError, match="3 types with primary tumours of 6 patients, there are 2"):
        choose_panel(invented(2), most=5)
    with pytest.raises(UsageError, match="forward or discrimination"):
        choose_panel(invented(5), by="luck")
