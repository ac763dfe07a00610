"""Snakemake selects jobs when a job ends, and not again and again while jobs run."""

import re

import pytest
from workflow_project import lay_out

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """(number of selections, number of jobs) of two runs: ours, and one with a limit that the user wrote."""

    def count(name, *arguments):
        played = lay_out(tmp_path_factory.mktemp(name) / "project")
        done = played.snakemake("all_tables", "--cores", "1", "--verbose", *arguments)
        assert done.returncode == 0, done.stderr
        output = done.stderr + done.stdout
        return output.count("Resources before job selection"), len(re.findall(r"Finished jobid", output))

    return {"ours": count("ours"), "limited": count("limited", "--max-jobs-per-timespan", "200/1s")}


def test_one_selection_per_job(rounds):
    selections, jobs = rounds["ours"]
    assert jobs > 40
    assert selections <= jobs + 5


def test_a_users_limit_stays(rounds):
    """If this fails, Snakemake has changed: remove `lift_default_job_limit`."""
    selections, jobs = rounds["limited"]
    assert selections > 2 * jobs
