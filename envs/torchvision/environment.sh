#!/bin/bash
# Make the environment of the model types whose images need torchvision or timm, in a folder.
# Usage: envs/torchvision/environment.sh FOLDER. PYTHON is the interpreter (python3.11 by default).
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$1
python=${PYTHON:-python3.11}
lock=envs/torchvision/requirements.lock

fail() {
  echo "error: $1" >&2
  exit 1
}

"$python" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 ||
  fail "$python is not Python 3.11 with venv: install it, or run make env-torchvision PYTHON=/path/of/python3.11"
echo "environment: installing $lock into $folder"
[[ -x "$folder/bin/python" ]] || "$python" -m venv "$folder"
# First torch with its libraries, of the build that the package index chooses.
"$folder/bin/python" -m pip install --quiet --no-compile --constraint "$lock" torch torchvision
"$folder/bin/python" -m pip install --quiet --no-compile --no-deps --requirement "$lock"
"$folder/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
"$folder/bin/python" -c 'import timm, torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)' ||
  fail "torchvision cannot be imported in $folder: delete it and try again"
echo "environment: ready"
