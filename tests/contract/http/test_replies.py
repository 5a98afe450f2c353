"""What a reply says of itself, and the table of errors: who failed, who answered, what the cache did, where the time went."""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from builders import Document, model, pool, provider, runtime, secret, until
from fakes.ollamavendor import OllamaVendor
from fakes.vendor import ALWAYS, FakeVendor, Reply
from fakes.vendor.sending import HTML
from pod import CREDENTIALS, Answer, Pod, line, question, resources, running, served_by
from structured_fields import Item, Token

QUICK = {"execution": {"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1}}
PRICED = model("gpt-4o", price={"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10"})


def strata(answer: Answer) -> dict[str, str]:
    """The headers of our own, without the execution's id."""
    return {name.lower().removeprefix("x-strata-"): value for name, value in answer.headers.items()
            if name.lower().startswith("x-strata-") and not name.lower().endswith("execution-id")}


# --- answers --------------------------------------------------------------------------------------------------------------


async def test_an_answer_says_who_gave_it(tmp_path: Path, vendor: FakeVendor) -> None:
    """Route, provider, our name of the model, attempts, and the exact cost by the vendor's usage."""
    routes = [{"name": "billing", "pools": [{"name": "chat", "model": "gpt-4o"}]}]
    documents = [runtime(routes=routes), pool("chat", served_by(vendor, "eu", PRICED)), secret("vendor", apiKey=vendor.api_key)]
    async with running(tmp_path, *documents) as pod:
        answer = await pod.chat(model="billing")
        usage = answer.json["usage"]
        cost = (Decimal("2.50") * usage["prompt_tokens"] + 10 * usage["completion_tokens"]) / 1_000_000
        assert strata(answer) == {"route": "billing", "provider": "eu", "model": "gpt-4o", "attempts": "1", "cost-usd": str(cost.normalize())}
        assert answer.json["model"] == "gpt-4o-2024-11-20"
        assert vendor.record.last.model == "gpt-4o"
        assert answer.headers["Content-Type"] == "application/json"


async def test_the_vendors_own_headers_stay_behind(pod: Pod) -> None:
    """Its account, its request id and its server software are nobody's business."""
    answer = await pod.chat()
    assert not {name for name in answer.headers if name.lower().startswith(("openai-", "access-control-", "set-cookie"))}
    assert answer.headers["Server"] == "stratarouter"
    assert answer.headers["x-request-id"].startswith("req-")


async def test_a_request_id_is_the_callers_where_it_sent_one(pod: Pod) -> None:
    """On answers and on errors; else ours, another each time."""
    for body in ({}, {"model": "gpt-9"}):
        answer = await pod.chat(headers={"x-request-id": "mine-1"}, **body)
        assert answer.headers["x-request-id"] == "mine-1"
    first, second = await pod.chat(), await pod.chat()
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["x-strata-execution-id"] != second.headers["x-strata-execution-id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_of_megabytes_reaches_the_vendor_whole(pod: Pod, vendor: FakeVendor, stream: bool) -> None:
    """As images in a chat are: nothing is cut, and nothing holds up the event loop."""
    body = json.dumps(question("x" * 3_000_000, stream=stream)).encode()
    vendor.script.say("Seen.")
    answer = await pod.send("POST", "/v1/chat/completions", data=io.BytesIO(body))
    assert (answer.status, answer.headers["x-strata-provider"]) == (200, "primary")
    assert vendor.record.last.json["messages"] == json.loads(body)["messages"]
    assert int(vendor.record.last.headers["content-length"]) == len(vendor.record.last.raw)


async def test_server_timing_shows_where_the_time_went(pod: Pod, vendor: FakeVendor) -> None:
    """Stages in order; a hit has no upstream; a stream's headers go out with its first content."""
    vendor.script.fail("slow_headers", delay=0.05)
    miss, hit = await pod.chat(), await pod.chat()
    stream = await pod.chat("another", stream=True)
    assert list(timings(miss)) == ["parse", "policy", "cache", "upstream", "post"]
    assert list(timings(hit)) == ["parse", "policy", "cache"]
    assert list(timings(stream)) == ["parse", "policy", "cache", "upstream-ttfb"]
    assert 50 <= timings(miss)["upstream"] < 5_000
    assert sum(timings(hit).values()) < 50


def timings(answer: Answer) -> dict[str, float]:
    """Milliseconds by stage, read strictly."""
    value = answer.headers["Server-Timing"]
    parts = [re.fullmatch(r"([a-z-]+);dur=(\d+\.\d+)", part) for part in value.split(", ")]
    return {part.group(1): float(part.group(2)) for part in parts if part is not None} if all(parts) else {}


async def test_a_streams_headers_say_what_is_known_by_then(pod: Pod, vendor: FakeVendor) -> None:
    """Provider and attempts, yes; the cost, not yet. It is an event stream nobody should buffer."""
    vendor.script.fail("http_500")
    answer = await pod.chat(stream=True)
    assert strata(answer) == {"route": "default", "provider": "second", "model": "gpt-4o", "attempts": "2"}
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
    assert answer.events[-1] == "[DONE]"


async def test_a_streams_bytes_are_the_vendors(pod: Pod, vendor: FakeVendor, second: FakeVendor) -> None:
    """Where both speak the same wire, nothing is written anew: also fields nobody here knows."""
    for each in (vendor, second):  # equal requests of equal vendors have equal answers
        each.script.say(Reply(text="Héllo wörld, ünchanged.", reasoning="Hm."))
    streamed = await pod.chat(stream=True, stream_options={"include_usage": True})
    direct = await pod.send("POST", f"{second.base_url}/chat/completions", json=question(stream=True, stream_options={"include_usage": True}),
                            headers={"Authorization": f"Bearer {second.api_key}"})
    assert streamed.body == direct.body


# --- the cache ------------------------------------------------------------------------------------------------------------


async def test_a_miss_then_a_hit(pod: Pod, vendor: FakeVendor) -> None:
    """Cache-Status by RFC 9211; a hit costs nothing and has an age."""
    first, again = await pod.chat(), await pod.chat()
    assert first.cache == Item(Token("stratarouter"), {"fwd": "miss", "stored": True, "detail": "absent no-embedder"})
    assert again.cache.parameters["hit"] is True
    assert again.cache.parameters["detail"] == "exact"
    assert 3_590 <= int(again.cache.parameters["ttl"]) <= 3_600
    assert 0 <= int(again.headers["Age"]) <= 10
    assert (again.text, vendor.record.total) == (first.text, 1)
    assert strata(again) == {"route": "default", "provider": "primary", "model": "gpt-4o", "attempts": "0", "cost-usd": "0"}
    assert first.json["id"] != again.json["id"]


@pytest.mark.parametrize("change", [
    {"messages": [{"role": "user", "content": "Where is my invoice? "}]}, {"temperature": 0.1}, {"seed": 1}, {"model": "gpt-4o-mini"},
    {"unknown_field": 1}, {"max_tokens": 5}, {"response_format": {"type": "text"}},
    {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "Where is my invoice?"}]}])
async def test_anything_that_can_change_the_answer_is_part_of_the_key(pod: Pod, vendor: FakeVendor, change: Document) -> None:
    """Also fields that nobody here knows."""
    await pod.chat()
    assert "hit" not in (await pod.chat(**change)).cache.parameters
    assert vendor.record.total == 2


@pytest.mark.parametrize("change", [{"user": "u-1"}, {"metadata": {"a": "b"}}, {"store": True}, {"stream": True},
                                    {"stream": True, "stream_options": {"include_usage": True}}])
async def test_what_cannot_change_the_answer_is_not(pod: Pod, vendor: FakeVendor, change: Document) -> None:
    """Who asks, and how the answer is sent."""
    await pod.chat()
    assert (await pod.chat(**change)).cache.parameters["hit"] is True
    assert vendor.record.total == 1


async def test_no_store_neither_asks_nor_keeps(pod: Pod, vendor: FakeVendor) -> None:
    """And says nothing of a cache."""
    await pod.chat()
    answer = await pod.chat(headers={"Cache-Control": "no-store"})
    assert "Cache-Status" not in answer.headers
    await pod.chat("fresh", headers={"Cache-Control": "no-store"})
    assert "hit" not in (await pod.chat("fresh")).cache.parameters
    assert vendor.record.total == 4


async def test_no_cache_asks_the_vendor_and_keeps_its_answer(pod: Pod, vendor: FakeVendor) -> None:
    """The next one gets the newer answer."""
    vendor.script.say("old")
    await pod.chat()
    vendor.script.say("new")
    answer = await pod.chat(headers={"Cache-Control": "no-cache"})
    assert answer.cache == Item(Token("stratarouter"), {"fwd": "bypass", "stored": True, "detail": "bypass"})
    assert (answer.text, (await pod.chat()).text, vendor.record.total) == ("new", "new", 2)


async def test_max_age_is_the_oldest_that_is_accepted(pod: Pod, vendor: FakeVendor) -> None:
    """0 means none, a large one any."""
    await pod.chat()
    assert (await pod.chat(headers={"Cache-Control": "max-age=3000"})).cache.parameters["hit"] is True
    assert "hit" not in (await pod.chat(headers={"Cache-Control": "max-age=0"})).cache.parameters
    assert vendor.record.total == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_only_if_cached(pod: Pod, vendor: FakeVendor, stream: bool) -> None:
    """504 without an entry (RFC 9111, 5.2.1.7), also for a stream; the entry where there is one."""
    headers = {"Cache-Control": "only-if-cached"}
    answer = await pod.chat(headers=headers, stream=stream)
    assert (answer.status, answer.error) == (504, {
        "message": "The request allows only a cached answer and there is none.", "type": "server_error", "param": None, "code": "not_cached"})
    assert answer.cache == Item(Token("stratarouter"), {"fwd": "miss", "detail": "absent no-embedder"})
    assert vendor.record.total == 0
    await pod.chat()
    assert (await pod.chat(headers=headers, stream=stream)).status == 200
    assert vendor.record.total == 1


@pytest.mark.parametrize(("said", "asked"), [
    (Reply(text="cut", finish_reason="length"), {}), (Reply(text="no", finish_reason="content_filter"), {}),
    (Reply(text="hot"), {"temperature": 1.5}), (Reply(text="two"), {"n": 2})])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_next_caller_should_not_get_is_not_kept(
        pod: Pod, vendor: FakeVendor, said: Reply, asked: Document, stream: bool) -> None:
    """Cut answers, filtered ones, high temperature, several choices."""
    for _ in range(2):
        vendor.script.say(said)
        answer = await pod.chat(stream=stream, **asked)
        assert "hit" not in answer.cache.parameters
    assert vendor.record.total == 2


async def test_a_broken_stream_is_not_kept(pod: Pod, vendor: FakeVendor) -> None:
    """Half an answer is nobody's."""
    vendor.script.fail("cut_connection")
    await pod.chat(stream=True)
    assert "hit" not in (await pod.chat()).cache.parameters


async def test_a_fallback_of_another_model_is_not_kept_as_the_primarys(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Its answer would be served as the primary's from then on; the same model's answer is kept."""
    routes = [{"name": "r", "pools": [{"name": "chat", "model": "gpt-4o"}, {"name": "spare", "model": "gpt-4o-mini"}]}]
    documents = [runtime(routes=routes, **QUICK), pool("chat", served_by(vendor)), pool("spare", served_by(second)),
                 secret("vendor", apiKey=vendor.api_key)]
    async with running(tmp_path, *documents) as pod:
        vendor.script.fail("http_500")
        answer = await pod.chat(model="r")
        assert (answer.headers["x-strata-model"], answer.cache.parameters.get("stored")) == ("gpt-4o-mini", None)
        assert (await pod.chat(model="r")).headers["x-strata-model"] == "gpt-4o"
        assert (await pod.chat(model="r")).cache.parameters["hit"] is True


async def test_embeddings_are_cached_exactly(pod: Pod, vendor: FakeVendor) -> None:
    """The same input and encoding; numbers are not given for base64."""
    first = await pod.embed(["a", "b"], encoding_format="float")
    again = await pod.embed(["a", "b"], encoding_format="float")
    other = await pod.embed(["a", "b"], encoding_format="base64")
    assert again.cache.parameters["hit"] is True
    assert again.body == first.body
    assert isinstance(other.json["data"][0]["embedding"], str)
    assert vendor.record.total == 2


# --- failover and the table of errors -------------------------------------------------------------------------------------

PASSES_ON = ["http_500", "http_502", "http_503", "http_504", "http_529", "http_429", "http_408", "http_409", "http_401", "http_403",
             "http_404", "html_200", "html_502", "empty_200", "truncated_json", "invalid_utf8", "wrong_shape", "json_array", "error_in_200",
             "redirect", "wrong_length", "reset_before_headers", "close_before_headers", "quota"]


@pytest.mark.parametrize("fault", PASSES_ON)
async def test_a_failing_primary_is_not_the_callers_business(pod: Pod, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """Whatever it does, the fallback answers, and the headers say how many were asked."""
    vendor.script.fail(fault)
    answer = await pod.chat()
    assert (answer.status, answer.headers["x-strata-provider"], answer.headers["x-strata-attempts"]) == (200, "second", "2")
    assert second.record.total == 1


@pytest.mark.parametrize("fault", ["http_500", "html_200", "reset_before_headers", "reset_after_headers", "error_event_first", "empty_200"])
async def test_a_stream_fails_over_until_its_first_content(pod: Pod, vendor: FakeVendor, fault: str) -> None:
    """Silently: the client sees one stream, from one vendor."""
    vendor.script.fail(fault)
    answer = await pod.chat(stream=True)
    assert (answer.status, answer.headers["x-strata-provider"]) == (200, "second")
    assert answer.events[-1] == "[DONE]"
    assert len({event["id"] for event in answer.events[:-1]}) == 1


@pytest.mark.parametrize("fault", ["html_200", "html_502"])
async def test_a_vendor_that_answers_html(pod: Pod, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """A proxy's page is a failure: 502 in the API's own shape, and none of the page reaches the client."""
    for each in (vendor, second):
        each.script.fail(fault, times=ALWAYS)
    for stream in (False, True):
        answer = await pod.chat(stream=stream, seed=int(stream))
        assert (answer.status, answer.error["code"], answer.error["type"]) == (502, "all_attempts_failed", "server_error")
        assert HTML not in answer.body
        assert b"<" not in answer.body


@pytest.mark.parametrize(("fault", "told"), [
    ("http_400", (400, "invalid_request")), ("http_413", (413, "invalid_request")), ("http_422", (422, "invalid_request")),
    ("content_policy", (400, "content_policy_violation"))])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_caller_caused_has_the_vendors_status_and_is_not_asked_again(
        pod: Pod, vendor: FakeVendor, second: FakeVendor, *, fault: str, told: tuple[int, str], stream: bool) -> None:
    """Another vendor would refuse it too, and a refused prompt must not be shopped around."""
    vendor.script.fail(fault)
    answer = await pod.chat(stream=stream)
    assert (answer.status, answer.error["code"]) == told
    assert (vendor.record.total, second.record.total) == (1, 0)


async def test_context_length_is_tried_on_others_and_then_told(pod: Pod, vendor: FakeVendor, second: FakeVendor) -> None:
    """Another model may have a larger window; where none has, it is the caller's to know."""
    vendor.script.fail("context_length")
    assert (await pod.chat()).headers["x-strata-provider"] == "second"
    for each in (vendor, second):
        each.script.fail("context_length", times=ALWAYS)
    answer = await pod.chat("longer")
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "context_length_exceeded", "messages")
    assert (await pod.figure("stratarouter_runtime_retries_total")) == 0


@pytest.mark.parametrize("fault", ["http_401", "http_403", "http_404"])
async def test_a_providers_own_refusal_is_never_the_callers(pod: Pod, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """Our key is wrong there, not theirs here: 502, and no word of the vendor."""
    for each in (vendor, second):
        each.script.fail(fault, times=ALWAYS)
    answer = await pod.chat()
    assert (answer.status, answer.error["type"]) == (502, "server_error")
    assert "sk-" not in answer.error["message"]
    assert {each["state"] for each in (await pod.config())["providers"]} != {"Healthy"}


async def test_all_limited_is_a_429_with_the_earliest_retry_after(pod: Pod, vendor: FakeVendor, second: FakeVendor) -> None:
    """One says 7 s, the other 20: come back in 7. Until then nobody is asked."""
    vendor.script.fail("rate_limited_seconds", headers={"Retry-After": "20"}, times=ALWAYS)
    second.script.fail("rate_limited_seconds", times=ALWAYS)
    first = await pod.chat(headers={"x-strata-timeout-ms": "500"})
    again = await pod.chat(headers={"x-strata-timeout-ms": "500"})
    assert (first.status, first.error["code"], first.headers["Retry-After"]) == (429, "rate_limited", "7")
    assert (again.status, again.headers["x-strata-attempts"]) == (429, "0")
    assert 5 <= int(again.headers["Retry-After"]) <= 7
    assert (vendor.record.total, second.record.total) == (1, 1)


async def test_nothing_eligible_is_a_503_with_retry_after(tmp_path: Path, vendor: FakeVendor) -> None:
    """The breaker is open and its probe is out: the others are sent away for as long as it stays open."""
    breaker = {"consecutiveFailures": 1, "openSeconds": 9}
    async with running(tmp_path, *resources(runtime(execution={"maxRetries": 0}), vendor, circuitBreaker=breaker)) as pod:
        vendor.script.fail("http_500")
        assert (await pod.chat()).status == 502
        vendor.script.fail("black_hole")
        async with line(pod) as probe:
            await probe.ask(question())
            await until(lambda: vendor.record.total == 2)
            answer = await pod.chat("Another question")
        assert (answer.status, answer.error["code"], answer.headers["x-strata-attempts"]) == (503, "no_provider_available", "0")
        assert 1 <= int(answer.headers["Retry-After"]) <= 9
        assert vendor.record.total == 2


async def test_a_missing_credential_is_a_503_that_names_the_provider(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nothing was sent; the platform port names the Secret and the key."""
    documents = [runtime(), pool("chat", served_by(vendor))]
    async with running(tmp_path, *documents) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.error["code"]) == (503, "no_provider_available")
        assert answer.error["message"] == "No provider can be called now (chat/primary/gpt-4o: skipped, CredentialsMissing)."
        assert (await pod.config())["missingSecrets"] == [{"secret": "vendor", "key": "apiKey", "usedBy": "chat/primary"}]
        assert (await pod.send("GET", f"{pod.platform}/readyz")).status == 200
        assert vendor.record.total == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_is_a_504(pod: Pod, vendor: FakeVendor, second: FakeVendor, stream: bool) -> None:
    """One for the whole chain: the hanging primary leaves the fallback no time."""
    vendor.script.fail("black_hole", times=ALWAYS)
    answer = await pod.chat(headers={"x-strata-timeout-ms": "150"}, stream=stream)
    assert (answer.status, answer.error["code"], answer.headers["x-strata-attempts"]) == (504, "deadline_exceeded", "1")
    assert second.record.total == 0
    await until(lambda: vendor.record.aborted == 1, within=1)


@pytest.mark.parametrize("fault", ["reset_mid_stream", "cut", "cut_connection", "error_event", "garbage_event", "cut_in_character"])
async def test_a_stream_that_breaks_after_its_first_content_ends_with_an_error_frame(
        pod: Pod, vendor: FakeVendor, second: FakeVendor, fault: str) -> None:
    """In-band, no `[DONE]`, no normal finish reason, no second vendor's words after the first's."""
    vendor.script.fail(fault)
    answer = await pod.chat(stream=True)
    *chunks, last = answer.events
    assert answer.status == 200
    assert "[DONE]" not in answer.events
    assert sorted(last["error"]) == ["code", "message", "param", "type"]
    assert [choice["finish_reason"] for event in chunks for choice in event["choices"] if choice["finish_reason"]] == []
    assert second.record.total == 0


async def test_a_stream_that_hangs_ends_at_its_deadline(pod: Pod, vendor: FakeVendor) -> None:
    """With a frame that says so."""
    vendor.script.fail("stall", times=ALWAYS)
    answer = await pod.chat(stream=True, headers={"x-strata-timeout-ms": "300"})
    assert answer.events[-1]["error"]["type"] == "server_error"


async def test_keepalive_comments_come_while_nothing_else_does(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """They fix the status at 200, but failover stays silent, and a failure of all is then in-band."""
    fields = {"server": {"keepaliveSeconds": 0.1}, "execution": {"timeoutSeconds": 10, "retryDelayMs": 1}}
    async with running(tmp_path, *resources(runtime(**fields), vendor, second)) as pod:
        vendor.script.fail("slow_headers", delay=0.35)
        second.script.say("late")
        quiet = await pod.chat(stream=True)
        assert quiet.body.startswith(b": keepalive\n\n")
        assert quiet.events[-1] == "[DONE]"
        for each in (vendor, second):
            each.script.fail("black_hole", times=ALWAYS)
        failed = await pod.chat("another", stream=True, headers={"x-strata-timeout-ms": "350"})
        assert failed.status == 200
        assert failed.body.count(b": keepalive\n\n") >= 2
        (only,) = failed.events
        assert only["error"]["code"] == "deadline_exceeded"


async def test_embeddings_fail_over_within_one_vector_space_only(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Another model's vectors would silently spoil an index."""
    def documents(**fields: Any) -> list[Document]:
        providers = [served_by(vendor, "a", model("embed", upstreamName="text-embedding-3-small", **fields)),
                     served_by(second, "b", model("embed", upstreamName="text-embedding-3-large", **fields), priority=1)]
        return [runtime(**QUICK), pool("chat", *providers), secret("vendor", apiKey=vendor.api_key)]

    async with running(tmp_path, *documents()) as pod:
        vendor.script.fail("http_500", times=ALWAYS)
        answer = await pod.embed("x", model="embed")
        assert (answer.status, second.record.total) == (502, 0)
        await pod.reload(*documents(embeddingSpace="same"))
        assert (await pod.embed("x", model="embed")).headers["x-strata-provider"] == "b"


async def test_types_speak_their_own_dialect(tmp_path: Path, vendor: FakeVendor) -> None:
    """ollama, vllm and openaicompatible behind one endpoint, each by its own name."""
    async with OllamaVendor(models=["llama3"]) as ollama, FakeVendor(flavour="vllm") as vllm:
        llama = "meta-llama/Llama-3.1-8B-Instruct"
        documents = [
            runtime(defaultRoute={"pools": [{"name": name} for name in ("chat", "ollama", "vllm")]}),
            pool("chat", served_by(vendor)),
            pool("ollama", provider("o", "llama3", type="ollama", endpoint=ollama.url)),
            pool("vllm", provider("v", llama, type="vllm", endpoint=f"{vllm.base_url}/")),
            secret("vendor", apiKey=vendor.api_key)]
        assert CREDENTIALS["name"] == "vendor"
        async with running(tmp_path, *documents) as pod:
            for name, chosen in (("gpt-4o", "primary"), ("llama3", "o"), (llama, "v")):
                for stream in (False, True):
                    answer = await pod.chat(f"{name} {stream}", model=name, stream=stream)
                    assert (answer.status, answer.headers["x-strata-provider"]) == (200, chosen)
                    said = "The answer is" if name == "llama3" else "You asked"
                    assert said in (answer.streamed_text if stream else answer.text)
            local = await pod.chat("local costs nothing", model="llama3")
            assert local.headers["x-strata-cost-usd"] == "0"
