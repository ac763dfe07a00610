#!/bin/bash
# Make the environment of a real simulator in a folder, and check that it can render on the CPU.
# Usage: envs/simulator.sh NAME FOLDER, with the lock file envs/NAME/requirements.lock.
# PYTHON is the interpreter (python3.11 by default).
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
folder=$2
lock=envs/$name/requirements.lock
python=${PYTHON:-python3.11}

fail() {
  echo "error: $1" >&2
  exit 1
}

command -v "$python" >/dev/null || fail "$python is not installed: install Python 3.11, or run make PYTHON=/path/of/python3.11"
echo "environment: installing $lock into $folder"
[[ -x "$folder/bin/python" ]] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --no-compile --no-deps --requirement "$lock"
"$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
"$folder/bin/python" -m compileall -q -j 0 "$folder/lib" src >/dev/null || true

can_render() {
  MUJOCO_GL=osmesa PYOPENGL_PLATFORM=osmesa "$folder/bin/python" -c '
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size=\".1\"/></worldbody></mujoco>")
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.render()
' >/dev/null 2>&1
}

echo "environment: checking that MuJoCo can render on the CPU"
if ! can_render; then
  if [[ ${APT:-yes} != no && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "environment: MuJoCo cannot render: apt-get now installs the system package libosmesa6 (APT=no prevents this)"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends libosmesa6; } >/dev/null ||
      fail "apt-get could not install libosmesa6: install it yourself, then run make env-$name again"
  fi
  can_render || fail "MuJoCo cannot render on the CPU: run sudo apt-get install libosmesa6, then make env-$name again"
fi
echo "environment: ready"
