"""``--where`` selects what SQL would, and can do nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from molsig.errors import UsageError
from molsig.index import filters
from molsig.index.store import Store

COHORT = pa.table(
    {
        "patient": ["A", "B", "C", "D"],
        "sex": ["female", "male", "female", None],
        "age": [61, 70, 45, None],
        "stage": ["III", "I", "III", "it's"],
        'we"ird': [1.5, None, 2.5, 3.5],
        "seen": pa.array([18262, 18300, None, 18400], pa.date32()),
    }
)
COLUMNS = {"sex": "text", "age": "integer", "stage": "text", 'we"ird': "number", "seen": "date"}


def select(where: str) -> list[str]:
    asked: list[str] = []

    def read(columns):
        asked.extend(columns)
        return COHORT.select(["patient", *columns])

    found = filters.select(where, COLUMNS, read)
    assert len(asked) == len(set(asked))
    return found


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("sex = 'female' AND age > 60", ["A"]),
        ("SEX = 'female' and Age > 40", ["A", "C"]),
        ("stage IN ('III', 'IV') OR age IS NULL", ["A", "C", "D"]),
        ("stage NOT IN ('III')", ["B", "D"]),
        ("stage = 'it''s'", ["D"]),
        ("not (age between 50 and 65)", ["B", "C"]),
        ("stage LIKE 'I%' AND stage NOT ILIKE 'ii%'", ["B"]),
        ("regexp_matches(stage, '^I+$')", ["A", "B", "C"]),
        ("lower(sex) = 'male' -- the men", ["B"]),
        ("/* all */ true", ["A", "B", "C", "D"]),
        ('"we""ird" > 2', ["C", "D"]),
        ("seen <= DATE '2020-02-08' AND year(seen) = 2020", ["A", "B"]),
        ("CASE WHEN sex IS NULL THEN true ELSE age::DOUBLE / 2 > 34 END", ["B", "D"]),
        ("coalesce(age, 0) % 2 = 1", ["A", "C"]),
        ("patient <= 'B'", ["A", "B"]),
        ("seen > DATE '2020-01-01' + INTERVAL 30 DAY", ["B", "D"]),
        ("sex || stage = 'maleI'", ["B"]),
        ("false", []),
    ],
)
def test_conditions_select_what_sql_would(where: str, expected: list[str]) -> None:
    assert select(where) == expected


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("", "empty"),
        ("age > 60; DROP TABLE cohort", "not one SQL condition"),
        ("age > 60; SELECT 1", "not one SQL condition|more than a condition"),
        ("1=1) OR (1=1", "not one SQL condition"),
        ("age > 60 /* open", "not one SQL condition"),
        ("age > 60 ORDER BY age", "more than a condition"),
        ("age > 60 LIMIT 1", "more than a condition"),
        ("age > 60 GROUP BY ALL", "more than a condition"),
        ("age > 60 QUALIFY true", "more than a condition"),
        ("age > 60 USING SAMPLE 1", "condition"),
        ("true UNION SELECT 'x'", "condition"),
        ("true UNION ALL SELECT patient FROM read_csv('/etc/passwd')", "condition"),
        ("age IN (SELECT 1)", "a subquery"),
        ("EXISTS (FROM 'x.parquet')", "a subquery"),
        ("(SELECT count(*) FROM read_text('/etc/passwd')) > 0", "a subquery"),
        ("age > (FROM range(3))", "a subquery"),
        ("read_text('/etc/passwd') = 'x'", r"read_text\(\)"),
        ("getenv('HOME') = 'x'", r"getenv\(\)"),
        ("current_setting('threads') = '1'", r"current_setting\(\)"),
        ("nextval('s') = 1", r"nextval\(\)"),
        ("random() > 0.5", r"random\(\)"),
        ("repeat('x', 1000000000000) = 'x'", r"repeat\(\)"),
        ("main.lower(sex) = 'x'", "lower|not allowed|no patient column"),
        ("count(*) > 1", "not allowed"),
        ("row_number() OVER () = 1", "a window function"),
        ("age = ?", "more than a condition"),
        ("age = $1", "more than a condition"),
        ("COLUMNS(*) > 1", "not allowed"),
        ("list_transform([1], x -> x) = [1]", "not allowed"),
        ("#1 = 2", "not allowed"),
        ("agee > 60", "did you mean 'age'"),
        ('sex = "female"', "single quotes: 'female'"),
        ("cohort.age > 60", "'cohort.age', which is no patient column"),
        ("age > 'sixty'", "cannot be used"),
        ("COPY cohort TO '/tmp/x'", "not one SQL condition"),
        ("ATTACH 'x'", "the type ATTACH, which is not allowed"),
        ("PRAGMA version", "not one SQL condition"),
        ("\0", "NUL"),
        ("age > 60 OR " * 2000 + "true", "characters long"),
        ("(" * 400 + "age > 1" + ")" * 400 + " OR " + "NOT " * 900 + "true", "nested|not one|cannot"),
    ],
)
def test_anything_else_is_refused(where: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        select(where)


FRAGMENTS = st.sampled_from(
    [
        *(
            "age",
            "sex",
            '"we""ird"',
            "patient",
            "'x'",
            "60",
            "NULL",
            "(",
            ")",
            "AND",
            "OR",
            "NOT",
            "=",
            ">",
            "IN",
            ",",
            ";",
        ),
        *(
            "--",
            "/*",
            "*/",
            "'",
            '"',
            "SELECT",
            "FROM",
            "cohort",
            "UNION",
            "read_csv('/etc/passwd')",
            "DROP TABLE cohort",
        ),
        *("EXISTS", "::", "INTEGER", "$1", "?", "\n", "lower(", "'x.parquet'", "WITH", "AS", "VALUES", "COPY", "INTO"),
        *("LIKE", "BETWEEN", "CASE WHEN", "THEN", "END", "[1]", "{'a': 1}", ".a", "*", "COLUMNS(*)", "getenv('HOME')"),
    ]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FRAGMENTS, max_size=12).map(" ".join) | st.text(max_size=40))
@example("true) UNION (SELECT patient FROM cohort")
@example("age > 60 -- ' \n OR true")
def test_whatever_is_written_gives_patients_or_a_usage_error(where: str) -> None:
    try:
        found = select(where)
    except UsageError:
        return
    assert set(found) <= {"A", "B", "C", "D"}
    assert found == sorted(found)


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=80, deadline=None)
@given(
    NAMES.filter(lambda name: name.strip() and name.lower() != "patient"),
    st.text(max_size=20).filter(lambda t: "\0" not in t),
)
def test_any_column_and_any_value_can_be_asked_for(name: str, value: str) -> None:
    table = pa.table({"patient": ["A", "B"], name: pa.array([value, None], pa.string())})
    quoted, text = name.replace('"', '""'), value.replace("'", "''")
    assert filters.select(f"\"{quoted}\" = '{text}'", {name: "text"}, lambda columns: table) == ["A"]


def test_patients_without_columns_are_looked_at_too(store: Store, encoded) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B"])])
        writer.put_patients(pa.table({"patient": ["B", "C"], "age": [50, 60]}))
    assert store.select_patients("age IS NULL") == ["A"]
    assert store.select_patients("age >= 50") == ["B", "C"]
    assert store.select_patients() == ["A", "B", "C"]


def test_no_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("a\n1\n")
    for where in ("age IN (FROM 'x.csv')", "EXISTS (FROM read_csv('x.csv'))", "age > 1; COPY (SELECT 1) TO 'y.csv'"):
        with pytest.raises(UsageError):
            select(where)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
