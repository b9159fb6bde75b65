"""Every way to make an LLM call that the docs speak of, as code that makes it.

The support matrix in the docs is printed from `WAYS` (``python -m tests.support.ways``), and
tests/integration/test_support_matrix.py makes each call and looks where it arrived.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Treatment = Literal["scheduled", "listed", "node time"]
KEY = "user-key"
HI: Any = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Base URLs: of the server that is asked for ``small``, and of ``large``'s beside it."""

    url: str
    beside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to call: `call(server)` makes it, asking for the model ``small``.

    `treatment`: scheduled; passed untouched and listed by ``headway status``; or untouched and
    seen only as time of its node. `needs` is the package beyond the openai SDK that it needs.
    """

    client: str
    what: str
    treatment: Treatment
    call: Callable[[Servers], Any]
    needs: str = ""
    note: str = ""

    @property
    def is_async(self) -> bool:
        """Whether the call is awaited."""
        return inspect.iscoroutinefunction(self.call)

    @property
    def id(self) -> str:
        """A name for test reports."""
        return f"{self.client}-{self.what}-{'async' if self.is_async else 'sync'}"

    async def make(self, server: Servers) -> None:
        """Make the call, in the caller's own context."""
        made = self.call(server)
        if asyncio.iscoroutine(made):
            await made


# The openai SDK


def _openai(server: Servers) -> Any:
    import openai

    return openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0)


def _aopenai(server: Servers) -> Any:
    import openai

    return openai.AsyncOpenAI(base_url=server.url, api_key=KEY, max_retries=0)


def _chat(server: Servers) -> None:
    _openai(server).chat.completions.create(model="small", messages=HI)


async def _achat(server: Servers) -> None:
    await _aopenai(server).chat.completions.create(model="small", messages=HI)


def _chat_stream(server: Servers) -> None:
    list(_openai(server).chat.completions.create(model="small", messages=HI, stream=True))


async def _achat_stream(server: Servers) -> None:
    stream = await _aopenai(server).chat.completions.create(model="small", messages=HI, stream=True)
    async for _ in stream:
        continue


def _completion(server: Servers) -> None:
    _openai(server).completions.create(model="small", prompt="hi")


async def _acompletion(server: Servers) -> None:
    await _aopenai(server).completions.create(model="small", prompt="hi")


def _responses(server: Servers) -> None:
    _openai(server).responses.create(model="small", input="hi")


async def _aresponses(server: Servers) -> None:
    await _aopenai(server).responses.create(model="small", input="hi")


def _stored(server: Servers) -> None:
    _openai(server).responses.create(model="small", input="hi", previous_response_id="resp_1")


async def _astored(server: Servers) -> None:
    await _aopenai(server).responses.create(
        model="small", input="hi", previous_response_id="resp_1"
    )


def _azure(server: Servers) -> None:
    import openai

    openai.AzureOpenAI(
        base_url=server.url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ).chat.completions.create(model="small", messages=HI)


async def _aazure(server: Servers) -> None:
    import openai

    await openai.AsyncAzureOpenAI(
        base_url=server.url, api_key=KEY, api_version="2024-10-21", max_retries=0
    ).chat.completions.create(model="small", messages=HI)


# LangChain's own models


def _chat_model(server: Servers, **options: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model="small",
        base_url=server.url,
        api_key=KEY,  # type: ignore[arg-type]
        max_retries=0,
        **options,
    )


def _chat_openai(server: Servers) -> None:
    _chat_model(server).invoke("hi")


async def _achat_openai(server: Servers) -> None:
    await _chat_model(server).ainvoke("hi")


def _chat_openai_stream(server: Servers) -> None:
    list(_chat_model(server).stream("hi"))


async def _achat_openai_stream(server: Servers) -> None:
    async for _ in _chat_model(server).astream("hi"):
        continue


def _chat_openai_responses(server: Servers) -> None:
    _chat_model(server, use_responses_api=True).invoke("hi")


async def _achat_openai_responses(server: Servers) -> None:
    await _chat_model(server, use_responses_api=True).ainvoke("hi")


# LiteLLM


def _named(server: Servers, provider: str) -> dict[str, Any]:
    return {
        "model": f"{provider}/small",
        "messages": HI,
        "api_base": server.url,
        "api_key": KEY,
    }


def _litellm(provider: str) -> Callable[[Servers], Any]:
    def call(server: Servers) -> None:
        import litellm

        litellm.completion(**_named(server, provider))

    return call


def _alitellm(provider: str) -> Callable[[Servers], Any]:
    async def call(server: Servers) -> None:
        import litellm

        await litellm.acompletion(**_named(server, provider))

    return call


def _litellm_stream(server: Servers) -> None:
    import litellm

    list(litellm.completion(**_named(server, "hosted_vllm"), stream=True))


async def _alitellm_stream(server: Servers) -> None:
    import litellm

    async for _ in await litellm.acompletion(**_named(server, "hosted_vllm"), stream=True):
        continue


def _chat_litellm(server: Servers) -> Any:
    from langchain_litellm import ChatLiteLLM

    return ChatLiteLLM(model="hosted_vllm/small", api_base=server.url, api_key=KEY, max_retries=0)


def _chat_litellm_invoke(server: Servers) -> None:
    _chat_litellm(server).invoke("hi")


async def _chat_litellm_ainvoke(server: Servers) -> None:
    await _chat_litellm(server).ainvoke("hi")


def _router(server: Servers) -> Any:
    """A router whose group ``agent`` has both servers."""
    import litellm

    import headway_litellm

    deployments = [("a", server.url, "small"), ("b", server.beside, "large")]
    return headway_litellm.install(
        litellm.Router(
            model_list=[
                {
                    "model_name": "agent",
                    "litellm_params": {
                        "model": f"hosted_vllm/{model}",
                        "api_base": url,
                        "api_key": "deployed-key",
                    },
                    "model_info": {"id": id_},
                }
                for id_, url, model in deployments
            ],
            num_retries=0,
        )
    )


def _router_call(server: Servers) -> None:
    _router(server).completion("agent", HI)


async def _router_acall(server: Servers) -> None:
    await _router(server).acompletion("agent", HI)


def _router_stream(server: Servers) -> None:
    list(_router(server).completion("agent", HI, stream=True))


async def _router_astream(server: Servers) -> None:
    async for _ in await _router(server).acompletion("agent", HI, stream=True):
        continue


def _chat_router(server: Servers) -> Any:
    from langchain_litellm import ChatLiteLLMRouter

    return ChatLiteLLMRouter(router=_router(server), model_name="agent")


def _chat_router_invoke(server: Servers) -> None:
    _chat_router(server).invoke("hi")


async def _chat_router_ainvoke(server: Servers) -> None:
    await _chat_router(server).ainvoke("hi")


# What is left alone


def _embeddings(server: Servers) -> None:
    _openai(server).embeddings.create(model="small", input="hi")


async def _aembeddings(server: Servers) -> None:
    await _aopenai(server).embeddings.create(model="small", input="hi")


def _httpx(server: Servers) -> None:
    import httpx

    body = {"model": "small", "messages": HI}
    httpx.post(f"{server.url}/chat/completions", json=body)


async def _ahttpx(server: Servers) -> None:
    import httpx

    body = {"model": "small", "messages": HI}
    async with httpx.AsyncClient() as client:
        await client.post(f"{server.url}/chat/completions", json=body)


def _pairs(
    client: str,
    what: str,
    treatment: Treatment,
    calls: tuple[Callable[[Servers], Any], Callable[[Servers], Any]],
    **more: str,
) -> tuple[Way, ...]:
    return tuple(
        Way(client=client, what=what, treatment=treatment, call=call, **more) for call in calls
    )


_STORED = "it continues what that server stored; one that was seen is scheduled, to its endpoint"

WAYS: tuple[Way, ...] = (
    *_pairs("openai SDK", "chat", "scheduled", (_chat, _achat)),
    *_pairs("openai SDK", "chat, streamed", "scheduled", (_chat_stream, _achat_stream)),
    *_pairs("openai SDK", "completions", "scheduled", (_completion, _acompletion)),
    *_pairs("openai SDK", "Responses API", "scheduled", (_responses, _aresponses)),
    *_pairs(
        "openai SDK",
        "Responses API, an unseen previous_response_id",
        "listed",
        (_stored, _astored),
        note=_STORED,
    ),
    *_pairs(
        "openai SDK",
        "AzureOpenAI",
        "listed",
        (_azure, _aazure),
        note="its URLs and keys are of another form",
    ),
    *_pairs("LangChain", "ChatOpenAI", "scheduled", (_chat_openai, _achat_openai)),
    *_pairs(
        "LangChain",
        "ChatOpenAI, streamed",
        "scheduled",
        (_chat_openai_stream, _achat_openai_stream),
    ),
    *_pairs(
        "LangChain",
        "ChatOpenAI, Responses API",
        "scheduled",
        (_chat_openai_responses, _achat_openai_responses),
    ),
    *_pairs(
        "LiteLLM",
        "completion, hosted_vllm/",
        "scheduled",
        (_litellm("hosted_vllm"), _alitellm("hosted_vllm")),
        needs="litellm",
    ),
    *_pairs(
        "LiteLLM",
        "completion, openai/",
        "scheduled",
        (_litellm("openai"), _alitellm("openai")),
        needs="litellm",
    ),
    *_pairs(
        "LiteLLM",
        "completion, streamed",
        "scheduled",
        (_litellm_stream, _alitellm_stream),
        needs="litellm",
    ),
    *_pairs(
        "LiteLLM",
        "Router",
        "scheduled",
        (_router_call, _router_acall),
        needs="litellm",
    ),
    *_pairs(
        "LiteLLM",
        "Router, streamed",
        "scheduled",
        (_router_stream, _router_astream),
        needs="litellm",
    ),
    *_pairs(
        "LangChain",
        "ChatLiteLLM",
        "scheduled",
        (_chat_litellm_invoke, _chat_litellm_ainvoke),
        needs="langchain_litellm",
    ),
    *_pairs(
        "LangChain",
        "ChatLiteLLMRouter",
        "scheduled",
        (_chat_router_invoke, _chat_router_ainvoke),
        needs="langchain_litellm",
    ),
    *_pairs(
        "openai SDK",
        "embeddings",
        "node time",
        (_embeddings, _aembeddings),
        note="no completion",
    ),
    *_pairs(
        "any other client",
        "Anthropic, Ollama, httpx…",
        "node time",
        (_httpx, _ahttpx),
        note="no hook of ours is in its way",
    ),
)


def table() -> str:
    """The matrix in Markdown, one row for each way, synchronous and asynchronous beside."""
    rows: dict[tuple[str, str], dict[str, Way]] = {}
    for way in WAYS:
        beside = rows.setdefault((way.client, way.what), {})
        beside["async" if way.is_async else "sync"] = way
    words = {"scheduled": "scheduled", "listed": "untouched, listed", "node time": "untouched"}
    lines = ["| client | call | sync | async | |", "| --- | --- | --- | --- | --- |"]
    for (client, what), beside in rows.items():
        cells = [words[beside[kind].treatment] for kind in ("sync", "async")]
        lines.append(f"| {client} | {what} | {cells[0]} | {cells[1]} | {beside['sync'].note} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
