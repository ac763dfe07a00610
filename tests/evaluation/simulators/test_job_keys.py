"""A policy server and the simulators of its job know each other; those of another job do not."""

import hashlib
import hmac
import os

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators.job_keys import VARIABLE, JobKey


def test_a_ticket_and_its_proof_are_hmacs_of_one_number():
    secret = bytes(range(32))
    ticket = JobKey(secret).ticket()
    _, number, shown = ticket.path.split("/")
    assert len(number) == 32
    assert shown == hmac.new(secret, f"simulator {number}".encode(), hashlib.sha256).hexdigest()
    assert ticket.proof == hmac.new(secret, f"server {number}".encode(), hashlib.sha256).hexdigest()
    assert JobKey(secret).proof_for(ticket.path) == ticket.proof


def test_each_simulator_has_a_ticket_of_its_own_and_each_job_a_key():
    key = JobKey.create()
    assert key.ticket() != key.ticket()
    assert JobKey.create().environment() != key.environment()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: "",
        lambda path: "/",
        lambda path: "/health",
        lambda path: path[:-1],
        lambda path: path + "0",
        lambda path: path + "\n",
        lambda path: path + "/config",
        lambda path: path + "?max_batch_size=1",
        lambda path: path[:-1] + ("0" if path[-1] != "0" else "1"),
        lambda path: ("/0" if path[1] != "0" else "/1") + path[2:],
        lambda path: path.upper(),
        lambda path: "/" + path,
        lambda path: path.replace("/", "/\N{ARABIC-INDIC DIGIT ONE}", 1),
    ],
)
def test_no_other_path_is_a_ticket(change):
    key = JobKey(bytes(32))
    path = key.ticket().path
    assert key.proof_for(path) and key.proof_for(change(path)) is None


def test_the_ticket_of_another_job_is_none():
    assert JobKey.create().proof_for(JobKey.create().ticket().path) is None


def test_the_key_leaves_the_environment_when_the_server_takes_it(monkeypatch):
    key = JobKey.create()
    for name, value in key.environment().items():
        monkeypatch.setenv(name, value)
    ticket = key.ticket()
    assert JobKey.from_environment().proof_for(ticket.path) == ticket.proof
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("text", [None, "", "secret", "0" * 63, "0" * 65, "G" * 64])
def test_a_server_without_a_key_does_not_start(monkeypatch, text):
    monkeypatch.delenv(VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UserError, match=f"^{VARIABLE}: the policy server needs the key of its job") as caught:
        JobKey.from_environment()
    assert "\n" not in str(caught.value)
