"""Mutants of printed events, and of the lock that they are held against."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

COMPARING = "printing/comparing.py"
LOCK = "printing/lock.py"
PRINTING = "printing/printing.py"
LOCKED = "tests/printing/test_lock.py::"
REFUSED = LOCKED + "test_what_stored_events_do_not_survive_needs_a_new_schema"
SHORT = "tests/printing/test_short_forms.py::"
FORM = SHORT + "test_a_form_prints_imports_and_tells_good_data_from_bad"

PRINTED = [
    Mutant(
        "fields that are gone",
        "a field that was stored is not taken out under the same schema",
        COMPARING,
        '                yield f"{at}.{name} was removed"\n                continue\n',
        "                continue\n",
        (REFUSED + "[all fields are gone]",),
    ),
    Mutant(
        "fields that are new and required",
        "a field that stored events do not have is not required under the same schema",
        COMPARING,
        "                if each.required:\n",
        "                if each.required and old.open:\n",
        (REFUSED + "[a field is new and required]",),
    ),
    Mutant(
        "bounds that are new",
        "a bound that stored events may not keep is not drawn under the same schema",
        COMPARING,
        "        if bound is not None and not holds:\n",
        "        if bound is not None and holds is None:\n",
        (REFUSED + "[a bound]",),
    ),
    Mutant(
        "another default",
        "what events without a field are read as does not change under the same schema",
        COMPARING,
        "not old.required and old.default != new.default:",
        "not old.required and old is new:",
        (REFUSED + "[another default]",),
    ),
    Mutant(
        "types that are gone",
        "a type of which events are stored stays, by its name or as an alias",
        LOCK,
        "            if name not in now:\n",
        "            if name in () and name not in now:\n",
        (LOCKED + "test_a_type_that_is_gone_is_told_until_it_is_an_alias_or_taken_out",),
    ),
    Mutant(
        "a schema that only grows",
        "a schema that was written is not given to another shape",
        LOCK,
        "        if new.schema < old.schema:\n",
        "        if new.schema < 0:\n",
        (LOCKED + "test_a_schema_only_grows",),
    ),
    Mutant(
        "nothing before all",
        "nothing is printed of what cannot all be printed",
        PRINTING,
        "        wanted[os.fspath(out)] = print_python(events, width=line_length)\n",
        "        wanted[os.fspath(out)] = print_python(events, width=line_length)\n"
        "        _write(os.fspath(out), wanted[os.fspath(out)])\n",
        ("tests/printing/test_printed_files.py::test_nothing_is_written_unless_all_can_be",),
    ),
    Mutant(
        "null for what is required",
        "a printed class takes null only where its shape does",
        "printing/python.py",
        "        if is_absent and not null:\n            annotation",
        "        if not null:\n            annotation",
        (FORM + "[a word for a field]",),
    ),
    Mutant(
        "what is left out",
        "a field without a value is not written as null, which its shape does not take",
        "printing/python.py",
        'more.append("exclude_if=_absent")',
        "pass",
        (FORM + "[an optional object]",),
    ),
    Mutant(
        "a keyword or a field",
        "a keyword that is not supported is told, and not taken for a field",
        "printing/understanding.py",
        "    if any(key in _UNSUPPORTED for key in value):\n",
        "    if any(key in () for key in value):\n",
        (
            "tests/printing/test_bad_configs.py::"
            "test_what_is_wrong_is_told_with_its_file_and_place[patternProperties]",
        ),
    ),
    Mutant(
        "text that is no code",
        "what stands in a configuration cannot become code",
        "printing/layout.py",
        """escaped.replace("\\\\", "\\\\\\\\").replace('\"\"\"', '\\\\"\\\\"\\\\"')""",
        """escaped.replace("\\\\", "\\\\\\\\")""",
        ("tests/printing/test_bad_configs.py::test_text_of_configurations_cannot_become_code",),
    ),
    Mutant(
        "what check decodes",
        "the check of a log decodes the meta, too",
        "cli/unreadable.py",
        "            _ = record.data, record.meta\n",
        "            _ = record.data\n",
        (
            "tests/cli/test_print_and_schema.py::"
            "test_check_finds_each_planted_incompatibility_with_counts_and_first_positions[sqlite]",
        ),
    ),
]
