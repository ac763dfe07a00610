#!/bin/bash
# Make the environment in a folder from requirements.lock, and check that MuJoCo can render without a screen.
# Usage: workflow/environment.sh FOLDER
# PYTHON: the interpreter. By default, the first of python3.11, python3.12 and python3.13 that works.
# TORCH: the build of torch. `cpu` (or cu126, ...) is an index of PyTorch's own; an address is any other index, and a
#   folder contains wheels. Without TORCH, the package index that pip is set up to use chooses the build.
# SLIM=no: keep the tests and tools inside packages, which workflow/slim.py deletes.
# APT=no: do not install system packages, only name them.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
torch=${TORCH:-}
packages="libegl1 libgl1-mesa-dri"

fail() {
  echo "error: $1" >&2
  exit 1
}

is_right() {
  "$1" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

[[ $(uname -s) == Linux ]] ||
  fail "this project runs on Linux only: on macOS and Windows, use a container or a virtual machine (docs/set-up.md)"
if [[ -x "$folder/bin/python" ]]; then
  "$folder/bin/python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$folder has another Python than 3.11, 3.12 and 3.13: delete it and run make env again"
  "$folder/bin/python" -m pip --version >/dev/null 2>&1 ||
    fail "$folder has no pip: create it with \`uv venv --seed\`, or delete it and run make env again"
else
  python=${PYTHON:-}
  for one in ${PYTHON:-python3.11 python3.12 python3.13}; do
    if is_right "$one"; then
      python=$one
      break
    fi
  done
  [[ -n $python ]] ||
    fail "no Python 3.11, 3.12 or 3.13 with venv: install it (Debian and Ubuntu: sudo apt-get install python3.11 \
python3.11-venv), or run make env PYTHON=/path/of/python3.11"
  is_right "$python" || fail "$python is not a Python 3.11, 3.12 or 3.13 with venv: write another path after PYTHON="
  "$python" -m venv "$folder"
fi

echo "environment: installing requirements.lock into $folder, which takes a few minutes. It needs 1.5 GB of disk with
environment: torch for the CPU (TORCH=cpu). On Linux x86-64, PyPI's torch brings CUDA libraries: 5.9 GB (docs/set-up.md)"
pip=("$folder/bin/python" -m pip)
if [[ -n $torch ]]; then
  # Two more processes install the other packages meanwhile: one process would wait for the network or unpack files,
  # not both. They take no dependencies, which could bring another torch, and the call after this block says what fails.
  mapfile -t others < <(grep -E '^[A-Za-z0-9]' requirements.lock | grep -v '^torch==')
  halves=$(((${#others[@]} + 1) / 2))
  installing=()
  for first in 0 "$halves"; do
    "${pip[@]}" install --quiet --no-compile --no-deps "${others[@]:first:halves}" >/dev/null 2>&1 &
    installing+=($!)
  done
  trap 'kill "${installing[@]}" 2>/dev/null || true' EXIT
  pinned=$(grep '^torch==' requirements.lock)
  if [[ -d $torch ]]; then
    source=(--no-index --find-links "$torch")
  elif [[ $torch == *://* ]]; then
    source=(--index-url "$torch")
  else
    source=(--index-url "https://download.pytorch.org/whl/$torch")
  fi
  # A build that is installed would otherwise stay, because the lock pins the version only.
  "${pip[@]}" install --quiet --no-compile --no-deps --force-reinstall "${source[@]}" "$pinned" ||
    fail "TORCH=$torch has no $pinned for this Python, or cannot be reached: write cpu, the address of an index, or a \
folder with the wheel"
  wait "${installing[@]}" || true
  trap - EXIT
fi
"${pip[@]}" install --quiet --no-compile --requirement requirements.lock
"${pip[@]}" install --quiet --no-deps --no-build-isolation --editable .
if [[ ${SLIM:-yes} != no ]]; then
  "$folder/bin/python" workflow/slim.py
fi
# Each job is a process. Without byte code, jobs that start together would each compile torch and transformers. Python
# writes the byte code of what it imports, which is a quarter of all.
PYTHONDONTWRITEBYTECODE='' "$folder/bin/python" workflow/byte_code.py

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
  if [[ ${APT:-yes} != no && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "environment: MuJoCo cannot render: apt-get now installs the system packages $packages (APT=no prevents this)"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >/dev/null ||
      fail "apt-get could not install $packages: install them yourself, then run make env again"
  fi
  can_render egl || can_render osmesa ||
    fail "MuJoCo cannot render: run sudo apt-get install $packages, then make env again"
fi
echo "environment: ready"
