"""What an operator may ask of a running daemon, and order it to do.

Whoever reached this is of the daemon's own user, or had the token.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from headway import __version__
from headway.core.errors import HeadwayError, nearest
from headway.core.facts import ModeSet, PoolSet
from headway.core.pool import Pool
from headway.daemon.shell import Recipe

if TYPE_CHECKING:
    from headway.daemon.server import Daemon

log = logging.getLogger("headway.daemon")

Body = dict[str, Any]


async def answer(daemon: "Daemon", what: str, args: Body) -> Body:
    """The body of the reply. Raises `HeadwayError` with a text for the operator."""
    query = _QUERIES.get(what)
    if query is None:
        raise HeadwayError(f"this daemon does not know {what!r}{nearest(what, _QUERIES)}")
    return await query(daemon, args)


async def _status(daemon: "Daemon", args: Body) -> Body:
    shell, options = daemon.shell, daemon.options
    journal = shell.journal
    body: Body = dict(shell.status())
    body["daemon"] = {
        "version": __version__,
        "pid": os.getpid(),
        "uptime_s": asyncio.get_running_loop().time() - daemon.started_at,
        "socket": str(options.socket),
        "tcp": ":".join(map(str, daemon.tcp_address)) if daemon.tcp_address else "",
        "config": str(daemon.config.path),
        "pool_from": daemon.config.source,
        "clients": daemon.clients,
        "events": shell.events,
        "errors": shell.errors,
        "journal": str(journal.path) if journal is not None else "",
        "journal_bytes": journal.size_bytes if journal is not None else 0,
        "journal_error": shell.journal_error,
        "notes": daemon.notes(),
    }
    body["covered"] = dict(sorted(daemon.books.covered.items()))
    body["passed"] = [
        {"why": why, "target": target, "count": count}
        for (why, target), count in sorted(daemon.books.passed.items())
    ]
    return body


async def _top(daemon: "Daemon", args: Body) -> Body:
    """What `headway top` shows: some of the status, and the scheduler's overview."""
    shell = daemon.shell
    status = shell.status()
    kept = ("mode", "policy", "endpoints", "forecasts", "running", "runs_open", "runs_interrupted")
    return {
        **{key: status[key] for key in kept if key in status},
        **shell.overview(),
        "daemon": {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": asyncio.get_running_loop().time() - daemon.started_at,
            "clients": daemon.clients,
            "events": shell.events,
            "errors": shell.errors,
            "journal_error": shell.journal_error,
        },
    }


async def _explain(daemon: "Daemon", args: Body) -> Body:
    return daemon.shell.explain(str(args.get("run", "last")))


async def _mode(daemon: "Daemon", args: Body) -> Body:
    try:
        order = msgspec.convert(args, ModeSet)
    except msgspec.ValidationError:
        raise HeadwayError("the mode is one of on, shadow, off") from None
    before = daemon.mode
    daemon.shell.tell(order)
    log.info("the mode was %s and is %s now", before, daemon.mode)
    await daemon.pool_changed()
    return {"mode": daemon.mode}


async def _reload(daemon: "Daemon", args: Body) -> Body:
    """Read the configuration again; if anything in it is wrong, all stays as it is."""
    shell = daemon.shell
    config = daemon.config.load(daemon.config.path)
    pool = msgspec.structs.replace(config.pool, mode=daemon.mode)
    before = daemon.config
    seeded_anew = config.seed != before.seed
    recipe = Recipe(
        pool=pool,
        policy=config.policy,
        params=config.params,
        seed=config.seed if seeded_anew else shell.recipe.seed + 1,
    )
    if seeded_anew or (config.policy, config.params) != (before.policy, before.params):
        shell.rebase(recipe)
        changed = "pool and policy"
    elif pool.quality != shell.pool.quality:  # predictors take their priors when they are made
        shell.rebase(recipe)
        changed = "pool"
    elif pool != shell.pool:
        shell.tell(PoolSet(pool=pool))
        changed = "pool"
    else:
        changed = "nothing"
    said = ", ".join(_moved(before.pool, pool)) if changed != "nothing" else ""
    log.info("%s was read again: %s changed%s", config.source, changed, said and f": {said}")
    for note in config.notes:
        if note not in before.notes:
            log.warning("%s", note)
    if config.encoder != before.encoder:
        log.warning("another `encoder` takes a restart of the daemon")
    daemon.config = config
    await daemon.pool_changed()
    return {"changed": changed, "endpoints": len(pool.endpoints), "notes": list(config.notes)}


def _moved(before: Pool, after: Pool) -> list[str]:
    """Which endpoints are new, gone or declared otherwise, and whether more than they is."""
    old = {spec.id: spec for spec in before.endpoints}
    new = {spec.id: spec for spec in after.endpoints}
    ids = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    told = [f"{word} {name}" for word, names in ids.items() for name in names]
    pairs = {
        "models": (before.names, after.names),
        "capabilities": (before.capabilities, after.capabilities),
        "quality": (before.quality, after.quality),
        "gateways": (before.gateways, after.gateways),
        "classes": (before.class_deadlines, after.class_deadlines),
    }
    return told + [key for key, (was, now) in pairs.items() if was != now]


async def _journal(daemon: "Daemon", args: Body) -> Body:
    daemon.shell.flush()
    journal = daemon.shell.journal
    if journal is None:
        raise HeadwayError(daemon.shell.journal_error or "this daemon keeps no journal")
    return {"path": str(journal.path), "bytes": journal.size_bytes}


async def _shutdown(daemon: "Daemon", args: Body) -> Body:
    asyncio.get_running_loop().call_soon(daemon.request_stop)
    return {"stopping": True}


_QUERIES: dict[str, Callable[["Daemon", Body], Awaitable[Body]]] = {
    "explain": _explain,
    "journal": _journal,
    "mode": _mode,
    "reload": _reload,
    "shutdown": _shutdown,
    "status": _status,
    "top": _top,
}
