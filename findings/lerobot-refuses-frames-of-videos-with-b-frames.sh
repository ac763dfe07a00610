#!/bin/bash
# Finding: LeRobot's video reader with the backend pyav refuses frames of valid videos. It seeks once and decodes
# forwards. In a video with an open group of pictures, or with B-frames in MPEG-4, the seek lands on a key frame that
# is shown after the wanted frame. The wanted frame is then never decoded, and reading it raises FrameTimestampError.
#
# Version: lerobot 0.6.1 with PyAV 15.1.0, Python 3.12. Three videos of 60 frames at 10 Hz, read frame by frame:
#
#     libx265, key frame every 12 frames, x265's own defaults:  2 of 60 frames refused
#     libx264 with open-gop:                                    4 of 60 frames refused
#     mpeg4 with two B-frames:                                 19 of 60 frames refused
#     libx264 with closed groups:                               0 of 60 frames refused
#
# Decoding the same files from their beginning gives all 60 frames with the right times. `LeRobotDataset` uses this
# backend wherever torchcodec is not installed, so training ends at the first such frame. Exits non-zero if this changes.
# LEROBOT_PYTHON can name the Python of an environment that has lerobot 0.6.1 (6 GB with torch).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python=${LEROBOT_PYTHON:-}
if [[ -z $python ]]; then
  "${PYTHON:-python3.12}" -m venv venv
  python=venv/bin/python
  "$python" -m pip install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.2.6
  "$python" -m pip install --quiet --no-deps lerobot==0.6.1
  "$python" -m pip install --quiet datasets==4.8.5 pandas==2.3.3 pyarrow==26.0.1 av==15.1.0 jsonlines==4.0.0 \
    draccus==0.11.6 einops==0.8.2 gymnasium==1.4.0 packaging==25.0 termcolor==3.3.0 pillow==12.3.0 \
    opencv-python-headless==4.13.0.92 safetensors==0.8.0 requests==2.34.2 tqdm==4.70.1 setuptools==81.0.0
fi

cat >read.py <<'END'
import sys
from fractions import Fraction

import av
import lerobot
import numpy as np
from lerobot.datasets.video_utils import decode_video_frames

X265 = {"x265-params": "keyint=12:min-keyint=12:log-level=none"}
CASES = {
    "libx265": ("libx265", X265, True),
    "libx264 with open-gop": ("libx264", {"g": "12", "bf": "2", "x264-params": "open-gop=1"}, True),
    "mpeg4 with B-frames": ("mpeg4", {"g": "12", "bf": "2"}, True),
    "libx264 with closed groups": ("libx264", {"g": "12", "bf": "2"}, False),
}
changed = False
for name, (codec, options, expected) in CASES.items():
    with av.open("video.mp4", "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 4 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open("video.mp4") as container:
        times = [round(float(frame.time) * 10) for frame in container.decode(video=0)]
    assert times == list(range(60)), times
    refused = 0
    for number in range(60):
        try:
            decode_video_frames("video.mp4", [number / 10], 1e-4, "pyav")
        except Exception as error:
            assert type(error).__name__ == "FrameTimestampError", error
            refused += 1
    print(f"{name}: {refused} of 60 frames refused")
    changed |= bool(refused) != expected
sys.exit(f"changed: lerobot {lerobot.__version__} reads other frames" if changed else 0)
END
"$python" read.py
