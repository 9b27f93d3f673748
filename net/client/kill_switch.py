"""`pollux kill`, `release` and `accept`: ask the market maker, through shared memory or gRPC.

Runs on: the main thread of a command.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from engine.maker.state_board import StateBoardError, StateBoardReader, open_boards
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


class Asked(NamedTuple):
    """The market makers' states before a release or an accept, where they could be seen, and after
    what was asked for."""

    before: list[maker_pb2.Maker]
    after: list[maker_pb2.Maker]


REQUESTS = ("kill", "release", "accept")


def ask_here(name: str, what: str, symbol: str = "") -> Asked:
    """Ask the daemon of this name on this host; `what`: of REQUESTS.

    `symbol`: of an instrument, for its market maker alone. A kill is over when no order is open any
    more, or after CLOSED_LIMIT_S: the states tell.
    """
    assert what in REQUESTS
    try:
        boards = _boards_here(name, symbol)
        forms = [MakerForm(board.info) for board in boards]

        def look() -> list[maker_pb2.Maker]:
            pairs = zip(forms, boards, strict=True)
            return [maker_pb2.Maker.FromString(f.message(b.read()).wire) for f, b in pairs]

        before: list[maker_pb2.Maker] = []
        if what != "kill":  # which must not wait for what it is shown
            with contextlib.suppress(StateBoardError):
                before = look()
        numbers = [getattr(board, f"request_{what}")() for board in boards]
        limit_s = time.monotonic() + TAKEN_LIMIT_S
        for board, number in zip(boards, numbers, strict=True):
            while getattr(board, f"{what}s_done") < number:
                if board.is_closed:
                    raise AskError(f"the {what} is asked for, but the market maker has ended")
                if time.monotonic() > limit_s:
                    raise AskError(
                        f"the {what} is asked for, but not taken after {TAKEN_LIMIT_S:g} s: "
                        f"the daemon named {name!r} hangs"
                    )
                time.sleep(LOOK_S)
        return Asked(before, _until_closed(look) if what == "kill" else look())
    except StateBoardError as error:
        raise AskError(str(error)) from None


def _boards_here(name: str, symbol: str) -> list[StateBoardReader]:
    """Those that are asked; AskError, StateBoardError."""
    first = StateBoardReader(name)
    if has_ended(first.writer_pid):
        raise AskError(
            f"the daemon named {name!r} is dead (its process {first.writer_pid} has ended): "
            f"nothing was asked. Its watchdog cancels what it left open, where that still ran: "
            f"look at the venues, or start the daemon again"
        )
    boards = open_boards(name) or (first,)
    found = [board for board in boards if symbol in ("", board.info.symbol)]
    if not found:
        known = ", ".join(board.info.symbol for board in boards)
        raise AskError(f"no market maker of {symbol!r}; there are: {known}", 2)
    return found


def _until_closed(look: Callable[[], list[maker_pb2.Maker]]) -> list[maker_pb2.Maker]:
    """The states once nothing is open, or the latest when the time is over."""
    limit_s = time.monotonic() + CLOSED_LIMIT_S
    while True:
        makers = look()
        is_open = any(maker.orders or maker.unconfirmed for maker in makers)
        if not is_open or time.monotonic() > limit_s:
            return makers
        time.sleep(CLOSED_LOOK_S)


def ask_there(remote: Remote, what: str, symbol: str = "") -> Asked:
    """Ask over gRPC, as `ask_here`."""
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

        def call(method: Any, request: Any) -> Any:
            return method(request, timeout=ANSWER_LIMIT_S, metadata=metadata)

        try:
            if what != "kill":
                listed = call(stub.ListMakers, maker_pb2.ListMakersRequest()).makers
                before = [each for each in listed if symbol in ("", each.symbol)]
                method, request = {
                    "release": (stub.Release, maker_pb2.ReleaseRequest),
                    "accept": (stub.Accept, maker_pb2.AcceptRequest),
                }[what]
                answer = call(method, request(reason=reason, symbol=symbol))
                return Asked(before, list(answer.makers))
            killed = call(stub.Kill, maker_pb2.KillRequest(reason=reason, symbol=symbol)).makers
            looked = [maker_pb2.GetMakerRequest(symbol=each.symbol) for each in killed]
            return Asked([], _until_closed(lambda: [call(stub.GetMaker, e) for e in looked]))
        except grpc.RpcError as error:
            text = " ".join((error.details() or error.code().name).split())
            raise AskError(f"{remote.target}: {text}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "somebody"
