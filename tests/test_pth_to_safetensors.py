"""Checkpoints are taken apart without running what is in them."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Read = Callable[[Path], dict[str, np.ndarray]]

STOLEN = b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03."
"""A pickle that would run the command `id`."""


@pytest.fixture(scope="module")
def read_checkpoint() -> Read:
    """From its file: the benchmarks are no part of the package that is installed."""
    name = "benchmarks.pth_to_safetensors"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "pth_to_safetensors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.read_checkpoint


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_comes_out_as_it_went_in(tmp_path: Path, zipped: bool, read_checkpoint: Read) -> None:
    import torch

    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = torch.nn.BatchNorm1d(3).state_dict()
    state |= {
        "whole": whole,
        "turned": whole.T,
        "part": whole[1:, 2:4],
        "half": whole.half(),
        "none": torch.zeros(0, 2),
    }
    path = tmp_path / "m.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert list(found) == list(state)
    for name, one in state.items():
        np.testing.assert_array_equal(found[name], one.numpy())
        assert found[name].dtype == one.numpy().dtype


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_calls_are_not_made(tmp_path: Path, zipped: bool, read_checkpoint: Read) -> None:
    path = tmp_path / "m.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("m/data.pkl", STOLEN)
    else:
        path.write_bytes(STOLEN)
    with pytest.raises(ValueError, match=r"wants to call Name\(dotted='posix.system'\)"):
        read_checkpoint(path)


def test_views_stay_within_their_storage(tmp_path: Path, read_checkpoint: Read) -> None:
    import torch

    path = tmp_path / "m.pth"
    torch.save({"a": torch.arange(7, dtype=torch.float32)[2:5]}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    # The view's offset of 2 becomes 200: BININT1 2, then its shape, BININT1 3 in a tuple.
    place = data.rindex(b"K\x02K\x03\x85")
    path.write_bytes(data[:place] + b"K\xc8K\x03\x85" + data[place + 5 :])
    with pytest.raises(ValueError, match="a leads out of its storage"):
        read_checkpoint(path)
