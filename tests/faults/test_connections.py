"""Nobody there, nobody answering, or somebody else: names, ports, TLS and proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from builders import secret
from fakes import listeners
from fakes.vendor import FakeVendor
from faults.case import SOON, Case, everywhere
from faults.checks import meets, the_books_are_right
from faults.expected import ANSWERED, Ends, transient
from faults.world import KEY, World
from faults.world import world as running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED, TIMEOUT, LOST, BAD = transient("ConnectFailed"), transient("Timeout"), transient("ConnectionLost"), transient("BadResponse")
TRUSTING = {"caBundleSecretRef": {"name": "authorities", "key": "server"}}


async def cases(stack: AsyncExitStack) -> list[Case]:
    """The cases, once their listeners have ports."""
    refusing = stack.enter_context(listeners.refusing())
    full = stack.enter_context(listeners.never_accepting())
    silent = await stack.enter_async_context(listeners.silent())
    curt = await stack.enter_async_context(listeners.hanging_up())
    smtp = await stack.enter_async_context(listeners.hanging_up(b"220 mail.example ESMTP\r\n"))
    stern = await stack.enter_async_context(listeners.hanging_up(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    plain = await stack.enter_async_context(FakeVendor(models=None, api_keys=[KEY]))
    secure = await stack.enter_async_context(FakeVendor(models=None, api_keys=[KEY], tls=listeners.serving_as("server")))
    other = await stack.enter_async_context(FakeVendor(models=None, api_keys=[KEY], tls=listeners.serving_as("other")))

    def at(name: str, endpoint: str, ends: Ends, **fields: object) -> Case:
        return everywhere(name, ends, provider={"endpoint": endpoint, "timeouts": SOON, **fields})

    return [
        at("refused", f"http://{refusing}/v1", REFUSED),
        at("never_accepted", f"http://{full}/v1", TIMEOUT),
        at("no_such_name", "http://vendor.invalid/v1", REFUSED, timeouts={**SOON, "connectMs": 10_000, "firstTokenMs": 10_000, "totalMs": 10_000}),
        at("no_host", "http://256.256.256.256:80/v1", REFUSED),
        at("silent", f"http://{silent}/v1", TIMEOUT),
        at("hangs_up", f"http://{curt}/v1", LOST),
        at("speaks_smtp", f"http://{smtp}/v1", BAD),
        at("tls_to_plain", plain.base_url.replace("http:", "https:"), REFUSED),
        at("tls_silent", f"https://{silent}/v1", TIMEOUT),
        at("tls_hangs_up", f"https://{curt}/v1", REFUSED),
        at("tls_unknown_authority", secure.base_url, REFUSED),
        at("tls_other_authority", other.base_url, REFUSED, **TRUSTING),
        at("tls_other_name", other.base_url, REFUSED, caBundleSecretRef={"name": "authorities", "key": "other"}),
        at("tls_trusted", secure.base_url, ANSWERED, timeouts={}, **TRUSTING),
        at("plain_to_tls", secure.base_url.replace("https:", "http:"), LOST),
        at("proxy_refused", plain.base_url, REFUSED, proxyUrl=f"http://{refusing}"),
        at("proxy_silent", plain.base_url, TIMEOUT, proxyUrl=f"http://{silent}"),
        at("proxy_refuses_tls", secure.base_url, REFUSED, proxyUrl=f"http://{stern}"),
    ]


NAMES = ("refused", "never_accepted", "no_such_name", "no_host", "silent", "hangs_up", "speaks_smtp", "tls_to_plain", "tls_silent", "tls_hangs_up",
         "tls_unknown_authority", "tls_other_authority", "tls_other_name", "tls_trusted", "plain_to_tls", "proxy_refused", "proxy_silent",
         "proxy_refuses_tls")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reached(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, dict[str, Case]]]:
    """Everything running over the cases."""
    async with AsyncExitStack() as stack:
        made = await cases(stack)
        bundles = secret("authorities", server=listeners.bundle("server"), other=listeners.bundle("other"))
        world = await stack.enter_async_context(running_world(tmp_path_factory.mktemp("faults"), made, bundles))
        yield world, {case.name: case for case in made}


@pytest.mark.parametrize("name", NAMES)
async def test_it_ends_as_it_must(reached: tuple[World, dict[str, Case]], name: str) -> None:
    """Whatever was asked, with nobody behind and with a healthy provider."""
    world, made = reached
    await meets(world, made[name])


async def test_the_books_are_right(reached: tuple[World, dict[str, Case]]) -> None:
    """Every case was tried; the metrics tell of each, no call is open and no place is taken."""
    world, made = reached
    assert tuple(made) == NAMES
    await the_books_are_right(world)
