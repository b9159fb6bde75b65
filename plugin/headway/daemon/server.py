"""The daemon: sockets, connections, scraping and persistence around one shell.

Starting and stopping live here, and who is connected. What the scheduler is
told is the shell's, what an operator may ask is in queries.py.
"""

import asyncio
import logging
import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from headway.client.paths import encode_pool_view, pool_view_path, read_pool_view
from headway.core.errors import ConfigError, FrameError, HeadwayError
from headway.core.facts import CallReady, ClientLost, EndpointSeen, Fact
from headway.core.types import ClientId, Mode, Seconds
from headway.daemon.config import Config
from headway.daemon.connection import Connection
from headway.daemon.encoding import PromptDesk
from headway.daemon.files import learned_path, write_private
from headway.daemon.keeping import Keeper
from headway.daemon.queries import answer
from headway.daemon.scrape import Scraper
from headway.daemon.shell import MakeScheduler, Recipe, Shell, make_scheduler
from headway.daemon.sockets import Lock, listen
from headway.wire.journal import JournalWriter
from headway.wire.messages import (
    PROTOCOL_VERSION,
    ClientMessage,
    Covered,
    Granted,
    Hello,
    Passed,
    PoolView,
    Prompt,
    Query,
    Reply,
    Welcome,
    encode_frame,
)

log = logging.getLogger("headway.daemon")

MAX_PASSED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where a daemon listens and what it keeps. `journal` is a folder, None for no journal.

    `learned` is what it starts with if it has learned nothing yet.

    `tcp` needs a `token`, which clients over TCP must show.
    """

    socket: Path
    tcp: tuple[str, int] | None = None
    token: bytes = b""
    journal: Path | None = None
    learned: dict[str, Any] | None = None
    journal_bytes: int = 64 << 20
    journal_keep: int = 4
    flush_s: Seconds = 0.5
    save_s: Seconds = 300.0
    scrape: bool = True
    scrape_s: Seconds = 1.0


@dataclass(slots=True)
class Books:
    """What clients say of their coverage; for status only."""

    covered: Counter[str] = field(default_factory=Counter)
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def passed_by(self, message: Passed) -> None:
        """Count it; the number of distinct targets is bounded."""
        key = (message.why[:200], message.target[:200])
        if key not in self.passed and len(self.passed) >= MAX_PASSED:
            key = ("other", "")
        self.passed[key] += message.count


class Daemon:
    """One daemon for one pool. `start`, then `until_stopped`, then `stop`."""

    def __init__(
        self, config: Config, options: Options, *, make: MakeScheduler = make_scheduler
    ) -> None:
        self.config = config
        self.options = options
        self.books = Books()
        self.started_at: Seconds = 0.0
        self.tcp_address: tuple[str, int] | None = None
        self._make = make
        self._connections: dict[ClientId, Connection] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._clients = 0
        self._servers: list[asyncio.AbstractServer] = []
        self._lock: Lock | None = None
        self._scraper: Scraper | None = None
        self._prompts: PromptDesk | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._shell: Shell | None = None
        self._keeper = Keeper(learned_path(options.socket))

    @property
    def shell(self) -> Shell:
        """The shell; there is one between `start` and `stop`."""
        if self._shell is None:
            raise HeadwayError("the daemon has not been started")
        return self._shell

    @property
    def mode(self) -> Mode:
        """The scheduler's mode."""
        return self.shell.mode

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def notes(self) -> list[str]:
        """What an operator should know: of the configuration, and what does not work of it."""
        prompts = self._prompts
        return [*self.config.notes, *([prompts.problem] if prompts and prompts.problem else [])]

    async def start(self) -> None:
        """Listen. Raises `SocketTaken` or `ConfigError`, leaving nothing behind."""
        options = self.options
        if options.tcp is not None and not options.token.strip():
            raise ConfigError("listening on TCP needs a token: over TCP every client shows one")
        listening, self._lock = listen(options.socket)
        try:
            self._shell = self._new_shell()
            if self.config.encoder is not None:
                self._prompts = PromptDesk(self.config.encoder, tell=self._shell.tell)
            await self._serve(listening)
        except BaseException:
            await self.stop()
            listening.close()
            raise
        self.started_at = asyncio.get_running_loop().time()
        self.keep_view()
        if self.shell.recipe.learned is not None:
            self.save()  # what lessons come now add to
        if options.scrape:
            self._scraper = Scraper(self.shell_tell, every_s=options.scrape_s)
            await self._scraper.watch(self.shell.pool)
        self._keeping = asyncio.create_task(self._keep())
        for note in self.config.notes:
            log.warning("%s", note)

    async def until_stopped(self) -> None:
        """Return when somebody asked for the end (`request_stop`)."""
        await self._stopping.wait()

    def request_stop(self) -> None:
        """Ask for the end; safe in a signal handler of the loop."""
        self._stopping.set()

    async def stop(self) -> None:
        """Close everything; clients with held calls fall open. Safe to call twice."""
        self._stopping.set()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self._scraper is not None:
            await self._scraper.stop()
            self._scraper = None
        if self._prompts is not None:
            await self._prompts.stop()
            self._prompts = None
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            connection.close()
        if self._lock is not None:  # while the lock is held, what lies there is ours
            self.options.socket.unlink(missing_ok=True)
            if self._shell is not None:
                self.save()
                self._shell.stop()
            self._keeper.close()
            self._lock.release()
            self._lock = None
        self._servers.clear()

    def shell_tell(self, fact: EndpointSeen) -> None:
        """What the scraper saw."""
        self.shell.tell(fact)

    async def pool_changed(self) -> None:
        """The pool or the mode is another: tell the clients, the file and the scraper."""
        self.keep_view()
        view = PoolView(pool=self.shell.pool)
        for connection in self._connections.values():
            connection.send(view)
        if self._scraper is not None:
            await self._scraper.watch(self.shell.pool)

    def keep_view(self) -> None:
        """Write the pool view beside the socket."""
        try:
            path = pool_view_path(self.options.socket)
            write_private(path, encode_pool_view(self.shell.pool))
        except OSError as error:
            log.error("cannot keep the pool view beside the socket: %s", error)

    def save(self) -> None:
        """Keep what was learned."""
        self._keeper.save(self.shell)

    # The connections' host ----------------------------------------------------

    def opened(self, connection: Connection, hello: Hello) -> tuple[ClientId, Welcome]:
        """A new lease. Its id is made unique: a client may come back before its old one ends."""
        self._clients += 1
        client = ClientId(f"{hello.client[:100]}#{self._clients}")
        self._connections[client] = connection
        return client, Welcome(version=PROTOCOL_VERSION, pool=self.shell.pool)

    def said(self, connection: Connection, message: ClientMessage) -> None:
        """A fact, a count or a question."""
        if isinstance(message, CallReady) and self._prompts is not None:
            wait_s = self.shell.pool.name(message.pool_name).wait_for_confidence_s
            self._prompts.asked(connection.client, message, wait_s=wait_s)
        elif isinstance(message, Prompt):
            if self._prompts is not None:
                self._prompts.heard(message)
        elif isinstance(message, Fact):
            self.shell.tell(message, connection.client)
        elif isinstance(message, Passed):
            self.books.passed_by(message)
        elif isinstance(message, Covered):
            self.books.covered[message.way[:100]] += message.count
        elif isinstance(message, Query):
            task = asyncio.create_task(self._answer(connection, message))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def closed(self, connection: Connection) -> None:
        """The lease ended."""
        self._connections.pop(connection.client, None)
        if self._prompts is not None:
            self._prompts.lost(connection.client)
        if not self._stopping.is_set():
            self.shell.tell(ClientLost(), connection.client)

    # Inside -------------------------------------------------------------------

    def _new_shell(self) -> Shell:
        options, config = self.options, self.config
        pool = config.pool
        mode = self._mode_before()
        if mode != "on":
            log.warning("the mode is %s, as it was set before: headway mode on", mode)
            pool = msgspec.structs.replace(pool, mode=mode)
        journal = None
        if options.journal is not None:
            journal = JournalWriter(
                options.journal, max_bytes=options.journal_bytes, keep=options.journal_keep
            )
        learned = self._keeper.recall(options.journal, pool.quality)
        recipe = Recipe(
            pool=pool,
            policy=config.policy,
            params=config.params,
            seed=config.seed,
            learned=learned or options.learned,
        )
        if options.learned is not None:
            log.info(
                "what `--learned` names is %s",
                "taken" if learned is None else "not taken: the daemon has learned by itself",
            )
        return Shell(
            self._usable(recipe),
            make=self._make,
            deliver=self._deliver,
            journal=journal,
        )

    def _mode_before(self) -> Mode:
        """The mode that an operator left; a restart does not switch Headway on again."""
        try:
            return read_pool_view(pool_view_path(self.options.socket)).mode
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return "on"

    def _usable(self, recipe: Recipe) -> Recipe:
        """The recipe, without what was learned if this scheduler cannot take it."""
        if recipe.learned is None:
            return recipe
        fresh = replace(recipe, learned=None)
        self._make(fresh)  # a wrong policy is the configuration's fault, and raises here
        try:
            self._make(recipe)
        except Exception as error:
            log.error("what was learned before cannot be used, learning anew", exc_info=error)
            self._keeper.refused()
            return fresh
        return recipe

    async def _serve(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_unix_server(lambda: Connection(self), sock=listening)
        )
        if self.options.tcp is not None:
            host, port = self.options.tcp
            try:
                server = await loop.create_server(
                    lambda: Connection(self, token=self.options.token), host, port
                )
            except OSError as error:
                raise ConfigError(f"cannot listen on {host}:{port}: {error}") from error
            self._servers.append(server)
            name = server.sockets[0].getsockname()
            self.tcp_address = (name[0], name[1])

    def _deliver(self, client: ClientId, granted: Granted) -> None:
        connection = self._connections.get(client)
        if connection is not None:
            connection.send(granted)

    async def _answer(self, connection: Connection, query: Query) -> None:
        try:
            reply = Reply(id=query.id, body=await answer(self, query.what, query.args))
            encode_frame(reply)
        except FrameError as error:
            reply = Reply(id=query.id, error=f"the answer is too large: {error}")
        except HeadwayError as error:
            reply = Reply(id=query.id, error=str(error))
        except Exception as error:
            log.error("a defect of Headway: the query %r failed", query.what, exc_info=error)
            reply = Reply(id=query.id, error=f"the daemon failed: {type(error).__name__}: {error}")
        connection.send(reply)

    async def _keep(self) -> None:
        """Flush the journal, keep what was learned, and from time to time all of it."""
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            await asyncio.sleep(self.options.flush_s)
            self.shell.flush()
            self._keeper.note(self.shell)
            if loop.time() - saved >= self.options.save_s:
                self.save()
                saved = loop.time()
