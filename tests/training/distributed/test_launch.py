"""Starting processes: their environment, how they end, and the messages. Real processes, without torch."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed import launch
from vlm4vla.training.distributed.processes import USER_ERROR_STATUS

TWO = Execution(strategy="ddp", processes=2)


def command(script):
    return [sys.executable, "-S", "-c", textwrap.dedent(script)]


WRITE_ENVIRONMENT = """
    import json, os, sys
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "VLM4VLA_RENDEZVOUS", "GLOO_SOCKET_IFNAME"]
    found = {{name: os.environ.get(name) for name in names}}
    open({folder!r} + "/" + os.environ["RANK"], "w").write(json.dumps(found))
"""


def environments(folder):
    """Return the environments that the processes wrote, by rank."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]"))]


def test_processes_of_one_machine_meet_through_a_file_on_the_loopback_interface(tmp_path):
    launch.run(command(WRITE_ENVIRONMENT.format(folder=str(tmp_path))), TWO, tmp_path)
    found = environments(tmp_path)
    assert [environment["RANK"] for environment in found] == ["0", "1"]
    for environment in found:
        assert environment["WORLD_SIZE"] == environment["LOCAL_WORLD_SIZE"] == "2"
        assert environment["GLOO_SOCKET_IFNAME"] == "lo" and environment["MASTER_ADDR"] is None
        assert not os.path.exists(os.path.dirname(environment["VLM4VLA_RENDEZVOUS"]))  # deleted again
    assert found[0]["VLM4VLA_RENDEZVOUS"] == found[1]["VLM4VLA_RENDEZVOUS"]
    assert not list(tmp_path.glob("processes-of-node*"))


def test_on_slurm_one_launcher_per_node_is_started(tmp_path, monkeypatch):
    # A stand-in for srun: it runs the command once for each node, with the node's SLURM_NODEID.
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent(
            """
            import os, subprocess, sys
            options = [a for a in sys.argv[1:] if a.startswith("--")]
            assert "--nodes=2" in options and "--ntasks-per-node=1" in options, options
            command = [a for a in sys.argv[1:] if not a.startswith("--nodes") and a not in options]
            started = [
                subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(n)}) for n in range(2)
            ]
            sys.exit(max(process.wait() for process in started))
            """
        )
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[3-4]")
    monkeypatch.setenv("SLURM_NODEID", "0")  # of the job's script; it must be ignored
    four = {"strategy": "fsdp2", "processes": 4, "nodes": 2}
    worker = tmp_path / "worker.py"
    worker.write_text(textwrap.dedent(WRITE_ENVIRONMENT.format(folder=str(tmp_path))))
    node = tmp_path / "node.py"
    node.write_text(
        "import os, sys\nfrom pathlib import Path\n"
        "from vlm4vla.config.execution import Execution\nfrom vlm4vla.training.distributed import launch\n"
        "assert launch.is_part_of_run(None)\n"
        f"launch.run([sys.executable, {str(worker)!r}], Execution(**{four!r}), Path({str(tmp_path)!r}))\n"
    )
    launch.run([sys.executable, str(node)], Execution(**four), tmp_path)
    found = environments(tmp_path)
    assert [(environment["RANK"], environment["LOCAL_RANK"]) for environment in found] == [
        ("0", "0"), ("1", "1"), ("2", "0"), ("3", "1"),
    ]  # fmt: skip
    for environment in found:
        assert (environment["WORLD_SIZE"], environment["LOCAL_WORLD_SIZE"]) == ("4", "2")
        assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("gpu3", "29511")
        assert environment["VLM4VLA_RENDEZVOUS"] is None


def test_several_nodes_need_srun(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[3-4]")
    with pytest.raises(UserError, match="Slurm's `srun` is not found"):
        launch.run(["x"], Execution(strategy="ddp", processes=2, nodes=2), tmp_path)


def test_a_killed_process_ends_the_others_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE_S", 1.0)
    script = """
        import os, signal, time
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
    """
    began = time.monotonic()
    with pytest.raises(UserError, match=r"process 1 of 2 was killed by SIGKILL \(out of memory\?\)"):
        launch.run(command(script), TWO, tmp_path)
    assert time.monotonic() - began < 300


def test_the_error_of_another_process_is_passed_on(tmp_path):
    script = f"""
        import os, sys
        if os.environ["RANK"] == "1":
            print("noise")
            print("error: data.parquet: truncated", file=sys.stderr)
            sys.exit({USER_ERROR_STATUS})
        sys.exit(1)
    """
    with pytest.raises(UserError) as caught:
        launch.run(command(script), TWO, tmp_path)
    assert str(caught.value) == "data.parquet: truncated"
    assert "noise" in (tmp_path / "processes-of-node-0" / "00001.log").read_text()


def test_a_crash_of_another_process_names_its_log(tmp_path):
    script = """
        import os
        if os.environ["RANK"] == "1":
            raise MemoryError("no room")
    """
    with pytest.raises(
        UserError, match=r"process 1 of 2 ended with status 1 \(MemoryError: no room; full log"
    ):
        launch.run(command(script), TWO, tmp_path)


def test_the_error_of_the_main_process_is_not_printed_twice(tmp_path, capfd):
    with pytest.raises(SystemExit) as caught:
        script = f"import sys; print('error: once', file=sys.stderr); sys.exit({USER_ERROR_STATUS})"
        launch.run(command(script), TWO, tmp_path)
    assert caught.value.code == 1
    assert capfd.readouterr().err.count("error: once") == 1


def running(pids):
    """Return those of `pids` that run. A killed process may be a zombie until its new parent reaps it."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            continue
        found += [pid] * (state != "Z")
    return found


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_launcher(tmp_path, sent):
    script = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from vlm4vla.config.execution import Execution
        from vlm4vla.training.distributed import launch
        folder = {str(tmp_path)!r}
        sleep = f"import os, time; file = open({{folder!r}} + '/pid' + os.environ['RANK'], 'w'); "
        sleep += "file.write(str(os.getpid())); file.close(); time.sleep(600)"
        two = Execution(strategy="ddp", processes=2)
        launch.run([sys.executable, "-S", "-c", sleep], two, Path(folder))
        """
    )
    launcher = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 200
    files = [tmp_path / "pid0", tmp_path / "pid1"]
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline and launcher.poll() is None
        time.sleep(0.1)
    pids = [int(file.read_text()) for file in files]
    launcher.send_signal(sent)
    status = launcher.wait(timeout=200)
    assert status == (143 if sent == signal.SIGTERM else -9)
    while running(pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stage_without_several_processes_starts_none(monkeypatch):
    class Settings:
        class training:
            execution = Execution()

    assert launch.execution_to_launch(object()) is None
    assert launch.execution_to_launch(Settings()) is None
    monkeypatch.setenv("VLM4VLA_PROCESSES", "2")
    assert launch.execution_to_launch(Settings()) == Execution()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.execution_to_launch(Settings()) is None and launch.is_part_of_run(None)
