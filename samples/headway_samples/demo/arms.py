"""The arms: who picks the model and the endpoint of a call.

Every arm runs the same graph code. The baselines get chat models that go
through the balancer (balancer.py) and the undecorated graphs; ``headway`` gets
plain `ChatOpenAI` clients, all asking for the pool name, and the decorated
graphs. The arms on a LiteLLM Router are in routers.py, those through LiteLLM's
proxy in proxies.py; their names are here, with all the others.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from headway.core.errors import ConfigError, nearest_name
from headway_samples.code_generation.graph import SAMPLE as CODE_GENERATION
from headway_samples.deep_research.graph import SAMPLE as DEEP_RESEARCH
from headway_samples.demo.balancer import BalancedChat, Balancer, lanes_of
from headway_samples.demo.stage import as_they_are
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
ROUTER_HEADWAY = "router-headway"
STRATEGIES: dict[str, str] = {
    "simple-shuffle": "simple-shuffle",
    "router-least-busy": "least-busy",
    ROUTER_HEADWAY: "simple-shuffle",
}
"""The arms on a LiteLLM Router and its `routing_strategy`, which Headway's falls back to."""

PROXY = "proxy"
PROXY_HEADWAY = "proxy-headway"

ARMS = (*BASELINES, HEADWAY)
"""The arms of a demo that is not told which."""

ALL_ARMS = (*ARMS, *STRATEGIES)
PROXY_ARMS = (PROXY, PROXY_HEADWAY)
OURS = (HEADWAY, ROUTER_HEADWAY, PROXY_HEADWAY)
"""The arms in which Headway's daemon decides."""

NO_KEY = "none-needed"
SOCKET_VARIABLE = "HEADWAY_SOCKET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An arm ready to run: its compiled graph of each sample."""

    name: str
    graphs: dict[str, Graph]


def parse_arms(text: str) -> tuple[str, ...]:
    """The arms of ``--arms``: names with commas between them, or ``all``. Each once, in order.

    Raises `ConfigError` that lists the arms.
    """
    if text.strip() == "all":
        return ALL_ARMS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    listed = f"the arms are {', '.join(ALL_ARMS)}, and all"
    if not names:
        raise ConfigError(f"--arms names no arm: {listed}")
    for name in names:
        if name in ALL_ARMS:
            continue
        if name in PROXY_ARMS:
            raise ConfigError(f"--arms: `{name}` is an arm of --proxy: {listed}")
        meant = nearest_name(name, ALL_ARMS)
        hint = f"; did you mean `{meant}`?" if meant else ""
        raise ConfigError(f"--arms: no arm `{name}`{hint} ({listed})")
    return names


def baseline(
    name: str,
    pool: SamplePool,
    *,
    seed: int,
    chats: Callable[[ChatFactory], ChatFactory] = as_they_are,
) -> Arm:
    """An arm of undecorated graphs on a balancer of its own."""
    balancer = Balancer(lanes_of(pool.of(*MODELS), api_key=NO_KEY), seed=seed)
    allowed = BASELINES[name]

    def chat(node: str) -> BaseChatModel:
        return BalancedChat(balancer=balancer, models=allowed[node])

    return undecorated(name, chats(chat))


def headway_arm(
    pool: SamplePool, *, chats: Callable[[ChatFactory], ChatFactory] = as_they_are
) -> Arm:
    """The arm of decorated graphs; the daemon is the one that `SOCKET_VARIABLE` names."""
    return decorated(HEADWAY, chats(plain_chat(pool)))


def undecorated(name: str, chat: ChatFactory) -> Arm:
    """The arm of the graphs as they are."""
    return Arm(name=name, graphs={key: each.build(chat) for key, each in SAMPLES.items()})


def decorated(name: str, chat: ChatFactory) -> Arm:
    """The arm of the graphs under Headway."""
    return Arm(name=name, graphs={key: each.build_scheduled(chat) for key, each in SAMPLES.items()})


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
