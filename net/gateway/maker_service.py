"""The market maker's service: pollux.v1.MakerService, its state for all, its kill switch for some.

The state is looked at when somebody asks or streams: the engine shows it twenty times a second, so
nobody is woken for it.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

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
        self._form: tuple[StateBoardReader, MakerForm] | None = None

    async def get_maker(self, _request: maker_pb2.GetMakerRequest, _call: Call) -> bytes:
        return self._latest().wire

    async def stream_maker(self, request: maker_pb2.StreamMakerRequest, call: Call) -> None:
        interval_ms = request.min_interval_ms
        if not 0 <= interval_ms <= INTERVAL_MS_MAX:
            text = f"min_interval_ms {interval_ms}: must be 0 to {INTERVAL_MS_MAX}"
            raise RefusedError(Status.INVALID_ARGUMENT, text)
        loop = asyncio.get_running_loop()
        self._latest()
        with self._hub.subscribed(call, "market maker") as row_at:
            seen, earliest_s = b"", 0.0
            while True:
                if loop.time() >= earliest_s:
                    message = self._latest()
                    if message.content != seen:
                        seen, earliest_s = message.content, loop.time() + interval_ms / 1000
                        self._hub.counters.sends(row_at)
                        await call.write(message.wire)
                else:
                    self._hub.require_engine()
                await asyncio.sleep(BOARD_LOOK_S)

    async def kill(self, request: maker_pb2.KillRequest, call: Call) -> bytes:
        board = self._allowed("kill", request.reason, call)
        number = _permitted(board.request_kill)
        await self._until_taken("kill", lambda: board.kills_done >= number)
        return maker_pb2.KillResponse(maker=self._message()).SerializeToString()

    async def release(self, request: maker_pb2.ReleaseRequest, call: Call) -> bytes:
        board = self._allowed("release", request.reason, call)
        # Nobody should find it taken an hour later.
        self._require_life(board)
        number = _permitted(board.request_release)
        await self._until_taken("release", lambda: board.releases_done >= number)
        return maker_pb2.ReleaseResponse(maker=self._message()).SerializeToString()

    async def accept(self, request: maker_pb2.AcceptRequest, call: Call) -> bytes:
        board = self._allowed("accept", request.reason, call)
        self._require_life(board)
        number = _permitted(board.request_accept)
        await self._until_taken("accept", lambda: board.accepts_done >= number)
        return maker_pb2.AcceptResponse(maker=self._message()).SerializeToString()

    # --- the state -------------------------------------------------------------------------------

    def _board(self) -> StateBoardReader:
        board = self._finder.find()
        if board is None:
            self._hub.require_engine()
            text = "this daemon has no market maker: its configuration has no [maker], or it ended"
            raise RefusedError(Status.NOT_FOUND, text)
        return board

    def _require_life(self, board: StateBoardReader) -> None:
        """RefusedError where neither engine nor market maker can be trusted to be there."""
        self._hub.require_engine()
        silent_ms = self._hub.age_ms(board.heartbeat_ns)
        if silent_ms > self._hub.stale_after_ms:
            text = f"the market maker has shown no sign of life for {silent_ms / 1000:.1f} s"
            raise RefusedError(Status.UNAVAILABLE, text)

    def _latest(self) -> Message:
        """The state now, encoded by the first who asks for it."""
        board = self._board()
        self._require_life(board)
        if self._form is None or self._form[0] is not board:
            self._form = board, MakerForm(board.info)
        form = self._form[1]
        if form.latest.sequence == board.sequence > 0:
            return form.latest
        try:
            return form.message(board.read())
        except StateBoardError as error:
            raise RefusedError(Status.UNAVAILABLE, str(error)) from None

    def _message(self) -> maker_pb2.Maker:
        return maker_pb2.Maker.FromString(self._latest().wire)

    # --- what is asked for -----------------------------------------------------------------------

    def _allowed(self, what: str, reason: str, call: Call) -> StateBoardReader:
        """The board that may be asked; RefusedError. Either way a line for the operator."""
        line = f"{what} asked for by {call.peer}: {one_line(reason) or 'no reason given'}"
        try:
            self._permission.check(call)
        except RefusedError as refused:
            _log.warning("%s: refused: %s", line, refused.text)
            raise
        if len(reason) > REASON_CHARACTERS_MAX:
            text = f"a reason of {len(reason)} characters: at most {REASON_CHARACTERS_MAX}"
            raise RefusedError(Status.INVALID_ARGUMENT, text)
        board = self._board()
        _log.warning("%s", line)
        return board

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


def _permitted(request: Callable[[], int]) -> int:
    try:
        return request()
    except StateBoardError as error:
        raise RefusedError(Status.PERMISSION_DENIED, str(error)) from None
