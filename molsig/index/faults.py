"""Named places where a test can make this process die.

The crash suite sets ``MOLSIG_FAULT=STEP`` (or ``STEP:COUNT``, or ``STEP:COUNT:MILLISECONDS``) in the environment of a
child process. The child then kills itself with SIGKILL the COUNT-th time it reaches the step, or that many milliseconds
later, while the step is under way. Without the variable nothing happens.

Steps, in the order an ingest meets them::

    create.rename       a new database is complete under its temporary name
    commit.begin        a batch is checked, nothing of it is written
    commit.rows         its rows are written, its aggregates are not
    commit.before       everything is written, COMMIT is next
    commit.after        COMMIT has returned, the caller does not know it yet
    checkpoint.write    the log is about to be written into the database, what that overwrites is not copied yet
    checkpoint.rename   it is copied and fsynced, not renamed yet
    checkpoint.begin    it is in place, the checkpoint is next
    checkpoint.end      the checkpoint is through, the copy is still there
    attributes.before   patient columns are written, COMMIT is next
    predictions.before  predictions are written, COMMIT is next
    index.vectors       vectors are about to be written, or appended to those of the generation before
    index.write         a FAISS file is about to be written under its temporary name
    index.rename        it is written, fsynced and hashed, not renamed yet
    manifest.write      the new FAISS file is in place, its manifest is about to be written
    manifest.rename     the manifest is written and fsynced, not renamed yet
    generation.delete   the manifest names the new generation, the old file is about to go
    forget.before       the deletes are written, COMMIT is next
    forget.after        the deletes are committed, index files still hold the forgotten vectors
    compact.rename      the compacted database is complete under its temporary name
    compact.after       it is in place, the indexes are not built yet
    migrate.before      a migration is applied, COMMIT is next
    migrate.after       it is committed, the next one has not begun
    fusion.write        what was learned is about to be written under a temporary name
    fusion.rename       it is written and fsynced, not renamed yet
"""

from __future__ import annotations

import os
import signal
import threading

STEPS = (
    "create.rename",
    "commit.begin",
    "commit.rows",
    "commit.before",
    "commit.after",
    "checkpoint.write",
    "checkpoint.rename",
    "checkpoint.begin",
    "checkpoint.end",
    "attributes.before",
    "predictions.before",
    "index.vectors",
    "index.write",
    "index.rename",
    "manifest.write",
    "manifest.rename",
    "generation.delete",
    "forget.before",
    "forget.after",
    "compact.rename",
    "compact.after",
    "migrate.before",
    "migrate.after",
    "fusion.write",
    "fusion.rename",
)

_seen: dict[str, int] = {}


def reached(step: str) -> None:
    """Tell that `step` is reached; die here if the environment asks for it."""
    wanted = os.environ.get("MOLSIG_FAULT")
    if not wanted:
        return
    name, _, rest = wanted.partition(":")
    if name not in STEPS:
        raise ValueError(f"MOLSIG_FAULT names no step: {name!r}")
    if step != name:
        return
    count, _, delay = rest.partition(":")
    _seen[step] = _seen.get(step, 0) + 1
    if _seen[step] != int(count or 1):
        return
    if delay:
        threading.Timer(float(delay) / 1000, _die).start()
    else:
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
