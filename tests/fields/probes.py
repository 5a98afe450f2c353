"""One probe for each hot field that the data plane uses; ``test_fields`` fails for a field without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from route_probes import ROUTE_PROBES
from world import KEY, Observe, Probe, World

from builders import pool, until
from fakes.vendor import ALWAYS, FakeVendor, Reply
from pod import served_by
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives

ORIGINAL, SIMILAR = "How do I reset the password of my account?", "How can I reset the password of my account?"
MINILM = {"cache": {"enabled": True, "embedder": {"type": "minilm"}}}
EXACT = {"cache": {"enabled": True}}


# --- what is looked at --------------------------------------------------------------------------------------------
async def status(world: World) -> int:
    return (await world.ask()).status


async def provider(world: World) -> str | None:
    return (await world.ask()).headers.get("x-strata-provider")


async def cost(world: World) -> str | None:
    return (await world.ask()).headers.get("x-strata-cost-usd")


async def upstream_model(world: World) -> str:
    await world.ask()
    return world.vendor.record.last.model


async def written_at_most(world: World) -> int:
    """The output limit that reaches the vendor of a caller who asks for 90 tokens."""
    await world.ask(max_tokens=90)
    return int(world.vendor.record.last.json["max_tokens"])


async def repeated(world: World) -> bool:
    """Whether a question that was asked twice is a hit."""
    await world.ask("Twice?")
    return "hit" in (await world.ask("Twice?")).cache.parameters


async def cache_status(world: World) -> bool:
    return "Cache-Status" in (await world.ask()).headers


async def primed(world: World) -> bool:
    """Whether the question of ``prime`` is a hit."""
    return "hit" in (await world.ask("Primed?")).cache.parameters


async def prime(world: World) -> None:
    await world.ask("Primed?")
    await until(lambda: world.pod.server.runtime.cache_stats()["entries"] > 0)


async def prime_semantic(world: World) -> None:
    await world.ask(ORIGINAL)
    await until(lambda: world.pod.server.runtime.cache_stats()["indexed"] > 0)


async def similar(world: World) -> bool:
    """Whether a question that is similar to the one of ``prime_semantic`` is a hit."""
    return "hit" in (await world.ask(SIMILAR, headers={"Cache-Control": "max-age=3600"})).cache.parameters


async def similar_on_route(world: World) -> bool:
    answer = await world.ask(SIMILAR, headers={"x-strata-route": "named"})
    return "hit" in answer.cache.parameters


async def prime_on_route(world: World) -> None:
    await world.ask(ORIGINAL, headers={"x-strata-route": "named"})
    await until(lambda: world.pod.server.runtime.cache_stats()["indexed"] > 0)


def failing(what: str, *, times: int = 1, **changes: Any) -> Callable[[Observe], Observe]:
    """The primary meets a fault before what is observed."""

    def wrap(observe: Observe) -> Observe:
        async def observed(world: World) -> Any:
            world.vendor.script.clear()
            world.vendor.script.fail(what, times=times, **changes)
            return await observe(world)

        return observed

    return wrap


def plan_of(world: World) -> Any:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    return world.pod.server.runtime.parts.planner.plan(ChatRequest(body), Caller(), Directives())


def planned(name: str) -> Observe:
    async def observe(world: World) -> Any:
        return getattr(plan_of(world), name)

    return observe


async def region(world: World) -> str:
    return str(plan_of(world).primary.region)


async def attempts_in_vain(world: World) -> str:
    for each in (world.vendor, world.second):
        each.script.clear()
        each.script.fail("http_500", times=ALWAYS)
    world.pod.server.runtime.health.configure({})
    config = world.pod.server.runtime.parts.snapshot
    world.pod.server.runtime.health.configure({(name, each.name): each for name, each in config.providers()})
    return (await world.ask()).headers["x-strata-attempts"]


async def ttl(world: World) -> bool:
    text = f"How long? {'y' * world.asked}"
    await world.ask(text)
    return int((await world.ask(text)).cache.parameters["ttl"]) > 60


async def evicted(world: World) -> bool:
    await world.ask("First?")
    await world.ask("Second?")
    return "hit" not in (await world.ask("First?")).cache.parameters


async def warm(world: World) -> bool:
    text = f"Warm? {'z' * world.asked}"
    await world.ask(text, temperature=0.8)
    return "hit" in (await world.ask(text, temperature=0.8)).cache.parameters


async def backend(world: World) -> Any:
    return (await world.pod.config())["cache"]["backend"]


async def missing(world: World) -> list[str]:
    return [each["key"] for each in (await world.pod.config())["missingSecrets"]]


async def spans(world: World) -> tuple[bool, bool]:
    """Whether the HTTP and the gRPC endpoint got spans."""
    for collector in (world.http, world.grpc):
        if collector is not None:
            collector.spans.clear()
    await world.ask()
    await world.pod.server.telemetry.tracing.flush()
    return bool(world.http and world.http.spans), bool(world.grpc and world.grpc.spans)


async def metrics(world: World) -> int:
    return (await world.pod.send("GET", f"{world.pod.platform}/metrics")).status


async def level(world: World) -> int:
    return logging.getLogger("stratarouter_runtime").getEffectiveLevel()


async def large(world: World) -> int:
    return (await world.ask("x" * 4_000)).status


async def comments(world: World) -> bool:
    world.vendor.script.fail("stall", after=1)
    asyncio.get_running_loop().call_later(0.4, world.vendor.release)
    return b": keepalive" in (await world.ask(stream=True)).body


async def named_route(world: World) -> int:
    return (await world.ask(headers={"x-strata-route": "named"})).status


async def routed_to(world: World) -> str:
    """The route of a question that names none; empty where the pod does not route."""
    return (await world.ask(ORIGINAL, model="auto")).headers.get("x-strata-route", "")


async def routes_provider(world: World) -> str | None:
    return (await world.ask(headers={"x-strata-route": "named"})).headers.get("x-strata-provider")


async def routes_model(world: World) -> str:
    await world.ask(headers={"x-strata-route": "named"})
    return world.vendor.record.last.model


async def recorded(world: World) -> int:
    """What comes of asking for the execution of a question."""
    answer = await world.ask(key=KEY)
    return (await executed(world, answer.headers["x-strata-execution-id"])).status


async def executed(world: World, execution: str) -> Any:
    return await world.pod.send("GET", f"{world.pod.platform}/executions/{execution}", headers={"Authorization": f"Bearer {KEY}"})


async def checkpoints(world: World) -> int:
    """How many checkpoints a stream of many chunks leaves."""
    answer = await world.ask("Tell me at length", stream=True, key=KEY)
    return min(len((await executed(world, answer.headers["x-strata-execution-id"])).json["checkpoints"]), 2)


async def other_tenant(world: World) -> bool:
    """Whether a caller that names another tenant in a header gets its own tenant's answer."""
    await world.ask("Mine?", key=KEY)
    return "hit" in (await world.ask("Mine?", key=KEY, headers={"x-strata-tenant": "other"})).cache.parameters


async def received(world: World) -> tuple[int, int]:
    """Which vendor was asked."""
    before = world.vendor.record.total, world.second.record.total
    await world.ask()
    return world.vendor.record.total - before[0], world.second.record.total - before[1]


async def embeddings_asked(world: World) -> tuple[list[str], list[str]]:
    """The models that each vendor was asked for embeddings of, once one was asked."""
    for each in (world.vendor, world.second):
        each.record.clear()
    await world.ask()
    asked = lambda vendor: [each.model for each in vendor.record.requests if "embeddings" in each.path]
    await until(lambda: bool(asked(world.vendor) or asked(world.second)))
    return asked(world.vendor), asked(world.second)


async def embedded_by(world: World) -> tuple[bool, bool]:
    """Which vendor was asked for embeddings."""
    first, other = await embeddings_asked(world)
    return bool(first), bool(other)


async def embedding_model(world: World) -> set[str]:
    return set((await embeddings_asked(world))[0])


async def asked_anew(world: World) -> None:
    """Ask once more although the primary, which is no Azure, did not know the path before."""
    runtime = world.pod.server.runtime
    runtime.health.configure({})
    runtime.health.configure({(name, each.name): each for name, each in runtime.parts.snapshot.providers()})
    await world.ask()


async def path_asked(world: World) -> str:
    await asked_anew(world)
    return world.vendor.record.last.path


async def as_bearer(world: World) -> bool:
    """Whether the key goes out as a bearer token, not as a key."""
    await asked_anew(world)
    sent = world.vendor.record.last.headers
    return "authorization" in sent and "api-key" not in sent


def header(name: str) -> Observe:
    async def observe(world: World) -> str | None:
        await world.ask()
        return world.vendor.record.last.headers.get(name)

    return observe


async def second_of_two(world: World) -> str | None:
    """Who answers while the primary is busy with another call."""
    world.vendor.script.fail("black_hole")
    before = world.vendor.record.total
    first = asyncio.ensure_future(world.ask())
    await world.vendor.record.until(lambda record: record.total > before)
    name = await provider(world)
    world.vendor.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    return name


async def streamed_by(world: World) -> str | None:
    asyncio.get_running_loop().call_later(0.4, world.vendor.release)
    return (await world.ask(stream=True)).headers.get("x-strata-provider")


async def ends_well(world: World) -> bool:
    asyncio.get_running_loop().call_later(0.4, world.vendor.release)
    return b"[DONE]" in (await world.ask("Tell me at length", stream=True)).body


async def within_a_second(world: World) -> str | None:
    return (await world.ask(headers={"x-strata-timeout-ms": "1000"})).headers.get("x-strata-provider")


async def embeddings_status(world: World) -> int:
    world.vendor.script.fail("http_500", times=ALWAYS)
    return (await world.pod.embed()).status


async def after_failures(world: World, *, good: int = 0, bad: int = 1, later: float = 0.0, between: float = 0.0) -> str | None:
    """Who answers once the primary has answered ``good`` calls and failed ``bad``, ``later`` seconds on."""
    runtime = world.pod.server.runtime
    runtime.health.configure({})
    runtime.health.configure({(name, each.name): each for name, each in runtime.parts.snapshot.providers()})
    world.vendor.script.clear()
    for _ in range(good):
        await world.ask()
    for _ in range(bad):
        world.vendor.script.fail("http_500")
        await world.ask()
        world.pass_time(between)
    world.pass_time(later)
    return await provider(world)


def failures(**how: Any) -> Observe:
    async def observe(world: World) -> Any:
        return await after_failures(world, **how)

    return observe


async def probes_at_once(world: World) -> str | None:
    """Who answers the second of two calls at once when the breaker has become half-open."""
    assert await after_failures(world) == "second"
    world.pass_time(3_600)
    return await second_of_two(world)


async def calls_for_two(world: World, first: str, second: str) -> int:
    """How many calls the vendor gets of two requests at once."""
    world.vendor.script.fail("slow_headers", delay=None)
    before = world.vendor.record.total
    asked = [asyncio.create_task(world.ask(first))]
    await until(lambda: world.vendor.record.total == before + 1)
    asked.append(asyncio.create_task(world.ask(second)))
    await until(lambda: world.pod.server.drain.in_flight + asked[1].done() == 2)
    embedder = world.pod.server.runtime.parts.embedder
    for _ in range(3):
        for _ in range(100):
            await asyncio.sleep(0)
        await until(lambda: not getattr(embedder, "_running", None))
    world.vendor.release()
    await asyncio.gather(*asked)
    return world.vendor.record.total - before


async def calls_for_the_same(world: World) -> int:
    world.asked += 1
    return await calls_for_two(world, *[f"What is thing{'y' * world.asked}?"] * 2)


async def calls_for_the_similar(world: World) -> int:
    world.asked += 1
    return await calls_for_two(world, f"How do I open the {'z' * world.asked} box?", f"How can I open the {'z' * world.asked} box?")


async def calls_for_texts(world: World) -> int:
    """How many calls the vendor gets of five texts at once."""
    world.vendor.script.fail("slow_headers", delay=None)
    before = world.vendor.record.total
    world.asked += 1
    asked = [asyncio.create_task(world.pod.embed(f"text {world.asked} {number}")) for number in range(5)]
    await until(lambda: world.vendor.record.total > before and world.pod.server.drain.in_flight + sum(each.done() for each in asked) == 5)
    for _ in range(200):
        await asyncio.sleep(0)
    world.vendor.release()
    await asyncio.gather(*asked)
    return world.vendor.record.total - before


# --- settings -----------------------------------------------------------------------------------------------------
def rt(**spec: Any) -> dict[str, Any]:
    return {"runtime": spec}


def cached(**cache: Any) -> dict[str, Any]:
    return {"runtime": {"cache": {"enabled": True, **cache}}}


def near(**batch: Any) -> dict[str, Any]:
    return {"runtime": {**MINILM, "batch": {"windowMs": 10_000, "similarityThreshold": 0.5, **batch}}}


def state(**fields: Any) -> dict[str, Any]:
    return {"runtime": {"state": {"dsnSecretRef": {"name": "postgres", "key": "absent"}, **fields},
                        "auth": {"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "keys"}}}}


def named(**route: Any) -> dict[str, Any]:
    return {"routes": [{"name": "named", "pools": [{"name": "chat"}], **route}]}


def azure(**block: Any) -> dict[str, Any]:
    return {"primary": {"type": "azureopenai", "azureopenai": {"apiVersion": None, "auth": "apiKey", **block}}}


def breaker(**fields: Any) -> dict[str, Any]:
    settings = {"errorRatePercent": 100, "minimumRequests": 1_000, "consecutiveFailures": 1_000, "openSeconds": 600, **fields}
    return {"primary": {"circuitBreaker": settings}}


def traced(**tracing: Any) -> dict[str, Any]:
    """Tracing; the endpoints ``HTTP`` and ``GRPC`` stand for addresses that the test knows."""
    return rt(observability={"tracing": {"enabled": True, "samplePercent": 100, **tracing}})


def other_pool(*models: str) -> Callable[[FakeVendor, FakeVendor], Any]:
    return lambda vendor, second: [pool("other", served_by(second, "elsewhere", *models))]


def two_pools(runtime: Mapping[str, Any]) -> dict[str, Any]:
    return {"runtime": runtime, "pools": other_pool()}


def vectors(**embedder: Any) -> dict[str, Any]:
    chosen = {"type": "pool", "pool": "chat", "model": "text-embedding-3-small", **embedder}
    return {"runtime": {"cache": {"enabled": True, "embedder": chosen}}, "pools": other_pool()}


def models(*names: str | dict[str, Any]) -> dict[str, Any]:
    return {"models": [each if isinstance(each, dict) else {"name": each} for each in names],
            "second": {"models": [{"name": "another"}]}}


def spaces(space: str | None) -> dict[str, Any]:
    declared = {"embeddingSpace": space} if space else {}
    small = {"name": "text-embedding-3-small", "embeddingSpace": "ours"}
    return {"models": [{"name": "gpt-4o"}, small],
            "second": {"models": [{"name": "text-embedding-3-small", "upstreamName": "text-embedding-3-large", **declared}]}}


def priced(inputs: str, outputs: str, **more: str) -> dict[str, Any]:
    return {"models": [{"name": "gpt-4o", "price": {"inputPerMillionTokens": inputs, "outputPerMillionTokens": outputs, **more}}]}


def timeouts(**fields: int) -> dict[str, Any]:
    return {"primary": {"timeouts": fields}}


def endpoint(second: bool) -> dict[str, Any]:
    return {"primary": lambda one, other: {"endpoint": (other if second else one).base_url}}


def placed(**block: str) -> dict[str, Any]:
    return {"primary": {"type": "vertexai", "vertexai": block}}


async def vertex_url(world: World) -> str:
    """What of the place the primary's calls name in their URL."""
    vertex = world.pod.server.runtime.parts.engine._providers["chat", "primary"]
    call = vertex.chat_call(ChatRequest({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}), "gemini", stream=False)
    return str(call.url).partition("/projects/")[2].partition("/publishers/")[0]


async def cached_cost(world: World) -> str | None:
    """What five tokens cost that the vendor had cached, of a request of as many."""
    world.vendor.script.say(Reply(text="x", cached=5))
    answer = await world.ask()
    cached = Decimal(answer.headers["x-strata-cost-usd"]) - Decimal(answer.json["usage"]["prompt_tokens"] - 5) / 1000
    return format(cached.normalize(), "f")


async def dear(world: World) -> bool:
    return float(await cost(world) or 0) > 0.01


PROBES: dict[str, Probe] = {
    **ROUTE_PROBES,
    # execution
    "RuntimeConfig.execution.timeoutSeconds": Probe(
        rt(execution={"timeoutSeconds": 10}), rt(execution={"timeoutSeconds": 0.1}),
        failing("slow_headers", delay=0.3)(status), 200, 504),
    "RuntimeConfig.execution.maxRetries": Probe(
        rt(execution={"maxRetries": 0}), rt(execution={"maxRetries": 1}), attempts_in_vain, "1", "2"),
    "RuntimeConfig.execution.retryDelayMs": Probe(
        rt(execution={"retryDelayMs": 1}), rt(execution={"retryDelayMs": 250}), planned("retry_delay"), 0.001, 0.25),
    # cache
    "RuntimeConfig.cache.enabled": Probe(cached(), cached(enabled=False), cache_status, True, False),
    "RuntimeConfig.cache.backend": Probe(
        cached(backend="memory", redis={"urlSecretRef": {"name": "redis", "key": "absent"}}),
        cached(backend="redis", redis={"urlSecretRef": {"name": "redis", "key": "absent"}}), backend, "up", "down"),
    "RuntimeConfig.cache.redis.urlSecretRef.key": Probe(
        cached(backend="redis", redis={"urlSecretRef": {"name": "redis", "key": "url"}}),
        cached(backend="redis", redis={"urlSecretRef": {"name": "redis", "key": "absent"}}), missing, [], ["absent"]),
    "RuntimeConfig.cache.scope": Probe(cached(), cached(scope="other"), primed, True, False, prime=prime),
    "RuntimeConfig.cache.ttlSeconds": Probe(cached(), cached(ttlSeconds=60), ttl, True, False),
    "RuntimeConfig.cache.maxEntries": Probe(cached(), cached(maxEntries=1), evicted, False, True),
    "RuntimeConfig.cache.maxTemperature": Probe(cached(), cached(maxTemperature=0.5), warm, True, False),
    "RuntimeConfig.cache.similarityThreshold": Probe(
        {"runtime": MINILM}, cached(embedder={"type": "minilm"}, similarityThreshold=1), similar, True, False, prime=prime_semantic),
    "RuntimeConfig.cache.embedder.type": Probe(
        {"runtime": MINILM}, cached(embedder={"type": "none"}), similar, True, False, prime=prime_semantic),
    "RuntimeConfig.cache.embedder.pool": Probe(vectors(), vectors(pool="other"), embedded_by, (True, False), (False, True)),
    "RuntimeConfig.cache.embedder.model": Probe(
        {**vectors(), **models("gpt-4o", "text-embedding-3-small", "text-embedding-3-large")},
        {**vectors(model="text-embedding-3-large"), **models("gpt-4o", "text-embedding-3-small", "text-embedding-3-large")},
        embedding_model, {"text-embedding-3-small"}, {"text-embedding-3-large"}),
    "RuntimeConfig.cache.embedder.similarityThreshold": Probe(
        vectors(similarityThreshold=0.5), vectors(similarityThreshold=1), similar, True, False, prime=prime_semantic),
    # batch
    "RuntimeConfig.batch.enabled": Probe(cached(), {"runtime": {**EXACT, "batch": {"enabled": False}}}, calls_for_the_same, 1, 2),
    "RuntimeConfig.batch.windowMs": Probe(near(), near(windowMs=0), calls_for_the_similar, 1, 2),
    "RuntimeConfig.batch.maxSize": Probe(rt(batch={"maxSize": 32}), rt(batch={"maxSize": 2}), calls_for_texts, 2, 3),
    "RuntimeConfig.batch.similarityThreshold": Probe(near(), near(similarityThreshold=1), calls_for_the_similar, 1, 2),
    # state
    "RuntimeConfig.state.backend": Probe(state(backend="memory"), state(backend="postgresql"), recorded, 200, 503),
    "RuntimeConfig.state.dsnSecretRef.key": Probe(
        state(dsnSecretRef={"name": "postgres", "key": "dsn"}), state(), missing, [], ["absent"]),
    "RuntimeConfig.state.checkpointInterval": Probe(state(checkpointInterval=1), state(checkpointInterval=0), checkpoints, 2, 0),
    # observability
    "RuntimeConfig.observability.metrics": Probe(
        rt(observability={"metrics": True}), rt(observability={"metrics": False}), metrics, 200, 404),
    "RuntimeConfig.observability.tracing.enabled": Probe(
        traced(enabled=False, protocol="http", otlpEndpoint="HTTP"), traced(protocol="http", otlpEndpoint="HTTP"),
        spans, (False, False), (True, False), needs=frozenset({"http"})),
    "RuntimeConfig.observability.tracing.samplePercent": Probe(
        traced(samplePercent=0, protocol="http", otlpEndpoint="HTTP"), traced(protocol="http", otlpEndpoint="HTTP"),
        spans, (False, False), (True, False), needs=frozenset({"http"})),
    "RuntimeConfig.observability.tracing.otlpEndpoint": Probe(
        traced(protocol="http", otlpEndpoint="http://127.0.0.1:9"), traced(protocol="http", otlpEndpoint="HTTP"),
        spans, (False, False), (True, False), needs=frozenset({"http"})),
    "RuntimeConfig.observability.tracing.protocol": Probe(
        traced(protocol="http", otlpEndpoint="GRPC"), traced(protocol="grpc", otlpEndpoint="GRPC"),
        spans, (False, False), (False, True), needs=frozenset({"grpc"})),
    "RuntimeConfig.observability.logLevel": Probe(
        rt(observability={"logLevel": "info"}), rt(observability={"logLevel": "error"}), level, logging.INFO, logging.ERROR),
    # server
    "RuntimeConfig.server.maxBodyBytes": Probe(rt(server={}), rt(server={"maxBodyBytes": 2_048}), large, 200, 413),
    "RuntimeConfig.server.keepaliveSeconds": Probe(rt(server={}), rt(server={"keepaliveSeconds": 0.1}), comments, False, True),
    # routes
    "RuntimeConfig.routes[].name": Probe(
        {"runtime": named()}, {"runtime": {"routes": [{"name": "renamed", "pools": [{"name": "chat"}]}]}}, named_route, 200, 404),
    "RuntimeConfig.routes[].pools[].name": Probe(
        two_pools(named()), two_pools(named(pools=[{"name": "other"}])), routes_provider, "primary", "elsewhere"),
    "RuntimeConfig.routes[].pools[].model": Probe(
        {"runtime": named()}, {"runtime": named(pools=[{"name": "chat", "model": "gpt-4o-mini"}])}, routes_model,
        "gpt-4o", "gpt-4o-mini"),
    "RuntimeConfig.routes[].utterances": Probe(
        {"runtime": {**MINILM, **named()}}, {"runtime": {**MINILM, **named(utterances=["How do I reset my password?"])}},
        routed_to, "", "named"),
    "RuntimeConfig.routing.threshold": Probe(
        {"runtime": {**MINILM, **named(utterances=["How do I reset my password?"])}},
        {"runtime": {**MINILM, **named(utterances=["How do I reset my password?"]), "routing": {"threshold": 0.697}}},
        routed_to, "named", "default"),
    "RuntimeConfig.routes[].cache.similarityThreshold": Probe(
        {"runtime": {**MINILM, **named()}}, {"runtime": {**MINILM, **named(cache={"similarityThreshold": 1})}},
        similar_on_route, True, False, prime=prime_on_route),
    "RuntimeConfig.defaultRoute.pools[].name": Probe(
        two_pools({"defaultRoute": {"pools": [{"name": "chat"}]}}), two_pools({"defaultRoute": {"pools": [{"name": "other"}]}}),
        received, (1, 0), (0, 1)),
    "RuntimeConfig.defaultRoute.pools[].model": Probe(
        rt(defaultRoute={"pools": [{"name": "chat"}]}), rt(defaultRoute={"pools": [{"name": "chat", "model": "gpt-4o-mini"}]}),
        upstream_model, "gpt-4o", "gpt-4o-mini"),
    "RuntimeConfig.defaultRoute.cache.similarityThreshold": Probe(
        rt(**MINILM, defaultRoute={"pools": [{"name": "chat"}]}),
        rt(**MINILM, defaultRoute={"pools": [{"name": "chat"}], "cache": {"similarityThreshold": 1}}),
        similar, True, False, prime=prime_semantic),
    # auth
    "RuntimeConfig.auth.trustedTenantHeader": Probe(
        rt(**EXACT, auth={"apiKeysSecretRef": {"name": "keys"}}),
        rt(**EXACT, auth={"apiKeysSecretRef": {"name": "keys"}, "trustedTenantHeader": True}), other_tenant, True, False),
    # pool
    "ProviderPool.strategy": Probe(
        {"pool": {"strategy": "priority"}, "primary": {"weight": 0}}, {"pool": {"strategy": "weighted"}, "primary": {"weight": 0}},
        provider, "primary", "second"),
    "ProviderPool.providers[].name": Probe({}, {"primary": {"name": "renamed"}}, provider, "primary", "renamed"),
    "ProviderPool.providers[].type": Probe({}, {"primary": {"type": "vllm"}}, cost, None, "0"),
    "ProviderPool.providers[].endpoint": Probe(endpoint(False), endpoint(True), received, (1, 0), (0, 1)),
    "ProviderPool.providers[].vertexai.project": Probe(
        placed(project="one"), placed(project="other"), vertex_url, "one/locations/global", "other/locations/global"),
    "ProviderPool.providers[].vertexai.location": Probe(
        placed(project="one", location="us"), placed(project="one", location="eu"), vertex_url, "one/locations/us", "one/locations/eu"),
    "ProviderPool.providers[].credentialsSecretRef.key": Probe(
        {}, {"primary": {"credentialsSecretRef": {"name": "vendor", "key": "other"}}}, provider, "primary", "second"),
    "ProviderPool.providers[].azureopenai.apiVersion": Probe(
        azure(), azure(apiVersion="2024-10-21"), path_asked, "/openai/v1/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
    "ProviderPool.providers[].azureopenai.auth": Probe(azure(), azure(auth="entra"), as_bearer, False, True),
    "ProviderPool.providers[].headers": Probe(
        {}, {"primary": {"headers": {"OpenAI-Organization": "org"}}}, header("openai-organization"), None, "org"),
    "ProviderPool.providers[].proxyUrl": Probe({}, {"primary": {"proxyUrl": "http://127.0.0.1:9"}}, provider, "primary", "second"),
    "ProviderPool.providers[].caBundleSecretRef.key": Probe(
        {"primary": {"caBundleSecretRef": {"name": "vendor", "key": "ca"}}},
        {"primary": {"caBundleSecretRef": {"name": "vendor", "key": "absent"}}}, provider, "primary", "second"),
    "ProviderPool.providers[].region": Probe({}, {"primary": {"region": "eu"}}, region, "", "eu"),
    "ProviderPool.providers[].priority": Probe({}, {"primary": {"priority": 2}}, provider, "primary", "second"),
    "ProviderPool.providers[].weight": Probe(
        {"pool": {"strategy": "weighted"}, "second": {"priority": 0, "weight": 0}},
        {"pool": {"strategy": "weighted"}, "primary": {"weight": 0}, "second": {"priority": 0, "weight": 1}},
        provider, "primary", "second"),
    "ProviderPool.providers[].models[].name": Probe(models("gpt-4o"), models("renamed"), status, 200, 404),
    "ProviderPool.providers[].models[].upstreamName": Probe(
        models("gpt-4o"), models({"name": "gpt-4o", "upstreamName": "gpt-4o-mini"}), upstream_model, "gpt-4o", "gpt-4o-mini"),
    "ProviderPool.providers[].models[].capabilities": Probe(
        models("gpt-4o"), models({"name": "gpt-4o", "capabilities": ["embeddings"]}), status, 200, 404),
    "ProviderPool.providers[].models[].contextTokens": Probe(
        models({"name": "gpt-4o", "contextTokens": 10_000}), models({"name": "gpt-4o", "contextTokens": 2}), status, 200, 400),
    "ProviderPool.providers[].models[].maxOutputTokens": Probe(
        models("gpt-4o"), models({"name": "gpt-4o", "maxOutputTokens": 5}), written_at_most, 90, 5),
    "ProviderPool.providers[].models[].embeddingSpace": Probe(spaces(None), spaces("ours"), embeddings_status, 502, 200),
    "ProviderPool.providers[].models[].price.inputPerMillionTokens": Probe(
        priced("1", "1"), priced("1000", "1"), dear, False, True),
    "ProviderPool.providers[].models[].price.outputPerMillionTokens": Probe(
        priced("1", "1"), priced("1", "1000"), dear, False, True),
    "ProviderPool.providers[].models[].price.cachedInputPerMillionTokens": Probe(
        priced("1000", "0"), priced("1000", "0", cachedInputPerMillionTokens="0"), cached_cost, "0.005", "0"),
    "ProviderPool.providers[].limits.maxConcurrentRequests": Probe(
        {}, {"primary": {"limits": {"maxConcurrentRequests": 1}}}, second_of_two, "primary", "second"),
    "ProviderPool.providers[].timeouts.connectMs": Probe(
        {"primary": {"endpoint": "UNCONNECTED"}}, {"primary": {"endpoint": "UNCONNECTED", "timeouts": {"connectMs": 100}}},
        within_a_second, None, "second"),
    "ProviderPool.providers[].timeouts.firstTokenMs": Probe(
        timeouts(), timeouts(firstTokenMs=100), failing("slow_first_token")(streamed_by), "primary", "second"),
    "ProviderPool.providers[].timeouts.idleMs": Probe(
        timeouts(), timeouts(idleMs=100), failing("stall")(ends_well), True, False),
    "ProviderPool.providers[].timeouts.totalMs": Probe(
        timeouts(), timeouts(totalMs=100), failing("slow_headers", delay=0.4)(provider), "primary", "second"),
    # breaker
    "ProviderPool.providers[].circuitBreaker.errorRatePercent": Probe(
        breaker(minimumRequests=2), breaker(minimumRequests=2, errorRatePercent=30), failures(good=1), "primary", "second"),
    "ProviderPool.providers[].circuitBreaker.minimumRequests": Probe(
        breaker(errorRatePercent=30), breaker(errorRatePercent=30, minimumRequests=1), failures(), "primary", "second"),
    "ProviderPool.providers[].circuitBreaker.windowSeconds": Probe(
        breaker(minimumRequests=2, windowSeconds=1), breaker(minimumRequests=2, windowSeconds=600), failures(bad=2, between=20),
        "primary", "second"),
    "ProviderPool.providers[].circuitBreaker.consecutiveFailures": Probe(
        breaker(), breaker(consecutiveFailures=1), failures(), "primary", "second"),
    "ProviderPool.providers[].circuitBreaker.openSeconds": Probe(
        breaker(consecutiveFailures=1, openSeconds=1), breaker(consecutiveFailures=1), failures(later=20), "primary", "second"),
    "ProviderPool.providers[].circuitBreaker.halfOpenProbes": Probe(
        breaker(consecutiveFailures=1, halfOpenProbes=2), breaker(consecutiveFailures=1), probes_at_once, "primary", "second"),
}

