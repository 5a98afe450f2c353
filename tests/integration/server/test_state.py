"""What a running pod records of its executions, and who may read it: in memory, and in a PostgreSQL that is missing, wrong,
stopped, paused or back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from builders import Document, model, mount, pool, runtime, secret, until
from fakes.vendor import ALWAYS, FakeVendor
from fixtures_postgres import PASSWORD, PostgresServer
from pod import Answer, Pod, bearing, line, question, resources, running, served_by
from stratarouter_runtime.state import ExecutionRecord, open_state
from stratarouter_runtime.state.writer import StateWriter

ADMIN, CALLER = "sk-of-the-admin", "sk-of-the-tenant"
AUTH = {"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}}
POSTGRES = {"backend": "postgresql", "dsnSecretRef": {"name": "postgres", "key": "dsn"}, "checkpointInterval": 2}
INPUT, OUTPUT = Decimal("2.50"), Decimal("10.01")
PRICED = model("gpt-4o", price={"inputPerMillionTokens": str(INPUT), "outputPerMillionTokens": str(OUTPUT)})
DROPPED, QUEUED = "stratarouter_runtime_state_dropped_total", "stratarouter_runtime_state_queued_entries"
UP, ERRORS = "stratarouter_runtime_backend_up", "stratarouter_runtime_backend_errors_total"


def documents(vendor: FakeVendor, *, dsn: str | None = None, admin: str = ADMIN, **fields: Any) -> list[Document]:
    """A pod whose callers have keys and whose state has an admin; with ``dsn`` state is in PostgreSQL."""
    fields = {"auth": AUTH, **({"state": POSTGRES} if dsn is not None else {}), **fields}
    return [*resources(runtime(**fields), vendor), secret("keys", team=CALLER), secret("admins", one=admin),
            *([secret("postgres", dsn=dsn)] if dsn else [])]


async def ask(pod: Pod, text: str = "Where is my invoice?", **fields: Any) -> Answer:
    """A question of the tenant."""
    return await pod.chat(text, key=CALLER, **fields)


def identity(answer: Answer) -> str:
    """The execution's id."""
    return answer.headers["x-strata-execution-id"]


async def look(pod: Pod, execution: str, key: str = ADMIN, **options: Any) -> Answer:
    """Ask the platform port for an execution."""
    return await pod.send("GET", f"{pod.platform}/executions/{execution}", headers=bearing(key), **options)


async def found(pod: Pod, answer: Answer) -> dict[str, Any]:
    """What is known of an answer's execution."""
    shown = await look(pod, identity(answer))
    assert shown.status == 200, shown.body
    document: dict[str, Any] = shown.json
    return document


async def written(pod: Pod) -> None:
    """Wait until nothing waits to be written."""
    def drained() -> bool:
        """all records are written"""
        return pod.server.runtime.state_stats()["queued"] == 0
    await until(drained, within=30)


async def available(pod: Pod, expected: bool) -> None:
    """Wait until the pod knows whether its back end can be used."""
    await until(lambda: pod.server.runtime.state_stats()["available"] is expected, within=30)


@pytest.fixture
def finals(monkeypatch: pytest.MonkeyPatch) -> list[ExecutionRecord]:
    """Every final record that is put, as often as it is put."""
    put: list[ExecutionRecord] = []
    original = StateWriter.put

    def noted(self: StateWriter, record: Any) -> bool:
        if isinstance(record, ExecutionRecord) and record.outcome:
            put.append(record)
        return original(self, record)

    monkeypatch.setattr(StateWriter, "put", noted)
    return put


# --- who may read ---------------------------------------------------------------------------------------------------------


async def test_without_admin_keys_the_endpoint_is_off(tmp_path: Path, vendor: FakeVendor) -> None:
    """For everybody, tenants included."""
    async with running(tmp_path, *documents(vendor, auth={"apiKeysSecretRef": {"name": "keys"}})) as pod:
        execution = identity(await ask(pod))
        for key in ("", CALLER, ADMIN):
            shown = await look(pod, execution, key)
            assert (shown.status, shown.error["code"]) == (404, "admin_disabled")


async def test_a_missing_admin_secret_is_a_503_until_it_comes(tmp_path: Path, vendor: FakeVendor) -> None:
    """Named as missing, ready all the same; a mounted Secret is taken without a restart, and so are new keys."""
    mounts = tmp_path / "secrets"
    mount(mounts, "admins", None)
    async with running(tmp_path, *[each for each in documents(vendor) if each["metadata"]["name"] != "admins"], secrets=mounts) as pod:
        execution = identity(await ask(pod))
        shown = await look(pod, execution)
        assert (shown.status, shown.error["code"], shown.headers["Retry-After"]) == (503, "auth_keys_unavailable", "5")
        config = await pod.config()
        assert (config["ready"], config["missingSecrets"]) == (True, [{"secret": "admins", "key": "", "usedBy": "auth.adminKeys"}])
        for rotated in ("sk-first", "sk-second"):
            mount(mounts, "admins", {"one": rotated})

            async def opens(key: str = rotated) -> bool:
                """the new key opens"""
                return (await look(pod, execution, key)).status == 200
            await until(opens)
        assert (await look(pod, execution, "sk-first")).status == 401


@pytest.mark.parametrize("key", ["", CALLER, "sk-of-the-admi", "sk-of-the-admin2"])
async def test_without_the_right_key_nothing_is_told(tmp_path: Path, vendor: FakeVendor, key: str) -> None:
    """401 for an id that exists and for one that does not, in OpenAI's shape, with the challenge that HTTP asks for."""
    async with running(tmp_path, *documents(vendor)) as pod:
        for execution in (identity(await ask(pod)), "exec-unknown"):
            shown = await look(pod, execution, key)
            assert (shown.status, shown.error["code"], shown.headers["WWW-Authenticate"]) == (401, "invalid_api_key", "Bearer")


@pytest.mark.parametrize("execution", ["exec-unknown", "%00", "x" * 5_000, "%F0%9F%98%80", "..%2F..%2Fconfig", "'; DROP TABLE x"])
async def test_an_id_of_nobody_is_a_404(tmp_path: Path, vendor: FakeVendor, execution: str) -> None:
    """Whatever stands in the path."""
    async with running(tmp_path, *documents(vendor)) as pod:
        shown = await look(pod, execution)
        assert (shown.status, shown.error["code"]) == (404, "execution_not_found")


async def test_with_state_switched_off_nothing_is_recorded(tmp_path: Path, vendor: FakeVendor) -> None:
    """A 404 that says so; streams go on."""
    async with running(tmp_path, *documents(vendor, state={"backend": "none"})) as pod:
        assert (await ask(pod, stream=True)).status == 200
        shown = await look(pod, identity(await ask(pod)))
        assert (shown.status, shown.error["code"]) == (404, "state_disabled")
        assert (await pod.config())["state"] == {}


# --- what is recorded -----------------------------------------------------------------------------------------------------


async def test_what_is_no_execution_leaves_nothing(tmp_path: Path, vendor: FakeVendor, finals: list[ExecutionRecord]) -> None:
    """A caller without a key, a body that is no request, a list of models, an explanation: nobody was asked for anything."""
    async with running(tmp_path, *documents(vendor)) as pod:
        answers = [
            await pod.chat(), await pod.chat(key="sk-wrong"), await ask(pod, temperature="hot"),
            await pod.send("GET", "/v1/models", headers=bearing(CALLER)), await pod.send("GET", "/nowhere", headers=bearing(CALLER)),
            await pod.send("POST", "/v1/execute?dryRun=true", json={"query": "x", "request": {"model": "gpt-4o"}}, headers=bearing(CALLER))]
        assert [each.status for each in answers] == [401, 401, 400, 200, 404, 200]
        assert [(await look(pod, identity(each))).status for each in answers] == [404] * 6
        assert finals == []


async def test_every_way_an_execution_ends_is_recorded_once(
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor, finals: list[ExecutionRecord]) -> None:
    """Answered, answered by a fallback, from the cache, refused by policy or for its model, failed, broken off, embedded."""
    route = {"name": "strict", "pools": [{"name": "chat"}], "policy": {"minConfidence": 0.9}}
    spec = documents(vendor, routes=[route], execution={"maxRetries": 1, "retryDelayMs": 1})
    spec[1] = pool("chat", served_by(vendor, "primary", PRICED, "text-embedding-3-small"), served_by(second, "second", priority=1))
    async with running(tmp_path, *spec) as pod:
        told: list[dict[str, Any]] = []

        async def did(answer: Answer) -> None:
            told.append(await found(pod, answer))

        await did(await ask(pod, "plain"))
        await until(lambda: not pod.server.runtime._background)
        await did(await ask(pod, "plain"))
        await did(await ask(pod, "plain", stream=True))
        vendor.script.fail("http_500")
        await did(await ask(pod, "failover"))
        await did(await ask(pod, "no such model", model="gpt-99"))
        decision = {"decision": {"route_id": "strict", "confidence": 0.5}, "query": "refused", "request": {"model": "gpt-4o"}}
        await did(await pod.send("POST", "/v1/execute", json=decision, headers=bearing(CALLER)))
        await did(await pod.embed(headers=bearing(CALLER)))
        for each in (vendor, second):
            each.script.fail("http_500", times=ALWAYS)
        await did(await ask(pod, "failed"))
        assert [(each["outcome"], each["status"], each["cache"], each["provider"], len(each["attempts"])) for each in told] == [
            ("Success", 200, "miss:absent", "primary", 1), ("Success", 200, "hit:exact", "primary", 0),
            ("Success", 200, "hit:exact", "primary", 0), ("Success", 200, "miss:absent", "second", 2),
            ("ModelNotFound", 404, None, None, 0), ("PolicyViolation", 403, None, None, 0),
            ("Success", 200, "miss:absent", "primary", 1), ("AllAttemptsFailed", 502, "miss:absent", None, 2)]
        assert [each.id for each in finals] == [each["id"] for each in told]
        assert {each["tenant"] for each in told} == {"team"}
        assert (told[1]["costUsd"], told[1]["savedUsd"]) == ("0", told[0]["costUsd"])
        assert (told[5]["decision"], told[5]["plan"]) == (
            {"route": "strict", "confidence": 0.5, "scores": {}}, {"route": "strict", "policy": "minConfidence;effect=refused"})
        assert all(each["startedAt"] and each["durationSeconds"] >= 0 for each in told)


async def test_no_prompt_and_no_key_is_in_what_is_shown(tmp_path: Path, vendor: FakeVendor) -> None:
    """Neither the question, nor the vendor's words about it, nor anybody's key; an answer's text only as a stream's checkpoint."""
    vendor.script.fail("http_400")
    async with running(tmp_path, *documents(vendor)) as pod:
        shown = [await found(pod, await ask(pod, "my hidden question")), await found(pod, await ask(pod, "my hidden question"))]
        for hidden in ("hidden", CALLER, ADMIN, vendor.api_key):
            assert hidden not in json.dumps(shown)


async def leave(pod: Pod, marker: bytes, **fields: Any) -> str:
    """Ask, read up to ``marker``, and go; the execution's id once its request is over."""
    async with line(pod) as connection:
        await connection.ask(question(**fields), headers=f"Authorization: Bearer {CALLER}\r\nX-Request-Id: leaving\r\n")
        head = await connection.head()
        await connection.reader.readuntil(marker)
    await until(lambda: pod.server.drain.in_flight == 0)
    return next(each.split(": ")[1] for each in head.split("\r\n") if each.startswith("x-strata-execution-id"))


async def test_a_stream_whose_caller_leaves_keeps_what_was_said(
        tmp_path: Path, vendor: FakeVendor, finals: list[ExecutionRecord]) -> None:
    """Cancelled, with the text up to there and what it cost up to there."""
    vendor.script.fail("stall", after=6)
    spec = documents(vendor, state={"checkpointInterval": 2})
    spec[1] = pool("chat", served_by(vendor, "primary", PRICED))
    async with running(tmp_path, *spec) as pod:
        execution = await leave(pod, b'"content"', stream=True)
        shown = (await look(pod, execution)).json
        assert (shown["outcome"], shown["status"], shown["usage"]["estimated"]) == ("Cancelled", 499, True)
        assert [each["outcome"] for each in shown["attempts"]] == ["Cancelled"]
        assert shown["stream"]["chunks"] >= 4
        assert shown["stream"]["text"]
        assert Decimal(shown["costUsd"]) > 0
        assert [each.outcome for each in finals] == ["Cancelled"]


async def test_a_caller_that_leaves_before_the_answer_is_recorded_with_whom_it_waited_for(
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor, finals: list[ExecutionRecord]) -> None:
    """The provider that failed and the one that kept it waiting."""
    vendor.script.fail("http_500")
    second.script.fail("black_hole")
    spec = documents(vendor)
    spec[1] = pool("chat", served_by(vendor), served_by(second, "second", priority=1))
    async with running(tmp_path, *spec) as pod:
        async with line(pod) as connection:
            await connection.ask(question(), headers=f"Authorization: Bearer {CALLER}\r\n")
            await until(lambda: second.record.total == 1)
        await until(lambda: len(finals) == 1)
    (record,) = finals
    assert (record.outcome, record.status, record.provider) == ("Cancelled", 499, "")
    assert [(each["candidate"], each["outcome"]) for each in record.attempts] == [
        ("chat/primary/gpt-4o", "ServerError"), ("chat/second/gpt-4o", "Cancelled")]


async def test_a_stream_that_breaks_off_keeps_what_was_said(tmp_path: Path, vendor: FakeVendor) -> None:
    """The reason, the attempt's failure, and the whole text that its caller got."""
    vendor.script.fail("cut", after=6)
    async with running(tmp_path, *documents(vendor, state={"checkpointInterval": 100})) as pod:
        answer = await ask(pod, stream=True)
        shown = await found(pod, answer)
        assert (shown["outcome"], shown["attempts"][0]["outcome"]) == ("Truncated", "Truncated")
        frames = [json.loads(each.removeprefix("data: ")) for each in answer.body.decode().split("\n\n") if each.startswith("data: {")]
        said = "".join(each["choices"][0]["delta"].get("content") or "" for each in frames if "choices" in each)
        assert shown["stream"]["text"] == said


async def test_a_complete_stream_is_checkpointed_every_interval(tmp_path: Path, vendor: FakeVendor) -> None:
    """The texts are a beginning of the answer; an interval of 0 makes none."""
    async with running(tmp_path, *documents(vendor, state={"checkpointInterval": 2})) as pod:
        answer = await ask(pod, stream=True)
        shown = await found(pod, answer)
        assert shown["outcome"] == "Success"
        assert answer.streamed_text.startswith(shown["stream"]["text"])
        steps = [each["step"] for each in shown["checkpoints"]]
        assert len(steps) > 2
        assert steps == list(range(2, 2 * len(steps) + 1, 2))


async def test_a_defect_in_recording_fails_no_request(tmp_path: Path, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered, counted, logged by its kind; also in the middle of a stream."""
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a defect")

    async with running(tmp_path, *documents(vendor, state={"checkpointInterval": 1})) as pod:
        monkeypatch.setattr("stratarouter_runtime.recording.record", broken)
        monkeypatch.setattr("stratarouter_runtime.recording.begun", broken)
        assert (await ask(pod)).status == 200
        assert await pod.figure(DROPPED) == 1
        streamed = await ask(pod, "streamed", stream=True)
        assert streamed.events[-1] == "[DONE]"
        assert await pod.figure(DROPPED) == 3


# --- PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sql(postgres_database: str) -> AsyncIterator[Any]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(postgres_database)
    yield connection
    await connection.close()


async def test_a_missing_dsn_drops_and_counts_until_it_comes(
        tmp_path: Path, vendor: FakeVendor, postgres_database: str, sql: Any) -> None:
    """Requests are answered, the Secret is named, an execution cannot be told; with the Secret records are written, without a
    restart.
    """
    async with running(tmp_path, *documents(vendor, dsn="")) as pod:
        answer = await ask(pod)
        assert answer.status == 200
        assert await pod.figure(DROPPED) == 1
        assert await pod.figure(UP, backend="postgresql") == 0
        shown = await look(pod, identity(answer))
        assert (shown.status, shown.error["code"], shown.headers["Retry-After"]) == (503, "state_unavailable", "5")
        config = await pod.config()
        assert (config["ready"], config["missingSecrets"]) == (True, [{"secret": "postgres", "key": "dsn", "usedBy": "state"}])
        await pod.reload(*documents(vendor, dsn=postgres_database))
        await ask(pod, "again")
        await written(pod)
        assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions") == 1
        assert await pod.figure(UP, backend="postgresql") == 1


@pytest.mark.parametrize("change", [("{password}", "wrong-{password}"), ("/postgres", "/nowhere"), (":{port}", ":1")])
async def test_a_wrong_dsn_is_known_before_the_first_request_and_fails_none(
        tmp_path: Path, vendor: FakeVendor, postgres_server: PostgresServer, change: tuple[str, str],
        caplog: pytest.LogCaptureFixture) -> None:
    """Password, database, port: shown as unavailable and logged, never quoted; records wait, and come through with the right one."""
    fill = {"password": PASSWORD, "port": postgres_server.port}
    wrong = postgres_server.dsn.replace(*(each.format(**fill) for each in change))
    assert wrong != postgres_server.dsn
    async with running(tmp_path, *documents(vendor, dsn=wrong)) as pod:
        await available(pod, False)
        answer = await ask(pod)
        assert answer.status == 200
        assert (await found(pod, answer))["stored"] is False
        assert (await look(pod, "exec-unknown")).status == 503
        config = await pod.config()
        assert (config["ready"], config["state"]["available"], config["state"]["queued"]) == (True, False, 1)
        assert PASSWORD not in json.dumps(config) + caplog.text
        assert await pod.figure(ERRORS, backend="postgresql") >= 1
        await pod.reload(*documents(vendor, dsn=postgres_server.dsn))
        answer = await ask(pod, "again")
        await written(pod)
        assert (await found(pod, answer))["stored"] is True


async def test_what_is_no_dsn_is_refused_and_the_last_good_one_stays(
        tmp_path: Path, vendor: FakeVendor, postgres_database: str, sql: Any) -> None:
    """Told in ``/config`` without being quoted."""
    async with running(tmp_path, *documents(vendor, dsn=postgres_database)) as pod:
        digest = pod.rewrite(*documents(vendor, dsn="host=db password=hush"))

        async def refused() -> bool:
            """the configuration is refused"""
            error = (await pod.config())["lastError"]
            return error is not None and error["hash"] == digest
        await until(refused)
        assert "hush" not in json.dumps(await pod.config())
        await ask(pod)
        await written(pod)
        assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions") == 1


async def test_what_was_executed_is_what_is_stored_to_the_cent(
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor, postgres_database: str, sql: Any) -> None:
    """Answers, streams, hits and failovers: the database's own sum is what the headers and the metric said, and what the
    reported tokens cost.
    """
    spec = documents(vendor, dsn=postgres_database)
    spec[1] = pool("chat", served_by(vendor, "primary", PRICED), served_by(second, "second", PRICED, priority=1))
    async with running(tmp_path, *spec) as pod:
        answers = []
        for number in range(12):
            if number % 3 == 2:
                vendor.script.fail("http_503")
            streamed = number % 2 == 1
            options: Document = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
            answers.append(await ask(pod, f"question {number}", **options, **({"max_tokens": number + 3} if number else {})))
        await until(lambda: not pod.server.runtime._background)
        answers.append(await ask(pod, "question 0"))
        assert {each.status for each in answers} == {200}
        await written(pod)
        rows = {each["id"]: each for each in await sql.fetch("SELECT * FROM stratarouter_executions")}
        assert rows.keys() == {identity(each) for each in answers}
        for answer in answers[:-1]:
            row = rows[identity(answer)]
            whole = answer.headers["Content-Type"].startswith("application/json")
            usage = answer.json["usage"] if whole else next(each["usage"] for each in answer.events[:-1] if each.get("usage"))
            assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
            assert row["cost_usd"] == (INPUT * usage["prompt_tokens"] + OUTPUT * usage["completion_tokens"]) / 1_000_000
            assert row["provider"] == answer.headers["x-strata-provider"]
            if whole:
                assert row["cost_usd"] == Decimal(answer.headers["x-strata-cost-usd"])
        assert sum(len(json.loads(each["attempts"])) for each in rows.values()) == 16
        hit = rows[identity(answers[-1])]
        assert (hit["cache"], hit["cost_usd"], hit["saved_usd"]) == ("hit:exact", 0, rows[identity(answers[0])]["cost_usd"])
        total = await sql.fetchval("SELECT sum(cost_usd) FROM stratarouter_executions")
        assert await pod.figure("stratarouter_runtime_cost_usd_total") == pytest.approx(float(total), rel=1e-12)


async def test_one_pod_tells_what_another_executed(tmp_path: Path, vendor: FakeVendor, postgres_database: str) -> None:
    """Two pods that make the schema of an empty database at once."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    spec = documents(vendor, dsn=postgres_database)
    async with running(tmp_path / "one", *spec) as one, running(tmp_path / "other", *spec) as other:
        answer = await ask(one, stream=True)
        await written(one)
        shown = await found(other, answer)
        assert (shown["outcome"], shown["stored"]) == ("Success", True)
        assert answer.streamed_text.startswith(shown["stream"]["text"])


async def test_what_waits_is_written_when_the_pod_stops(tmp_path: Path, vendor: FakeVendor, postgres_database: str, sql: Any) -> None:
    """Nothing that was answered is forgotten, however short the pod's life."""
    async with running(tmp_path, *documents(vendor, dsn=postgres_database)) as pod:
        for number in range(20):
            await ask(pod, f"question {number}")
    assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions WHERE outcome = 'Success'") == 20


async def test_a_reload_takes_over_what_waits(tmp_path: Path, vendor: FakeVendor, postgres_database: str, sql: Any) -> None:
    """One that does not concern state keeps it; one that does writes what waits before it lets go, streams under way included."""
    async with running(tmp_path, *documents(vendor, dsn=postgres_database)) as pod:
        before = pod.server.runtime.parts.state
        await ask(pod)
        await pod.reload(*documents(vendor, dsn=postgres_database, execution={"maxRetries": 1}))
        assert pod.server.runtime.parts.state is before
        vendor.script.fail("stall", after=6)
        stream = asyncio.ensure_future(ask(pod, "streamed", stream=True))
        await until(lambda: vendor.holding == 1)
        await pod.reload(*documents(vendor))
        assert pod.server.runtime.parts.state is not before
        vendor.release()
        assert (await found(pod, await stream))["outcome"] == "Success"
        await until(lambda: not pod.server.runtime._retiring)
    assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions WHERE outcome = 'Success'") == 1
    assert await sql.fetchval("SELECT count(*) FROM stratarouter_stream_checkpoints") > 0


async def test_a_pod_that_stops_right_after_a_reload_forgets_nothing(
        tmp_path: Path, vendor: FakeVendor, postgres_database: str, sql: Any) -> None:
    """What the earlier configuration's state was writing when the pod was told to stop is written."""
    async with running(tmp_path, *documents(vendor, dsn=postgres_database)) as pod:
        await ask(pod, "first")
        await written(pod)
        async with sql.transaction():
            await sql.execute("LOCK TABLE stratarouter_executions IN ACCESS EXCLUSIVE MODE")
            await ask(pod, "second")
            await pod.reload(*documents(vendor))
            closing = asyncio.create_task(pod.server.runtime.aclose())
            await asyncio.sleep(0)
            assert not closing.done()
        await closing
        assert await sql.fetchval("SELECT count(*) FROM stratarouter_executions") == 2


@pytest.mark.parametrize("outage", [("stop", "start"), ("pause", "resume")], ids=["crash", "silence"])
async def test_an_outage_under_load_fails_no_request_and_what_is_dropped_is_counted(
        tmp_path: Path, vendor: FakeVendor, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch,
        outage: tuple[str, str]) -> None:
    """PostgreSQL crashed, or just silent: every request is answered while it is away, so none waits for it; exactly what there
    was no room for is lost and counted; the rest, and what comes after, is written.
    """
    begin, end = (getattr(postgres_server, each) for each in outage)
    monkeypatch.setattr("stratarouter_runtime.assembly.open_state", partial(open_state, max_queued=30))
    async with running(tmp_path, *documents(vendor, dsn=postgres_server.dsn)) as pod:
        ids = [identity(await ask(pod, "before"))]
        await written(pod)
        await asyncio.to_thread(begin)
        answers = await asyncio.gather(*(ask(pod, f"question {number}", stream=number % 5 == 0) for number in range(60)))
        assert {each.status for each in answers} == {200}
        assert len({identity(each) for each in answers}) == 60
        lost = await pod.figure(DROPPED)
        assert lost >= 30
        assert await pod.figure(QUEUED) == 30
        await available(pod, False)
        assert await pod.figure(UP, backend="postgresql") == 0
        assert (await pod.config())["ready"] is True
        waiting = {each.id for each in pod.server.runtime.parts.state._writer._queue if isinstance(each, ExecutionRecord) and each.outcome}
        await asyncio.to_thread(end)
        await written(pod)
        ids.append(identity(await ask(pod, "after")))
        await written(pod)
        assert await pod.figure(DROPPED) == lost
        assert await pod.figure(UP, backend="postgresql") == 1
    connection = await asyncpg.connect(postgres_server.dsn)
    rows = await connection.fetch("SELECT id FROM stratarouter_executions WHERE outcome = 'Success'")
    await connection.close()
    assert {each["id"] for each in rows} == {*ids, *waiting}
