"""Claims: connections are kept, bounded, proxied and trusted as configured; nothing of the environment is read."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from stratarouter_runtime.model.errors import Failure, ProviderError
from stratarouter_runtime.wire.openai_chat import check_chat

TLS = Path(__file__).parent / "tls"
CHAT = check_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}]})


@pytest.fixture
async def secure():
    """A server behind TLS that answers any chat; its port."""
    async def answer(_):
        return web.json_response({"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "secret"}}]},
                                 headers={"Set-Cookie": "session=1"})
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_calls_share_a_connection(provider, vendor, call):
    for _ in range(3):
        await provider.chat(CHAT, call())
    assert (vendor.record.total, vendor.record.connections) == (3, 1)


async def test_a_failed_call_gives_its_connection_back_where_the_reply_was_read(provider, vendor, call):
    vendor.script.fail("http_503", times=3)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await provider.chat(CHAT, call())
    assert vendor.record.connections == 1


@pytest.mark.parametrize("fault", ["second_answer", "second_answer_later"])
async def test_an_answer_behind_the_answer_is_not_the_next_callers(provider, vendor, call, fault):
    """It arrived before the next request was sent, so it cannot be what answers it."""
    for number in range(3):
        vendor.script.fail(fault)
        vendor.script.say("the first")
        await provider.chat(CHAT, call())
        await vendor.record.until(lambda record, number=number: record.completed == 2 * number + 1)
        for _ in range(5):
            await asyncio.sleep(0)  # until what the vendor has said has been read
        assert (await provider.chat(CHAT, call())).text == "the first"
    assert vendor.record.connections == 4


async def test_connections_are_bounded(make, vendor, call):
    provider = make(vendor, limits={"maxConcurrentRequests": 2})
    vendor.script.fail("slow_headers", times=6, delay=0.02)
    await asyncio.gather(*(provider.chat(CHAT, call()) for _ in range(6)))
    assert vendor.record.connections == 2


async def test_a_vendor_that_comes_back_is_used_again(provider, vendor, call):
    await provider.chat(CHAT, call())
    await vendor.stop_listening()
    with pytest.raises(ProviderError):
        await provider.chat(CHAT, call())
    await vendor.listen()
    await provider.chat(CHAT, call())


async def test_calls_go_through_the_configured_proxy(make, vendor, call):
    """The proxy resolves the name: it exists nowhere else."""
    provider = make("http://vendor.invalid/v1", api_key=vendor.api_key, proxyUrl=f"http://127.0.0.1:{vendor.port}")
    assert (await provider.chat(CHAT, call())).text
    assert vendor.record.last.headers["host"] == "vendor.invalid"


async def test_the_environments_proxies_are_ignored(make, vendor, call, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await make(vendor).chat(CHAT, call())).text


async def test_a_proxy_that_cannot_be_reached(make, vendor, call):
    with pytest.raises(ProviderError) as caught:
        await make(vendor, proxyUrl="http://127.0.0.1:9").chat(CHAT, call())
    assert caught.value.message == "the provider cannot be reached: the proxy cannot be reached"


async def test_an_authority_of_ones_own_is_trusted_where_configured(make, secure, call):
    endpoint = f"https://localhost:{secure}"
    trusting = make(endpoint, api_key="k", ca_bundle=(TLS / "ca.pem").read_text())
    assert (await trusting.chat(CHAT, call())).text == "secret"
    with pytest.raises(ProviderError) as caught:
        await make(endpoint, api_key="k").chat(CHAT, call())
    assert (caught.value.failure, caught.value.message) == (Failure.CONNECT_FAILED, "the provider cannot be reached: TLS failed")


async def test_cookies_are_not_kept(make, vendor, secure, call):
    provider = make(f"https://localhost:{secure}", api_key="k", ca_bundle=(TLS / "ca.pem").read_text())
    await provider.chat(CHAT, call())
    session = provider._upstream._session
    assert len(session.cookie_jar) == 0


async def test_a_key_never_follows_a_redirect(provider, vendor, call):
    async def catch(reader, writer):
        caught.append(await reader.read(100))
        writer.close()
    caught = []
    server = await asyncio.start_server(catch, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        vendor.script.fail("redirect", headers={"Location": f"http://127.0.0.1:{port}/"})
        with pytest.raises(ProviderError):
            await provider.chat(CHAT, call())
    assert caught == []
