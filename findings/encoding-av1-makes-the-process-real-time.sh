#!/bin/bash
# Finding: encoding one AV1 video with PyAV makes the calling process a real-time process, if it may become one (as
# root, for instance in most containers). The encoder SVT-AV1 in PyAV's wheel gives the calling thread the policy
# SCHED_FIFO with the highest priority, 99, and never takes it back. Every process that this process starts later
# inherits it. Such processes take all of a core's time from ordinary ones, whatever their nice value.
#
# AV1 is the video codec that LeRobot records with by default. So a program that records a dataset and then trains, or
# starts data loaders and simulators, runs all of them in real time. On two cores, a test run whose two workers had
# encoded AV1 left 6 % of a core to a training with nice -12.
#
# Version: PyAV 18.1.0 with its own libraries (libSvtAv1Enc 4.1.0), Linux, Python 3.11, as root. Policies before and
# after three frames, and in a new child:
#
#     libx264:   SCHED_OTHER 0, then SCHED_OTHER 0, child SCHED_OTHER
#     libsvtav1: SCHED_OTHER 0, then SCHED_FIFO 99, child SCHED_FIFO
#
# Exits non-zero if this changes. Needs root.
set -euo pipefail
[[ $(id -u) = 0 ]] || { echo "run as root: other users may not become real-time processes" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet av==18.1.0 numpy==2.4.6

cat >encode.py <<'PROGRAM'
import os
import subprocess
import sys

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO"}


def policy():
    return f"{NAMES[os.sched_getscheduler(0)]} {os.sched_getparam(0).sched_priority}"


before = policy()
with av.open("video.mp4", "w") as container:
    stream = container.add_stream(sys.argv[1], rate=10)
    stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
    for number in range(3):
        picture = np.full((128, 128, 3), 40 * number, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(stream.encode())
print_child = "import os; print({os.SCHED_OTHER: 'SCHED_OTHER', os.SCHED_FIFO: 'SCHED_FIFO'}[os.sched_getscheduler(0)])"
child = subprocess.run([sys.executable, "-c", print_child], capture_output=True, text=True, check=True).stdout.strip()
print(f"{sys.argv[1]}: {before}, then {policy()}, child {child}")
PROGRAM
status=0
check() {
  found=$(venv/bin/python encode.py "$1" 2>/dev/null)
  echo "$found"
  [[ $found = "$1: SCHED_OTHER 0, then $2" ]] || status=1
}
check libx264 "SCHED_OTHER 0, child SCHED_OTHER"
check libsvtav1 "SCHED_FIFO 99, child SCHED_FIFO"
[[ $status = 0 ]] || echo "changed: the policies are others" >&2
exit $status
