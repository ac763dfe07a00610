#!/bin/bash
# Make the environment in a folder from requirements.lock, and check that MuJoCo can render without a screen.
# Usage: workflow/environment.sh FOLDER. PYTHON is the interpreter (python3.11 by default).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
python=${PYTHON:-python3.11}

fail() {
  echo "error: $1" >&2
  exit 1
}

command -v "$python" >/dev/null || fail "$python is not installed: install Python 3.11, or run make PYTHON=/path/of/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  fail "$python is not Python 3.11: run make PYTHON=/path/of/python3.11"
"$python" -c 'import ensurepip' 2>/dev/null || fail "$python has no venv: run sudo apt-get install python3.11-venv"

echo "environment: installing requirements.lock into $folder"
[[ -x "$folder/bin/python" ]] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --no-compile --requirement requirements.lock
"$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
# Each job is a process. Without byte code, every job would compile torch and transformers again.
"$folder/bin/python" -m compileall -q -j 0 "$folder/lib" src >/dev/null || true # some files of other packages do not compile

can_render() {
  MUJOCO_GL=$1 "$folder/bin/python" -c '
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size=\".1\"/></worldbody></mujoco>")
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.render()
' >/dev/null 2>&1
}

echo "environment: checking that MuJoCo can render without a screen"
if ! can_render egl && ! can_render osmesa; then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "environment: apt-get install libegl1 libgl1-mesa-dri"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends libegl1 libgl1-mesa-dri; } >/dev/null ||
      fail "apt-get could not install libegl1 and libgl1-mesa-dri: install them yourself, then run make env again"
  fi
  can_render egl || can_render osmesa ||
    fail "MuJoCo cannot render: run sudo apt-get install libegl1 libgl1-mesa-dri, then make env again"
fi
echo "environment: ready"
