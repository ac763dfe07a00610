"""The connections of a policy server: who may connect, what is read, and what each message may change.

This speaks the protocol of vla-eval 0.8.0, so its own client connects: msgpack messages over a WebSocket,
whose URL the simulator's configuration contains. vla-eval's own loop (vla_eval.model_servers.serve) answers
anyone who reaches the port, reads messages of any size, takes the names of sessions from messages, and sets
the size of batches at `GET /config`. Here, only the holder of a ticket (job_keys.py) is answered, each
session belongs to its connection, and no request sets anything of the server.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import uuid
import warnings
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
import websockets
from PIL import Image
from vla_eval.model_servers.base import ModelServer, SessionContext
from vla_eval.protocol.messages import Message, MessageType, make_hello_payload, pack_message, unpack_message
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from vlm4vla.evaluation.simulators.job_keys import PROOF, JobKey

HEALTH = "/health"  # after a ticket: the server is ready
MAX_MESSAGE = 64 * 2**20  # bytes: ten raw images of 1920 x 1080
MAX_PIXELS = 2**25  # of one encoded image
REFUSED = "this policy server answers only the simulators of its own job\n"

_log = logging.getLogger(__name__)


def listen_forever(server: ModelServer, key: JobKey, listening: socket.socket) -> None:
    """Serve `server` on the socket to those who hold a ticket of `key`. Does not return."""
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    anyio.run(_serve, server, key, listening)


async def _serve(server: ModelServer, key: JobKey, listening: socket.socket) -> None:
    connections = Connections(server, key)
    async with anyio.create_task_group() as tasks:
        await server.on_serve_start(tasks)
        async with serve(
            connections.answer,
            sock=listening,
            process_request=connections.admit,
            compression=None,  # images are compressed already
            max_size=MAX_MESSAGE,
            ping_interval=None,  # the first prediction of a large policy can take longer than a ping may
        ):
            await anyio.sleep_forever()


def read_message(data: str | bytes) -> Message:
    """Read a message of vla-eval. Raises ValueError unless `payload` is a mapping and `seq` an integer."""
    if isinstance(data, str):
        raise ValueError("a message is text, not msgpack")
    try:
        message = unpack_message(data)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"not a message of vla-eval: {one_line(error)}") from None
    if not isinstance(message.payload, dict) or not all(isinstance(name, str) for name in message.payload):
        raise ValueError("the payload of a message is not a mapping with names")
    if type(message.seq) is not int:
        raise ValueError(f"the number of a message is {message.seq!r}")
    return message


def one_line(error: BaseException) -> str:
    """The text of an error in at most 500 characters and on one line."""
    return " ".join((str(error) or type(error).__name__).split())[:500]


class ConnectedEpisode(SessionContext):
    """One episode of one connection. Its session is the connection's, whatever a message says."""

    def __init__(self, connection: ServerConnection, session: str, proof: str):
        super().__init__(session_id=session, episode_id=str(uuid.uuid4()), mode="sync")
        self.seq = self.observations = 0
        self._connection, self._proof = connection, proof

    @property
    def step(self) -> int:
        return self.observations

    async def send_action(self, action: dict[str, Any]) -> None:
        """Answer the observation `seq`. The proof shows that the action comes from this job's policy."""
        await _send(self._connection, MessageType.ACTION, {**action, PROOF: self._proof}, self.seq)


class Connections:
    """Answers the simulators of one job for `server`."""

    def __init__(self, server: ModelServer, key: JobKey):
        self._server, self._key = server, key

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Continue with a WebSocket for the holder of a ticket (None); answer every other request here."""
        proof = self._key.proof_for(request.path.removesuffix(HEALTH))
        if proof is None:
            _log.warning("refused a request that has no ticket of this job")
            return connection.respond(HTTPStatus.FORBIDDEN, REFUSED)
        if request.path.endswith(HEALTH):
            return connection.respond(HTTPStatus.OK, json.dumps({"status": "ok", PROOF: proof}) + "\n")
        return None

    async def answer(self, connection: ServerConnection) -> None:
        """Answer the messages of one connection until it closes or sends what is no message of vla-eval."""
        proof = self._key.proof_for(connection.request.path)
        assert proof is not None  # `admit` lets nobody else in
        session = _Conversation(self._server, connection, proof)
        try:
            async for data in connection:
                try:
                    message = await anyio.to_thread.run_sync(read_message, data)
                except ValueError as error:
                    await session.refuse(error, 0)
                    await connection.close(websockets.CloseCode.UNSUPPORTED_DATA, "not a message of vla-eval")
                    break
                await session.take(message)
        except websockets.ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == websockets.CloseCode.MESSAGE_TOO_BIG:
                _log.warning("closed a connection: a message has more than %d bytes", MAX_MESSAGE)
        finally:
            await session.end({})


class _Conversation:
    """The messages of one connection. They change only the episode of this connection."""

    def __init__(self, server: ModelServer, connection: ServerConnection, proof: str):
        self._server, self._connection, self._proof = server, connection, proof
        self._name = str(uuid.uuid4())
        self._episode: ConnectedEpisode | None = None

    async def take(self, message: Message) -> None:
        """Answer one message. A message that the server cannot use is answered with an error of one line."""
        try:
            if message.type == MessageType.HELLO:
                await _send(self._connection, MessageType.HELLO, self._hello(), message.seq)
            elif message.type == MessageType.EPISODE_START:
                await self._start(message.payload)
            elif message.type == MessageType.OBSERVATION:
                await self._observe(message)
            elif message.type == MessageType.EPISODE_END:
                await self.end(message.payload)
            elif message.type == MessageType.ERROR:
                _log.warning("the simulator reports: %s", str(message.payload)[:500])
            else:
                raise ValueError(f"a simulator does not send {message.type.value} messages")
        except websockets.ConnectionClosed:
            raise
        except Exception as error:  # the policy's own errors, too, must not end the server
            await self.refuse(error, message.seq)

    async def refuse(self, error: Exception, seq: int) -> None:
        """Report an error to the simulator and in the log, in one line."""
        _log.warning("%s: %s", type(error).__name__, one_line(error))
        text = f"{type(error).__name__}: {one_line(error)}"
        await _send(self._connection, MessageType.ERROR, {"error": text}, seq)

    async def end(self, result: dict[str, Any]) -> None:
        """End the episode of this connection, if there is one."""
        episode, self._episode = self._episode, None
        if episode is not None:
            await self._server.on_episode_end(result, episode)

    def _hello(self) -> dict[str, Any]:
        server = self._server
        return make_hello_payload(
            model_server=type(server).__name__,
            capabilities={},
            observation_params={**server.get_observation_params(), PROOF: self._proof},
            action_spec={name: each.to_dict() for name, each in server.get_action_spec().items()},
            observation_spec={name: each.to_dict() for name, each in server.get_observation_spec().items()},
        )

    async def _start(self, payload: dict[str, Any]) -> None:
        await self.end({})
        if not isinstance(payload.get("task", {}), dict):
            raise ValueError("the task of an episode is not a mapping")
        episode = ConnectedEpisode(self._connection, self._name, self._proof)
        await self._server.on_episode_start(payload, episode)
        self._episode = episode

    async def _observe(self, message: Message) -> None:
        episode = self._episode
        if episode is None:
            raise ValueError("an observation came before the start of its episode")
        episode.seq = message.seq
        await self._server.on_observation(message.payload, episode)
        episode.observations += 1


async def _send(connection: ServerConnection, kind: MessageType, payload: dict[str, Any], seq: int) -> None:
    await connection.send(pack_message(Message(type=kind, payload=payload, seq=seq)))


class OneLine(logging.Formatter):
    """Writes an exception as one line at the end of its message, without its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + (f": {type(error).__name__}: {error}" if error else "")
        return f"{record.levelname.lower()}: {' '.join(text.split())[:1000]}"


def log_in_one_line() -> None:
    """Write warnings of all packages to standard error, each in one line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
