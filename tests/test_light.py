"""What is loaded when: a user who only looks around does not wait for torch."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "faiss", "pandas", "duckdb", "pyarrow", "numpy", "sklearn")


def loaded_after(code: str) -> set[str]:
    """Names of HEAVY modules that a fresh interpreter has loaded after running `code`."""
    report = f"{code}\nimport sys; print('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("loaded:", 1)[1].split())


def test_importing_molsig_loads_nothing_heavy() -> None:
    assert loaded_after("import molsig") == set()


def test_every_public_name_can_be_had() -> None:
    import molsig

    for name in molsig.__all__:
        assert getattr(molsig, name) is not None
    assert set(dir(molsig)) == set(molsig.__all__)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['molsig', '--help']\n"
        "from molsig.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code in (0, None)"
    )
    assert loaded_after(code) == set()
