"""What holds whatever providers, callers and clocks do: random worlds, many requests at once, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.engine_bench import Bench
from fakes.provider import Wait, content, done, fail, finish, preamble, whole
from fakes.virtual_time import VirtualLoop
from stratarouter_runtime.engine.deadline import SLACK_SECONDS
from stratarouter_runtime.model.errors import TREATMENTS, ExecutionError, Failure, ProviderError

failures = st.builds(
    fail, st.sampled_from(list(TREATMENTS)), retry_after=st.one_of(st.none(), st.sampled_from([0.2, 1.0, 7.0, 300.0])))
waits = st.builds(Wait, st.sampled_from([0.01, 0.5, 3.0, None]))
answers = st.one_of(st.just([]), st.lists(waits, max_size=1), st.tuples(waits, failures).map(list), failures.map(lambda each: [each]))
streams = st.one_of(
    st.just(whole()), failures.map(lambda each: [each]), failures.map(lambda each: [preamble(), each]),
    st.tuples(waits, failures).map(lambda pair: [preamble(), pair[0], content(), pair[1]]),
    waits.map(lambda each: [preamble(), content(), each, finish(), done()]), st.just([preamble(), content()]))
providers = st.fixed_dictionaries({
    "scripts": st.lists(st.one_of(answers, streams), max_size=8), "limit": st.integers(1, 4),
    "half_open_probes": st.integers(1, 2), "consecutive_failures": st.integers(1, 4), "open_seconds": st.integers(1, 8)})
callers = st.fixed_dictionaries({
    "starts": st.sampled_from([0.0, 0.0, 0.3, 2.0, 10.0]), "timeout": st.sampled_from([0.4, 5.0, 30.0]), "attempts": st.integers(1, 5),
    "leaves": st.one_of(st.none(), st.none(), st.sampled_from([0.05, 1.0, 6.0])), "streams": st.booleans()})


class World:
    """Runs callers against providers, and checks what each of them was promised."""

    def __init__(self, settings_of, terms_of):
        self.bench = Bench()
        for number, configured in enumerate(settings_of):
            scripts = configured.pop("scripts")
            # A script serves chat calls as well: they pass over its batches.
            self.bench.add(f"p{number}", *scripts, **configured)
        self.terms_of = terms_of

    async def run(self):
        tasks = [asyncio.create_task(self.call(dict(terms))) for terms in self.terms_of]
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def call(self, terms):
        await asyncio.sleep(terms.pop("starts"))
        leaves, streams = terms.pop("leaves"), terms.pop("streams")
        began = asyncio.get_running_loop().time()
        task = asyncio.create_task(self.ask(terms, streams))
        done, _ = await asyncio.wait([task], timeout=leaves)
        if not done:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        took = asyncio.get_running_loop().time() - began
        assert took <= min(terms["timeout"], leaves or 1e9) + SLACK_SECONDS

    async def ask(self, terms, streams):
        failed = None
        try:
            if not streams:
                outcome = await self.bench.complete(**terms)
                tried, answered = outcome.attempts, True
            else:
                async with await self.bench.open(**terms) as stream:
                    try:
                        async for _ in stream:
                            pass
                    finally:
                        tried, answered = stream.attempts, True
        except (ExecutionError, ProviderError) as error:
            tried, answered, failed = error.attempts, False, error
        if isinstance(failed, ExecutionError):
            assert failed.status in {429, 502, 503, 504}
            assert (failed.retry_after is not None) == (failed.status in {429, 503})
        assert len(tried) <= terms["attempts"]
        assert [each.number for each in tried] == list(range(1, len(tried) + 1))
        assert answered or all(each.failure for each in tried)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(providers, min_size=1, max_size=3), st.lists(callers, min_size=1, max_size=8))
def test_no_request_breaks_its_promises(settings_of, terms_of):
    """Never more attempts than the budget, never past the deadline, never more calls than places; all is given back."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        world = World([dict(each) for each in settings_of], terms_of)
        runner.run(world.run())
    bench = world.bench
    assert bench.in_flight() == 0
    assert all(each.end for each in bench.observer.attempts), "an attempt without an end"
    for name, provider in bench.providers.items():
        assert provider.open == 0
        assert provider.most_open <= bench.configs[name].limits.max_concurrent_requests
    for record in bench.health._records.values():
        assert (record.breaker.active, record.breaker.probes) == (0, 0)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(providers, min_size=1, max_size=3), st.lists(callers, min_size=1, max_size=8))
def test_nobody_calls_a_provider_inside_its_retry_after(settings_of, terms_of):
    limited: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        world = World([dict(each) for each in settings_of], terms_of)
        bench = world.bench
        _note_limits(bench, limited)
        runner.run(world.run())
    for name, provider in bench.providers.items():
        for (at, until), called in itertools.product(limited[name], provider.times):
            assert not at < called < until, f"{name} was limited from {at} to {until} and called at {called}"


def _note_limits(bench, limited):
    begin = bench.observer.attempt

    def attempt(candidate, number, family, *, retry):
        seen = begin(candidate, number, family, retry=retry)
        failed = seen.failed

        def note(error):
            if error.retry_after and not error.treatment.client:
                now = asyncio.get_running_loop().time()
                limited[candidate.provider].append((now, now + error.retry_after))
            failed(error)

        return _Noting(seen, note)

    bench.observer.attempt = attempt


class _Noting:
    def __init__(self, seen, failed):
        self._seen = seen
        self.failed = failed

    def __getattr__(self, name):
        return getattr(self._seen, name)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from([each for each in Failure if TREATMENTS[each].retry]))
def test_a_world_of_failures_uses_the_whole_budget_and_no_more(attempts, candidates, failure):
    async def run(bench):
        for number in range(candidates):
            bench.add(f"p{number}", always=fail(failure), consecutive_failures=1000, minimum_requests=1000)
        with contextlib.suppress(ExecutionError):
            await bench.complete(attempts=attempts)
        return sum(len(each.calls) for each in bench.providers.values())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(run(Bench())) == attempts
