"""The completion script, run by bash and zsh themselves."""

from __future__ import annotations

import argparse
import shutil
import subprocess

import pytest

from vlm4vla.cli import parser
from vlm4vla.commands import COMMANDS
from vlm4vla.core import completion
from vlm4vla.stages.running import STAGES


def complete(script: str, line: str, folder: object = None) -> list[str]:
    """What bash offers at the end of `line`."""
    words = line.split(" ")
    call = (
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; "
        f'_{words[0].replace("-", "_")}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{call}"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def script() -> str:
    return completion.script(parser(), "bash")


def test_the_first_word_is_a_command_or_an_option(script):
    assert {*STAGES, *COMMANDS, "completion", "--version", "--help"} <= set(complete(script, "vlm4vla "))
    assert complete(script, "vlm4vla est") == ["estimate"]
    assert complete(script, "vlm4vla --v") == ["--version"]


@pytest.mark.parametrize("name", [*STAGES, *COMMANDS])
def test_the_options_of_each_command_are_those_of_its_help(script, name):
    with pytest.raises(SystemExit) as end:
        parser().parse_args([name, "--help"])
    assert end.value.code == 0
    offered = complete(script, f"vlm4vla {name} -")
    given = {words[-1] for words, _ in COMMANDS[name].arguments} if name in COMMANDS else {"--settings"}
    assert {word for word in given if word.startswith("-")} <= set(offered)
    assert "--help" in offered and len(offered) == len(set(offered))


def test_choices_are_offered_and_files_elsewhere(script, tmp_path):
    (tmp_path / "a file.yaml").touch()
    assert complete(script, "vlm4vla convert --pictures ", tmp_path) == ["video", "png"]
    assert complete(script, "vlm4vla convert c", tmp_path) == ["calvin"]
    assert complete(script, "vlm4vla estimate --configfile a", tmp_path) == ["a file.yaml"]
    assert complete(script, "vlm4vla estimate --configfile ", tmp_path) == ["a file.yaml"]


def test_words_of_any_parser_are_quoted():
    top = argparse.ArgumentParser(prog="my-tool")
    command = top.add_subparsers().add_parser("go")
    command.add_argument("--how", "-w", choices=["it's", "$(touch x)"])
    script = completion.script(top, "bash")
    assert complete(script, "my-tool go -w i") == ["it's"]
    assert complete(script, "my-tool go -w $") == ["$(touch x)"]
    assert complete(script, "my-tool go --h") == ["--help", "--how"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script():
    script = completion.script(parser(), "zsh")
    done = subprocess.run(["zsh", "-f", "-c", script + "whence -w _vlm4vla"], capture_output=True, text=True)
    assert done.stdout == "_vlm4vla: function\n", done.stderr


def test_the_script_of_zsh_is_that_of_bash_with_its_own_loader(script):
    first, rest = completion.script(parser(), "zsh").split("\n", 1)
    assert rest == script and "bashcompinit" in first
