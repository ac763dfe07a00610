"""Snakemake chooses jobs when one has ended, and not over and over while they run."""

import re

import pytest
from workflow_project import lay_out

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """How often jobs were chosen, and how many ran, with and without a limit that a user wrote."""

    def count(name, *arguments):
        played = lay_out(tmp_path_factory.mktemp(name) / "project")
        done = played.snakemake("all_tables", "--cores", "1", "--verbose", *arguments)
        assert done.returncode == 0, done.stderr
        said = done.stderr + done.stdout
        return said.count("Resources before job selection"), len(re.findall(r"Finished jobid", said))

    return {"ours": count("ours"), "limited": count("limited", "--max-jobs-per-timespan", "200/1s")}


def test_one_choice_a_job(rounds):
    chosen, jobs = rounds["ours"]
    assert jobs > 40
    assert chosen <= jobs + 5


def test_a_users_limit_stays(rounds):
    """And Snakemake still behaves so that lifting its default is worth it: else take it out."""
    chosen, jobs = rounds["limited"]
    assert chosen > 2 * jobs
