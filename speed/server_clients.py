"""A process of clients that ask a policy server as vla-eval's simulators do, and time its answers.

served_policy.py starts it. The first line of standard input is JSON: the URL of each connection by its
number, and what to send. All connections warm up, then the process writes `ready` and waits for a line. Then
all connections ask at the same time, and the process writes the times as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from vla_eval.connection import Connection

from vlm4vla.conventions.simulators import KNOWN

TIMEOUT_S = 1800.0  # the first prediction of a shape can be compiled


def picture(number: int, side: int) -> np.ndarray:
    """The image of a connection, (side, side, 3) uint8."""
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


class Clients:
    """The connections of this process, each with one image."""

    def __init__(self, part: dict[str, Any]):
        self.part = part
        self.waiting = len(part["urls"])
        self.all_warm, self.go = anyio.Event(), anyio.Event()
        self.latencies: list[float] = []
        self.first_actions: dict[int, list[float]] = {}

    async def run(self) -> dict[str, Any]:
        async with anyio.create_task_group() as tasks:
            for number, url in self.part["urls"].items():
                tasks.start_soon(self._play, int(number), url)
            await self.all_warm.wait()
            print("ready", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.readline)
            began = time.time()
            self.go.set()
        ended = time.time()
        return {
            "began": began,
            "ended": ended,
            "latencies": self.latencies,
            "first_actions": self.first_actions,
        }

    async def _play(self, number: int, url: str) -> None:
        part = self.part
        observation = {
            "images": {KNOWN["calvin"].camera: picture(number, part["side"])},
            "task_description": part["instruction"],
        }
        async with Connection(url, timeout=TIMEOUT_S) as client:
            await client.start_episode({"task": {"number": number}})
            for _ in range(part["warm_up"] * part["executed"]):
                answer = await client.act(observation)
                self.first_actions.setdefault(number, np.asarray(answer["actions"]).tolist())
            self.waiting -= 1
            if not self.waiting:
                self.all_warm.set()
            await self.go.wait()
            for _ in range(part["predictions"]):
                for step in range(part["executed"]):
                    began = time.perf_counter()
                    await client.act(observation)
                    if step == 0:
                        self.latencies.append(time.perf_counter() - began)
            await client.end_episode({"metrics": {}})


def main() -> None:
    part = json.loads(sys.stdin.readline())
    print(json.dumps(anyio.run(Clients(part).run)), flush=True)


if __name__ == "__main__":
    main()
