"""The command `convert`: a raw data set into LeRobot v3.0, to be stopped and gone on with at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.converters.calvin import Calvin
from vlm4vla.data.converters.libero import Libero
from vlm4vla.data.lerobot.writer import LeRobotWriter

KINDS = {"calvin": Calvin, "libero": Libero}
EPISODES_PER_FILE = 50  # what a killed conversion loses at most


def convert(
    kind: str,
    source: Path,
    output: Path,
    *,
    pictures: Literal["png", "video"] = "video",
    episodes_per_file: int = EPISODES_PER_FILE,
) -> None:
    """Write the data set `source` of `kind` to `output`; what a killed conversion wrote is kept.

    Raises UserError for a source that is not whole, and for an `output` that holds something else.
    """
    if (output / "meta" / "info.json").is_file():
        print(f"{output}: is whole: delete it to convert again")
        return
    if not source.exists():
        raise UserError(f"{source}: not found: write the folder of the raw data set")
    raw = KINDS[kind](source)
    identity = raw.identity() | {"pictures": pictures, "episodes_per_file": episodes_per_file}
    if pictures == "video" and raw.image_size % 2:
        raise UserError(
            f"{source}: pictures have {raw.image_size} pixels a side, and a video needs an even number: "
            "write --pictures png"
        )
    with LeRobotWriter(
        output,
        fps=raw.fps,
        robot_type=raw.robot_type,
        image_size=raw.image_size,
        state_names=raw.state_names,
        pictures=pictures,
        episodes_per_file=episodes_per_file,
        identity=identity,
    ) as writer:
        progress = Progress(f"convert {kind}", len(raw), writer.done)
        for episode in raw.episodes(writer.done):
            try:
                writer.add_episode(episode.images, episode.states, episode.actions, episode.instruction)
            except ValueError as error:
                raise UserError(f"{episode.where}: {error}: mend the source, or leave that out") from None
            progress.update(writer.done)
    print(f"{output}: {len(raw)} episodes")
