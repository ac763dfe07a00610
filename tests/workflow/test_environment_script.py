"""workflow/environment.sh: which Python, which build of torch, and which system packages, in clear words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "workflow" / "environment.sh"
# Stands in for Python: it writes its arguments to a file and makes a folder for `-m venv`. It fails if its
# arguments contain the text in the variable FAILS.
PYTHON = """#!/bin/bash
echo "$@" >>{log}
if [[ $1 == -m && $2 == venv ]]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
fi
[[ "$MUJOCO_GL $*" == *"${{FAILS:-no such word}}"* ]] && exit 1
exit 0
"""


class Machine:
    """A machine with a PATH of its own."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "calls.txt"
        self.log.write_text("")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("bash", "dirname", "grep", "mkdir", "cp"):
            (self.bin / name).symlink_to(
                f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}"
            )
        self.program("uname", "#!/bin/bash\necho Linux\n")
        self.program("id", "#!/bin/bash\necho 1000\n")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text.replace("{log}", str(self.log)))
        (self.bin / name).chmod(0o755)

    def python(self, name: str = "python3.11") -> None:
        self.program(name, PYTHON.format(log=self.log))

    def run(self, **variables: str) -> subprocess.CompletedProcess:
        """Make the environment. `calls` then has one line per call of a program."""
        done = subprocess.run(
            [str(self.bin / "bash"), str(SCRIPT), str(self.folder / "venv")],
            env={"PATH": str(self.bin)} | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.calls = self.log.read_text().splitlines()
        pip = [line for line in self.calls if line.startswith("-m pip install")]
        self.parts = [line for line in pip if line.count("==") > 1]  # installed while torch is
        self.pip = [line for line in pip if line not in self.parts]
        return done


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def error(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_torch_comes_from_the_index_of_pip_unless_told(machine):
    machine.python()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert len(machine.pip) == 2 and "requirements.lock" in machine.pip[0] and "index" not in machine.pip[0]
    first = done.stdout.splitlines()[0]
    assert "minutes" in first and "GB" in first  # before anything is installed


@pytest.mark.parametrize(
    ("torch", "source"),
    [
        ("cpu", "--index-url https://download.pytorch.org/whl/cpu"),
        ("cu126", "--index-url https://download.pytorch.org/whl/cu126"),
        ("https://mirror.example/simple", "--index-url https://mirror.example/simple"),
    ],
)
def test_torch_alone_comes_from_the_chosen_index(machine, torch, source):
    machine.python()
    assert machine.run(TORCH=torch).returncode == 0
    version = next(
        line
        for line in (REPOSITORY / "requirements.lock").read_text().splitlines()
        if line.startswith("torch=")
    )
    assert source in machine.pip[0] and machine.pip[0].endswith(version) and "--no-deps" in machine.pip[0]
    assert len(machine.pip) == 3 and not any("index" in line for line in machine.pip[1:] + machine.parts)


def test_the_other_packages_are_installed_while_torch_is(machine):
    machine.python()
    assert machine.run(TORCH="cpu").returncode == 0
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith(("#", "torch=="))]
    found = [word for line in machine.parts for word in line.split() if "==" in word]
    assert len(machine.parts) == 2 and sorted(found) == sorted(pinned)
    assert all("--no-deps" in line for line in machine.parts)  # a dependency could bring another torch
    # a part that fails is installed by the call that installs the whole lock, which says why it fails
    assert machine.run(TORCH="cpu", FAILS="absl-py==").returncode == 0
    assert any(line.endswith("--requirement requirements.lock") for line in machine.pip)


def test_a_folder_with_wheels_needs_no_network(machine, tmp_path):
    machine.python()
    assert machine.run(TORCH=str(tmp_path)).returncode == 0
    assert f"--no-index --find-links {tmp_path} torch==" in machine.pip[0]


def test_a_build_that_cannot_be_had_stops_the_set_up(machine):
    """Otherwise the CUDA libraries, of which the user wanted none, would be installed."""
    machine.python()
    assert "TORCH=cpu" in error(machine.run(TORCH="cpu", FAILS="whl/cpu"))
    assert len(machine.pip) == 1 and all("--no-deps" in line for line in machine.parts)


@pytest.mark.parametrize(
    ("there", "taken"), [(("python3.13",), "python3.13"), (("python3.12", "python3.13"), "python3.12")]
)
def test_the_first_python_that_works_is_taken(machine, there, taken):
    machine.program("python3.11", "#!/bin/bash\nexit 127\n")  # as pyenv's, if another version is chosen
    for name in there:
        machine.program(name, PYTHON.replace("echo ", f"echo {name} ", 1).format(log=machine.log))
    assert machine.run().returncode == 0
    assert any(line.startswith(f"{taken} -m venv") for line in machine.calls)


def test_no_python(machine):
    assert "no Python 3.11, 3.12 or 3.13" in error(machine.run())


def test_a_named_python_of_another_version(machine):
    machine.python()
    machine.program("python3.9", "#!/bin/bash\nexit 1\n")
    assert "python3.9 is not a Python 3.11, 3.12 or 3.13" in error(machine.run(PYTHON="python3.9"))


def test_this_python_is_accepted():
    condition = SCRIPT.read_text().split("import sys, ensurepip; ")[1].split("'")[0]
    assert subprocess.run([sys.executable, "-c", f"import sys; {condition}"]).returncode == 0


def test_an_environment_of_uv_or_conda_is_used(machine):
    machine.python("python3.11")
    (machine.folder / "venv" / "bin").mkdir(parents=True)
    os.link(machine.bin / "python3.11", machine.folder / "venv" / "bin" / "python")
    (machine.bin / "python3.11").unlink()
    assert machine.run().returncode == 0 and not any("-m venv" in line for line in machine.calls)
    assert "uv venv --seed" in error(machine.run(FAILS="pip --version"))


def test_system_packages_are_announced_before_they_are_installed(machine):
    machine.python()
    machine.program("id", "#!/bin/bash\necho 0\n")
    machine.program("apt-get", '#!/bin/bash\necho "apt-get $*" >>{log}\n')
    done = machine.run(FAILS="mujoco")
    assert "sudo apt-get install libegl1 libgl1-mesa-dri" in error(done)  # the stand-in still cannot render
    said = [line for line in done.stdout.splitlines() if "apt-get" in line]
    assert len(said) == 1 and "installs the system packages libegl1 libgl1-mesa-dri" in said[0]
    assert [line for line in machine.calls if line.startswith("apt-get install")]


@pytest.mark.parametrize(("user", "apt"), [("0", "no"), ("1000", "yes")])
def test_no_system_package_is_installed_against_the_users_will(machine, user, apt):
    machine.python()
    machine.program("id", f"#!/bin/bash\necho {user}\n")
    machine.program("apt-get", '#!/bin/bash\necho "apt-get $*" >>{log}\n')
    assert "sudo apt-get install libegl1" in error(machine.run(FAILS="mujoco", APT=apt))
    assert not any(line.startswith("apt-get") for line in machine.calls)


def test_macos_is_told_what_to_do(machine):
    machine.python()
    machine.program("uname", "#!/bin/bash\necho Darwin\n")
    assert "Linux only" in error(machine.run()) and machine.calls == []
