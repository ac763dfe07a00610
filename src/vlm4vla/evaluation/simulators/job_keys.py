"""The key of a job, by which its policy server and its simulators know each other.

Each job makes a key of its own. The server gets it through its environment, which other users cannot read. A
simulator gets a ticket, which is a part of the server's URL, and the proof that the server must send with its
answers. Both are HMACs (RFC 2104) of a number that is drawn for each simulator. So the server answers only to
the simulators of its job, and a simulator executes the actions of its job's server only. Another server that
a simulator reaches by mistake cannot compute the proof from the ticket.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from vlm4vla.core.errors import UserError

VARIABLE = "VLM4VLA_JOB_KEY"  # environment variable of the policy server
PROOF = "proof"  # key of the server's answers; ChosenEpisodes checks it
_KEY = re.compile("[0-9a-f]{64}")
_PATH = re.compile("/([0-9a-f]{32})/([0-9a-f]{64})")


@dataclass(frozen=True)
class Ticket:
    """`path`: the part of the URL with the ticket. `proof`: what the server of this job sends in return."""

    path: str
    proof: str


class JobKey:
    """The secret key of one job, 32 bytes."""

    def __init__(self, secret: bytes):
        self._secret = secret

    @classmethod
    def create(cls) -> JobKey:
        """A new key from the random numbers of the operating system."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_environment(cls) -> JobKey:
        """Take the key from this process's environment, so that no child of this process inherits it.

        Raises UserError if there is none, or if it is not 64 hexadecimal digits.
        """
        text = os.environ.pop(VARIABLE, "")
        if not _KEY.fullmatch(text):
            raise UserError(
                f"{VARIABLE}: the policy server needs the key of its job: set this variable to 64 "
                'hexadecimal digits (python -c "import secrets; print(secrets.token_hex(32))")'
            )
        return cls(bytes.fromhex(text))

    def environment(self) -> Mapping[str, str]:
        """The environment variable that gives the key to the policy server."""
        return {VARIABLE: self._secret.hex()}

    def ticket(self) -> Ticket:
        """A new ticket for one simulator."""
        number = secrets.token_hex(16)
        return Ticket(f"/{number}/{self._code('simulator', number)}", self._code("server", number))

    def proof_for(self, path: str) -> str | None:
        """The proof for the holder of the ticket `path`, or None if this key has not made the ticket.

        The comparison takes the same time wherever two codes differ.
        """
        found = _PATH.fullmatch(path)
        if found is None or not hmac.compare_digest(found[2], self._code("simulator", found[1])):
            return None
        return self._code("server", found[1])

    def _code(self, holder: str, number: str) -> str:
        return hmac.new(self._secret, f"{holder} {number}".encode(), hashlib.sha256).hexdigest()
