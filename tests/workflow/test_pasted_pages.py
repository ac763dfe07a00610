"""A stranger's trial: the blocks of the README and of the first pages, pasted as they stand.

What is cheap at the smoke scale is run: `make cell`, the cell's policy in Python, and `make published`.
Commands that would take long are run with --dry-run. Commands on a finished study are only parsed. A new kind
of command fails until it is decided here how it is checked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documented_blocks import blocks, commands, pasted
from fast_yaml import load_yaml

from vlm4vla import cli

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1500)]
REPOSITORY = Path(__file__).parents[2]
NAMES = (
    "README.md",
    "docs/your-own-study.md",
    "docs/use-a-policy.md",
    "docs/run-the-study.md",
    "docs/set-up.md",
    "docs/judge.md",
)
QUICK = ("README.md", "use-a-policy.md", "set-up.md")  # commands that take seconds
PAGES = [REPOSITORY / name for name in NAMES]
LANGUAGES = {"bash", "yaml", "python", "csv", "json", "text"}
PROGRAMS = ("python", "snakemake", "vlm4vla", "pytest")  # of the environment
OWN = "my-study.yaml"
CELL = "results/smoke/cells/kosmos-2/none/full/bridge.md"


class Checkout:
    """The files of a clone in `folder`. Its .venv is this process's environment, which `make` finds ready."""

    def __init__(self, folder: Path):
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (REPOSITORY / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, folder / name)
        binaries = folder / ".venv" / "bin"
        binaries.mkdir(parents=True)
        for program, words in (("python", ""), ("snakemake", "-m snakemake"), ("vlm4vla", "-m vlm4vla.cli")):
            (binaries / program).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (binaries / program).chmod(0o755)
        (folder / ".venv" / "ready").touch()
        (folder / OWN).write_text(pasted(REPOSITORY / "docs" / "your-own-study.md", "yaml"))

    def run(self, *words: str) -> str:
        """The output of a command in the folder. The package is the one of this checkout."""
        path = os.pathsep.join((str(self.folder / ".venv" / "bin"), os.environ["PATH"]))
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "src")}
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is not a git checkout, so the files of a clone are not known")
    return Checkout(tmp_path_factory.mktemp("pasted") / "vlm4vla")


@pytest.fixture(scope="module")
def tried(checkout) -> tuple[Checkout, str]:
    """The checkout after the README's `make cell` at the smoke scale, and what the command printed."""
    return checkout, checkout.run("make", "cell", "TORCH=cpu", "SCALE=smoke", "CORES=2")


def parsed(words: list[str]) -> argparse.Namespace:
    """The arguments of a `vlm4vla` command. Raises SystemExit if the command would refuse them."""
    return cli.parser().parse_args(words)


def check(checkout: Checkout, words: list[str], texts: str) -> None:
    """Check one command of a page whose YAML blocks are `texts`."""
    program, rest = Path(words[0]).name, words[1:]
    # A reader has not activated the environment.
    assert words[0] != program or program not in PROGRAMS, f"write .venv/bin/{words[0]}"
    if program == "snakemake":
        if "my-vlm" in texts and OWN in rest:  # the README's own file has only its block
            (checkout.folder / OWN).write_text(texts)
        checkout.run(*words, "--dry-run", *([] if "--cores" in rest else ["--cores", "1"]))
    elif program == "make":
        shown = checkout.run("make", "--dry-run", *rest)
        (target, *more) = [word for word in rest if "=" not in word] or ["help"]
        assert not more
        if "snakemake" in shown and target not in ("report", "test"):
            line = next(line for line in shown.splitlines() if line.startswith(".venv/bin/snakemake"))
            checkout.run(*line.split(), "--dry-run", "--forceall")
    elif program == "vlm4vla" and rest[0] == "estimate":
        assert "wall time" in checkout.run(*words)
    elif program == "vlm4vla" and rest[0] == "judge":
        assert "survive" in checkout.run(*words)
    elif program == "vlm4vla":
        parsed(rest)
    elif words[:2] == ["git", "clone"]:
        assert words[-1] == checkout.folder.name
    elif words[0] == "eval":
        inner = re.fullmatch(r"\$\((.*)\)", words[1])
        assert inner and checkout.run("bash", "-ec", inner[1])  # eval hides that this command fails
        checkout.run("bash", "-ec", f'eval "{words[1]}"')
    elif words[0] == "cd":
        assert words[1:] == [checkout.folder.name]
    elif program in ("uv", "VIRTUAL_ENV=.venv", "conda", "docker", "sudo"):
        for word in rest:  # set-up of other machines: at least the files exist
            if word.startswith(("envs/", "requirements")):
                assert (checkout.folder / word).is_file()
    else:
        raise AssertionError(f"it is not decided how `{' '.join(words)}` is checked")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_its_language(page):
    found = blocks(page)
    assert found and {language for language, _ in found} <= LANGUAGES
    assert page.read_text().count("\n```") == 2 * len(found)


def test_every_link_of_a_page_leads_to_a_file():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_is_short_and_names_no_commit():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) < 120
    assert not re.search(r"\b[0-9a-f]{7,40}\b", text)
    first_screen = text[: text.index("## ")]
    for part in ("independent reproduction", "arXiv 2601.03309", "docs/main.png", "git clone", "make cell"):
        assert part in first_screen
    assert "CITATION.cff" in text and text.count("| **") == 3


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[] if page.name in QUICK else pytest.mark.exhaustive)
        for page in PAGES
    ],
)
def test_every_command_of_a_page_is_accepted(checkout, page):
    texts = pasted(page, "yaml")
    (checkout.folder / "my-table.csv").write_text(pasted(page, "csv"))
    (checkout.folder / OWN).write_text(pasted(REPOSITORY / "docs" / "your-own-study.md", "yaml"))
    found = commands(page)
    assert found
    for words in found:
        check(checkout, words, texts)


@pytest.mark.exhaustive
def test_the_pasted_blocks_of_a_page_are_one_file(checkout):
    """No key stands twice, which would be refused, and each block is a part of one valid configuration."""
    page = REPOSITORY / "docs" / "your-own-study.md"
    own = pasted(page, "yaml")
    keys = re.findall(r"^(\w+):", own, flags=re.MULTILINE)
    assert len(keys) == len(set(keys)) == len(load_yaml(own)) >= 5
    (checkout.folder / OWN).write_text(own)
    jobs = checkout.run(
        ".venv/bin/snakemake", "--dry-run", "--cores", "1", "table_main", "--configfile", OWN
    )  # fmt: skip
    for name in ("my-vlm", "smolvlm-500m", "push-button"):
        assert name in jobs


def test_a_key_that_stands_twice_would_be_noticed(checkout):
    page = REPOSITORY / "docs" / "your-own-study.md"
    (checkout.folder / OWN).write_text(pasted(page, "yaml") + "\nextensions: []\n")
    with pytest.raises(AssertionError, match="extensions"):
        checkout.run(".venv/bin/snakemake", "--dry-run", "--cores", "1", "--configfile", OWN)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("curl https://example.org", "not decided"),
        ("vlm4vla judge my-table.csv", "write .venv/bin/vlm4vla"),
        ("make tabel_main", "unknown target"),
        ("make all_tables SCALE=smoek", "unknown scale"),
        (".venv/bin/snakemake --cores 2 results/embedded/cells/kosmos-2/none/full/brige.md", "brige"),
        (".venv/bin/snakemake --cores 2 table_main --configfile my-studi.yaml", "my-studi.yaml"),
        (".venv/bin/vlm4vla estimate tabel_main", "tabel_main"),
        (".venv/bin/vlm4vla judge no-table.csv", "no-table.csv"),
        (".venv/bin/vlm4vla trace main", ""),
        (".venv/bin/vlm4vla push FOLDER NAME --dryrun-please", ""),
        ('eval "$(vlm4vla completion fish-and-chips)"', "fish-and-chips"),
    ],
)
def test_a_wrong_line_of_a_page_would_be_noticed(checkout, tmp_path, line, message):
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n```bash\n{line}\n```\n")
    (words,) = commands(page)
    with pytest.raises((AssertionError, SystemExit), match=message or None):
        check(checkout, words, "")


@pytest.mark.exhaustive
def test_a_wrong_key_and_wrong_python_would_be_noticed(checkout):
    own = pasted(REPOSITORY / "docs" / "your-own-study.md", "yaml")
    assert own.count("    family: qwen3_vl") == 1
    (checkout.folder / OWN).write_text(own.replace("    family: qwen3_vl", "    famly: qwen3_vl"))
    with pytest.raises(AssertionError, match="famly"):
        checkout.run(".venv/bin/snakemake", "--dry-run", "--cores", "1", "--configfile", OWN)
    with pytest.raises(AssertionError, match="load_policies"):
        checkout.run(".venv/bin/python", "-c", "from vlm4vla.policies.loading import load_policies")


@pytest.mark.exhaustive
def test_the_first_command_prints_a_result(tried):
    checkout, printed = tried
    text = (checkout.folder / CELL).read_text()
    assert text.strip() and text.strip() in printed
    assert "Kosmos-2" in text or "kosmos-2" in text
    assert re.search(r"\[\d+(\.\d+)?,\s\d+(\.\d+)?\]", text), "the success rate has an interval"


@pytest.mark.exhaustive
def test_the_policy_of_the_first_command_can_be_used_as_the_page_says(tried):
    checkout, _ = tried
    page = REPOSITORY / "docs" / "use-a-policy.md"
    code = pasted(page, "python")
    assert "load_policy" in code and "results/smoke/vla/kosmos-2/none/full/bridge/seed0" in code
    printed = checkout.run(".venv/bin/python", "-c", code)
    assert re.findall(r"\[[^\]]*\]", printed), "the example prints actions"
    first, push = commands(page)
    assert first == ["make", "cell", "SCALE=smoke"]  # which has made the policy
    assert "--dry-run" in push and "policy.safetensors" in checkout.run(*push)


def test_the_readmes_minutes_are_those_of_the_estimate(checkout):
    cell = CELL.replace("smoke", "embedded")
    minutes = re.search(
        r"wall time: about (\d+) min", checkout.run(".venv/bin/vlm4vla", "estimate", cell, "--cores", "2")
    )
    assert f"is {minutes[1]} minutes on two cores" in (REPOSITORY / "README.md").read_text()


@pytest.mark.exhaustive
def test_the_readmes_figures_of_the_published_tables_are_those_that_a_command_prints(checkout):
    """`make published` makes them; they are compared with the words of its tables."""
    checkout.run("make", "published", "CORES=2")
    tables = checkout.folder / "results" / "published" / "tables"
    readme = (REPOSITORY / "README.md").read_text()
    survive, of, open_ = re.search(
        r"(\d+) of (\d+) differences survive\. The published numbers do not decide (\d+)",
        (tables / "comparisons.md").read_text(),
    ).groups()
    assert f"Of {of} differences between policies in the paper's tables, {survive} survive" in readme
    assert f"For {open_} differences, the printed numbers do not decide" in readme
    flagged, numbers = re.search(
        r"(\d+) of (\d+) numbers are flagged", (tables / "flagged.md").read_text()
    ).groups()
    assert f"{flagged} of the paper's {numbers} numbers cannot" in readme
