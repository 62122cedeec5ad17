"""When a request is sent again. A box cannot be made to fail so, therefore the answers are made here."""

import asyncio
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

import membox
from membox import _send, errors


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nobody waits here."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


def answers(*given: httpx.Response | type[Exception]) -> tuple[Callable[[httpx.Request], httpx.Response], list[str]]:
    """A transport that gives these answers, one after another, and the requests that it had."""
    left: Iterator[httpx.Response | type[Exception]] = iter(given)
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        one = next(left)
        if isinstance(one, httpx.Response):
            return one
        raise one("broken")

    return answer, seen


def client(answer: Callable[[httpx.Request], httpx.Response]) -> membox.Client:
    return membox.Client("http://box", http=httpx.Client(transport=httpx.MockTransport(answer)))


def refusal(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"status": status, "detail": "no"}, headers=named)


def done() -> httpx.Response:
    return httpx.Response(200, json={"records": [{"id": "a", "version": 1}], "ids": ["q"]})


def test_it_waits_as_long_as_the_box_says(waits: list[float]) -> None:
    answer, seen = answers(refusal(429, retry_after="3"), refusal(503, retry_after="1"), done())
    client(answer).session("s").push([1])
    assert len(seen) == 3
    assert waits[0] == 3.0
    assert 1.0 <= waits[1] < 3.0


def test_a_quota_of_the_day_is_not_waited_for(waits: list[float]) -> None:
    answer, seen = answers(refusal(429, retry_after="40000"))
    with pytest.raises(errors.TooManyRequests) as refused:
        client(answer).session("s").push([1])
    assert refused.value.retry_after == 40000.0
    assert (len(seen), waits) == (1, [])


def test_other_refusals_are_final(waits: list[float]) -> None:
    answer, seen = answers(refusal(500))
    with pytest.raises(errors.ServerError):
        client(answer).collection("c").describe()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("call", "repeated"),
    [
        (lambda client: client.collection("c").upsert([{"text": "x"}]), True),
        (lambda client: client.collection("c").upsert([{"id": "a", "text": "x", "version": 3}]), False),
        (lambda client: client.collection("c").recall("x"), True),
        (lambda client: client.collection("c").delete("a"), True),
        (lambda client: client.collection("c").delete("a", version=2), False),
        (lambda client: client.collection("c").patch("a", importance=0.5), False),
        (lambda client: client.session("s").append([{"role": "user", "content": "x"}]), True),
        (lambda client: client.session("s").append([{"role": "user", "content": "x"}], if_version=1), False),
        (lambda client: client.session("s").push([1]), False),
        (lambda client: client.memories.add("s", []), False),
    ],
)
def test_what_may_have_arrived_is_repeated_only_where_that_does_no_harm(
    call: Callable[[membox.Client], object], repeated: bool
) -> None:
    answer, seen = answers(httpx.ReadError, done())
    if repeated:
        call(client(answer))
    else:
        with pytest.raises(errors.ConnectionFailed, match="broken"):
            call(client(answer))
    assert len(seen) == 1 + repeated


def test_what_was_never_sent_is_repeated() -> None:
    answer, seen = answers(httpx.ConnectError, httpx.ConnectTimeout, done())
    client(answer).session("s").push([1])
    assert len(seen) == 3


def test_it_gives_up(waits: list[float]) -> None:
    answer, seen = answers(*[httpx.ConnectError] * 9)
    with pytest.raises(errors.ConnectionFailed):
        client(answer).health()
    assert len(seen) == 1 + _send.DEFAULT_RETRIES
    assert waits == sorted(waits)


async def test_the_asynchronous_face_repeats_likewise(waits: list[float]) -> None:
    answer, seen = answers(refusal(503, retry_after="2"), httpx.ReadError, done())
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    await membox.AsyncClient("http://box", http=http).collection("c").upsert([{"text": "x"}])
    assert len(seen) == 3
    assert waits[0] == 2.0


def test_records_keep_their_ids_when_they_are_repeated() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) == 1:
            raise httpx.ReadError("broken")
        return done()

    client(answer).collection("c").upsert([{"text": "x"}])
    assert bodies[0] == bodies[1]
    assert b'"id"' in bodies[0]


def test_what_a_proxy_answers_is_an_error_too() -> None:
    answer, _ = answers(httpx.Response(502, text="<h1>Bad Gateway</h1>"))
    with pytest.raises(errors.ServerError, match="Bad Gateway"):
        client(answer).health()


def test_ids_are_escaped() -> None:
    paths: list[str] = []

    def keep(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return done()

    client(keep).collection("c").get("a/b ?#é:")
    assert paths == ["/v1/collections/c/records/a%2Fb%20%3F%23%C3%A9%3A"]
