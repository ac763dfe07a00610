"""The columns of episode records: one row for each episode of a rollout, in `episodes.parquet`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import pyarrow as pa

from vlm4vla.core.artefacts import parse_json

# Key in the metadata of episodes.parquet: how a rollout stopped, as JSON with the fields of `Stop`. Records
# of a rollout that always runs all episodes do not have it.
STOP = b"vlm4vla.stop"

# Between the tasks, and between the instructions, of an episode that is a chain.
SEPARATOR = " > "

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("study", "scale", "benchmark", "model", "auxiliary", "variant")),
        ("seed", pa.int64()),
        ("episode", pa.int64()),
        ("task", pa.string()),
        ("instruction", pa.string()),
        ("initial_state", pa.int64()),
        ("rollout_seed", pa.int64()),
        ("checkpoint", pa.string()),
        ("execution_horizon", pa.int64()),
        ("max_steps", pa.int64()),
        ("steps", pa.int64()),
        ("success", pa.bool_()),
        ("solved", pa.int64()),
        ("protocol", pa.string()),
    ]
)
COLUMNS = tuple(SCHEMA.names)


@dataclass(frozen=True)
class Stop:
    """How a rollout ended that compares its policy with another one block by block.

    `model`, `auxiliary`, `variant` and `seed` name the other policy. `order`: the numbers of all episodes in
    the order of the rollout. The rollout ran the first `episodes` of them. `alpha`: the level of the test.
    `decision`: `higher` or `lower` than the other policy, or `undecided`. `reason`: why the rollout ended, in
    words. `decided_after`: the number of episodes after which the test had decided, None without a decision.
    """

    model: str
    auxiliary: str
    variant: str
    seed: int
    alpha: float
    block: int
    order: tuple[int, ...]
    episodes: int
    decision: str
    reason: str
    decided_after: int | None

    @property
    def stopped(self) -> bool:
        """Whether the rollout ended before its last episode."""
        return self.episodes < len(self.order)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the episodes that were run, sorted."""
        return sorted(self.order[: self.episodes])

    def summary(self) -> dict[str, str | int | float | None]:
        """The fields without the order, and the number of all episodes as `of`: for provenance.json."""
        found = asdict(self)
        return {"of": len(found.pop("order"))} | found

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


def stop_of(schema: pa.Schema) -> Stop | None:
    """How the rollout of a table with this schema stopped; None for a rollout that always runs all episodes.

    Raises ValueError if the entry of the metadata is not a `Stop`.
    """
    text = (schema.metadata or {}).get(STOP)
    if text is None:
        return None
    try:
        fields = parse_json(text)
        return Stop(**fields | {"order": tuple(fields["order"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the metadata {STOP.decode()} is not the end of a rollout ({error!r})") from None
