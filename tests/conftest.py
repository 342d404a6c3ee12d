"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real cohorts; the test is skipped where it is absent."""
    place = Path(os.environ.get("MOLSIG_DATA") or ROOT.parent / "shared" / "data")
    place = place if place.is_absolute() else (ROOT / place).resolve()
    if not (place / "tcga").is_dir():
        pytest.skip(f"the real cohorts are not at {place}; set MOLSIG_DATA to their folder")
    return place
