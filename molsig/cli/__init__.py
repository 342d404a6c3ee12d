"""The command line: thin verbs that parse, call `molsig.Reference` and print."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys


def main() -> None:
    """Run `molsig` and end the process with the exit code of the outcome.

    0 done, 1 nothing found, 2 usage, 3 bad input, 4 damaged or locked reference. Tracebacks are shown with `--debug`.
    """
    # Typer ends with 1, "nothing found" here, when the reader of our output goes away; the usual way is to die quietly
    # of the signal, as `molsig query ... | head` expects. Windows has no such signal.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    from molsig.errors import MolsigError

    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except MolsigError as error:
        if os.environ.get("MOLSIG_DEBUG"):
            raise
        print(f"molsig: {error}", file=sys.stderr)
        # Reading stopped half-way: threads of pyarrow that read ahead may still run, and Python's own end then aborts
        # the process now and then (exit -6 instead of 3). Everything of ours is closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.exit_code)
    except MemoryError:
        if os.environ.get("MOLSIG_DEBUG"):
            raise
        print(
            "molsig: out of memory. Close other programs, or ingest the cohort in several smaller files",
            file=sys.stderr,
        )
        sys.exit(4)
    except OSError as error:
        # A full disk or a missing permission: the system's own words name the file.
        if os.environ.get("MOLSIG_DEBUG"):
            raise
        print(f"molsig: {error}", file=sys.stderr)
        sys.exit(4)


def _run(words: list[str]) -> None:
    from molsig.cli.stored import ask, asked

    if (question := asked(words)) is not None:
        # The process ends with its answer. Until then Python would look for cycles to free a dozen times, and find few.
        gc.disable()
        # The products of one query are too small to be shared out: threads of numpy's wait for each other, busily.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        _leave(0 if ask(**question) else 1)
    from molsig.cli.app import app

    app(prog_name="molsig")


def _leave(code: int) -> None:
    """End the process without taking the interpreter apart first, which takes 30 ms: all that was open is closed."""
    if sys.getprofile() or sys.gettrace():
        sys.exit(code)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
