"""One cell under way: runs that unfold, calls on their way, and what is told to the scheduler."""

from collections.abc import Callable, Sequence

from headway.client.engines import urgency_rank
from headway.core.commands import Grant, SetTimer
from headway.core.errors import ConfigError
from headway.core.facts import (
    AnyFact,
    CallEnded,
    CallReady,
    EndpointSeen,
    Event,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.scheduler import Scheduler
from headway.core.types import ClientId, EndpointId, NodeId, Outcome, RunId, Seconds
from headway.engine import Finished, FirstToken, Rejected
from headway.sim.agenda import Agenda
from headway.sim.asking import ATTEMPT_NODE, call_of_attempt, call_of_node
from headway.sim.bodies import Body, blocks, prepared
from headway.sim.fleet import Fleet
from headway.sim.lives import Life, Sent
from headway.sim.luck import Luck
from headway.sim.outcomes import CellOutcome, RunOutcome
from headway.sim.plans import WORDS_ABOUT_A_FAILURE, Planned, Rules
from headway.sim.pools import SimPool

CLIENT = ClientId("sim#1")
SHELL = ClientId("")
TOOLS = ".tools"
"""Behind a node's name: the node of the tools that run before it."""
BLOCKS_OF_A_RUN = 1 << 32
RUNS_A_STEP = 50


class Playing:
    """Plays a cell. `to_the_end` may be called once."""

    def __init__(
        self,
        planned: Sequence[Planned],
        *,
        pool: SimPool,
        scheduler: Scheduler,
        luck: Luck,
        rules: Rules,
    ) -> None:
        self._pool = pool
        self._scheduler = scheduler
        self._luck = luck
        self._rules = rules
        self._fleet = Fleet(pool)
        self._agenda = Agenda()
        self._timer_due: dict[str, Seconds] = {}
        self._sent: dict[str, Sent] = {}
        self._left = len(planned)
        self._done: dict[str, RunOutcome] = {}
        self._span_s: Seconds = 0.0
        self._block_tokens = pool.sites[0].profile.block_tokens
        self._bodies: dict[int, Body] = {}
        self._planned = planned
        for number, plan in enumerate(planned):
            self._agenda.add(plan.arrival_s, self._arrive, plan, number)
        self._sleepers = any(
            site.asleep or site.profile.sleep_after_s is not None for site in pool.sites
        )
        self._agenda.add(0.0, self._scrape)

    def to_the_end(
        self,
        progress: Callable[[int], None] | None = None,
        *,
        planner_s: Sequence[float] = (),
    ) -> CellOutcome:
        """Play until every run has ended; `planner_s` is read when they have."""
        agenda, fleet = self._agenda, self._fleet
        told = 0
        while self._left:
            due, planned_at = fleet.next_at(), agenda.next_at
            if due <= planned_at:
                if due == float("inf"):
                    raise RuntimeError(f"{self._left} runs wait for ever: {self._stuck()}")
                self._span_s = due
                for happened in fleet.advance(due):
                    self._take(happened)
            else:
                self._span_s = planned_at
                agenda.pop()
            if progress is not None and len(self._done) >= told + RUNS_A_STEP:
                told = len(self._done)
                progress(told)
        return CellOutcome(
            runs=tuple(self._done[plan.id] for plan in self._planned),
            endpoints=fleet.outcomes(),
            span_s=self._span_s,
            planner_s=tuple(planner_s),
        )

    def _stuck(self) -> str:
        waiting = list(self._scheduler.books.waiting.values())
        return waiting[0].story() if waiting else "no call waits"

    # -- the scheduler ---------------------------------------------------------------------------

    def _tell(self, fact: AnyFact, at: Seconds, client: ClientId = CLIENT) -> None:
        for command in self._scheduler.handle(Event(at=at, fact=fact, client=client)):
            if isinstance(command, Grant):
                self._granted(command, at)
            elif isinstance(command, SetTimer):
                self._timer_due[command.timer] = command.at
                self._agenda.add(command.at, self._timer, command.timer)

    def _timer(self, at: Seconds, timer: str) -> None:
        if self._timer_due.get(timer) == at:
            del self._timer_due[timer]
            self._tell(TimerFired(timer=timer), at, SHELL)

    def _scrape(self, at: Seconds) -> None:
        """Look at every endpoint, as the daemon does; where nothing is open, nothing changed."""
        if self._agenda.next_at == self._fleet.next_at() == float("inf"):
            return  # nothing will ever happen again: let that be noticed
        self._agenda.add(at + self._rules.scrape_s, self._scrape)
        if not self._sent and not self._sleepers:
            return
        for site in self._pool.sites:
            running, waiting, kv_used, asleep = self._fleet.load(site.id)
            seen = EndpointSeen(
                endpoint=EndpointId(site.id),
                reachable=True,
                running=running,
                waiting=waiting,
                kv_used=kv_used,
                asleep=asleep,
            )
            self._tell(seen, at, SHELL)

    # -- runs ------------------------------------------------------------------------------------

    def _arrive(self, at: Seconds, plan: Planned, number: int) -> None:
        body = self._bodies.get(id(plan.run))
        if body is None:
            body = self._bodies[id(plan.run)] = prepared(plan.run, self._block_tokens)
        life = Life(
            plan=plan,
            body=body,
            offset=0 if plan.run.shared_blocks else (number + 1) * BLOCKS_OF_A_RUN,
            waits_for=[len(node.plan.parents) for node in body.nodes],
        )
        self._tell(
            RunStarted(
                run=RunId(plan.id),
                graph=plan.run.graph,
                thread=plan.id,
                deadline_s=plan.deadline_s,
                service_class=plan.service_class,
                tenant=plan.tenant,
            ),
            at,
        )
        if not body.nodes:
            life.prompt_tokens = self._luck.question(plan.id).prompt_tokens
            self._attempt(at, life)
            return
        life.open_nodes = 1  # the start itself: nodes that end at once do not end the run
        first = [place for place, waits in enumerate(life.waits_for) if not waits]
        self._follow(at, life, first)

    def _follow(self, at: Seconds, life: Life, ready: Sequence[int]) -> None:
        """What an ended node (or the start) leads to; the run pauses if only a person is left."""
        paused = len(ready) == 1 and life.open_nodes == 1
        for place in ready:
            self._wait_for(at, life, place, paused=paused)
        life.open_nodes -= 1
        if not life.open_nodes:
            self._end(at, life)

    def _wait_for(self, at: Seconds, life: Life, place: int, *, paused: bool) -> None:
        """A node's parents have ended: it begins after its tools, or when the person answers."""
        plan = life.body.nodes[place].plan
        life.open_nodes += 1
        if plan.think_s > 0.0 and paused:
            life.paused_s += plan.think_s
            self._tell(RunEnded(run=RunId(life.plan.id), outcome="interrupted"), at)
            self._agenda.add(at + plan.think_s, self._resume, life, place)
        elif plan.think_s > 0.0:
            self._agenda.add(at + plan.think_s, self._use_tools, life, place)
        else:
            self._use_tools(at, life, place)

    def _resume(self, at: Seconds, life: Life, place: int) -> None:
        run = RunId(life.plan.id)
        graph = life.plan.run.graph
        self._tell(RunStarted(run=run, graph=graph, thread=life.plan.id, resumed=True), at)
        self._use_tools(at, life, place)

    def _use_tools(self, at: Seconds, life: Life, place: int) -> None:
        """What a graph does before a call is a node of its own, as in LangGraph."""
        node = life.body.nodes[place]
        run = life.plan.id
        parents = tuple([NodeId(f"{run}/{parent}") for parent in node.plan.parents])
        if not node.plan.tool_s:
            self._begin(at, life, place, parents)
            return
        tools = NodeId(f"{run}/{place}/tools")
        started = NodeStarted(
            run=RunId(run),
            node=tools,
            name=f"{node.plan.name}{TOOLS}",
            parents=parents,
            visit=node.visit,
            step=node.step - 1,
        )
        self._tell(started, at)
        self._agenda.add(at + node.plan.tool_s, self._tools_done, life, place, tools)

    def _tools_done(self, at: Seconds, life: Life, place: int, tools: NodeId) -> None:
        self._tell(NodeEnded(run=RunId(life.plan.id), node=tools), at)
        self._begin(at, life, place, (tools,))

    def _begin(self, at: Seconds, life: Life, place: int, parents: tuple[NodeId, ...]) -> None:
        """A node begins, with its call if it makes one."""
        node = life.body.nodes[place]
        plan = node.plan
        run = life.plan.id
        node_id = NodeId(f"{run}/{place}")
        if not plan.prompt_tokens:
            started = NodeStarted(
                run=RunId(run),
                node=node_id,
                name=plan.name,
                parents=parents,
                visit=node.visit,
                step=node.step,
            )
            self._tell(started, at)
            self._node_over(at, life, place, node_id)
            return
        ask = call_of_node(life, place, parents, self._rules)
        self._ask(at, life, place, ask, blocks(node.prefix, life.offset))

    def _attempt(self, at: Seconds, life: Life) -> None:
        """The graph asks the run's question, once more."""
        life.attempt += 1
        ask = call_of_attempt(life, self._rules)
        life.last_node = ask.node
        self._ask(at, life, life.attempt, ask, ())

    def _node_over(self, at: Seconds, life: Life, place: int, node_id: NodeId) -> None:
        """A node ended: those that waited for it alone are next; or the run is over."""
        self._tell(NodeEnded(run=RunId(life.plan.id), node=node_id), at)
        ready = []
        for child in life.body.nodes[place].children:
            life.waits_for[child] -= 1
            if not life.waits_for[child]:
                ready.append(child)
        self._follow(at, life, ready)

    def _end(self, at: Seconds, life: Life) -> None:
        plan = life.plan
        outcome: Outcome = "error" if life.failed else "ok"
        self._tell(RunEnded(run=RunId(plan.id), outcome=outcome), at)
        self._left -= 1
        self._done[plan.id] = life.outcome(at)

    # -- calls -----------------------------------------------------------------------------------

    def _ask(
        self, at: Seconds, life: Life, place: int, ask: CallReady, prefix: tuple[int, ...]
    ) -> None:
        self._sent[ask.call] = Sent(life=life, place=place, ask=ask, prefix=prefix, ready_s=at)
        self._tell(ask, at)

    def _granted(self, grant: Grant, at: Seconds) -> None:
        sent = self._sent[grant.call]
        if not grant.endpoint:
            raise ConfigError(f"call {grant.call}: {grant.why}")
        call = self._scheduler.books.calls[(grant.call, grant.attempt)]
        sent.site, sent.model, sent.released_s = grant.endpoint, grant.model, at
        sent.reserved = call.output.p90 if call.output is not None else 0.0
        sent.truth, sent.right = self._truth(sent, grant.model)
        limit = sent.ask.max_tokens or self._rules.max_tokens
        if grant.output_limit is not None:
            limit = min(limit, grant.output_limit)
        if sent.truth > limit:
            sent.truth = max(limit, 1)
            sent.right = None if sent.right is None else False
        arrives = at + self._rules.decision_s + self._fleet.sites[sent.site].rtt_s / 2.0
        self._agenda.add(arrives, self._submit, sent, urgency_rank(grant.urgency))

    def _truth(self, sent: Sent, model: str) -> tuple[int, bool | None]:
        """Tokens that `model` will write, and whether that is right (None: nobody knows)."""
        life = sent.life
        if not life.body.nodes:
            answer = self._luck.answer(life.plan.id, model, life.answers.get(model, 0))
            return max(answer.output_tokens, 1), answer.ok
        plan = life.body.nodes[sent.place].plan
        tokens = max(plan.outputs.get(model, plan.output_tokens), 1)
        if life.plan.run.question is not None and sent.place == life.body.last_call:
            return tokens, self._luck.answer(life.plan.id, model).ok
        return tokens, None

    def _submit(self, at: Seconds, sent: Sent, rank: int) -> None:
        prompt_tokens = sent.prompt_tokens
        prefix = sent.prefix
        if not sent.life.body.nodes:
            held = (prompt_tokens + sent.truth) // self._block_tokens
            prefix = tuple(range(sent.life.offset, sent.life.offset + held))
        self._fleet.submit(
            sent.ask.call,
            sent.site,
            prompt_tokens=prompt_tokens,
            output_tokens=sent.truth,
            priority=-rank,
            prefix=prefix,
            at=at,
        )

    def _take(self, happened: Finished | FirstToken | Rejected) -> None:
        """Something happened on a server."""
        if isinstance(happened, FirstToken):
            self._sent[happened.id].first_s = happened.at
            return
        sent = self._sent.pop(happened.id)
        if isinstance(happened, Rejected):
            self._refused(sent, happened)
            return
        at = happened.at + self._fleet.sites[sent.site].rtt_s / 2.0
        if at > happened.at:
            self._agenda.add(at, self._answered, sent, happened)
        else:
            self._answered(at, sent, happened)

    def _answered(self, at: Seconds, sent: Sent, done: Finished) -> None:
        life, ask = sent.life, sent.ask
        prompt_tokens = sent.prompt_tokens
        self._fleet.count(sent.site, prompt_tokens, done)
        reference_tokens = self._truth(sent, self._pool.reference)[0]
        life.calls.append(sent.outcome(at, done, reference_tokens))
        price = self._fleet.sites[sent.site].price or 0.0
        life.cost += price * (prompt_tokens - done.cached_tokens + done.output_tokens) / 1e6
        ended = CallEnded(
            call=ask.call,
            attempt=1,
            run=ask.run,
            prompt_tokens=prompt_tokens,
            cached_tokens=done.cached_tokens,
            output_tokens=done.output_tokens,
            first_token_s=done.first_token_at - sent.released_s,
            duration_s=at - sent.released_s,
            tool_calls=0 if not life.body.nodes else life.body.nodes[sent.place].plan.tool_calls,
        )
        self._tell(ended, at)
        if sent.right is not None:
            life.ok = sent.right
        if life.body.nodes:
            self._node_over(at, life, sent.place, ask.node)
        else:
            self._judge(at, sent, done.output_tokens)

    def _judge(self, at: Seconds, sent: Sent, output_tokens: int) -> None:
        """The graph looks at an answer to a question: done, given up, or asked again."""
        life = sent.life
        run = RunId(life.plan.id)
        life.answers[sent.model] = life.answers.get(sent.model, 0) + 1
        self._tell(NodeEnded(run=run, node=sent.ask.node), at)
        good = self._luck.verdict(life.plan.id, life.attempt, bool(sent.right))
        again = not good and life.attempt < life.plan.attempts
        if again and self._scheduler.worth_retrying(run, ATTEMPT_NODE, at):
            life.prompt_tokens += output_tokens + WORDS_ABOUT_A_FAILURE
            self._agenda.add(at + life.plan.pause_s, self._attempt, life)
        else:
            self._end(at, life)

    def _refused(self, sent: Sent, refusal: Rejected) -> None:
        """The server did not take a call: it can never hold it, so the run fails."""
        life, ask = sent.life, sent.ask
        life.failed = True
        error = "400" if refusal.kind == "too_long" else "503"
        ended = CallEnded(call=ask.call, attempt=1, run=ask.run, outcome="error", error=error)
        self._tell(ended, refusal.at)
        self._tell(NodeEnded(run=ask.run, node=ask.node, outcome="error"), refusal.at)
        life.open_nodes -= 1
        if life.open_nodes <= 0:
            self._end(refusal.at, life)
