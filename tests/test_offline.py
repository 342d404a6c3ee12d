"""Nothing leaves the machine: no module of the package talks to a network."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import molsig

NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "urllib3", "grpc"}
UNSAFE = {"pickle", "joblib", "dill", "shelve", "marshal"}
SOURCES = sorted(Path(molsig.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(SOURCES[0].parent)))
def test_no_module_imports_a_network_or_unpickling_library(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module)
    # None of these asks anybody: one escapes names, one tells this host's own name for the lock file, and one shares
    # work out to processes of its own, without files.
    here = {"lock.py": {"socket"}, "workers.py": {"joblib"}}
    allowed = {"urllib.parse"} | here.get(source.name, set())
    assert not {name for name in imported - allowed if name.partition(".")[0] in NETWORK | UNSAFE}


def test_every_load_of_a_numpy_file_refuses_pickled_objects() -> None:
    loads = [
        node
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "np.load"
    ]
    for load in loads:
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in load.keywords}
        assert keywords.get("allow_pickle") == "False", ast.unparse(load)
