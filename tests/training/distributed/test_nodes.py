"""Which machine of a training this is, from configuration and Slurm's environment."""

import socket

import pytest

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.nodes import Plan, hostnames, plan

FSDP = {"strategy": "fsdp2"}


@pytest.mark.parametrize(
    "written, names",
    [
        ("gpu1", ["gpu1"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-10,12],login", ["gpu08", "gpu09", "gpu10", "gpu12", "login"]),
        ("a1,b2,c[3-4]", ["a1", "b2", "c3", "c4"]),
        ("rack[1-2]-n[0-1]", ["rack1-n0", "rack1-n1", "rack2-n0", "rack2-n1"]),
        ("", []),
    ],
)
def test_slurm_lists_of_hosts_are_written_out(written, names):
    assert hostnames(written) == names


def test_a_list_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"SLURM_JOB_NODELIST: 'gpu\[a-b\]' is no list of hosts"):
        hostnames("gpu[a-b]")


def test_one_node_listens_nowhere():
    assert plan(Execution(**FSDP, processes=8), {}) == Plan(8, 1, 0, None, 29511)


def test_the_environment_changes_the_number_of_processes():
    execution = Execution(**FSDP, processes=8)
    assert plan(execution, {"VLM4VLA_PROCESSES": "3"}).processes == 3
    with pytest.raises(UserError, match="VLM4VLA_PROCESSES: '0' is no number of processes"):
        plan(execution, {"VLM4VLA_PROCESSES": "0"})
    with pytest.raises(UserError, match="2 nodes cannot share 3 processes: write a multiple of 2"):
        plan(Execution(**FSDP, processes=8, nodes=2), {"VLM4VLA_PROCESSES": "3"})


def test_slurm_says_which_node_this_is():
    execution = Execution(**FSDP, processes=8, nodes=2, port=30000)
    job = {"SLURM_JOB_NODELIST": "gpu[3-4]"}
    assert plan(execution, job | {"SLURM_NODEID": "0"}).node is None  # nothing runs on the others yet
    here = plan(execution, job | {"SLURM_NODEID": "1", "VLM4VLA_ON_EACH_NODE": "1"})
    assert here == Plan(8, 2, 1, "gpu3", 30000) and here.each == 4


def test_without_as_many_slurm_nodes_it_is_an_error():
    execution = Execution(**FSDP, processes=8, nodes=2)
    with pytest.raises(UserError, match=r"execution\.nodes: 2, and this job has no Slurm nodes"):
        plan(execution, {})
    with pytest.raises(UserError, match="this job has 3 Slurm nodes: ask Slurm for `--nodes=2`"):
        plan(execution, {"SLURM_JOB_NODELIST": "n[1-3]"})


def test_hosts_of_the_configuration_are_found_by_their_names():
    own = socket.gethostname()
    execution = Execution(**FSDP, processes=2, nodes=2, hosts=["first", own])
    assert plan(execution, {}) == Plan(2, 2, 1, "first", 29511)
    with pytest.raises(UserError, match=f"execution.hosts: {own} is not among first, second"):
        plan(Execution(**FSDP, processes=2, nodes=2, hosts=["first", "second"]), {})
