"""Which commands of Snakemake run no job, and so take no lock on the results."""

import contextlib
import io

import pytest
from snakemake.cli import parse_args

from vlm4vla.workflow.snakefile import INFORMING, runs_no_job


def arguments(*words: str):
    with contextlib.redirect_stderr(io.StringIO()):
        return parse_args([*words, "--cores", "1"])[1]


@pytest.mark.parametrize(
    "words",
    [
        ["-n"],
        ["-np"],
        ["-nq"],
        ["--dryrun"],
        ["--lint"],
        ["--report"],
        ["--report", "x.html"],
        ["-S"],
        ["--detailed-summary"],
        ["--rulegraph"],
        ["--dag", "mermaid-js"],
        ["--lt"],
        ["--list-untracked"],
        ["--touch", "--dry-run"],
    ],
)
def test_commands_that_only_show(words):
    assert runs_no_job(arguments(*words))


@pytest.mark.parametrize(
    "words",
    [[], ["published"], ["--unlock"], ["--touch"], ["--delete-all-output"], ["--cleanup-metadata", "x"]],
)
def test_commands_that_change_the_results(words):
    assert not runs_no_job(arguments(*words))


def test_the_options_exist_in_this_version_of_snakemake():
    assert all(hasattr(arguments(), name) for name in INFORMING)
