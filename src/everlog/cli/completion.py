"""`everlog completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from everlog.cli.parsing import add_command
from everlog.cli.showing import Shown

if TYPE_CHECKING:
    from everlog.cli.parsing import Commands

SHELLS = ("bash", "zsh", "fish")


def add_to(commands: Commands) -> None:
    """Adds the command to those that are known."""
    parser = add_command(
        commands,
        "completion",
        help="print what bash, zsh or fish need to complete commands",
        about="Prints a script by which a shell completes commands, options and their values.",
        examples="  everlog completion bash > ~/.local/share/bash-completion/completions/everlog\n"
        "  everlog completion zsh > ~/.zfunc/_everlog    # with fpath+=~/.zfunc, before compinit\n"
        "  everlog completion fish > ~/.config/fish/completions/everlog.fish",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from everlog.cli.command_line import parser_of

    script = {"bash": bash, "zsh": zsh, "fish": fish}[options.shell](
        list(words_of(parser_of([]), ()))
    )
    shown = Shown(options)
    if shown.json:
        shown.value({"shell": options.shell, "script": script})
    else:
        shown.line(script.rstrip("\n"))


class Option(NamedTuple):
    """An option, and what can follow it."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


class Words(NamedTuple):
    """What can follow a command."""

    command: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    """Commands below it, with their help."""
    options: tuple[Option, ...]
    choices: tuple[str, ...]
    """Of its positional arguments."""


def words_of(parser: argparse.ArgumentParser, command: tuple[str, ...]) -> Iterator[Words]:
    """Gives what can follow a command, and each below it."""
    below: list[tuple[str, str]] = []
    parsers: dict[str, argparse.ArgumentParser] = {}
    options: list[Option] = []
    choices: list[str] = []
    for action in parser._actions:  # there is no other way
        found: Any = action
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            parsers = dict(found.choices)
            below = [(each.dest, _one_line(each.help)) for each in found._choices_actions]
        elif action.option_strings:
            options.append(
                Option(
                    tuple(action.option_strings),
                    _one_line(action.help),
                    action.nargs != 0,
                    tuple(map(str, action.choices or ())),
                )
            )
        else:
            choices += map(str, action.choices or ())
    yield Words(command, tuple(below), tuple(options), tuple(choices))
    for name, inner in parsers.items():
        yield from words_of(inner, (*command, name))


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


def bash(words: list[Words]) -> str:
    """Returns the script for bash."""
    cases: list[str] = []
    for each in words:
        options = [name for option in each.options for name in option.names]
        names = [name for name, _ in each.commands] or list(each.choices)
        values = [
            f"            {'|'.join(option.names)}) values='{' '.join(option.choices)}' ;;"
            for option in each.options
            if option.takes_value
        ]
        cases += [
            f"        '{' '.join(each.command)}')",
            f"            words='{' '.join(names)}'",
            f"            options='{' '.join(options)}'",
            '            case "$previous" in',
            *("    " + line for line in values),
            "            esac",
            "            ;;",
        ]
    depths = _paths(words)
    body = "\n".join(cases)
    return f"""# everlog: completion for bash
_everlog() {{
    local current previous command word words options values='-'
    current="${{COMP_WORDS[COMP_CWORD]}}"
    previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    command=''
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{command:+$command }}$word" in
            {depths}) command="${{command:+$command }}$word" ;;
        esac
    done
    COMPREPLY=()
    case "$command" in
{body}
    esac
    if [[ "$values" != '-' ]]; then
        if [[ -n "$values" ]]; then
            COMPREPLY=($(compgen -W "$values" -- "$current"))
        else
            COMPREPLY=($(compgen -f -- "$current"))
        fi
    elif [[ "$current" == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    elif [[ -n "$words" ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}}
complete -o filenames -F _everlog everlog
"""


def _paths(words: list[Words]) -> str:
    return "|".join(f"'{' '.join(each.command)}'" for each in words if each.command)


def zsh(words: list[Words]) -> str:
    """Returns the script for zsh."""
    functions: list[str] = []
    for each in words:
        lines = ["        " + _zsh_option(option) for option in each.options]
        if each.commands:
            listed = "\n".join(
                f"                {_zsh_quoted(f'{name}:{about}')}" for name, about in each.commands
            )
            cases = "\n".join(
                f"                {name}) {_zsh_name((*each.command, name))} ;;"
                for name, _ in each.commands
            )
            lines += ["        '1: :->command'", "        '*:: :->rest'"]
            functions.append(
                f"""{_zsh_name(each.command)}() {{
    local curcontext="$curcontext" state line
    local -a commands
    _arguments -C \\
{_joined(lines)}
    case "$state" in
        command)
            commands=(
{listed}
            )
            _describe command commands
            ;;
        rest)
            case "$line[1]" in
{cases}
            esac
            ;;
    esac
}}"""
            )
        else:
            values = f"({' '.join(each.choices)})" if each.choices else "_files"
            lines.append(f"        '*: :{values}'")
            functions.append(
                f"{_zsh_name(each.command)}() {{\n    _arguments \\\n{_joined(lines)}\n}}"
            )
    body = "\n\n".join(functions)
    return f"""#compdef everlog
# everlog: completion for zsh

{body}

if [[ "$funcstack[1]" = _everlog ]]; then
    _everlog "$@"
else
    compdef _everlog everlog
fi
"""


def _joined(lines: list[str]) -> str:
    return " \\\n".join(lines)


def _zsh_name(command: tuple[str, ...]) -> str:
    return "_everlog" + "".join(f"_{part}" for part in command)


def _zsh_option(option: Option) -> str:
    about = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    value = f": :({' '.join(option.choices)})" if option.choices else ": :_files"
    names = option.names
    several = f"'({' '.join(names)})'{{{','.join(names)}}}"
    first = several if len(names) > 1 else "".join(names)
    return f"{first}{_zsh_quoted(f'[{about}]' + (value if option.takes_value else ''))}"


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(words: list[Words]) -> str:
    """Returns the script for fish."""
    lines = [
        "# everlog: completion for fish",
        "function __everlog_at",
        "    set -l said (commandline -opc)",
        "    set -l at",
        "    for word in $said[2..-1]",
        f"        if contains -- (string join -- ' ' $at $word) {_paths(words).replace('|', ' ')}",
        "            set at $at $word",
        "        end",
        "    end",
        '    test "$at" = "$argv"',
        "end",
    ]
    for each in words:
        at = f'-n "__everlog_at {" ".join(each.command)}"' if each.command else '-n "__everlog_at"'
        for name, about in each.commands:
            lines.append(f"complete -c everlog {at} -f -a {name} -d {_fish_quoted(about)}")
        if each.choices:
            lines.append(f"complete -c everlog {at} -f -a {_fish_quoted(' '.join(each.choices))}")
        for option in each.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            value = ""
            if option.takes_value:
                value = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r"
            lines.append(f"complete -c everlog {at} {names}{value} -d {_fish_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
