"""Shell completion: a script for bash or zsh, made from the data of an argparse parser."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Iterator

SHELLS = ("bash", "zsh")

_FUNCTION = """\
{function}() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" files="" each
  local -a words=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    words=({top})
  else
    case "${{COMP_WORDS[1]}} $previous" in
{values}
    *) if [[ $word == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
      else
        files=yes
        case "${{COMP_WORDS[1]}}" in
{choices}
        esac
      fi ;;
    esac
  fi
  COMPREPLY=()
  for each in "${{words[@]}}"; do
    if [[ $each == "$word"* ]]; then
      COMPREPLY+=("$each")
    fi
  done
  if [[ -n $files ]]; then
    local IFS=$'\\n'
    COMPREPLY+=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F {function} {program}
"""
_ZSH = "autoload -U +X compinit bashcompinit && compinit && bashcompinit\n"


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script that completes the program of `parser`: its commands, their options and their choices.

    A word without a dash may also be a file. `shell`: one of `SHELLS`. zsh reads the script of bash with its
    own `bashcompinit`.
    """
    commands = _commands(parser)
    lines: dict[str, list[str]] = {"values": [], "options": [], "choices": []}
    for name, command in commands.items():
        options = []
        for action in command._actions:
            options += action.option_strings
            line = f"words=({_quoted(action.choices or ())}) ;;"
            if action.choices and action.option_strings:
                given = "|".join(shlex.quote(f"{name} {option}") for option in action.option_strings)
                lines["values"].append(f"    {given}) {line}")
            elif action.choices:
                lines["choices"].append(f"        {name}) {line}")
        lines["options"].append(f"        {name}) words=({_quoted(options)}) ;;")
    own = [option for action in parser._actions for option in action.option_strings]
    text = _FUNCTION.format(
        function=f"_{re.sub(r'[^A-Za-z0-9]', '_', parser.prog)}",
        program=parser.prog,
        top=_quoted([*commands, *own]),
        **{key: "\n".join(value) for key, value in lines.items()},
    )
    return (_ZSH if shell == "zsh" else "") + text


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a parser."""

    def found() -> Iterator[tuple[str, argparse.ArgumentParser]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from action.choices.items()

    return dict(found())


def _quoted(words: Iterable[object]) -> str:
    return shlex.join(map(str, words))
