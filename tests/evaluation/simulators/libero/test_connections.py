"""The policy server answers its own job only, and no message of anyone ends it or changes it."""

import contextlib
import io
import json
import logging
import socket
import struct
import urllib.error
import urllib.request
import zlib

import anyio
import anyio.from_thread
import msgpack
import numpy as np
import pytest
import websockets
from served_examples import RecordingPolicy, observation, settings
from vla_eval.connection import Connection
from vla_eval.model_servers.serve import serve_async
from vla_eval.protocol.messages import MessageType, unpack_message

from vlm4vla.core.processes import Child
from vlm4vla.evaluation.simulators import connections, harness, ports
from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode
from vlm4vla.evaluation.simulators.job_keys import PROOF, JobKey
from vlm4vla.evaluation.simulators.server import PolicyServer


@contextlib.contextmanager
def running(serve, *arguments):
    """Run an endless async function in a thread, until the block ends."""
    with anyio.from_thread.start_blocking_portal() as portal:
        future = portal.start_task_soon(serve, *arguments)
        try:
            yield
        finally:
            future.cancel()


OTHER_PATH = JobKey.create().ticket().path


class Served:
    """A policy server in a thread: `url` of its port, `key` of its job, `log` of its warnings."""

    def __init__(self, key, policy):
        self.key, self.policy = key, policy
        self.server = PolicyServer(policy, settings(runs={"processes": 2}))
        self.listening = ports.listen("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.where = f"127.0.0.1:{self.port}"

    def url(self, key=None):
        return f"ws://{self.where}{(key or self.key).ticket().path}"


@pytest.fixture
def served():
    found = Served(JobKey.create(), RecordingPolicy())
    with running(connections._serve, found.server, found.key, found.listening):
        yield found


async def play(url, steps=1, task=None):
    """The answers of a server to an episode that vla-eval's own client plays."""
    async with Connection(url, timeout=60) as client:
        await client.start_episode({"task": task or {"number": 0}})
        answers = [await client.act(observation()) for _ in range(steps)]
        await client.end_episode({"metrics": {}})
        return client.server_info, answers


def test_the_client_of_vla_eval_gets_actions_with_the_proof_of_the_job(served):
    ticket = served.key.ticket()
    info, answers = anyio.run(play, f"ws://{served.where}{ticket.path}", 3)
    assert info["observation_params"] == {PROOF: ticket.proof}
    assert info["action_spec"]["gripper"]["format"] == "binary_close_positive"
    assert [each[PROOF] for each in answers] == [ticket.proof] * 3
    assert [each["actions"].shape for each in answers] == [(7,)] * 3
    assert len(served.policy.batches) == 2  # two actions are executed of each chunk


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_job_sees_when_its_server_is_ready(served):
    with Child(["sleep", "60"]) as process:
        assert harness.wait_for_answer(process, "127.0.0.1", served.port, 30, served.key) is None
        problem = harness.wait_for_answer(process, "127.0.0.1", served.port, 30, JobKey.create())
    assert problem == f"is not this job's: another program answers at {served.where}"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/health",
        "/config",
        "/config?max_batch_size=1",
        "TICKET/config?max_batch_size=1",
        "OTHER",
        "OTHER/health",
    ],
)
def test_a_request_of_another_is_refused_and_changes_nothing(served, path, caplog):
    own, other = served.key.ticket().path, JobKey.create().ticket().path
    status, text = get(f"http://{served.where}{path.replace('TICKET', own).replace('OTHER', other)}")
    assert (status, text) == (403, connections.REFUSED)
    assert served.server.max_batch_size == 2 and served.server.max_wait_time > 0
    assert caplog.messages == ["refused a request that has no ticket of this job"]
    anyio.run(play, served.url())


@pytest.mark.parametrize("path", ["", "/", OTHER_PATH], ids=["none", "root", "another job's"])
def test_a_simulator_of_another_job_gets_no_connection(served, path):
    async def connect():
        async with websockets.connect(f"ws://{served.where}{path}"):
            pass

    with pytest.raises(websockets.InvalidStatus, match="HTTP 403"):
        anyio.run(connect)
    assert served.policy.started == []


def test_a_message_cannot_name_the_session_of_another_connection(served):
    """vla-eval's own loop takes the session from `recording.sid`, which any client can write."""

    async def play_two():
        async with Connection(served.url(), timeout=60) as one, Connection(served.url(), timeout=60) as two:
            recording = {"sid": "shared", "eid": "e", "eval_id": "x", "db_path": "/nowhere"}
            await one.start_episode({"task": {"number": 1}, "recording": recording})
            await one.act(observation())
            await two.start_episode({"task": {"number": 2}, "recording": recording})
            await two.act(observation())
            await two.end_episode({})
            return await one.act(observation())  # the second action of the first chunk

    anyio.run(play_two)
    names = [session for session, _ in served.policy.started]
    assert len(set(names)) == 2 and "shared" not in names
    assert [each[0].session for each in served.policy.batches] == names


def packed(kind="observation", payload=None, **changes):
    raw = {
        "type": kind,
        "payload": observation_dict() if payload is None else payload,
        "seq": 5,
        "timestamp": 0.0,
    }
    return msgpack.packb({**raw, **changes}, use_bin_type=True)


def observation_dict(**changes):
    """An observation as it is sent: its image as in vla-eval's raw encoding."""
    image = {"__ndarray__": True, "data": bytes(4 * 4 * 3), "dtype": "|u1", "shape": [4, 4, 3]}
    return {"images": {"front": image}, "task_description": "go", **changes}


def array(values):
    return {
        "__ndarray__": True,
        "data": values.tobytes(),
        "dtype": values.dtype.str,
        "shape": list(values.shape),
    }


def png(side, drawn=b""):
    """A PNG file that says that it has `side` x `side` pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", drawn) + chunk(b"IEND", b"")


NO_MESSAGE = {
    "random bytes": b"\x93\xff\x00garbage",
    "empty": b"",
    "text": "hello",
    "a list": msgpack.packb([1, 2]),
    "deep": b"\x91" * 100_000,
    "an unknown type": packed("reset"),
    "no payload": msgpack.packb({"type": "hello", "seq": 1, "timestamp": 0.0}),
    "a list as payload": packed(payload=[1]),
    "numbers as names": packed(payload={1: 2}),
    "text as number": packed(seq="5"),
    "objects": packed(payload={"images": {"front": {**array(np.zeros(1)), "dtype": "|O"}}}),
    "a wrong shape": packed(payload={"images": {"front": {**array(np.zeros(1)), "shape": [9, 9]}}}),
    "no image file": packed(
        payload={"images": {"front": {"__image__": True, "format": "png", "data": b"x", "shape": [4, 4, 3]}}}
    ),
    "a picture without end": packed(
        payload={
            "images": {"front": {"__image__": True, "format": "png", "data": png(60_000), "shape": [4, 4, 3]}}
        }
    ),
}


@pytest.mark.parametrize("data", NO_MESSAGE.values(), ids=NO_MESSAGE.keys())
def test_what_is_no_message_is_one_line_and_the_end_of_its_connection(served, data, caplog):
    async def send():
        async with websockets.connect(served.url(), max_size=None) as client:
            await client.send(data)
            reply = unpack_message(await client.recv())
            assert reply.type == MessageType.ERROR and "\n" not in reply.payload["error"]
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()

    anyio.run(send)
    assert len(caplog.records) == 1 and "\n" not in caplog.messages[0] and len(caplog.messages[0]) < 600
    assert caplog.records[0].exc_info is None
    assert len(anyio.run(play, served.url())[1]) == 1  # the server is alive


UNUSABLE = {
    "no images": observation_dict(images={}),
    "a list of images": observation_dict(images=[1]),
    "an image of floats": observation_dict(images={"front": array(np.zeros((4, 4, 3)))}),
    "a flat image": observation_dict(images={"front": array(np.zeros((4, 4), np.uint8))}),
    "an image without pixels": observation_dict(images={"front": array(np.zeros((0, 4, 3), np.uint8))}),
    "no image": observation_dict(images={"front": "x"}),
    "no instruction": {"images": observation_dict()["images"]},
    "a number as instruction": observation_dict(task_description=5),
    "an endless instruction": observation_dict(task_description="go " * 10_000),
    "an old image": observation_dict(image_age=1),
    "nothing": {},
}


@pytest.mark.parametrize("payload", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_observation_that_cannot_be_used_fails_alone(served, payload, caplog):
    """A bad observation is refused before it joins the batch of others, and its connection goes on."""

    async def send():
        async with websockets.connect(served.url()) as client:
            await client.send(packed("episode_start", {"task": {"number": 0}}))
            await client.send(packed(payload=payload))
            bad = unpack_message(await client.recv())
            await client.send(packed(seq=6))
            good = unpack_message(await client.recv())
            return bad, good

    bad, good = anyio.run(send)
    assert bad.type == MessageType.ERROR and bad.seq == 5 and "ValueError: " in bad.payload["error"]
    assert good.type == MessageType.ACTION and good.seq == 6
    assert len(caplog.records) == 1 and "\n" not in caplog.messages[0]


@pytest.mark.parametrize(
    "task", [{"number": "0"}, {"number": -1}, {"number": 1.5}, {"number": True}, [0], "zero"]
)
def test_an_episode_whose_task_cannot_be_read_does_not_start(served, task):
    async def send():
        async with websockets.connect(served.url()) as client:
            await client.send(packed("episode_start", {"task": task}))
            await client.send(packed(seq=6))
            return [unpack_message(await client.recv()) for _ in range(2)]

    first, second = anyio.run(send)
    assert first.type == second.type == MessageType.ERROR
    assert "an observation came before the start of its episode" in second.payload["error"]
    assert served.policy.started == []


def test_the_state_must_be_finite_if_the_policy_reads_it(served):
    served.policy.reads_state = True

    async def send(state):
        async with websockets.connect(served.url()) as client:
            await client.send(packed("episode_start", {}))
            await client.send(packed(payload=observation_dict(**state)))
            return unpack_message(await client.recv()).payload

    for state in ({}, {"states": array(np.array([0, np.nan]))}, {"states": "x"}, {"states": [[1.0]]}):
        assert "the robot's state" in anyio.run(send, state)["error"]
    assert "actions" in anyio.run(send, {"states": [0.5, 1.0]})
    np.testing.assert_array_equal(served.policy.batches[0][0].state, np.array([0.5, 1.0], np.float32))


def test_a_message_that_is_too_large_closes_its_connection_only(caplog, monkeypatch):
    monkeypatch.setattr(connections, "MAX_MESSAGE", 10_000)
    served = Served(JobKey.create(), RecordingPolicy())

    async def send():
        async with websockets.connect(served.url()) as client:
            await client.send(bytes(10_001))
            with pytest.raises(websockets.ConnectionClosedError, match="1009"):
                await client.recv()

    with running(connections._serve, served.server, served.key, served.listening):
        anyio.run(send)
        anyio.run(play, served.url())
    assert caplog.messages == ["closed a connection: a message has more than 10000 bytes"]


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 2000 + b"\r\n", b"POST / HTTP/1.1\r\n\r\n"]
)
def test_what_is_not_http_is_at_most_one_line_of_the_log(served, data):
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(connections.OneLine())
    logging.getLogger("websockets").addHandler(handler)
    try:
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
        anyio.run(play, served.url())
    finally:
        logging.getLogger("websockets").removeHandler(handler)
    assert len(text.getvalue().splitlines()) <= 1


# The simulator's side -------------------------------------------------------------------------------


def test_a_simulator_ends_before_its_first_step_if_another_server_answers(tmp_path, monkeypatch):
    """The server of vla-eval answers whatever path is asked for. Its policy is not played."""
    policy = RecordingPolicy()
    port, mark = ports.free_port("127.0.0.1"), tmp_path / "mark"
    asked = settings(params={"mark": str(mark)})
    ticket = JobKey.create().ticket()
    config = harness.harness_config(
        asked.evaluation,
        [SimulatorEpisode(0, 0, 0, 0)],
        f"ws://127.0.0.1:{port}{ticket.path}",
        external=None,
        proof=ticket.proof,
    )
    (tmp_path / "vla-eval.yaml").write_text(json.dumps(config))
    command = harness.simulator_command(
        asked.evaluation.simulator, tmp_path / "vla-eval.yaml", tmp_path, "episodes"
    )
    environment = harness.simulator_environment(tmp_path)
    environment["PYTHONPATH"] += f":{__file__.rpartition('/')[0]}"
    vla_eval_server = running(serve_async, PolicyServer(policy, asked), "127.0.0.1", port)
    simulator = Child(
        command, environment=environment, log=tmp_path / "log"
    )  # it tries to connect for a while
    with vla_eval_server, simulator:
        assert simulator.wait() != 0
    assert "AnotherServer: the policy server is not that of this job" in simulator.last_line()
    assert not mark.exists() and policy.started == []


@pytest.mark.parametrize("change", [{}, {PROOF: None}, {PROOF: "0" * 64}, {PROOF: 5}])
def test_an_action_of_another_server_is_not_executed(monkeypatch, change):
    monkeypatch.syspath_prepend(str(harness.INSIDE))
    from vlm4vla_episodes import AnotherServer, ChosenEpisodes

    proof = JobKey.create().ticket().proof
    episode = {"task": 0, "state": 0, "number": 0}
    simulator = ChosenEpisodes("still_world:Point", [episode], expects=proof, proof=proof)

    async def play():
        await simulator.start_episode(simulator.get_tasks()[0])
        await simulator.apply_action({"actions": np.ones(7), PROOF: proof})
        before = simulator._benchmark.x
        with pytest.raises(AnotherServer):
            await simulator.apply_action({"actions": np.ones(7), **change})
        return before, simulator._benchmark.x

    before, after = anyio.run(play)
    assert before == after > 0
    with pytest.raises(AnotherServer):
        ChosenEpisodes("still_world:Point", [episode], expects=proof, **change)
