"""``--where``: an SQL condition over the patient columns, parsed, checked and run apart from the reference.

The user's text is only ever given to DuckDB's parser. What comes back has to be one plain SELECT whose every part but
the condition is the one it was parsed with, and a condition made of allowed expressions alone. That tree, not the text,
is turned into the statement that runs, on a connection in memory which holds the patient columns and nothing else,
cannot reach a file and cannot be configured.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb

from molsig.errors import UsageError
from molsig.index.attributes import folded
from molsig.index.connection import first
from molsig.index.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

LONGEST = 10_000

_TEMPLATE = "SELECT patient FROM cohort WHERE "
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
_CLASSES = {
    "COMPARISON",
    "CONJUNCTION",
    "OPERATOR",
    "BETWEEN",
    "CASE",
    "CAST",
    "CONSTANT",
    "COLUMN_REF",
    "FUNCTION",
    "TYPE",
}
_OPERATORS = {
    "OPERATOR_NOT",
    "OPERATOR_IS_NULL",
    "OPERATOR_IS_NOT_NULL",
    "OPERATOR_COALESCE",
    "OPERATOR_NULLIF",
    "COMPARE_IN",
    "COMPARE_NOT_IN",
    "OPERATOR_CAST",
}
FUNCTIONS = frozenset(
    {
        *("+", "-", "*", "/", "//", "%", "||", "~~", "!~~", "~~*", "!~~*"),
        *("abs", "ceil", "ceiling", "floor", "greatest", "isfinite", "isnan", "least", "ln", "log10", "round", "trunc"),
        *("coalesce", "ifnull", "nullif", "row", "list_value"),
        *("concat", "contains", "ends_with", "left", "length", "levenshtein", "lower", "ltrim", "prefix", "replace"),
        *("right", "rtrim", "starts_with", "strip_accents", "substr", "substring", "suffix", "trim", "upper"),
        *("like_escape", "ilike_escape", "not_like_escape", "not_ilike_escape"),
        *("regexp_full_match", "regexp_matches"),
        *(
            "date_diff",
            "date_part",
            "date_trunc",
            "datediff",
            "day",
            "month",
            "year",
            "to_days",
            "to_months",
            "to_years",
        ),
    }
)
"""Functions and operators a condition may use: all pure, none that reads anything but its arguments."""

_TYPES = {
    *("boolean", "bool", "tinyint", "smallint", "integer", "int", "int4", "int8", "bigint", "hugeint", "float", "real"),
    *("float4", "float8", "double", "decimal", "numeric", "varchar", "text", "string", "char", "date", "timestamp"),
    *("time", "interval", "int2", "int1", "long", "short"),
}


def select(where: str, columns: Mapping[str, str], read: Callable[[Sequence[str]], pa.Table]) -> list[str]:
    """Return the patients for whom a condition is true, sorted.

    Parameters
    ----------
    where
        The condition, such as ``sex = 'female' AND age > 60``.
    columns
        Patient columns and their types, for names and messages.
    read
        Gives the table of `patient` and the columns named.

    Raises
    ------
    UsageError
        It is not one condition, uses what is not allowed in it, or names a column that does not exist.
    """
    if len(where) > LONGEST:
        raise UsageError(f"the condition is {len(where)} characters long, at most {LONGEST} are allowed")
    if not where.strip() or "\0" in where:
        raise UsageError("the condition is empty or holds a NUL character")
    connection = duckdb.connect(config=_CONFIG)
    try:
        tree = _parse(connection, where)
        used = _check(tree["statements"][0]["node"]["where_clause"], where, columns)
        connection.register("cohort", read(used))
        statement = first(connection, "SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)])
        assert statement is not None
        found = connection.sql(statement[0]).to_arrow_table()
    except RecursionError:
        raise UsageError(f"the condition {where[:80]!r}... is nested too deeply") from None
    except duckdb.Error as error:
        raise UsageError(f"the condition {where!r} cannot be used: {_short(error)}") from error
    finally:
        connection.close()
    return sorted(found["patient"].to_pylist())


def _parse(connection: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    """Return the statement tree with the condition in it, every other part being the template's."""
    tree = _tree(connection, _TEMPLATE + where)
    if tree["error"]:
        raise UsageError(
            f"the condition {where!r} is not one SQL condition: {tree.get('error_message', 'it cannot be read')}"
        )
    plain = _tree(connection, _TEMPLATE + "true")
    nodes = [statement["node"] for statement in tree["statements"]]
    wanted = plain["statements"][0]["node"]
    if len(nodes) != 1 or nodes[0].get("where_clause") is None:
        raise UsageError(f"the condition {where!r} is not one SQL condition")
    plain["statements"][0]["node"] = {**wanted, "where_clause": nodes[0]["where_clause"]}
    if _stripped(plain) != _stripped(tree):
        raise UsageError(
            f"{where!r} is more than a condition: write only what would stand after WHERE,"
            " such as sex = 'female' AND age > 60"
        )
    return plain


def _tree(connection: duckdb.DuckDBPyConnection, statement: str) -> dict[str, Any]:
    found = first(connection, "SELECT json_serialize_sql(?::VARCHAR)", [statement])
    assert found is not None
    tree: dict[str, Any] = json.loads(found[0])
    return tree


def _stripped(part: Any) -> Any:
    """Return a tree without the places in the text it was parsed from."""
    if isinstance(part, dict):
        return {key: _stripped(value) for key, value in part.items() if not key.startswith("query_location")}
    return [_stripped(value) for value in part] if isinstance(part, list) else part


def _check(condition: Any, where: str, columns: Mapping[str, str]) -> list[str]:
    """Return the columns a condition uses, as they are stored; raise if it uses anything that is not allowed."""
    stored = {folded(name): name for name in columns}
    used: dict[str, None] = {}
    for node in _expressions(condition, where):
        kind, name = node["class"], str(node.get("function_name", "")).lower()
        if kind not in _CLASSES or (kind == "OPERATOR" and node["type"] not in _OPERATORS):
            told = {"SUBQUERY": "a subquery", "WINDOW": "a window function", "PARAMETER": "a parameter"}
            raise UsageError(f"the condition {where!r} uses {told.get(kind, kind.lower())}, which is not allowed")
        if kind == "FUNCTION" and (name not in FUNCTIONS or node.get("schema") or node.get("catalog")):
            allowed = ", ".join(sorted(f for f in FUNCTIONS if f[0].isalpha()))
            raise UsageError(f"the condition {where!r} uses {name}(), which is not allowed; allowed are {allowed}")
        if kind == "TYPE" and str(node.get("type_name", "")).lower() not in _TYPES:
            raise UsageError(f"the condition {where!r} uses the type {node.get('type_name')}, which is not allowed")
        if kind == "COLUMN_REF":
            path = node["column_names"]
            if len(path) != 1 or (folded(path[0]) not in stored and folded(path[0]) != "patient"):
                raise UsageError(_unknown(".".join(path), where, list(columns)))
            if folded(path[0]) != "patient":
                used[stored[folded(path[0])]] = None
    return list(used)


def _expressions(part: Any, where: str) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "class" in part:
            yield part
        elif "node" in part or "statements" in part:
            raise UsageError(f"the condition {where!r} holds a statement, which is not allowed")
        for value in part.values():
            yield from _expressions(value, where)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value, where)


def _unknown(name: str, where: str, columns: Sequence[str]) -> str:
    close = near(name, columns)
    hint = "" if close else f"; patient columns are {', '.join(sorted(columns)) or 'not there yet'}"
    quotes = f" (a text value is written in single quotes: '{name}')" if f'"{name}"' in where else ""
    return f"the condition {where!r} names {name!r}, which is no patient column{close}{hint}{quotes}"


def _short(error: duckdb.Error) -> str:
    return str(error).split("\n\n")[0].strip().replace("\n", " ")
