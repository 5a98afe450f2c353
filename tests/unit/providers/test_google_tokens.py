"""Claims: tokens come from a service account's key or the metadata server, are asked for once however many wait, and renewed before
they end; nobody waits past its time; a failure says what it is and nothing of the key."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from builders import until
from fakes.google_tokens import EMAIL, METADATA, TokenServer
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.providers.google_tokens import GoogleTokens


class Clock:
    """Time that a test moves."""

    def __init__(self):
        self.moved = 0.0

    def __call__(self):
        return time.time() + self.moved


def soon(seconds=10.0):
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
async def server():
    async with TokenServer() as running:
        yield running


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def make(clock):
    made = []

    def create(key, **options):
        made.append(GoogleTokens(key, clock=clock, **options))
        return made[-1]
    yield create
    for tokens in made:
        await tokens.aclose()


@pytest.fixture
def tokens(make, server):
    return make(server.key_file())


async def failed(tokens, due=None):
    with pytest.raises(ProviderError) as caught:
        await tokens.token(soon() if due is None else due)
    assert caught.value.phase is Phase.CONNECT
    for secret in (EMAIL, "PRIVATE KEY", "127.0.0.1", "ya29", "Signature"):
        assert secret not in str(caught.value)
    return caught.value


async def test_a_signed_assertion_is_traded_for_a_token_that_is_kept(tokens, server):
    assert [await tokens.token(soon()) for _ in range(3)] == [server.issued[0]] * 3
    assert server.requests == ["POST /token"]


async def test_an_answer_in_pieces_is_read_to_its_end(tokens, server):
    server.faults.append("pieces")
    assert await tokens.token(soon()) == server.issued[0]


async def test_however_many_wait_one_request_is_made(tokens, server):
    server.faults.append("hold")
    waiting = [asyncio.create_task(tokens.token(soon())) for _ in range(50)]
    await until(lambda: server.holding == 1)
    server.release()
    assert set(await asyncio.gather(*waiting)) == set(server.issued)
    assert len(server.requests) == 1


async def test_a_token_is_renewed_before_its_end_while_it_is_used(tokens, server, clock):
    first = await tokens.token(soon())
    clock.moved = 3000
    assert await tokens.token(soon()) == first
    assert len(server.requests) == 1
    clock.moved = 3450
    server.faults.append("hold")
    assert [await tokens.token(soon()) for _ in range(5)] == [first] * 5
    await until(lambda: server.holding == 1)
    server.release()
    await until(lambda: len(server.issued) == 2)
    await until(lambda: tokens._renewal is None)
    assert await tokens.token(soon()) == server.issued[1]


async def test_a_token_near_its_end_is_waited_for(tokens, server, clock):
    await tokens.token(soon())
    clock.moved = 3590
    assert await tokens.token(soon()) == server.issued[1]


async def test_a_renewal_that_fails_leaves_the_token_in_use_and_is_tried_again_later(tokens, server, clock):
    first = await tokens.token(soon())
    clock.moved = 3450
    server.faults.extend([503, "invalid_grant"])
    for moved in (3450, 3460, 3470):
        clock.moved = moved
        assert await tokens.token(soon()) == first
        await until(lambda: tokens._renewal is None)
    assert len(server.requests) == 4
    assert await tokens.token(soon()) == server.issued[1]


async def test_a_metadata_server_that_gives_the_same_token_again_is_not_asked_for_each_request(tokens, server, clock):
    server.lifetime = 100
    for _ in range(5):
        await tokens.token(soon())
        await until(lambda: tokens._renewal is None)
    assert len(server.requests) == 1


async def test_a_token_that_was_refused_is_not_sent_again(tokens, server):
    await tokens.token(soon())
    tokens.forget()
    assert await tokens.token(soon()) == server.issued[1]


@pytest.mark.parametrize(("fault", "failure", "message"), [
    ("invalid_grant", Failure.UNAUTHORIZED, "no access token for the provider: invalid_grant"),
    ("garbage", Failure.UNAUTHORIZED, "no access token for the provider: it was refused"),
    (403, Failure.UNAUTHORIZED, "no access token for the provider: access_denied"),
    (503, Failure.OVERLOADED, "the provider's token server answered with status 503"),
    (429, Failure.OVERLOADED, "the provider's token server answered with status 429"),
    ("endless", Failure.BAD_RESPONSE, "the provider's token server answered with more than 65536 bytes")])
async def test_failures_say_what_they_are(tokens, server, fault, failure, message):
    server.faults.append(fault)
    error = await failed(tokens)
    assert (error.failure, error.message) == (failure, message)
    assert len(server.requests) == 1


async def test_an_account_that_is_refused_is_our_misconfiguration(tokens, server):
    server.faults.append("invalid_grant")
    error = await failed(tokens)
    assert (error.status, error.treatment.degraded, error.treatment.retry) == (401, True, False)


async def test_after_a_failure_the_server_is_left_alone_for_a_moment(tokens, server, clock):
    server.faults.append("invalid_grant")
    assert [(await failed(tokens)).message for _ in range(3)] == ["no access token for the provider: invalid_grant"] * 3
    assert len(server.requests) == 1
    clock.moved = 2
    assert await tokens.token(soon()) == server.issued[0]


async def test_nobody_waits_past_its_time_and_the_renewal_goes_on(tokens, server):
    server.faults.append("hold")
    assert (await failed(tokens, soon(0.05))).failure is Failure.TIMEOUT
    patient = asyncio.create_task(tokens.token(soon()))
    await until(lambda: server.holding == 1)
    server.release()
    assert await patient == server.issued[0]
    assert len(server.requests) == 1


async def test_who_leaves_takes_the_renewal_from_nobody(tokens, server):
    server.faults.append("hold")
    leaving, staying = (asyncio.create_task(tokens.token(soon())) for _ in range(2))
    await until(lambda: server.holding == 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    server.release()
    assert await staying == server.issued[0]


async def test_a_server_that_is_silent_is_given_up(tokens, server, monkeypatch):
    monkeypatch.setattr("stratarouter_runtime.providers.google_tokens.ANSWER_SECONDS", 0.05)
    server.faults.append("hold")
    error = await failed(tokens)
    assert (error.failure, error.message) == (Failure.TIMEOUT, "the provider's token server did not answer in time")


async def test_a_server_that_is_not_there(make, server):
    error = await failed(make(server.key_file(token_uri="http://127.0.0.1:9/token")))
    assert (error.failure, error.treatment.retry) == (Failure.CONNECT_FAILED, True)


@pytest.mark.parametrize(("key", "told"), [
    ("sk-secret-of-ours", "not JSON"), ("[]", "its type is none of service_account"), ('{"type": "sk-secret-of-ours"}', "its type is none of"),
    ('{"type": "service_account", "client_email": "sk-secret-of-ours"}', "a service_account with fields missing or wrong"),
    ('{"type": "authorized_user"}', "a authorized_user with fields missing or wrong"), ('{"type": ["x"]}', "its type is none of")])
async def test_a_key_that_is_none_says_so_and_not_what_it_holds(make, key, told):
    error = await failed(make(key))
    assert error.failure is Failure.UNAUTHORIZED
    assert error.message.startswith("the provider's credentials are no key file: ")
    assert told in error.message
    assert "sk-secret" not in error.message


async def test_a_key_of_another_account_is_refused_by_the_server(make, server):
    other = json.loads(server.key_file())
    error = await failed(make(json.dumps({**other, "client_email": "other@x.iam.gserviceaccount.com"})))
    assert error.message == "no access token for the provider: invalid_scope"


async def test_without_a_key_the_metadata_server_is_asked(make, server, monkeypatch):
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", server.host)
    tokens = make("", proxy="http://127.0.0.1:9")
    assert await tokens.token(soon()) == server.issued[0]
    assert server.requests[-1].startswith(f"GET {METADATA}token?scopes=")


@pytest.mark.parametrize(("fault", "failure"), [(404, Failure.UNAUTHORIZED), (503, Failure.OVERLOADED), ("garbage", Failure.UNAUTHORIZED)])
async def test_a_metadata_server_that_fails(make, server, monkeypatch, fault, failure):
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", server.host)
    server.faults.extend([fault] * 3)
    assert (await failed(make(""))).failure is failure


async def test_token_servers_are_reached_through_the_proxy(make, server):
    tokens = make(server.key_file(token_uri="http://oauth2.invalid/token"), proxy=f"http://{server.host}")
    assert await tokens.token(soon()) == server.issued[0]
    assert server.requests == ["POST http://oauth2.invalid/token"]


async def test_closing_ends_a_renewal_and_what_waits_for_it(tokens, server):
    server.faults.append("hold")
    waiting = asyncio.create_task(tokens.token(soon()))
    await until(lambda: server.holding == 1)
    async with asyncio.timeout(2):
        await tokens.aclose()
        with pytest.raises(ProviderError) as caught:
            await waiting
    assert caught.value.failure is Failure.CONNECT_FAILED
    assert (await failed(tokens)).failure is Failure.CONNECT_FAILED
    assert len(server.requests) == 1
