"""SQL is bound, core is pure: two rules of the source, and proof that breaking them is seen."""

import re
from pathlib import Path

import pytest

from tests.architecture.source_rules import clocks_and_chance, sql_built_from_values

SOURCE = Path(__file__).parents[2] / "src" / "everlog"


def test_no_sql_is_built_from_values_where_it_is_run() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert files
    assert [
        found
        for path in files
        for found in sql_built_from_values(path.read_text(encoding="utf-8"), path)
    ] == []


def test_core_reads_no_clock_draws_nothing_by_chance_and_does_no_io() -> None:
    files = sorted((SOURCE / "core").rglob("*.py"))
    assert files
    assert [
        found for path in files for found in clocks_and_chance(path.read_text("utf-8"), path)
    ] == []


@pytest.mark.parametrize(
    "planted",
    [
        "db.execute(f'select * from {table}')",
        "db.execute('select ' + column)",
        "db.execute('select %s' % column)",
        "db.execute('select {}'.format(column))",
        "db.execute(' '.join(parts))",
        "db.execute(sql=f'select {column}')",
        "cursor.executemany(f'insert into {table} values (?)', rows)",
        "connection.cursor().executescript('drop table ' + table)",
        "await db.execute(f'select {column}')",
        "query = f'select {column}'\n    db.execute(query)",
        "query = 'select 1'\n    query += tail\n    db.execute(query)",
        "db.execute(f'select {a}' if a else 'select 1')",
        "db.execute(query := 'select ' + column)",
        "db.execute('select ' + column)  # sql:",
    ],
)
def test_planted_sql_from_values_is_seen(planted: str) -> None:
    if ":=" in planted:
        planted += "\n    db.execute(query)"
    assert list(sql_built_from_values(f"async def f():\n    {planted}\n", Path("planted.py")))


@pytest.mark.parametrize(
    "innocent",
    [
        "db.execute('select * from record where id = ?', (id,))",
        "db.execute(SELECT_RECORD, (f'like {this}%',))",
        "db.execute('select 1 ' + 'from record')",
        "db.execute(\n    'select ' + COLUMNS  # sql: a constant of this module\n)",
        "log(f'executed {query}')",
        "pool.submit(f'{a}')",
    ],
)
def test_bound_sql_is_left_alone(innocent: str) -> None:
    assert not list(sql_built_from_values(innocent, Path("innocent.py")))


# CPython before 3.11.5 can end a possessive group with half of its last round taken.
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,%d]+\})\+")


def test_no_pattern_repeats_a_group_possessively() -> None:
    found = [
        (path.name, match.group())
        for path in sorted(SOURCE.rglob("*.py"))
        for match in POSSESSIVE_GROUP.finditer(
            "\n".join(
                line
                for line in path.read_text("utf-8").splitlines()
                if not line.lstrip().startswith("#")
            )
        )
    ]
    assert found == []
    assert POSSESSIVE_GROUP.search(r"(?:a)*+")
    assert POSSESSIVE_GROUP.search("(?:a){1,%d}+")


@pytest.mark.parametrize(
    "planted",
    [
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "date.today()",
        "uuid.uuid4()",
        "uuid4()",
        "open(path)",
    ],
)
def test_a_clock_chance_or_io_planted_in_core_is_seen(planted: str) -> None:
    assert list(clocks_and_chance(f"def f():\n    return {planted}\n", Path("planted.py")))
