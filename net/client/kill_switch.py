"""`pollux kill` and `pollux release`: ask the market maker, through shared memory or over gRPC.

Runs on: the main thread of a command.
"""

from __future__ import annotations

import getpass
import socket
import time
from dataclasses import dataclass

import grpc

from engine.maker.state_board import StateBoardError, StateBoardReader
from net.client.book_subscription import Subscription, WatchError, open_channel
from net.gateway.maker_messages import MakerForm
from net.gateway.options import REASON_CHARACTERS_MAX
from net.process.name_lock import has_ended
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1.maker_pb2_grpc import MakerServiceStub

TAKEN_LIMIT_S = 5.0
"""The engine looks for requests many times a second."""
LOOK_S = 0.005
ANSWER_LIMIT_S = 10.0


class AskError(Exception):
    """It was not taken: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Remote:
    """A gateway to ask, and what to show it."""

    target: str
    token_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""


def ask_here(name: str, what: str) -> maker_pb2.Maker:
    """Ask the daemon of this name on this host; `what`: "kill" or "release". The state after."""
    assert what in ("kill", "release")
    try:
        board = StateBoardReader(name)
        if has_ended(board.writer_pid):
            raise AskError(
                f"the daemon named {name!r} is dead (its process {board.writer_pid} has ended): "
                f"what it left open at the venues is still open"
            )
        number = board.request_kill() if what == "kill" else board.request_release()
        limit_s = time.monotonic() + TAKEN_LIMIT_S
        while (board.kills_done if what == "kill" else board.releases_done) < number:
            if board.is_closed:
                raise AskError(f"the {what} is asked for, but the market maker has ended")
            if time.monotonic() > limit_s:
                raise AskError(
                    f"the {what} is asked for, but not taken after {TAKEN_LIMIT_S:g} s: "
                    f"the daemon named {name!r} hangs"
                )
            time.sleep(LOOK_S)
        return maker_pb2.Maker.FromString(MakerForm(board.info).message(board.read()).wire)
    except StateBoardError as error:
        raise AskError(str(error)) from None


def ask_there(remote: Remote, what: str) -> maker_pb2.Maker:
    """Ask over gRPC; the state after it was taken."""
    assert what in ("kill", "release")
    reason = f"pollux {what} by {_user()} at {socket.gethostname()}"[:REASON_CHARACTERS_MAX]
    given = (remote.tls_ca, remote.tls_cert, remote.tls_key, remote.token_file)
    subscription = Subscription(remote.target, "", 0, *given)
    try:
        metadata = subscription.metadata()
        channel = open_channel(subscription)
    except WatchError as error:
        raise AskError(str(error), 2) from None
    with channel:
        stub = MakerServiceStub(channel)
        try:
            if what == "kill":
                asked = maker_pb2.KillRequest(reason=reason)
                return stub.Kill(asked, timeout=ANSWER_LIMIT_S, metadata=metadata).maker
            wanted = maker_pb2.ReleaseRequest(reason=reason)
            return stub.Release(wanted, timeout=ANSWER_LIMIT_S, metadata=metadata).maker
        except grpc.RpcError as error:
            text = " ".join((error.details() or error.code().name).split())
            raise AskError(f"{remote.target}: {text}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "somebody"
