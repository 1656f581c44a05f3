"""Python: a module of `@event` classes, formatted as ruff would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from everlog.core.portable import parse
from everlog.errors import InvalidConfig, InvalidInput
from everlog.printing.layout import (
    After,
    Doc,
    Either,
    Group,
    assignment,
    docstring,
    flat,
    lay_out,
    text,
)
from everlog.printing.naming import class_name, field_name
from everlog.printing.shapes import (
    Anything,
    Boolean,
    Choice,
    Configs,
    EventConfig,
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
    refs_of,
    resolved,
)

MARK = (
    "Printed by `everlog print`. Change the configurations that it is printed from, and not this."
)

_FORMATS = {"date-time": "AwareDatetime", "date": "dt.date", "time": "dt.time", "uuid": "UUID"}
_NAME = re.compile(r"[A-Za-z_]\w*")
_LONGEST = 40
"""Names that we make have so many characters at most, and a number, so that they fit in lines."""
_SHORT = 40
"""A type of at most so many characters stands where it is used; a longer one has a name."""


def print_python(configs: Configs, *, width: int = 88) -> str:
    """Returns the module. The same configurations give the same text, whatever the machine.

    Raises `InvalidConfig` where two things would have one name, `InvalidInput` for a width that
    leaves no room.
    """
    if isinstance(width, bool) or not 72 <= width <= 320:
        raise InvalidInput(f"a line of {width!r} characters; from 72 to 320 are possible")
    return _Module(configs, width).text()


@dataclass(slots=True)
class _Unit:
    """A statement at the module's level, with what it has to stand behind."""

    name: str
    lines: str
    before: set[str] = field(default_factory=set[str])
    """Those that must stand before it, or Python cannot run it."""
    uses: list[str] = field(default_factory=list[str])
    """Those it speaks of, in the order in which it does."""


class _Module:
    def __init__(self, configs: Configs, width: int) -> None:
        self._configs = configs
        self._width = width
        self._units: dict[str, _Unit] = {}
        self._imports: dict[str, set[str]] = {"pydantic": set(), "typing": set(), "everlog": set()}
        self._uses_dates = False
        self._uses_uuid = False
        self._helpers: set[str] = set()
        self._owners: dict[str, str] = {}
        self._speaking: list[_Unit] = []

    def text(self) -> str:
        for name in self._configs.definitions:
            self._claim(name, f"definitions.{name}", name)
        for each in self._configs.events:
            self._claim(each.name, each.source, each.type)
        for name, shape in self._configs.definitions.items():
            if isinstance(shape, Fields):
                self._fields_unit(name, shape)
            else:
                self._alias_unit(name, shape)
        for each in self._configs.events:
            self._event_unit(each)
        ordered = self._ordered()
        names = [each.name for each in self._configs.events]
        list_of = Group("[", tuple(names), "]")
        events = assignment("EVENTS: list[type[BaseModel]]", list_of, width=self._width)
        union = Either(tuple(names))
        one = assignment("Event: TypeAlias", union, width=self._width)
        self._imports["typing"].add("TypeAlias")
        self._imports["pydantic"].add("BaseModel")
        blocks = [*self._helper_blocks(), *(unit.lines for unit in ordered)]
        head = "\n".join(self._head_lines())
        body = "".join(_separated(blocks))
        return f"{head}{body}\n\n{events}\n{one}\n"

    # --- what it is made of ---

    def _head_lines(self) -> list[str]:
        lines = [*docstring(MARK, indent=0, width=self._width), ""]
        lines += ["from __future__ import annotations", ""]
        standard: list[str] = []
        if self._uses_dates:
            standard.append("import datetime as dt")
        if self._imports["typing"]:
            standard += self._import("typing")
        if self._uses_uuid:
            standard.append("from uuid import UUID")
        lines += [*standard, ""] if standard else []
        self._imports["everlog"].add("event")
        return [*lines, *self._import("everlog"), *self._import("pydantic"), "", "", ""]

    def _import(self, module: str) -> list[str]:
        names = sorted(self._imports[module], key=_isort)
        line = f"from {module} import {', '.join(names)}"
        if len(line) <= self._width:
            return [line]
        return [f"from {module} import (", *(f"    {name}," for name in names), ")"]

    def _helper_blocks(self) -> list[str]:
        blocks: list[str] = []
        if "absent" in self._helpers:
            blocks.append(
                "def _absent(value: object) -> bool:\n"
                '    """Says of a field without a value that it is left out."""\n'
                "    return value is None\n"
            )
        if "unique" in self._helpers:
            self._imports["typing"].add("Any")
            blocks.append(
                "def _unique(values: list[Any]) -> list[Any]:\n"
                '    """Refuses a list that holds something twice."""\n'
                "    for index, value in enumerate(values):\n"
                "        if value in values[:index]:\n"
                '            raise ValueError("holds something twice")\n'
                "    return values\n"
            )
        if "object" in self._helpers:
            self._imports["pydantic"] |= {"BaseModel", "ConfigDict"}
            config = Group(
                "ConfigDict(",
                (
                    'extra="forbid"',
                    "strict=True",
                    "validate_by_alias=True",
                    "validate_by_name=True",
                ),
                ")",
            )
            line = assignment("model_config", config, width=self._width, indent=4)
            blocks.append(f"class _Object(BaseModel):\n    {line}\n")
        return blocks

    def _claim(self, name: str, source: str, owner: str) -> None:
        other = self._owners.setdefault(name, owner)
        if other != owner:
            raise InvalidConfig(
                source,
                "",
                f"{owner!r} and {other!r} are both named {name}; give one of them another: "
                '"name": "..."',
            )

    def _fresh(self, wanted: str) -> str:
        """Returns a name that nothing has: the one wanted, or one like it."""
        wanted = wanted[:_LONGEST]
        name, count = wanted, 1
        while name in self._owners:
            count += 1
            name = f"{wanted}{count}"
        self._owners[name] = name
        return name

    def _unit(self, name: str) -> _Unit:
        unit = self._units[name] = _Unit(name, "")
        self._speaking.append(unit)
        return unit

    def _end(self) -> None:
        self._speaking.pop()

    def _use(self, name: str) -> str:
        if self._speaking and name not in self._speaking[-1].uses:
            self._speaking[-1].uses.append(name)
        return name

    def _fields_unit(self, name: str, shape: Fields) -> None:
        unit = self._unit(name)
        unit.lines = f"class {name}({self._object()}):\n" + self._body(name, shape, "", unit)
        self._end()

    def _object(self) -> str:
        self._helpers.add("object")
        return "_Object"

    def _alias_unit(self, name: str, shape: Shape) -> None:
        unit = self._unit(name)
        self._imports["typing"].add("TypeAlias")
        doc = self._type(shape, name, named=True)
        unit.before |= set(unit.uses)
        unit.lines = assignment(f"{name}: TypeAlias", doc, width=self._width) + "\n"
        self._end()

    def _event_unit(self, config: EventConfig) -> None:
        unit = self._unit(config.name)
        data = resolved(config.data, self._configs.definitions)
        arguments: list[Doc] = [text(config.type)]
        if config.schema != 1:
            arguments.append(f"schema={config.schema}")
        if config.meta is not None:
            meta = self._meta(config)
            unit.before.add(meta)
            arguments.append(f"meta={meta}")
        if config.register is not None:
            arguments.append(f"register={text(config.register)}")
        if config.aliases:
            arguments.append(After("aliases=", Group("[", tuple(map(text, config.aliases)), "]")))
        lines = lay_out(Group("@event(", tuple(arguments), ")"), width=self._width) + "\n"
        if isinstance(data, Fields):
            lines += f"class {config.name}({self._object()}):\n"
            lines += self._body(config.name, data, config.description, unit)
        else:
            lines += self._root(config.name, config.data, config.description, unit)
        unit.lines = lines
        self._end()

    def _meta(self, config: EventConfig) -> str:
        shape = config.meta
        assert shape is not None
        if isinstance(shape, Ref) and isinstance(
            resolved(shape, self._configs.definitions), Fields
        ):
            return self._use(shape.name)
        name = self._fresh(f"{config.name}Meta")
        if isinstance(shape, Fields):
            self._fields_unit(name, shape)
        else:
            unit = self._unit(name)
            unit.lines = self._root(name, shape, "", unit)
            self._end()
        return self._use(name)

    def _root(self, name: str, shape: Shape, description: str, unit: _Unit) -> str:
        self._imports["pydantic"] |= {"ConfigDict", "RootModel"}
        inner = self._inline(shape, f"{name}Value", room=self._width - len(name) - 20)
        unit.before |= set(unit.uses)
        base = f"RootModel[{flat(inner)}]"
        head = f"class {name}({base}):"
        if len(head) > self._width:
            head = f"class {name}(\n    {base}\n):"
        return "\n".join(
            [
                head,
                *self._docstring(description, ""),
                "    model_config = ConfigDict(strict=True)",
                "",
            ]
        )

    def _docstring(self, description: str, other: str) -> list[str]:
        lines = docstring(description or other, indent=4, width=self._width)
        return [*lines, ""] if lines else []

    def _body(self, name: str, shape: Fields, description: str, unit: _Unit) -> str:
        lines = self._docstring(description, shape.description)
        if shape.open:
            self._imports["pydantic"].add("ConfigDict")
            lines += ['    model_config = ConfigDict(extra="allow")', ""]
        # A field is read by its name in Python, too: none has the one that another has in JSON.
        taken = {each.name for each in shape.fields}
        for each in shape.fields:
            lines.append(self._field(name, each, taken, unit))
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join([*(lines or ["    pass"]), ""])

    # --- fields ---

    def _field(self, owner: str, each: Field, taken: set[str], unit: _Unit) -> str:
        python = field_name(each.name)
        while (python in taken and python != each.name) or python in self._owners:
            python += "_"
        taken.add(python)
        more: list[Doc] = []
        default: str | None = None
        hint = owner + (class_name(each.name) or "Field")
        shape = each.shape
        is_absent = not each.required and each.default is None
        null = self._has_null(shape)
        if each.default is not None:
            value = parse(each.default)
            if isinstance(value, (list, dict)):
                plain = _without_null(shape)
                if isinstance(plain, ListOf):
                    plain = ListOf(plain.item)
                kind = flat(self._type(plain, hint))
                if self._reaches(plain, owner):
                    more.append(f"default_factory=lambda: {each.default}")
                else:
                    # Run when the class is made, so what it names must be there.
                    unit.before |= self._named_in(kind)
                    more.append(f"default_factory={kind}")
            else:
                default = _literal(value)
        elif is_absent:
            default = "None"
            if not null:
                self._helpers.add("absent")
                more.append("exclude_if=_absent")
        constraints = self._constraints(shape)
        if constraints is None:
            of_two = is_absent and not null
            annotation = self._inline(shape, hint) if of_two else self._type(shape, hint)
        else:
            annotation = self._plain(shape)
            more += constraints
        if is_absent and not null:
            annotation = Either((annotation, "None"))
        if python != each.name:
            more += [
                f"validation_alias={text(each.name)}",
                f"serialization_alias={text(each.name)}",
            ]
        if each.description:
            more.append(f"description={text(each.description)}")
        room = self._width - 4 - len(python) - 2
        if more:
            self._imports["pydantic"].add("Field")
            if default is not None:
                more.insert(0, f"default={default}")
            room -= len(" = Field(")
        elif default is not None:
            room -= len(" = ") + len(default)
        annotation = self._fitting(annotation, hint, room)
        start = f"    {python}: {flat(annotation)}"
        if more:
            call = Group("Field(", tuple(more), ")")
            return f"{start} = " + lay_out(
                call, width=self._width, indent=4, used=len(start) - 4 + 3
            )
        if default is None and len(start) > self._width:
            return f"    {python}: (\n        {flat(annotation)}\n    )"
        return start if default is None else f"{start} = {default}"

    def _has_null(self, shape: Shape) -> bool:
        shape = resolved(shape, self._configs.definitions)
        if isinstance(shape, OneOf):
            return any(map(self._has_null, shape.members))
        is_null = isinstance(shape, Choice) and None in shape.values
        return is_null or isinstance(shape, (Null, Anything))

    def _reaches(self, shape: Shape, name: str) -> bool:
        """Whether a shape speaks of a name, also by way of others."""
        found: set[str] = set()
        waiting = list(refs_of(shape))
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += refs_of(self._configs.definitions[each])
        return name in found

    def _fitting(self, annotation: Doc, hint: str, room: int) -> Doc:
        """Returns the annotation, by a name where it is too long for its line."""
        if len(flat(annotation)) <= room or isinstance(annotation, str):
            return annotation
        name = self._fresh(f"{hint}Type")
        unit = self._unit(name)
        # It speaks of what the field spoke of: which of that, its text says.
        unit.before = self._named_in(flat(annotation))
        unit.uses = sorted(unit.before)
        self._imports["typing"].add("TypeAlias")
        unit.lines = assignment(f"{name}: TypeAlias", annotation, width=self._width) + "\n"
        self._end()
        return self._use(name)

    def _named_in(self, words: str) -> set[str]:
        """Returns the names of ours that stand in a text."""
        return {each for each in _NAME.findall(words) if each in self._owners}

    def _constraints(self, shape: Shape) -> list[Doc] | None:
        """Returns what stands in the `Field(...)` of a field; None where it says it otherwise."""
        if isinstance(shape, (Text, Number)):
            return _bounds(shape)
        if isinstance(shape, ListOf) and not shape.unique:
            return _sizes(shape)
        return None

    def _plain(self, shape: Shape) -> Doc:
        """Returns the type of what has constraints, without them."""
        if isinstance(shape, Text):
            return self._text_type(shape)
        if isinstance(shape, Number):
            return "int" if shape.whole else "float"
        assert isinstance(shape, ListOf)
        hint = f"{self._speaking[-1].name}Item"
        return Group("list[", (self._inline(shape.item, hint),), "]")

    def _text_type(self, shape: Text) -> str:
        kind = _FORMATS.get(shape.format or "", "str")
        if kind == "AwareDatetime":
            self._imports["pydantic"].add(kind)
        elif kind == "UUID":
            self._uses_uuid = True
        elif kind != "str":
            self._uses_dates = True
        return kind

    # --- types ---

    def _inline(self, shape: Shape, hint: str, room: int = _SHORT) -> Doc:
        """Returns a type that stands in another: a long one, or one with constraints, by a name."""
        doc = self._type(shape, hint)
        is_simple = isinstance(doc, str) or (
            len(flat(doc)) <= min(room, _SHORT) and "Annotated[" not in flat(doc)
        )
        return doc if is_simple else self._fitting(doc, hint, 0)

    def _type(self, shape: Shape, hint: str, *, named: bool = False) -> Doc:
        """Returns the type of a shape; `hint`: what an object in it may be called.

        `named`: it is what a name stands for, and may be as long as it likes.
        """
        match shape:
            case Anything():
                self._imports["typing"].add("Any")
                return "Any"
            case Null():
                return "None"
            case Boolean():
                return "bool"
            case Text() | Number():
                return self._annotated(self._plain(shape), _bounds(shape))
            case Choice(values=values):
                if values == (None,):
                    return "None"
                self._imports["typing"].add("Literal")
                doc = Group("Literal[", tuple(_literal(each) for each in values), "]")
                return doc if named else self._fitting(doc, hint, _SHORT)
            case ListOf(item=item):
                doc = Group("list[", (self._inline(item, f"{hint}Item"),), "]")
                return self._annotated(doc, self._list_bounds(shape))
            case TupleOf(items=items):
                places = tuple(
                    self._inline(each, f"{hint}Item{index}") for index, each in enumerate(items, 1)
                )
                return Group("tuple[", places, "]")
            case MapOf(item=item):
                return Group("dict[", ("str", self._inline(item, f"{hint}Item")), "]")
            case Fields():
                name = self._fresh(hint)
                self._fields_unit(name, shape)
                return self._use(name)
            case OneOf(members=members):
                several = sum(not isinstance(each, Null) for each in members) > 1
                docs = tuple(
                    self._inline(each, f"{hint}{index}" if several else hint)
                    for index, each in enumerate(members, 1)
                )
                either = Either(docs)
                return either if named or not several else self._fitting(either, hint, _SHORT)
            case Ref(name=name):
                return self._use(name)

    def _annotated(self, doc: Doc, arguments: Sequence[Doc]) -> Doc:
        if not arguments:
            return doc
        self._imports["typing"].add("Annotated")
        self._imports["pydantic"].add("Field")
        more: list[Doc] = []
        rest = tuple(each for each in arguments if each != "unique")
        if len(rest) != len(arguments):
            self._helpers.add("unique")
            self._imports["pydantic"].add("AfterValidator")
            more.append("AfterValidator(_unique)")
            rest = (*rest, 'json_schema_extra={"uniqueItems": True}')
        return Group("Annotated[", (doc, *more, Group("Field(", rest, ")")), "]")

    def _list_bounds(self, shape: ListOf) -> list[Doc]:
        return [*_sizes(shape), *(["unique"] if shape.unique else [])]

    # --- the order of statements ---

    def _ordered(self) -> list[_Unit]:
        """Returns each behind what it has to stand behind, otherwise in the order of their use."""
        done: dict[str, _Unit] = {}
        open_: list[str] = []
        deferred: list[str] = []

        def closure(name: str) -> set[str]:
            found, waiting = set[str](), [name]
            while waiting:
                for each in self._units[waiting.pop()].before:
                    if each not in found:
                        found.add(each)
                        waiting.append(each)
            return found

        def emit(name: str) -> None:
            if name in done or name in open_:
                return
            if closure(name) & set(open_):
                deferred.append(name)
                return
            unit = self._units[name]
            open_.append(name)
            for each in unit.uses:
                emit(each)
            open_.pop()
            for each in sorted(unit.before):
                emit(each)
            done[name] = unit
            waiting, deferred[:] = deferred[:], []
            for each in waiting:
                emit(each)

        for each in self._configs.events:
            emit(each.name)
        for name in self._configs.definitions:
            emit(name)
        return list(done.values())


def _separated(blocks: Sequence[str]) -> list[str]:
    """Returns the statements with the empty lines between them that formatters ask for."""
    found: list[str] = []
    for index, block in enumerate(blocks):
        if index:
            plain = not block.startswith(("class ", "def ", "@"))
            before = not blocks[index - 1].startswith(("class ", "def ", "@"))
            found.append("" if plain and before else "\n\n")
        found.append(block)
    return found


def _isort(name: str) -> tuple[int, str]:
    """The order of names in an import: constants, classes, functions."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1, name) if name[0].isupper() else (2, name)


def _bounds(shape: Text | Number) -> list[Doc]:
    if isinstance(shape, Text):
        found: list[Doc] = []
        if shape.min_length is not None:
            found.append(f"min_length={shape.min_length}")
        if shape.max_length is not None:
            found.append(f"max_length={shape.max_length}")
        if shape.pattern is not None:
            found.append(f"pattern={text(shape.pattern)}")
        if shape.format is not None and shape.format not in _FORMATS:
            found.append(f'json_schema_extra={{"format": {text(shape.format)}}}')
        return found
    names = (
        ("ge", shape.at_least),
        ("le", shape.at_most),
        ("gt", shape.above),
        ("lt", shape.below),
        ("multiple_of", shape.multiple_of),
    )
    return [
        f"{name}={int(bound) if shape.whole else bound!r}"
        for name, bound in names
        if bound is not None
    ]


def _sizes(shape: ListOf) -> list[Doc]:
    found: list[Doc] = []
    if shape.min_items is not None:
        found.append(f"min_length={shape.min_items}")
    if shape.max_items is not None:
        found.append(f"max_length={shape.max_items}")
    return found


def _literal(value: object) -> str:
    return text(value) if isinstance(value, str) else repr(value)


def _without_null(shape: Shape) -> Shape:
    if not isinstance(shape, OneOf):
        return shape
    rest = tuple(each for each in shape.members if not isinstance(each, Null))
    return rest[0] if len(rest) == 1 else OneOf(rest)
