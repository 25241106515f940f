"""The run of an `Endpoint`: its servers share the rows, and one that dies or is of no use is left for a while."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from nlft.answer.config import AskSettings
from nlft.answer.connection import Connection, Sent
from nlft.answer.limits import Gate, Spending, backoff, estimate_tokens
from nlft.answer.response import Retry, Useless
from nlft.answer.types import OnReply, Reply, Request
from nlft.errors import EndpointError, ModelError, NLFTError

logger = logging.getLogger("nlft")

# So many rows in a row lost to silence, without a single reply in between, and the server counts as gone; where there
# are others, so many requests.
_GONE_AFTER = 5
# Seconds until a server that was left is asked again.
ASKED_AGAIN = 60.0


@dataclass
class _Row:
    """A request on its way to its reply."""

    request: Request
    worst: float  # what it costs at most
    outcomes: list[Sent] = field(default_factory=list)
    began: float = 0.0
    attempts: int = 0  # those that count against it

    def reply(self, result: Reply) -> Reply:
        """The result, with the requests and tokens of everything that was sent for it."""
        counted = [outcome for outcome in self.outcomes if not isinstance(outcome, Useless)]
        return replace(
            result,
            requests=len(self.outcomes),
            prompt_tokens=sum(outcome.prompt_tokens for outcome in counted),
            completion_tokens=sum(outcome.completion_tokens for outcome in counted),
        )


@dataclass
class _Server:
    """What a run knows of one server."""

    connection: Connection
    heard: bool = False  # whether it has said anything yet
    replied: bool = False  # whether it has answered anything yet
    failures: int = 0  # requests in a row that it failed to answer
    left: str | None = None  # why it is left alone
    lost: list[tuple[_Row, Reply]] = field(default_factory=list)  # rows that failed, if not it is to blame


class Run:
    """One call of `Endpoint.reply`.

    Once a limit is reached or the servers are found to be useless, nothing new is sent, but what is under way is waited
    for: it may be paid for already.

    Args:
        settings: How often a row is asked, and what it may cost.
        spending: The budget.
        connections: To the servers; closed at the end.
        body: The JSON of a request.
    """

    def __init__(
        self,
        settings: AskSettings,
        spending: Spending,
        connections: Sequence[Connection],
        body: Callable[[Request], dict[str, Any]],
    ) -> None:
        self.settings, self.spending, self.body = settings, spending, body
        self.servers = {connection.limit: _Server(connection) for connection in connections}
        self.error: EndpointError | None = None

    def worst(self, request: Request) -> float:
        """What a request costs at most."""
        return self.settings.cost(estimate_tokens(request.messages, request.tools), self.settings.max_new_tokens)

    async def all(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Start the workers and wait for them."""
        self.on_reply = on_reply
        self.waiting = deque(_Row(request, self.worst(request)) for request in requests)
        self.workers = min(self.settings.concurrency * len(self.servers), len(requests))
        self.gate = Gate(list(self.servers), self.spending)
        async with AsyncExitStack() as stack:
            for server in self.servers.values():
                stack.push_async_callback(server.connection.close)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.workers):
                        group.create_task(self.work())
            # Not `except*`: what is raised inside it comes out wrapped, or not, depending on Python's patch release.
            except ExceptionGroup as errors:
                ours, others = errors.split(NLFTError)
                if ours is None or others is not None:
                    raise
                raise ours.exceptions[0] from None  # the workers' errors all say the same
        if self.error is not None:
            raise self.error
        for server in self.servers.values():
            self.hand_over_lost(server)

    async def work(self) -> None:
        """Take one row after the other to its end."""
        while self.waiting and not self.gate.closed.is_set():
            await self.ask(self.waiting.popleft())

    async def ask(self, row: _Row) -> None:
        """Ask until there is a reply, the row's retries are used up, or the run stops."""
        row.began = time.monotonic()
        try:
            fields = self.body(row.request)
        except ModelError as error:
            self.on_reply(row.request, Reply(failure=error.message))
            return
        pause: float | None = 0.0
        while pause is not None and (entered := await self.gate.enter(row.worst)) is not None:
            limit, sent_at = entered
            server, cost = self.servers[limit], row.worst
            try:
                outcome = await server.connection.send(fields)
                row.outcomes.append(outcome)
                cost = self.cost(outcome, row.worst)
                # Before the place is given up: the reply is on disk before another request is sent instead.
                pause = self.settle(row, server, outcome, sent_at)
            finally:
                await self.gate.leave(limit, row.worst, cost)
            if pause is not None:
                await self.gate.sleep(pause)

    def cost(self, outcome: Sent, worst: float) -> float:
        """What a request has cost: a lost connection may hide a reply that is charged, a refusal costs nothing."""
        if isinstance(outcome, Useless):
            return 0.0
        known = isinstance(outcome, Reply) or outcome.asked is not None or not outcome.overload
        if known or outcome.prompt_tokens:
            return self.settings.cost(outcome.prompt_tokens, outcome.completion_tokens)
        return worst

    def settle(self, row: _Row, server: _Server, last: Sent, sent_at: float) -> float | None:
        """Hand the row over if it is finished or lost; else the seconds until it is asked again."""
        if isinstance(last, Useless):
            self.leave(server, last)
            return None if self.gate.closed.is_set() else 0.0
        server.heard = server.heard or isinstance(last, Reply) or not last.silent
        if isinstance(last, Reply):
            self.finish(row, server, row.reply(last))
            return None
        if last.overload:
            server.connection.limit.complained(sent_at)
        server.failures = server.failures + 1 if last.failing else server.failures
        if server.failures >= _GONE_AFTER and self.others(server):
            self.leave(server, Useless("it fails to answer", last.reason))
        if self.gate.closed.is_set():
            return None
        row.attempts += last.counts and not (last.failing and server.left is not None)
        # Where there are others, they need not wait for as long as this one asks to be left alone.
        pause = backoff(max(row.attempts, 1), random.random(), None if self.others(server) else last.asked)
        if row.attempts >= self.settings.attempts or time.monotonic() - row.began + pause > self.settings.retry_seconds:
            if last.empty is not None:
                self.finish(row, server, row.reply(last.empty))
                return None
            reason = f"given up after {len(row.outcomes)} requests: {last.reason}"
            self.lose(row, server, row.reply(Reply(failure=reason)), last)
            return None
        return pause

    def others(self, server: _Server) -> bool:
        """Whether another server is at work."""
        return any(other.left is None for other in self.servers.values() if other is not server)

    def finish(self, row: _Row, server: _Server, reply: Reply) -> None:
        """Hand over a reply, or a refusal of this very row.

        Where the server refuses one row after the other in the same words and has answered none, the rows are not to
        blame: the server is left, and none of them has failed. Where another has answered, that one decides.
        """
        server.connection.limit.went_well()
        server.failures = 0
        if reply.failure is not None and not server.replied:
            server.lost.append((row, reply))
            alike = len(server.lost) >= _GONE_AFTER and {lost.failure for _, lost in server.lost} == {reply.failure}
            if alike or (self.others(server) and any(other.replied for other in self.servers.values())):
                self.leave(server, Useless("it refuses every request", reply.failure))
            return
        if server.left is not None:
            logger.warning("%s answers again", server.connection.name)
            server.left, server.connection.limit.resume_at = None, time.monotonic()
        server.replied = True
        self.on_reply(row.request, reply)
        self.hand_over_lost(server)

    def lose(self, row: _Row, server: _Server, reply: Reply, last: Retry) -> None:
        """Set aside a row whose retries are used up; several lost to silence, without a reply between, end the run.

        They are handed over as failed once another row gets its reply: then it was them, not the server.
        """
        server.lost.append((row, reply))
        if not last.silent:
            self.hand_over_lost(server)
        elif len(server.lost) >= min(_GONE_AFTER, self.workers) and not server.heard:
            self.leave(server, Useless("it does not answer", last.reason))
        elif len(server.lost) >= _GONE_AFTER:
            self.leave(server, Useless("it has stopped answering", last.reason))

    def hand_over_lost(self, server: _Server) -> None:
        """The server is there, so these rows have failed for good."""
        for row, reply in server.lost:
            self.on_reply(row.request, reply)
        server.lost.clear()

    def leave(self, server: _Server, found: Useless) -> None:
        """Let the others do a server's work for a while; where there are none, send nothing more."""
        connection, seconds = server.connection, max(found.seconds, ASKED_AGAIN)
        before, server.left = server.left, f"{connection.name} gives no answers: {found.why} ({found.reason})"
        connection.limit.limit = 1.0
        connection.limit.pause(seconds)
        if not self.others(server):
            self.error = self.error or EndpointError(
                "; ".join(str(each.left) for each in self.servers.values()),
                remedy=found.remedy
                or "fix this and run the same command again: finished rows are kept, and not asked again",
            )
            self.gate.closed.set()
            return
        if before is None:
            logger.warning("%s; the others do its work, and it is asked again in %.0f s", server.left, seconds)
        for row, _ in server.lost:
            self.waiting.append(row)
        server.lost.clear()
