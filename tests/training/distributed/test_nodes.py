"""Which of a training's machines this machine is, from configuration and Slurm's environment."""

import socket

import pytest

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.nodes import LaunchPlan, expand_hosts, launch_plan

FSDP = {"strategy": "fsdp2"}


@pytest.mark.parametrize(
    "hostlist, names",
    [
        ("gpu1", ["gpu1"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-10,12],login", ["gpu08", "gpu09", "gpu10", "gpu12", "login"]),
        ("a1,b2,c[3-4]", ["a1", "b2", "c3", "c4"]),
        ("rack[1-2]-n[0-1]", ["rack1-n0", "rack1-n1", "rack2-n0", "rack2-n1"]),
        ("", []),
    ],
)
def test_slurm_lists_of_hosts_are_expanded(hostlist, names):
    assert expand_hosts(hostlist) == names


def test_a_malformed_list_is_an_error():
    with pytest.raises(UserError, match=r"SLURM_JOB_NODELIST: 'gpu\[a-b\]' is not a list of hosts"):
        expand_hosts("gpu[a-b]")


def test_one_node_does_not_listen():
    assert launch_plan(Execution(**FSDP, processes=8), {}) == LaunchPlan(8, 1, 0, None, 29511)


def test_the_environment_changes_the_number_of_processes():
    execution = Execution(**FSDP, processes=8)
    assert launch_plan(execution, {"VLM4VLA_PROCESSES": "3"}).processes == 3
    with pytest.raises(UserError, match="VLM4VLA_PROCESSES: '0' is not a number of processes"):
        launch_plan(execution, {"VLM4VLA_PROCESSES": "0"})
    with pytest.raises(UserError, match="2 nodes cannot share 3 processes: write a multiple of 2"):
        launch_plan(Execution(**FSDP, processes=8, nodes=2), {"VLM4VLA_PROCESSES": "3"})


def test_slurm_gives_the_number_of_the_node():
    execution = Execution(**FSDP, processes=8, nodes=2, port=30000)
    job = {"SLURM_JOB_NODELIST": "gpu[3-4]"}
    # Without VLM4VLA_ON_EACH_NODE, the command has not been started on the other node yet.
    assert launch_plan(execution, job | {"SLURM_NODEID": "0"}).node is None
    second = launch_plan(execution, job | {"SLURM_NODEID": "1", "VLM4VLA_ON_EACH_NODE": "1"})
    assert second == LaunchPlan(8, 2, 1, "gpu3", 30000) and second.processes_per_node == 4


def test_another_number_of_slurm_nodes_is_an_error():
    execution = Execution(**FSDP, processes=8, nodes=2)
    with pytest.raises(UserError, match=r"execution\.nodes is 2, but this job has no Slurm nodes"):
        launch_plan(execution, {})
    with pytest.raises(UserError, match="this job has 3 Slurm nodes: ask Slurm for `--nodes=2`"):
        launch_plan(execution, {"SLURM_JOB_NODELIST": "n[1-3]"})


def test_this_machine_is_found_among_the_configured_hosts():
    own = socket.gethostname()
    execution = Execution(**FSDP, processes=2, nodes=2, hosts=["first", own])
    assert launch_plan(execution, {}) == LaunchPlan(2, 2, 1, "first", 29511)
    with pytest.raises(UserError, match=f"execution.hosts: this machine, {own}, is not among first, second"):
        launch_plan(Execution(**FSDP, processes=2, nodes=2, hosts=["first", "second"]), {})
