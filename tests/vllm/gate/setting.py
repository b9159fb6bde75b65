"""What is played: pools of paced servers, two generated workloads, three ways, some loads.

Lengths of answers and the times of tools are a tenth of the generated ones: so 2,000 calls
of a cell take minutes on servers whose steps last as long as those of real ones. No answer is
judged, so no model is declared to be better than another: what is compared is time. Servers
are so slow that this machine carries a cell's calls: LiteLLM's Router takes up to 25 ms of
processor time for each.
"""

import dataclasses
from dataclasses import dataclass

import msgspec

from headway.core.types import Seconds
from headway.engine import EngineProfile
from headway.sim.alone import Alone
from headway.sim.luck import Kinds
from headway.sim.pools import SimPool
from headway.sim.sources import Sources
from headway.sim.suite import BodiesSpec, DeadlineSpec, TraceSpec
from headway.sim.trace import Question, TraceRun
from headway.sim.workload import Draw, Material, Part, Workload, plan, prepare
from tests.paced.servers import PacedServer

OTHER_RUNS = 60
"""They tell what a way costs beside the engines."""
SHARE = 0.1
"""Of the generated lengths and tool times, what is played."""
LEAST_TOKENS = 3
MAX_TOKENS = 128
"""Of a question's answers: some would never end."""
BLOCK_TOKENS, STEP_TOKENS = 32, 2048
"""What the servers are started with, and tell."""
HEADWAY, EARLY, LITELLM = "headway", "headway+early", "least-busy"
POLICIES = (HEADWAY, EARLY, LITELLM)
"""Late release; the same bound at once, with the engine's own priority queue; LiteLLM's Router."""
SMALL, MIDDLE, LARGE = "small", "middle", "large"
SEATS = 8
STEPS_S = {SMALL: 0.012, MIDDLE: 0.024, LARGE: 0.048}
PREFILL_TOKENS_S = {SMALL: 32000, MIDDLE: 16000, LARGE: 8000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A pool of paced servers. `models` maps the generated models to those served."""

    name: str
    about: str
    servers: tuple[PacedServer, ...]
    models: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Its models, smallest first."""
        return tuple(dict.fromkeys(server.model for server in self.servers))


def _server(name: str, model: str, *, kv_tokens: int, slower: float) -> PacedServer:
    step_s = STEPS_S[model] * slower
    true = EngineProfile(
        step_s=step_s,
        prefill_s=slower / PREFILL_TOKENS_S[model],
        seq_s=0.01 * step_s,
        context_s=5e-6 * step_s,
        seats=SEATS,
        kv_tokens=kv_tokens,
        block_tokens=BLOCK_TOKENS,
        step_tokens=STEP_TOKENS,
    )
    return PacedServer(name=name, model=model, profile=true, env={"VLLM_SERVER_DEV_MODE": "1"})


def _sizes(name: str, slower: float) -> Stand:
    return Stand(
        name=name,
        about=f"three sizes of model, {SEATS} seats each, room for every cache; steps of "
        + ", ".join(f"{1000 * slower * STEPS_S[model]:.0f}" for model in STEPS_S)
        + " ms",
        servers=tuple(_server(model, model, kv_tokens=131072, slower=slower) for model in STEPS_S),
        models={model: model for model in STEPS_S},
    )


SIZES, SLOW = _sizes("sizes", 1.1), _sizes("slow", 2.0)
TIGHT = Stand(
    name="tight",
    about="two small servers and a large one, whose KV caches hold 12,288 tokens each; steps of "
    "18 and 72 ms",
    servers=tuple(
        _server(name, model, kv_tokens=12288, slower=1.5)
        for name, model in (("small-1", SMALL), ("small-2", SMALL), ("large-1", LARGE))
    ),
    models={SMALL: SMALL, LARGE: LARGE},
)


def _trace(name: str, stand: Stand, families: dict[str, float]) -> TraceSpec:
    return TraceSpec(
        name=name,
        pools=(stand.name,),
        bodies=tuple(BodiesSpec(family=family, share=share) for family, share in families.items()),
        models=stand.models,
        history_share=0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is played under each of `POLICIES`: `load` is in knees of LiteLLM's least-busy."""

    stand: Stand
    trace: TraceSpec
    about: str
    load: float
    runs: int

    @property
    def name(self) -> str:
        """As people and files call it."""
        return f"{self.stand.name}/{self.trace.name} at {self.load:g}"


ABOUT_AGENTS = "chains, single calls, fan-outs"
ABOUT_LOOPS = "coding loops on a growing context, long dialogues"


def _agents(stand: Stand, load: float) -> Cell:
    trace = _trace("agents", stand, {"chain": 4.0, "single": 2.0, "fanout": 1.0})
    return Cell(stand=stand, trace=trace, about=ABOUT_AGENTS, load=load, runs=500)


CELLS = (
    _agents(SIZES, 0.5),
    _agents(SIZES, 0.7),
    _agents(SLOW, 1.2),
    Cell(
        stand=TIGHT,
        trace=_trace("loops", TIGHT, {"loop": 3.0, "sharegpt-like": 2.0}),
        about=ABOUT_LOOPS,
        load=0.5,
        runs=520,
    ),
)


def material_of(trace: TraceSpec, pool: SimPool) -> Material:
    """The generated runs, as short as they are played."""
    made = prepare(trace, pool, Sources(data=None, base=None), max_tokens=1 << 16)
    parts = tuple(
        Part(share=part.share, history=(), test=tuple(_shorter(run) for run in part.test))
        for part in made.parts
    )
    questions = [run.question for part in parts for run in part.test if run.question is not None]
    return dataclasses.replace(made, parts=parts, kinds=Kinds(questions))


def workload(
    trace: TraceSpec, pool: SimPool, material: Material, *, runs: int, rate: float, seed: int
) -> Workload:
    """`runs` runs that come at `rate` a second (Poisson), or one after the other (0)."""
    alone = Alone(pool, max_tokens=MAX_TOKENS)
    draw = Draw(runs=runs, rate=rate, seed=seed, rho=0.5, verifier=1.0)
    return plan(material, trace, draw, alone=alone, deadlines=DeadlineSpec())


def _shorter(run: TraceRun) -> TraceRun:
    question = run.question
    nodes = tuple(
        msgspec.structs.replace(
            node,
            output_tokens=_tokens(node.output_tokens) if node.output_tokens else 0,
            max_tokens=None if node.max_tokens is None else _tokens(node.max_tokens),
            tool_s=_seconds(node.tool_s),
        )
        for node in run.nodes
    )
    return msgspec.structs.replace(
        run, nodes=nodes, question=None if question is None else _shorter_question(question)
    )


def _shorter_question(question: Question) -> Question:
    labels = {
        model: msgspec.structs.replace(label, output_tokens=_tokens(label.output_tokens))
        for model, label in question.labels.items()
    }
    return msgspec.structs.replace(question, labels=labels)


def _tokens(count: int) -> int:
    return max(round(count * SHARE), LEAST_TOKENS)


def _seconds(time: Seconds) -> Seconds:
    return round(time * SHARE, 3)
