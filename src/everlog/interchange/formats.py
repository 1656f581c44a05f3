"""The formats by name: what writes a record in one, and what reads a file of any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

from everlog.core.record import StoredRecord
from everlog.errors import InvalidInput
from everlog.interchange import cloud_events, ndjson, original
from everlog.interchange.fields import Fields
from everlog.interchange.foreign import Births
from everlog.interchange.json_values import Read, values

Format: TypeAlias = Literal["ndjson", "cloudevents", "cloudevents-batch", "original"]
"""`ndjson`: our own, lossless, a record a line; `cloudevents`: CloudEvents 1.0, one a line;
`cloudevents-batch`: the same as one JSON list; `original`: as the TypeScript library's, one a
line."""


class Written(NamedTuple):
    """How a format is written."""

    encode: Callable[[StoredRecord], str]
    begin: str = ""
    between: str = "\n"
    end: str = "\n"
    """Behind the last record, or what stands for none."""
    end_of_none: str = ""


FORMATS: dict[str, Written] = {
    "ndjson": Written(ndjson.encode),
    "cloudevents": Written(cloud_events.encode),
    "cloudevents-batch": Written(cloud_events.encode, "[\n", ",\n", "\n]\n", "]\n"),
    "original": Written(original.encode),
}


def check_format(format: object) -> Written:
    """Returns how a format is written; raises `InvalidInput`."""
    written = FORMATS.get(format) if isinstance(format, str) else None
    if written is None:
        raise InvalidInput(
            f"format={format!r} is not known; use one of {', '.join(get_args(Format))}"
        )
    return written


def records_in(
    read: Read, births: Births, *, format: str | None, left_out: Callable[[], None]
) -> Iterator[StoredRecord]:
    """Gives the records of a text, in its order; without a format, it is found out.

    `left_out` is called for each event that no fold had where it was written out. Raises
    `InvalidInput`, which names the line.
    """
    if format is not None:
        check_format(format)
    decode: Callable[[Fields], StoredRecord | None] | None = None
    for value in values(read):
        fields = Fields(value)
        if decode is None:
            decode = _decoder(_format_of(fields) if format is None else format, births)
        record = decode(fields)
        if record is None:
            left_out()
        else:
            yield record


def _format_of(fields: Fields) -> str:
    if cloud_events.is_cloud_event(fields):
        return "cloudevents"
    if ndjson.is_ours(fields):
        return "ndjson"
    if original.is_original(fields):
        return "original"
    fields.refuse(
        "is an event of no form that this knows: everlog's NDJSON has hash and register, a "
        "CloudEvent specversion, and a record of the original id, stream, type, created, recorded"
    )


def _decoder(format: str, births: Births) -> Callable[[Fields], StoredRecord | None]:
    if format == "ndjson":
        return ndjson.decode
    decode = original.decode if format == "original" else cloud_events.decode
    return lambda fields: decode(fields, births)
