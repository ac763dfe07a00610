"""The command `convert`: convert a raw dataset to LeRobot v3.0. An interrupted conversion can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vlm4vla.conventions.benchmarks import CALVIN, LIBERO_10
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.converters.calvin import CalvinSource
from vlm4vla.data.converters.libero import LiberoSource
from vlm4vla.data.converters.source import RawSource
from vlm4vla.data.instructions import LeftOut
from vlm4vla.data.lerobot.writer import LeRobotWriter

SOURCES: dict[str | None, type[RawSource]] = {
    CALVIN.raw_format: CalvinSource,
    LIBERO_10.raw_format: LiberoSource,
}
LEFT_OUT = Path("meta", "left_out.json")  # what of the source is not in the dataset, if anything
EPISODES_PER_FILE = 50  # the most episodes that an interrupted conversion loses


def convert(
    kind: str,
    source: Path,
    output: Path,
    *,
    pictures: Literal["png", "video"] = "video",
    episodes_per_file: int = EPISODES_PER_FILE,
    leave_out_blank: bool = False,
) -> None:
    """Convert the raw dataset `source` of the format `kind` to `output`, or resume its conversion.

    `pictures`: whether images become PNGs in the tables or videos. `leave_out_blank`: leave out episodes
    without an instruction. Raises UserError for such episodes without `leave_out_blank`, for an incomplete
    source, and for an `output` with other contents.
    """
    if (output / "meta" / "info.json").is_file():
        print(f"{output}: is complete: delete it to convert again")
        return
    if not source.exists():
        raise UserError(f"{source}: not found: write the folder of the raw dataset")
    raw = SOURCES[kind](source)
    blank = raw.without_instruction()
    counts = sum(blank.values(), LeftOut())
    if blank and not leave_out_blank:
        raise UserError(
            f"{next(iter(blank))} has no instruction: write one, or leave out {counts} with --leave-out-blank"
        )
    identity = raw.identity() | {"pictures": pictures, "episodes_per_file": episodes_per_file}
    if pictures == "video" and raw.image_size % 2:
        raise UserError(
            f"{source}: the images are {raw.image_size} pixels wide, and a video needs an even number: write "
            "--pictures png"
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
                raise UserError(f"{episode.where}: {error}: fix the source, or remove the episode") from None
            progress.update(writer.done)
        left_out = raw.left_out()
        if blank:
            left_out = left_out | {"instructions": counts.sentence()}
        for name, words in left_out.items():
            print(f"note: {source}: {name}: {words}")
        if left_out:
            write_json(output / LEFT_OUT, left_out)
    print(f"{output}: {len(raw)} episodes")
