"""Prefill and decode on engines of their own, worked by hand."""

import random

import pytest

from headway.engine import EngineProfile, Finished, FirstToken, Pairs, Rejected, Transfer

# A decode step of n sequences takes 1 + n/8 s; a prompt of 10 tokens or fewer one step of 1 s.
ROUND = {
    "prefill_s": 0.125,
    "step_s": 1.0,
    "seq_s": 0.125,
    "seats": 2,
    "kv_tokens": 100,
    "block_tokens": 10,
    "step_tokens": 100,
}


LINK = Transfer(latency_s=0.5, token_s=0.25)


def pairs(*, decode=None, transfer=LINK, **more) -> Pairs:
    slow, fast = EngineProfile(**ROUND), EngineProfile(**{**ROUND, **(decode or {})})
    return Pairs(prefills={"p1": slow, "p2": slow}, decodes={"d1": fast}, transfer=transfer, **more)


def submit(server, name, *, at=0.0, prefill="p1", prompt=8, output=3, **more):
    server.submit(
        name,
        prefill=prefill,
        decode="d1",
        prompt_tokens=prompt,
        output_tokens=output,
        at=at,
        **more,
    )


def ends(happened) -> dict[str, float]:
    return {h.id: h.at for h in happened if isinstance(h, Finished)}


def test_one_request_is_computed_moved_and_decoded():
    server = pairs(decode={"context_s": 0.5})
    submit(server, "a", at=2.0)
    first, last = server.advance(100.0)
    # Prefill 2..3, transfer of 8 tokens 3..5.5, two decode steps with 9 and 10 tokens of context.
    assert (first.id, first.at) == ("a", 3.0)
    assert last == Finished(
        id="a",
        at=5.5 + 2 * 1.125 + 4.5 + 5.0,
        submitted_at=2.0,
        first_token_at=3.0,
        output_tokens=3,
        cached_tokens=0,
        waited_s=0.0,
        preemptions=0,
    )
    assert server.next_at() is None
    assert (server.prefill_gauges("p1").kv_used, server.gauges("d1").kv_used) == (0.0, 0.0)


def test_one_token_ends_at_the_prefill():
    server = pairs()
    submit(server, "a", output=1)
    assert [(type(h), h.at) for h in server.advance(100.0)] == [(FirstToken, 1.0), (Finished, 1.0)]
    assert server.gauges("d1").succeeded == 0


def test_two_prefills_share_a_decode_engine_and_links_differ():
    server = pairs(links={("p2", "d1"): Transfer(latency_s=4.0)})
    submit(server, "a", output=6)
    submit(server, "b", prefill="p2", output=2)
    # Both prompts are through at 1. a arrives at 3.5 and decodes steps to 4.625, 5.75; b arrives
    # at 5 and joins at 5.75 for one step of 1.25; a has two left after it.
    assert ends(server.advance(100.0)) == {"b": 7.0, "a": 7.0 + 2 * 1.125}


def test_a_request_can_bring_its_own_transfer_time():
    server = pairs()
    submit(server, "a", output=2, transfer_s=1.5)
    assert ends(server.advance(100.0)) == {"a": 1.0 + 8 * 1.5 + 1.125}


def test_seconds_of_a_transfer():
    link = Transfer.over(bandwidth=1000.0, kv_bytes=50.0, latency_s=2.0)
    assert link.seconds(100) == 2.0 + 50.0 * 100 / 1000.0
    with pytest.raises(ValueError, match="bandwidth"):
        Transfer.over(bandwidth=0.0, kv_bytes=1.0)
    with pytest.raises(ValueError, match="negative"):
        Transfer(latency_s=-1.0)


@pytest.mark.parametrize("at", [0.5, 2.0, 4.0])
def test_a_request_is_cancelled_wherever_it_is(at):
    server = pairs()
    submit(server, "a", output=9)
    server.advance(at)
    assert server.produced("a") == {0.5: 0, 2.0: 1, 4.0: 1}[at]
    assert server.cancel("a", at=at)
    assert not server.cancel("a", at=at)
    assert server.next_at() is None
    submit(server, "a", at=10.0, output=2)
    assert ends(server.advance(100.0)) == {"a": 10.0 + 1.0 + 2.5 + 1.125}


def test_what_is_refused_on_either_side():
    server = pairs(decode={"kv_tokens": 50, "queue_limit": 0, "seats": 1})
    submit(server, "too long to decode", prompt=40, output=12)
    submit(server, "too long to compute", prompt=200, output=1)
    submit(server, "first", output=9)
    submit(server, "second", prefill="p2")
    happened = server.advance(100.0)
    refused = {h.id: (h.kind, h.at) for h in happened if isinstance(h, Rejected)}
    assert refused == {
        "too long to decode": ("too_long", 0.0),
        "too long to compute": ("too_long", 0.0),
        "second": ("busy", 3.5),
    }
    assert list(ends(happened)) == ["first"]


def test_misuse_is_named():
    server = pairs()
    with pytest.raises(ValueError, match="no prefill engine 'p3'; there are p1, p2"):
        submit(server, "a", prefill="p3")
    submit(server, "a", at=1.0)
    with pytest.raises(ValueError, match="already"):
        submit(server, "a", at=1.0)
    with pytest.raises(ValueError, match="backwards"):
        server.advance(0.5)


@pytest.mark.parametrize("seed", range(20))
def test_asking_often_changes_nothing(seed):
    rng = random.Random(seed)
    actions = []
    for number in range(25):
        at = rng.randint(0, 200) / 8
        wanted = {
            "prefill": rng.choice(("p1", "p2")),
            "prompt": rng.randint(1, 40),
            "output": rng.randint(1, 20),
            "priority": rng.randint(0, 1),
        }
        actions.append((at, number, wanted))
        if rng.random() < 0.2:
            actions.append((at + rng.randint(0, 80) / 8, number, None))
    actions.sort(key=lambda action: (action[0], action[1], action[2] is None))

    def play(ask: bool):
        server, happened = pairs(), []
        for at, number, wanted in actions:
            while ask and (due := server.next_at()) is not None and due <= at:
                happened += server.advance(due)
                server.gauges("d1")
            if wanted is None:
                server.cancel(f"r{number}", at=at)
            else:
                submit(server, f"r{number}", at=at, **wanted)
        return [*happened, *server.advance(1e6)]

    quiet = play(ask=False)
    assert quiet == play(ask=True)
    assert [h.at for h in quiet] == sorted(h.at for h in quiet)
    assert len(ends(quiet)) > 10
