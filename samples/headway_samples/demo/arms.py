"""The arms: who picks the model and the endpoint of a call.

Every arm runs the same graph code. The baselines get chat models that go
through the balancer (balancer.py) and the undecorated graphs; ``headway`` gets
plain `ChatOpenAI` clients, all asking for the pool name, and the decorated
graphs.
"""

import os
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from headway_samples.code_generation.graph import SAMPLE as CODE_GENERATION
from headway_samples.deep_research.graph import SAMPLE as DEEP_RESEARCH
from headway_samples.demo.balancer import BalancedChat, Balancer, lanes_of
from headway_samples.pool import LARGE, MIDDLE, MODELS, SMALL, SamplePool
from headway_samples.sample import POOL_NAME, ChatFactory, Graph, Sample
from headway_samples.support_chat.graph import SAMPLE as SUPPORT_CHAT

SAMPLES: dict[str, Sample] = {
    each.name: each for each in (CODE_GENERATION, DEEP_RESEARCH, SUPPORT_CHAT)
}

STATIC: dict[str, str] = {
    "write": SMALL,
    "repair": LARGE,
    "planner": MIDDLE,
    "researcher": SMALL,
    "writer": LARGE,
    "classify": SMALL,
    "answer": MIDDLE,
}
"""The hand-chosen model of each node: see README.md of the demo for how it was chosen."""

BASELINES: dict[str, dict[str, tuple[str, ...]]] = {
    "least-busy": dict.fromkeys(STATIC, MODELS),
    "static": {node: (model,) for node, model in STATIC.items()},
    "large-only": dict.fromkeys(STATIC, (LARGE,)),
}
HEADWAY = "headway"
ARMS = (*BASELINES, HEADWAY)
NO_KEY = "none-needed"
SOCKET_VARIABLE = "HEADWAY_SOCKET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An arm ready to run: its compiled graph of each sample."""

    name: str
    graphs: dict[str, Graph]


def baseline(name: str, pool: SamplePool, *, seed: int) -> Arm:
    """An arm of undecorated graphs on a balancer of its own."""
    balancer = Balancer(lanes_of(pool.of(*MODELS), api_key=NO_KEY), seed=seed)
    allowed = BASELINES[name]

    def chat(node: str) -> BaseChatModel:
        return BalancedChat(balancer=balancer, models=allowed[node])

    return Arm(name=name, graphs={key: each.build(chat) for key, each in SAMPLES.items()})


def headway_arm(pool: SamplePool) -> Arm:
    """The arm of decorated graphs; the daemon is the one that `SOCKET_VARIABLE` names."""
    chat = plain_chat(pool)
    return Arm(
        name=HEADWAY, graphs={key: each.build_scheduled(chat) for key, each in SAMPLES.items()}
    )


def plain_chat(pool: SamplePool) -> ChatFactory:
    """One ordinary client for all nodes; its base URL is an endpoint of the pool."""
    client = ChatOpenAI(
        model=POOL_NAME,
        base_url=pool.endpoints[0].url,
        api_key=NO_KEY,  # type: ignore[arg-type]
    )
    return lambda node: client


def use_daemon(socket: str) -> None:
    """Let Headway's client in this process find the daemon of the demo, not another one."""
    os.environ[SOCKET_VARIABLE] = socket
