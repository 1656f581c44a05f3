"""Comparing: whether a shape takes in all that another one let be written."""

from __future__ import annotations

from collections.abc import Iterator

from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Definitions,
    Field,
    Fields,
    ListOf,
    MapOf,
    Null,
    Number,
    OneOf,
    Ref,
    Shape,
    Text,
    TupleOf,
)


class Comparing:
    """Compares shapes of yesterday with those of today, each with what it names."""

    def __init__(self, old: Definitions, new: Definitions) -> None:
        self._old = old
        self._new = new
        self._assumed: set[tuple[Shape, Shape]] = set()

    def breaks(self, old: Shape, new: Shape, at: str) -> Iterator[str]:
        """Yields what today's shape does not take in, or would read as something else."""
        if isinstance(old, Ref) or isinstance(new, Ref):
            # Shapes that hold themselves: if nothing else tells them apart, they are alike.
            if (old, new) in self._assumed:
                return
            self._assumed.add((old, new))
        if isinstance(old, Ref):
            yield from self.breaks(self._old[old.name], new, at)
        elif isinstance(new, Ref):
            yield from self.breaks(old, self._new[new.name], at)
        elif isinstance(new, Anything):
            return
        elif isinstance(old, OneOf):
            for member in old.members:
                yield from self._member_breaks(member, new, at)
        elif isinstance(new, OneOf):
            yield from self._member_breaks(old, new, at)
        elif isinstance(old, Choice) and not isinstance(new, Choice):
            for value in old.values:
                yield from self.breaks(_kind_of(value), new, at)
        else:
            yield from self._same_kind(old, new, at)

    def _member_breaks(self, old: Shape, new: Shape, at: str) -> Iterator[str]:
        if not isinstance(new, OneOf):
            yield from self.breaks(old, new, at)
            return
        if isinstance(old, Ref):
            old = self._old[old.name]
        if isinstance(old, OneOf):
            yield from self.breaks(old, new, at)
            return
        if isinstance(old, Choice):
            # Its values may be taken in by different members.
            for value in old.values:
                one = Choice((value,))
                if all(self._found(one, each, at) for each in new.members):
                    yield f"{at} may be {value!r}, which is not taken any more"
            return
        if all(self._found(old, each, at) for each in new.members):
            yield f"{at} was retyped: {name_of(old)} before, {name_of(new)} now"

    def _found(self, old: Shape, new: Shape, at: str) -> list[str]:
        assumed = set(self._assumed)
        found = list(self.breaks(old, new, at))
        if found:
            self._assumed = assumed
        return found

    def _same_kind(self, old: Shape, new: Shape, at: str) -> Iterator[str]:
        match old, new:
            case (Null(), Null()) | (Boolean(), Boolean()):
                return
            case Null(), Choice(values=after) if None in after:
                return
            case Boolean(), Choice(values=after) if {bool} == {type(each) for each in after}:
                if len(after) == 1:
                    yield f"{at} may be {not after[0]!r}, which is not taken any more"
            case Number() as one, Number() as other:
                yield from _number_breaks(one, other, at)
            case Text() as one, Text() as other:
                yield from _text_breaks(one, other, at)
            case Choice(values=before), Choice(values=after):
                kept = {(type(each), each) for each in after}
                for value in before:
                    if (type(value), value) not in kept:
                        yield f"{at} may be {value!r}, which is not taken any more"
            case ListOf() as one, ListOf() as other:
                yield from self.breaks(one.item, other.item, f"{at}[]")
                sizes = (one.min_items, one.max_items), (other.min_items, other.max_items)
                yield from _range_breaks(*sizes, at, "items")
                if other.unique and not one.unique:
                    yield f"{at} may hold something twice, which is not taken any more"
            case TupleOf(items=before), TupleOf(items=after):
                if len(before) != len(after):
                    yield f"{at} had {len(before)} places and has {len(after)}"
                    return
                for index, (was, now) in enumerate(zip(before, after, strict=True)):
                    yield from self.breaks(was, now, f"{at}[{index}]")
            case TupleOf(items=before), ListOf() as other:
                for index, was in enumerate(before):
                    yield from self.breaks(was, other.item, f"{at}[{index}]")
                sizes = (len(before), len(before)), (other.min_items, other.max_items)
                yield from _range_breaks(*sizes, at, "items")
            case MapOf(item=before), MapOf(item=after):
                yield from self.breaks(before, after, f"{at}[]")
            case Fields() as one, MapOf(item=after):
                for each in one.fields:
                    yield from self.breaks(each.shape, after, f"{at}.{each.name}")
                if one.open and not isinstance(after, Anything):
                    yield f"{at} may have other fields, which are not taken any more"
            case Fields() as one, Fields() as other:
                yield from self._fields_break(one, other, at)
            case _:
                yield f"{at} was retyped: {name_of(old)} before, {name_of(new)} now"

    def _fields_break(self, old: Fields, new: Fields, at: str) -> Iterator[str]:
        today = {each.name: each for each in new.fields}
        before = {each.name: each for each in old.fields}
        for name, each in before.items():
            now = today.get(name)
            if now is None:
                yield f"{at}.{name} was removed"
                continue
            yield from self.breaks(each.shape, now.shape, f"{at}.{name}")
            yield from _presence_breaks(each, now, f"{at}.{name}")
        for name, each in today.items():
            if name not in before:
                if each.required:
                    yield f"{at}.{name} is new and required"
                elif old.open:
                    yield f"{at}.{name} is new, and may be there as something else already"
        if old.open and not new.open:
            yield f"{at} may have other fields, which are not taken any more"


def _presence_breaks(old: Field, new: Field, at: str) -> Iterator[str]:
    if new.required and not old.required:
        yield f"{at} is required now"
    elif not new.required and not old.required and old.default != new.default:
        yield f"{at} has another default, so that events without it would be read as another"


def _number_breaks(old: Number, new: Number, at: str) -> Iterator[str]:
    if new.whole and not old.whole:
        yield f"{at} was retyped: number before, integer now"
    # Each limit of today has to be one of yesterday's, or further out.
    low = max((each for each in (old.at_least, old.above) if each is not None), default=None)
    high = min((each for each in (old.at_most, old.below) if each is not None), default=None)
    checks = (
        (new.at_least, low is not None and new.at_least is not None and low >= new.at_least),
        (
            new.above,
            new.above is not None
            and (
                (old.above is not None and old.above >= new.above)
                or (old.at_least is not None and old.at_least > new.above)
            ),
        ),
        (new.at_most, high is not None and new.at_most is not None and high <= new.at_most),
        (
            new.below,
            new.below is not None
            and (
                (old.below is not None and old.below <= new.below)
                or (old.at_most is not None and old.at_most < new.below)
            ),
        ),
    )
    for bound, holds in checks:
        if bound is not None and not holds:
            yield f"{at} was narrowed: the bound {bound} is new"
    step = new.multiple_of
    if step is not None and (old.multiple_of is None or old.multiple_of % step):
        yield f"{at} was narrowed: multiples of {step} only"


def _text_breaks(old: Text, new: Text, at: str) -> Iterator[str]:
    yield from _range_breaks(
        (old.min_length, old.max_length), (new.min_length, new.max_length), at, "characters"
    )
    for word in ("pattern", "format"):
        now, before = getattr(new, word), getattr(old, word)
        if now is not None and now != before:
            yield f"{at} was narrowed: the {word} {now!r} is new"


def _range_breaks(
    old: tuple[int | None, int | None], new: tuple[int | None, int | None], at: str, unit: str
) -> Iterator[str]:
    low, high = new
    if low and (old[0] or 0) < low:
        yield f"{at} was narrowed: {low} {unit} at least"
    if high is not None and (old[1] is None or old[1] > high):
        yield f"{at} was narrowed: {high} {unit} at most"


def _kind_of(value: str | int | bool | None) -> Shape:
    """Returns the narrowest shape of another kind that a value is of."""
    if value is None:
        return Null()
    if isinstance(value, bool):
        return Boolean()
    if isinstance(value, int):
        return Number(whole=True, at_least=value, at_most=value)
    return Text(min_length=len(value), max_length=len(value))


def name_of(shape: Shape) -> str:
    """Returns what a shape is called in configurations."""
    match shape:
        case Anything():
            return "any"
        case Null():
            return "null"
        case Boolean():
            return "boolean"
        case Number(whole=whole):
            return "integer" if whole else "number"
        case Text():
            return "string"
        case Choice():
            return "enum"
        case ListOf() | TupleOf():
            return "array"
        case MapOf() | Fields():
            return "object"
        case OneOf(members=members):
            return " or ".join(dict.fromkeys(map(name_of, members)))
        case Ref(name=name):
            return name
