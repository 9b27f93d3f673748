"""`pollux kill`, `release` and `accept`: ask the market maker, through shared memory or gRPC.

Runs on: the main thread of a command.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable
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
CLOSED_LIMIT_S = 15.0
"""How long a kill waits for the venues' word that its orders are gone. An order whose cancel was
not answered is asked about, and a venue may take ten seconds to be sure."""
CLOSED_LOOK_S = 0.05


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


REQUESTS = ("kill", "release", "accept")


def ask_here(name: str, what: str) -> maker_pb2.Maker:
    """Ask the daemon of this name on this host; `what`: of REQUESTS. The state after.

    A kill is over when no order is open any more, or after CLOSED_LIMIT_S: the state tells.
    """
    assert what in REQUESTS
    try:
        board = StateBoardReader(name)
        if has_ended(board.writer_pid):
            raise AskError(
                f"the daemon named {name!r} is dead (its process {board.writer_pid} has ended): "
                f"what it left open at the venues is still open"
            )
        form = MakerForm(board.info)
        number = getattr(board, f"request_{what}")()
        limit_s = time.monotonic() + TAKEN_LIMIT_S
        while getattr(board, f"{what}s_done") < number:
            if board.is_closed:
                raise AskError(f"the {what} is asked for, but the market maker has ended")
            if time.monotonic() > limit_s:
                raise AskError(
                    f"the {what} is asked for, but not taken after {TAKEN_LIMIT_S:g} s: "
                    f"the daemon named {name!r} hangs"
                )
            time.sleep(LOOK_S)

        def look() -> maker_pb2.Maker:
            return maker_pb2.Maker.FromString(form.message(board.read()).wire)

        return _until_closed(look) if what == "kill" else look()
    except StateBoardError as error:
        raise AskError(str(error)) from None


def _until_closed(look: Callable[[], maker_pb2.Maker]) -> maker_pb2.Maker:
    """The state once nothing is open, or the latest when the time is over."""
    limit_s = time.monotonic() + CLOSED_LIMIT_S
    while True:
        maker = look()
        if (not maker.orders and not maker.unconfirmed) or time.monotonic() > limit_s:
            return maker
        time.sleep(CLOSED_LOOK_S)


def ask_there(remote: Remote, what: str) -> maker_pb2.Maker:
    """Ask over gRPC, as `ask_here`; the state after."""
    assert what in REQUESTS
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
        limit_s = ANSWER_LIMIT_S
        try:
            if what == "release":
                released = maker_pb2.ReleaseRequest(reason=reason)
                return stub.Release(released, timeout=limit_s, metadata=metadata).maker
            if what == "accept":
                accepted = maker_pb2.AcceptRequest(reason=reason)
                return stub.Accept(accepted, timeout=limit_s, metadata=metadata).maker
            stub.Kill(maker_pb2.KillRequest(reason=reason), timeout=limit_s, metadata=metadata)
            looked = maker_pb2.GetMakerRequest()
            return _until_closed(lambda: stub.GetMaker(looked, timeout=limit_s, metadata=metadata))
        except grpc.RpcError as error:
            text = " ".join((error.details() or error.code().name).split())
            raise AskError(f"{remote.target}: {text}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "somebody"
