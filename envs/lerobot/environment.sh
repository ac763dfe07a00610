#!/bin/bash
# Make the environment of LeRobot's own dataset classes in a folder.
# Usage: envs/lerobot/environment.sh FOLDER. PYTHON is a Python 3.12 (python3.12, or pyenv's, by default).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1

fail() {
  echo "error: $1" >&2
  exit 1
}

is_right() {
  "$1" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1
}

# LeRobot needs Python 3.12, and the rest of this project 3.11. pyenv's python3.12 fails where 3.11 is chosen.
python=${PYTHON:-}
for one in ${PYTHON:-python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python}; do
  if is_right "$one"; then
    python=$one
    break
  fi
done
is_right "${python:-python3.12}" ||
  fail "no Python 3.12 with venv: install it, or run make env-lerobot PYTHON312=/path/of/python3.12"

echo "environment: installing envs/lerobot/requirements.lock into $folder"
[[ -x "$folder/bin/python" ]] || "$python" -m venv "$folder"
# First torch with its libraries, of the build that the package index chooses.
"$folder/bin/python" -m pip install --quiet --no-compile --constraint envs/lerobot/requirements.lock torch torchvision
"$folder/bin/python" -m pip install --quiet --no-compile --no-deps --requirement envs/lerobot/requirements.lock
"$folder/bin/python" -c 'import lerobot.datasets' || fail "LeRobot cannot be imported in $folder: delete it and try again"
echo "environment: ready"
