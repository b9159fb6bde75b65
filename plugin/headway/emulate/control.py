"""The control endpoint of an emulated server, ``/_emulate/*``: faults, log, lateness."""

from dataclasses import asdict

import msgspec
from aiohttp import web

from headway.emulate.faults import Faults, UnknownFault
from headway.emulate.requestlog import RequestLog
from headway.emulate.wallclock import WallClockEngine


class _FaultOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    count: int | None = 1


def add_control_routes(
    app: web.Application, *, engine: WallClockEngine, faults: Faults, log: RequestLog
) -> None:
    """``POST|GET|DELETE /_emulate/faults``, ``GET|DELETE /_emulate/log``, ``GET .../lateness``."""

    async def add_fault(request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=_FaultOrder)
            faults.add(order.kind, count=order.count)
        except (msgspec.MsgspecError, UnknownFault) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(faults.listing())

    async def list_faults(request: web.Request) -> web.Response:
        return web.json_response(faults.listing())

    async def clear_faults(request: web.Request) -> web.Response:
        faults.clear()
        return web.json_response([])

    async def show_log(request: web.Request) -> web.Response:
        return web.json_response(log.listing())

    async def clear_log(request: web.Request) -> web.Response:
        log.clear()
        return web.json_response([])

    async def show_lateness(request: web.Request) -> web.Response:
        return web.json_response({**asdict(engine.lateness()), "ratios": engine.late_ratios()})

    app.router.add_post("/_emulate/faults", add_fault)
    app.router.add_get("/_emulate/faults", list_faults)
    app.router.add_delete("/_emulate/faults", clear_faults)
    app.router.add_get("/_emulate/log", show_log)
    app.router.add_delete("/_emulate/log", clear_log)
    app.router.add_get("/_emulate/lateness", show_lateness)
