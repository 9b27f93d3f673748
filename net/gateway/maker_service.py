"""The market maker's service: pollux.v1.MakerService, its state for all, its kill switch for some.

The state is looked at when somebody asks or streams: the engine shows it twenty times a second, so
nobody is woken for it.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from engine.maker.state_board import StateBoardError, StateBoardFinder, StateBoardReader
from net.gateway.authorization import Permission
from net.gateway.book_messages import Message
from net.gateway.call import Call
from net.gateway.hub import Hub
from net.gateway.maker_messages import MakerForm
from net.gateway.market_data_service import INTERVAL_MS_MAX
from net.gateway.methods import Method, Methods, service_methods
from net.gateway.options import REASON_CHARACTERS_MAX
from net.gateway.status import RefusedError, Status
from net.log.one_line import one_line
from proto.pollux.v1 import maker_pb2

SERVICE = maker_pb2.DESCRIPTOR.services_by_name["MakerService"]
SERVICE_NAME = SERVICE.full_name

BOARD_LOOK_S = 0.05
"""Between two looks at the board: as often as the engine writes it where nothing happens."""
TAKEN_LIMIT_S = 2.0
"""The engine polls for requests many times a second: one not taken by then is not being polled."""
TAKEN_BOARD_LOOK_S = 0.002

_log = logging.getLogger("pollux.gateway")


def maker_methods(hub: Hub, finder: StateBoardFinder, permission: Permission) -> Methods:
    """The methods of the service over this hub's engine."""
    service = _Maker(hub, finder, permission)
    methods = {
        "GetMaker": Method(service.get_maker, maker_pb2.GetMakerRequest.FromString),
        "ListMakers": Method(service.list_makers, maker_pb2.ListMakersRequest.FromString),
        "StreamMaker": Method(service.stream_maker, maker_pb2.StreamMakerRequest.FromString),
        "Kill": Method(service.kill, maker_pb2.KillRequest.FromString),
        "Release": Method(service.release, maker_pb2.ReleaseRequest.FromString),
        "Accept": Method(service.accept, maker_pb2.AcceptRequest.FromString),
    }
    return service_methods(SERVICE, methods)


class _Maker:
    def __init__(self, hub: Hub, finder: StateBoardFinder, permission: Permission) -> None:
        self._hub = hub
        self._finder = finder
        self._permission = permission
        self._forms: dict[StateBoardReader, MakerForm] = {}

    async def get_maker(self, request: maker_pb2.GetMakerRequest, _call: Call) -> bytes:
        return self._latest(self._boards(request.symbol)[0]).wire

    async def list_makers(self, _request: maker_pb2.ListMakersRequest, _call: Call) -> bytes:
        makers = self._messages(self._boards(""))
        return maker_pb2.ListMakersResponse(makers=makers).SerializeToString()

    async def stream_maker(self, request: maker_pb2.StreamMakerRequest, call: Call) -> None:
        interval_ms = request.min_interval_ms
        if not 0 <= interval_ms <= INTERVAL_MS_MAX:
            text = f"min_interval_ms {interval_ms}: must be 0 to {INTERVAL_MS_MAX}"
            raise RefusedError(Status.INVALID_ARGUMENT, text)
        loop = asyncio.get_running_loop()
        self._latest(self._boards(request.symbol)[0])
        with self._hub.subscribed(call, "market maker") as row_at:
            seen, earliest_s = b"", 0.0
            while True:
                if loop.time() >= earliest_s:
                    message = self._latest(self._boards(request.symbol)[0])
                    if message.content != seen:
                        seen, earliest_s = message.content, loop.time() + interval_ms / 1000
                        self._hub.counters.sends(row_at)
                        await call.write(message.wire)
                else:
                    self._hub.require_engine()
                await asyncio.sleep(BOARD_LOOK_S)

    async def kill(self, request: maker_pb2.KillRequest, call: Call) -> bytes:
        boards = self._allowed("kill", request.reason, request.symbol, call)
        numbers = [_permitted(board.request_kill) for board in boards]
        await self._until_taken("kill", lambda: _all_reach(boards, "kills_done", numbers))
        makers = self._messages(boards)
        return maker_pb2.KillResponse(maker=makers[0], makers=makers).SerializeToString()

    async def release(self, request: maker_pb2.ReleaseRequest, call: Call) -> bytes:
        boards = self._allowed("release", request.reason, request.symbol, call)
        # Nobody should find it taken an hour later.
        for board in boards:
            self._require_life(board)
        numbers = [_permitted(board.request_release) for board in boards]
        await self._until_taken("release", lambda: _all_reach(boards, "releases_done", numbers))
        makers = self._messages(boards)
        return maker_pb2.ReleaseResponse(maker=makers[0], makers=makers).SerializeToString()

    async def accept(self, request: maker_pb2.AcceptRequest, call: Call) -> bytes:
        boards = self._allowed("accept", request.reason, request.symbol, call)
        for board in boards:
            self._require_life(board)
        numbers = [_permitted(board.request_accept) for board in boards]
        await self._until_taken("accept", lambda: _all_reach(boards, "accepts_done", numbers))
        makers = self._messages(boards)
        return maker_pb2.AcceptResponse(maker=makers[0], makers=makers).SerializeToString()

    # --- the state -------------------------------------------------------------------------------

    def _boards(self, symbol: str) -> Sequence[StateBoardReader]:
        """That of an instrument's market maker, or all; RefusedError where there is none."""
        boards = self._finder.find()
        found = [board for board in boards if symbol in ("", board.info.symbol)]
        if found:
            return found
        self._hub.require_engine()
        text = "this daemon has no market maker: its configuration has no [maker], or it ended"
        if boards:
            known = ", ".join(board.info.symbol for board in boards)
            text = f"no market maker of {one_line(symbol)!r}; there are: {known}"
        raise RefusedError(Status.NOT_FOUND, text)

    def _require_life(self, board: StateBoardReader) -> None:
        """RefusedError where neither engine nor market maker can be trusted to be there."""
        self._hub.require_engine()
        silent_ms = self._hub.age_ms(board.heartbeat_ns)
        if silent_ms > self._hub.stale_after_ms:
            text = f"the market maker has shown no sign of life for {silent_ms / 1000:.1f} s"
            raise RefusedError(Status.UNAVAILABLE, text)

    def _latest(self, board: StateBoardReader) -> Message:
        """The state now, encoded by the first who asks for it."""
        self._require_life(board)
        if board not in self._forms:
            known = self._finder.find()
            self._forms = {each: form for each, form in self._forms.items() if each in known}
            self._forms[board] = MakerForm(board.info)
        form = self._forms[board]
        if form.latest.sequence == board.sequence > 0:
            return form.latest
        try:
            return form.message(board.read())
        except StateBoardError as error:
            raise RefusedError(Status.UNAVAILABLE, str(error)) from None

    def _messages(self, boards: Sequence[StateBoardReader]) -> list[maker_pb2.Maker]:
        return [maker_pb2.Maker.FromString(self._latest(board).wire) for board in boards]

    # --- what is asked for -----------------------------------------------------------------------

    def _allowed(
        self, what: str, reason: str, symbol: str, call: Call
    ) -> Sequence[StateBoardReader]:
        """The boards that may be asked; RefusedError. Either way a line for the operator."""
        told = f"{what} of {one_line(symbol)}" if symbol else what
        line = f"{told} asked for by {call.peer}: {one_line(reason) or 'no reason given'}"
        try:
            self._permission.check(call)
        except RefusedError as refused:
            _log.warning("%s: refused: %s", line, refused.text)
            raise
        if len(reason) > REASON_CHARACTERS_MAX:
            text = f"a reason of {len(reason)} characters: at most {REASON_CHARACTERS_MAX}"
            raise RefusedError(Status.INVALID_ARGUMENT, text)
        boards = self._boards(symbol)
        _log.warning("%s", line)
        return boards

    async def _until_taken(self, what: str, is_taken: Callable[[], bool]) -> None:
        """RefusedError where the engine does not take it."""
        loop = asyncio.get_running_loop()
        limit_s = loop.time() + TAKEN_LIMIT_S
        while not is_taken():
            try:
                self._hub.require_engine()
            except RefusedError as refused:
                text = f"the {what} is asked for but not taken: {refused.text}"
                raise RefusedError(refused.code, text) from None
            if loop.time() > limit_s:
                text = f"the {what} is asked for, but not taken after {TAKEN_LIMIT_S:g} s"
                raise RefusedError(Status.DEADLINE_EXCEEDED, text)
            await asyncio.sleep(TAKEN_BOARD_LOOK_S)


def _all_reach(boards: Sequence[StateBoardReader], name: str, numbers: Sequence[int]) -> bool:
    """Whether every board has taken as much as was asked of it."""
    return all(
        getattr(board, name) >= number for board, number in zip(boards, numbers, strict=True)
    )


def _permitted(request: Callable[[], int]) -> int:
    try:
        return request()
    except StateBoardError as error:
        raise RefusedError(Status.PERMISSION_DENIED, str(error)) from None
