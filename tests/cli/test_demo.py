"""`molsig demo`, as `make demo` runs it."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_demo_runs_to_its_end() -> None:
    command = [sys.executable, "-m", "molsig", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["simulated"] is True
    assert set(told["ingest"]["added"]) == {"rna", "mutation", "mirna"}
    assert told["ingest"]["learned"] is True
    right = {row["query by"]: row["type right"] for row in told["typing"]}
    assert right["RNA"] > 0.8
    assert right["RNA + mutations"] > 0.8
    assert right["mutations"] > 0.2
