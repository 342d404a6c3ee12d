"""Tables on stdout: what is printed without rich is what rich would print."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.cli import output

if TYPE_CHECKING:
    from pathlib import Path

CELLS = st.one_of(
    st.none(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
)
ROWS = st.lists(st.fixed_dictionaries({"rank": st.integers(1, 99), "patient": CELLS, "age": CELLS}), max_size=5)


@settings(deadline=None)
@given(ROWS)
def test_a_plain_table_is_the_one_rich_prints(rows: list[dict[str, object]]) -> None:
    def printed() -> str:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
        with contextlib.redirect_stdout(stdout):
            output.print_table("Patients", rows)
        stdout.seek(0)
        return stdout.read()

    plain = printed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "_lines", lambda *given: None)
        assert plain == printed()


@pytest.mark.parametrize("cell", ["Müller", "東京", "two\nlines", "a\tb", "\033[31mred"])
def test_cells_that_have_to_be_measured_are_left_to_rich(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table("T", [{"name": cell, "n": 1}])
    assert output._lines(["name", "n"], [[cell, "1"]], [False, True]) is None
    assert "name" in capsys.readouterr().out


def on_terminal(*words: object, columns: int, term: str = "xterm") -> tuple[str, str]:
    """Run `molsig` with its stdout on a terminal; what it showed and which modules it loaded."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": term}
    command = [sys.executable, "-X", "importtime", "-m", "molsig", *map(str, words)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True, env=env) as child:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:
            pass  # The child has closed its end.
        finally:
            os.close(ours)
        assert child.stderr is not None
        modules = child.stderr.read()
    assert child.returncode == 0, modules
    return shown.decode().replace("\r\n", "\n"), modules


def test_a_terminal_gets_a_bold_head_and_folded_cells_where_they_do_not_fit(built: Path) -> None:
    wide, modules = on_terminal("info", built, columns=400)
    assert "\033[1m modality" in wide
    assert "| rich" not in modules
    plain, _ = on_terminal("info", built, columns=400, term="dumb")
    assert "\033" not in plain
    narrow, modules = on_terminal("info", built, columns=50)
    assert "| rich" in modules
    tables = re.sub(r"\033\[[0-9;]*m", "", narrow[narrow.index("Vectors") :])
    assert max(map(len, tables.splitlines())) <= 50
