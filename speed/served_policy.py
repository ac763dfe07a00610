"""A policy of this process behind the product's policy server, and clients of vla-eval that ask it.

The server is vlm4vla.evaluation.simulators: its own loop, its own tickets and conversions, in a thread. It
asks for predictions in threads of anyio. CUDA graphs of torch.compile belong to one thread, so the
predictions are computed in the thread that calls. Clients are processes of their own (server_clients.py).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from server_clients import picture

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.evaluation.simulators import connections, ports
from vlm4vla.evaluation.simulators.conversions import ActionConverter, fit_image
from vlm4vla.evaluation.simulators.job_keys import JobKey
from vlm4vla.evaluation.simulators.served_policies import Query
from vlm4vla.evaluation.simulators.server import PolicyServer
from vlm4vla.policies.policy import Policy

CLIENTS = Path(__file__).parent / "server_clients.py"
MOST_PROCESSES = 8  # of clients; each has several connections
SIMULATOR = {
    "adapter": "calvin",
    "gripper": {"open": 1, "close": -1},
    "unnormalisation": "range",
    "success": "any-step",
}


class ServedHere:
    """Hands the server's queries to the thread that calls `work`.

    With `fixed_batch`, smaller batches are filled up to this number with copies of their last query, so that
    a compiled policy always gets one shape.
    """

    reads_state, reads_image = False, True

    def __init__(self, policy: Policy, fixed_batch: int | None):
        self.policy, self.fixed_batch = policy, fixed_batch
        self._queries: queue.SimpleQueue[tuple[Sequence[Query], Future] | None] = queue.SimpleQueue()

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None:
        """Nothing of the policy belongs to an episode."""

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]:
        answer: Future[list[np.ndarray]] = Future()
        self._queries.put((queries, answer))
        return answer.result()

    def end(self) -> None:
        """Let `work` return."""
        self._queries.put(None)

    def work(self) -> None:
        """Compute predictions until `end` is called."""
        while (item := self._queries.get()) is not None:
            queries, answer = item
            try:
                answer.set_result(self._predict(queries))
            except Exception as error:  # the server reports it to the client
                answer.set_exception(error)

    def _predict(self, queries: Sequence[Query]) -> list[np.ndarray]:
        missing = max((self.fixed_batch or 0) - len(queries), 0)
        whole = [*queries, *[queries[-1]] * missing]
        images = np.stack([query.image for query in whole])
        return list(self.policy.predict(images, [query.instruction for query in whole])[: len(queries)])


def settings_of(processes: int, executed: int, size: int) -> RolloutSettings:
    """An evaluation on CALVIN by `processes` simulators, with images of `size` pixels for the policy."""
    evaluation = {
        "episodes": 1,
        "max_steps": 360,
        "execution_horizon": executed,
        "simulator": SIMULATOR | {"runs": {"processes": processes}},
    }
    return RolloutSettings(
        policy="vla",
        backbone="measured",
        variant="full",
        benchmark="calvin",
        seed=0,
        evaluation=evaluation,
        image_size=size,
        study="speed",
        scale="speed",
    )


def measure_server(
    policy: Policy,
    instruction: str,
    *,
    clients: int,
    executed: int,
    predictions: int,
    warm_up: int,
    size: int,
    side: int,
    fixed_batch: bool,
) -> dict[str, Any]:
    """Observations a second and latencies of `clients` simulators, each with `predictions` chunks.

    Clients send images of `side` pixels, and the server resizes them to `size`. `executed`: actions of each
    chunk. `warm_up`: chunks that are not timed. `latencies` are the seconds of each request that needed a
    prediction. `answers_differ_by`: the largest difference between the positions that the clients received
    first and those that the policy predicts for their images, in units of the action range.
    """
    served = ServedHere(policy, clients if fixed_batch else None)
    key = JobKey.create()
    listening = ports.listen("127.0.0.1", 0)
    settings = settings_of(clients, executed, size)
    server = PolicyServer(served, settings)
    threading.Thread(target=_listen, args=(server, key, listening), daemon=True).start()
    where = ports.address(*listening.getsockname()[:2])
    urls = [f"ws://{where}{key.ticket().path}" for _ in range(clients)]
    count = min(clients, MOST_PROCESSES)
    requests = {
        "instruction": instruction,
        "side": side,
        "executed": executed,
        "predictions": predictions,
        "warm_up": warm_up,
    }
    parts = [requests | {"urls": dict(list(enumerate(urls))[number::count])} for number in range(count)]
    answers: list[dict[str, Any]] = []
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            answers.extend(_run_clients(parts))
        except BaseException as error:
            failures.append(error)
        finally:
            served.end()

    asking = threading.Thread(target=ask)
    asking.start()
    served.work()
    asking.join()
    served.policy = None  # the thread of the server still exists, and would keep the weights
    if failures:
        raise failures[0]
    seconds = max(each["ended"] for each in answers) - min(each["began"] for each in answers)
    observations = clients * predictions * executed
    images = np.stack([fit_image(picture(number, side), size) for number in range(clients)])
    convert = ActionConverter(settings.benchmark, settings.evaluation.simulator)
    expected = convert(policy.predict(images, [instruction] * clients)[:, 0])
    received = {int(number): action for each in answers for number, action in each["first_actions"].items()}
    apart = np.array([received[number] for number in range(clients)]) - expected
    metres = settings.evaluation.simulator.convention.metres
    return {
        "clients": clients,
        "observations": observations,
        "observations_a_second": round(observations / seconds, 3),
        "predictions_a_second": round(observations / executed / seconds, 3),
        "latencies": [each for answer in answers for each in answer["latencies"]],
        "answers_differ_by": float(f"{np.abs(apart[:, :3]).max() / metres:.3g}"),
    }


def _listen(server: PolicyServer, key: JobKey, listening: Any) -> None:
    connections.listen_forever(server, key, listening)


def _run_clients(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run one process for each part; all begin together after their warm-up. Raises RuntimeError."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen([sys.executable, str(CLIENTS)], **pipes) for _ in parts]
    try:
        for process, part in zip(processes, parts, strict=True):
            print(json.dumps(part), file=process.stdin, flush=True)
        for process in processes:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a client of the policy server failed: its error is above")
        for process in processes:
            print("go", file=process.stdin, flush=True)
        return [json.loads(process.stdout.readline()) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
