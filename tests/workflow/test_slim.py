"""workflow/slim.py deletes only files that nothing loads, and pip still knows the packages."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "workflow" / "slim.py"
FILES = {
    "networkx/__init__.py": "",
    "networkx/tests/__init__.py": "",
    "networkx/algorithms/tests/test_one.py": "",
    "networkx/algorithms/one.py": "",
    "networkx/contests/__init__.py": "",
}
# Imports every module of the package, then prints the files of all modules and the libraries in memory.
IMPORTS = """
import importlib, json, runpy, sys
names = runpy.run_path(sys.argv[1])["modules_of"]
for name in names("vlm4vla"):
    try:
        importlib.import_module(name)
    except ImportError as error:
        if error.name != "vla_eval":
            raise
import datasets, pyarrow.dataset, pyarrow.parquet, pandas, scipy.stats
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
maps = [line.split()[-1] for line in open("/proc/self/maps") if line.rstrip().count("/")]
print(json.dumps(sorted({*filter(None, files), *maps})))
"""


def load():
    found = importlib.util.spec_from_file_location("slim", PROGRAM)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def described() -> dict[str, set[str]]:
    """For each pattern of the program, the files in the lists of the installed packages that it describes."""
    slim = load()
    return {
        f"{name}: {pattern}": {
            str(file.locate())
            for file in metadata.distribution(name).files
            if slim.fnmatchcase(file.as_posix(), pattern)
        }
        for name, patterns in slim.UNUSED.items()
        for pattern in patterns.split()
    }


def test_each_pattern_describes_files_of_the_locked_version():
    # The CPU's torch has programs that PyPI's build for CUDA may not have.
    assert [key for key, files in described().items() if not files and not key.startswith("torch")] == []


def test_no_module_of_the_study_loads_such_a_file():
    command = [sys.executable, "-c", IMPORTS, str(REPOSITORY / "workflow" / "byte_code.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert len(loaded) > 1000 and any("libarrow.so" in path for path in loaded)
    assert loaded & set().union(*described().values()) == set()


@pytest.fixture
def environment(tmp_path) -> Path:
    """An environment with a package of modules and tests, which pip installed from a wheel."""
    wheel = tmp_path / "networkx-99.0-py3-none-any.whl"
    info = "networkx-99.0.dist-info"
    files = FILES | {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: networkx\nVersion: 99.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    done = pip(tmp_path / "venv", "install", "--no-index", "--no-deps", "--compile", str(wheel))
    assert done.returncode == 0, done.stderr
    return tmp_path / "venv"


def pip(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_tests_go_and_pip_still_knows_the_package(environment):
    packages = next((environment / "lib").glob("python3*")) / "site-packages"
    command = [str(environment / "bin" / "python"), str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "MB of tests" in done.stdout
    there = {path.relative_to(packages).as_posix() for path in packages.rglob("networkx/**/*.py")}
    assert there == {"networkx/__init__.py", "networkx/algorithms/one.py", "networkx/contests/__init__.py"}
    assert not list(packages.rglob("networkx/**/tests"))
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, "")
    assert pip(environment, "check").returncode == 0
    assert pip(environment, "freeze").stdout.startswith("networkx ")
    assert pip(environment, "uninstall", "--yes", "networkx").returncode == 0
    assert not (packages / "networkx").exists()
