"""What of a log today's code cannot read: counts, and where the first of each kind stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from everlog import EverlogError, Record, UnknownEvent
from everlog.errors import DecodeError

MOST = 1_000
"""Kinds that are told apart, at most; what is more is counted as the last one."""
_INDEX = re.compile(r"\[\d+\]")


@dataclass(slots=True)
class _Kind:
    type: str
    schema: int
    where: str
    problem: str
    first: int
    stream: str
    id: str
    count: int = 0


class Unreadable:
    """Looks at records one by one."""

    def __init__(self, *, skip_unknown: bool) -> None:
        self.records = 0
        self.failing = 0
        self._skip_unknown = skip_unknown
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def look_at(self, record: Record[Any]) -> None:
        """Decodes a record, as who uses it would, and keeps what it says."""
        self.records += 1
        try:
            _ = record.data, record.meta
        except UnknownEvent:
            if not self._skip_unknown:
                self._keep(record, [("type", "no class of this type")])
        except DecodeError as error:
            self._keep(record, error.problems)
        except EverlogError as error:
            self._keep(record, [("", str(error))])

    def as_json(self) -> dict[str, Any]:
        """Returns all of it as JSON."""
        return {
            "records": self.records,
            "failing": self.failing,
            "kinds": [
                {
                    "type": kind.type,
                    "schema": kind.schema,
                    "where": kind.where,
                    "problem": kind.problem,
                    "count": kind.count,
                    "first": {"position": kind.first, "stream": kind.stream, "id": kind.id},
                }
                for kind in self._sorted()
            ],
        }

    def as_table(self) -> str:
        """Returns all of it for people: a line for each kind, the most first."""
        lines = [f"{self.records:,} events, {self.records - self.failing:,} can be read"]
        rows = [("COUNT", "FIRST", "TYPE", "SCHEMA", "PROBLEM")]
        for kind in self._sorted():
            where = f"{kind.where}: " if kind.where else ""
            rows.append(
                (
                    f"{kind.count:,}",
                    f"{kind.first:,}",
                    kind.type,
                    f"{kind.schema}",
                    where + kind.problem,
                )
            )
        if len(rows) > 1:
            widths = [max(len(row[column]) for row in rows) for column in range(4)]
            for count, first, type, schema, problem in rows:
                lines.append(
                    f"{count:>{widths[0]}}  {first:>{widths[1]}}  {type:<{widths[2]}}  "
                    f"{schema:>{widths[3]}}  {problem}"
                )
        return "\n".join(lines)

    def _keep(self, record: Record[Any], problems: Any) -> None:
        self.failing += 1
        where = ", ".join(dict.fromkeys(_INDEX.sub("[]", path) for path, _ in problems))
        stored = record.stored
        key = (stored.type, stored.schema, where)
        if key not in self._kinds and len(self._kinds) >= MOST:
            key = ("...", 0, "")
        kind = self._kinds.get(key)
        if kind is None:
            # No data: what is printed ends up in logs.
            said = "; ".join(dict.fromkeys(message for _, message in problems))
            kind = self._kinds[key] = _Kind(*key, said, stored.position, stored.stream, stored.id)
        kind.count += 1

    def _sorted(self) -> list[_Kind]:
        return sorted(self._kinds.values(), key=lambda kind: (-kind.count, kind.first))
