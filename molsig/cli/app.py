"""The verbs, in the order in which a user meets them."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from molsig import __version__
from molsig.cli import (
    annotate,
    bench,
    compose,
    demo,
    enrich,
    evaluate,
    explain,
    ingest,
    landmarks,
    learn,
    manage,
    markers,
    query,
)
from molsig.cli import map as map_verb
from molsig.cli import type as typing_verb

app = typer.Typer(
    name="molsig",
    help="Find patients like this one: retrieval over multimodal patient embeddings. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"molsig {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    if debug:
        os.environ["MOLSIG_DEBUG"] = "1"


app.command("demo")(demo.demo)
app.command("ingest")(ingest.ingest)
app.command("learn")(learn.learn)
app.command("query")(query.query)
app.command("explain")(explain.explain)
app.command("type")(typing_verb.type_samples)
app.command("evaluate")(evaluate.evaluate)
app.command("compose")(compose.compose)
app.command("map")(map_verb.draw_map)
app.command("markers")(markers.markers)
app.command("landmarks")(landmarks.landmarks)
app.command("enrich")(enrich.enrich)
app.command("annotate")(annotate.annotate)
app.command("info")(manage.info)
app.command("encoders")(manage.encoders)
app.command("verify")(manage.verify)
app.command("doctor")(manage.doctor)
app.command("index")(manage.index)
app.command("forget")(manage.forget)
app.command("export")(manage.export)
app.command("bench")(bench.bench)
