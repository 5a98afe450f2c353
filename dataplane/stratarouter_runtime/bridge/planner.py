"""From a request to a plan: the route, the ordered candidates, what is added, what the policy allows, and the terms.

Invariants: the route is chosen by DESIGN's rule alone: the decision's, else the one that is fixed
(``x-strata-route``), else a model that is a route's name, else the default route; a pool entry's model overrides the
caller's. Who names no model (``auto``, on a route that was decided) gets the first of the pool. A plan has at least one
candidate, each with the capabilities the request needs, a place for its parameters, and none that the policy forbids, or a ``RequestError`` says why
not. A violation leads to one other route at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from stratarouter_runtime.config import DEFAULT_ROUTE, DefaultRoute, Snapshot
from stratarouter_runtime.config.runtime import AUTO_MODEL
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import CacheTerms, Candidate, Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives, Request
from stratarouter_runtime.model.tokens import request_tokens
from stratarouter_runtime.model.verdict import PolicyError, Verdict

from .candidates import PoolCandidates
from .capabilities import Needs
from .decisions import check
from .enrichment import Enrichment, metadata_of
from .explanation import Explanation, Journal
from .limits import answers, output_tokens
from .losses import Carried, carried, refusal, tells
from .policy import Facts, Judgement, Rules
from .vector import vector_for


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Planner:
    """Makes plans for one snapshot. ``random`` spreads load by weight; ``now`` gives the aware time for time windows."""

    def __init__(self, snapshot: Snapshot, random: Random | None = None, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._execution = snapshot.runtime.execution
        self._open = snapshot.open
        # Not for secrets: it spreads load.
        self._random = random or Random()  # noqa: S311
        self._now = now
        self._pools = {name: PoolCandidates(name, pool) for name, pool in snapshot.pools.items()}
        self._routes = {name: _Route(name, route, snapshot, self._pools) for name, route in snapshot.routes()}

    def plan(self, request: Request, caller: Caller, directives: Directives, *, decision: RoutingDecision | None = None,
             context: Mapping[str, Any] | None = None) -> Plan:
        """The plan for a request.

        Raises ``RequestError``: an unknown route or model (404), a decision, variable or metadata that is wrong, a
        capability that no candidate has or a parameter that none has a place for (400); ``PolicyError`` (403) for what the policy refuses.
        """
        return self._decide(_Ask(request, caller, directives, decision, context))

    def explain(self, request: Request, caller: Caller, directives: Directives, *, decision: RoutingDecision | None = None,
                context: Mapping[str, Any] | None = None) -> Explanation:
        """The plan or the refusal, with all verdicts and each candidate in or out and why. Raises no ``RequestError``."""
        journal = Journal()
        plan: Plan | None = None
        refusal: RequestError | None = None
        try:
            plan = self._decide(_Ask(request, caller, directives, decision, context, journal))
        except RequestError as error:
            refusal = error
        return Explanation(plan, refusal, tuple(journal.verdicts), tuple(journal.notes), journal.decision)

    def readmits(self, plan: Plan, *, provider: str, model: str, region: str) -> Verdict | None:
        """Policy again, for a cached answer by who gave it: the verdict that forbids it, None where it may be served."""
        route = self._routes.get(plan.route)
        if route is None or route.rules is None:
            return None
        pool = next((each.pool for each in plan.candidates if each.provider == provider), "")
        return route.rules.readmits(Candidate(pool, provider, model, model, region))

    def models(self, *, routable: bool = False) -> list[str]:
        """What a caller may ask for: the routes' names, ``auto`` where that is ``routable``, the models of the default route."""
        names = [name for name in self._routes if name != DEFAULT_ROUTE] + ([AUTO_MODEL] if routable else [])
        default = self._routes.get(DEFAULT_ROUTE)
        for pool, model in default.entries if default else ():
            if model is not None:
                names.append(model)
                continue
            for family in ("chat", "embeddings"):
                names.extend(pool.models(family))
        return list(dict.fromkeys(names))

    # --- the steps ------------------------------------------------------------------------------------------------
    def _decide(self, ask: _Ask) -> Plan:
        if ask.decision is not None:
            ask.decision = check(ask.decision)
            if ask.journal is not None:
                ask.journal.decision = ask.decision
        route = self._route(ask)
        return self._plan_on(route, ask)

    def _route(self, ask: _Ask) -> _Route:
        decision, fixed, model = ask.decision, ask.directives.route, ask.request.model
        for decided, param in ((decision.route_id if decision is not None else None, "decision"), (fixed, "x-strata-route")):
            if decided is not None:
                ask.decided = True
                return self._named(decided, param)
        if decision is not None:
            ask.decided = True
            if DEFAULT_ROUTE not in self._routes:
                why = f" ({decision.reason})" if decision.reason else ""
                raise RequestError("RouteNotFound", f"The decision matched no route{why}, and there is no default route.",
                                   status=404, param="decision")
            return self._routes[DEFAULT_ROUTE]
        route = self._routes.get(model) if model != DEFAULT_ROUTE else None
        route = route or self._routes.get(DEFAULT_ROUTE)
        if route is None:
            raise _model_not_found(model)
        return route

    def _named(self, name: str, param: str) -> _Route:
        route = self._routes.get(name)
        if route is None and self._open:
            return self._routes[DEFAULT_ROUTE].called(name)
        if route is None:
            known = ", ".join(sorted(self._routes))
            raise RequestError("RouteNotFound", f"The route '{name}' does not exist; there are: {known}.", status=404, param=param)
        return route

    def _plan_on(self, route: _Route, ask: _Ask, before: tuple[Verdict, ...] = ()) -> Plan:
        candidates = self._candidates(route, ask, hop=bool(before))
        if not candidates:
            raise _model_not_found(ask.request.model)
        request, metadata = route.enrichment.apply(ask.request, ask.context) if route.enriches(ask) else (ask.request, {})
        left_out: tuple[tuple[Candidate, str], ...] = ()
        violations: tuple[Verdict, ...] = ()
        tokens = _Tokens(request)
        if route.restricted:
            candidates, left_out = _capable(route, request, candidates, tokens, ask.journal)
        lossy: Carried | None = None
        if route.tells or (isinstance(request, ChatRequest) and request.native is not None):
            lossy = _carried(route, ask, candidates, left_out)
            candidates, left_out = lossy.kept, left_out + lossy.left_out
        if route.rules is not None:
            judged = self._judge(route.rules, ask, self._facts(ask, request, metadata, tokens), candidates)
            if judged.refused:
                return self._refused(route.rules, ask, judged, before)
            violations, left_out = judged.violations, left_out + judged.left_out
            candidates = list(judged.kept)
            if judged.max_tokens is not None and isinstance(request, ChatRequest):
                request = request.with_body({**request.body, "max_tokens": judged.max_tokens})
        if ask.journal is not None:
            ask.journal.note(route.name, candidates, left_out, violations)
        plan = self._assembled(route, ask, request, candidates, metadata=metadata, policy=before + violations, left_out=left_out)
        if lossy is None or not lossy.losses:
            return plan
        return replace(plan, losses=tuple((each, losses) for each, losses in lossy.losses if each in plan.candidates))

    def _candidates(self, route: _Route, ask: _Ask, *, hop: bool) -> list[Candidate]:
        if self._open:
            return self._open_candidates(route, ask)
        family, model = ask.request.family, ask.request.model
        unnamed = (ask.decided and model == AUTO_MODEL) or (hop and model in self._routes)
        found: dict[tuple[str, str, str], Candidate] = {}
        for pool, own in route.entries:
            served = pool.serve(family, own or model, self._random)
            if not served and own is None and unnamed and (first := pool.first(family)) is not None:
                served = pool.serve(family, first, self._random)
            for candidate in served:
                found.setdefault((candidate.pool, candidate.provider, candidate.model), candidate)
        return list(found.values())

    def _open_candidates(self, route: _Route, ask: _Ask) -> list[Candidate]:
        """The first pool is asked for the named model, the others for it where they list it, else for their first."""
        family, model, chain = ask.request.family, ask.request.model, ask.directives.chain
        pools = [self._pools[name] for name in chain] if chain else [pool for pool, _ in route.entries]
        if model == AUTO_MODEL or model in self._routes:
            served: list[list[Candidate]] = [[] for _ in pools]
        else:
            served = [pool.serve(family, model, self._random) for pool in pools]
            if chain or not any(served):
                served[0] = served[0] or pools[0].unlisted(model)
        ranked = list(zip(pools, served, strict=True))
        if not chain:
            ranked.sort(key=lambda each: not each[1])
        return [candidate for pool, known in ranked
                for candidate in known or pool.serve(family, pool.first(family) or "", self._random)]

    def _facts(self, ask: _Ask, request: Request, metadata: Mapping[str, str], tokens: Callable[[], int]) -> Facts:
        generates = request.family == "chat"
        return Facts(
            tenant=ask.caller.tenant, confidence=ask.decision.confidence if ask.decision is not None else None,
            metadata=metadata_of(request, metadata), input_tokens=tokens,
            output_tokens=output_tokens(request.body) if generates else None, answers=answers(request.body) if generates else 1,
            generates=generates, now=self._now)

    def _judge(self, rules: Rules, ask: _Ask, facts: Facts, candidates: list[Candidate]) -> Judgement:
        journal = ask.journal
        if journal is None:
            return rules.judge(facts, candidates)
        judged = rules.judge(facts, candidates, everything=journal.verdicts)
        journal.verdicts += judged.violations
        if judged.refused:
            reason = judged.violations[0].rule
            journal.note(rules.route, (), [(each, reason) for each in candidates], judged.violations)
        return judged

    def _refused(self, rules: Rules, ask: _Ask, judged: Judgement, before: tuple[Verdict, ...]) -> Plan:
        """The other route's plan where the policy names one and this is not yet the second, else the refusal."""
        if before or rules.on_violation != "route" or rules.violation_route is None:
            raise PolicyError(rules.route, judged.violations + before)
        rerouted = tuple(each.with_effect("rerouted") for each in judged.violations)
        if ask.journal is not None:
            ask.journal.rerouted(rules.route)
        try:
            return self._plan_on(self._routes[rules.violation_route], ask, rerouted)
        except PolicyError:
            raise
        except RequestError as error:
            raise PolicyError(rules.route, judged.violations,
                              more=f" Its violationRoute '{rules.violation_route}' cannot serve it: {error.message}") from error

    def _assembled(self, route: _Route, ask: _Ask, request: Request, candidates: list[Candidate], *,
                   metadata: Mapping[str, str], policy: tuple[Verdict, ...], left_out: tuple[tuple[Candidate, str], ...]) -> Plan:
        directives, timeout = ask.directives, self._execution.timeout_seconds
        if directives.timeout is not None:
            timeout = min(timeout, directives.timeout)
        return Plan(
            route=route.name,
            family=request.family,
            request=request,
            tenant=ask.caller.tenant,
            candidates=tuple(candidates),
            timeout=timeout,
            max_attempts=1 + self._execution.max_retries,
            retry_delay=self._execution.retry_delay_ms / 1000,
            cache=None if directives.cache.no_store else route.cache,
            decision=ask.decision,
            metadata=metadata,
            policy=policy,
            left_out=left_out,
            vector=None if ask.decision is None else vector_for(ask.decision, ask.request),
        )


@dataclass(slots=True)
class _Ask:
    """What is asked; ``decided`` where a decision or a caller fixed the route."""

    request: Request
    caller: Caller
    directives: Directives
    decision: RoutingDecision | None
    context: Mapping[str, Any] | None
    journal: Journal | None = None
    decided: bool = False


class _Route:
    """What a snapshot says of one route, prepared so that a route without policy and context costs nothing."""

    def __init__(self, name: str, config: DefaultRoute, snapshot: Snapshot, pools: Mapping[str, PoolCandidates]) -> None:
        self.name = name
        self.entries = tuple((pools[entry.name], entry.model) for entry in config.pools)
        self.enrichment = Enrichment(name, config.context)
        self._adds = bool(config.context.system_prompt or config.context.metadata)
        rules = Rules(name, config.policy)
        self.rules = None if rules.empty else rules
        self.tells = tells(frozenset().union(*(pool.types for pool, _ in self.entries)))
        self.restricted = any(pool.restricted for pool, _ in self.entries)
        cache = snapshot.runtime.cache
        self.cache = CacheTerms(
            scope=snapshot.cache_scope,
            ttl_seconds=cache.ttl_seconds,
            max_temperature=cache.max_temperature,
            threshold=config.cache.similarity_threshold or cache.similarity_threshold,
        ) if cache.enabled else None

    def called(self, name: str) -> _Route:
        """The same route under another name."""
        route = copy(self)
        route.name = name
        return route

    def enriches(self, ask: _Ask) -> bool:
        """Whether a request may be changed, or has metadata to note."""
        return self._adds or bool(ask.context) or "metadata" in ask.request.body


class _Tokens:
    """The estimated input of a request, counted once and only when asked for."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._count: int | None = None

    def __call__(self) -> int:
        if self._count is None:
            self._count = request_tokens(self._request)
        return self._count


def _capable(route: _Route, request: Request, candidates: list[Candidate], tokens: Callable[[], int],
             journal: Journal | None) -> tuple[list[Candidate], tuple[tuple[Candidate, str], ...]]:
    needs = Needs(request, tokens)
    lacking = [(each, needs.lacking(each)) for each in candidates]
    left_out = tuple((each, reason) for each, reason in lacking if reason is not None)
    if len(left_out) == len(candidates):
        if journal is not None:
            journal.note(route.name, (), left_out)
        raise needs.refusal(left_out)
    return [each for each, reason in lacking if reason is None], left_out


def _carried(route: _Route, ask: _Ask, candidates: list[Candidate], before: tuple[tuple[Candidate, str], ...]) -> Carried:
    found = carried(ask.request, candidates, drop=ask.directives.drop_unsupported)
    if not found.kept:
        if ask.journal is not None:
            ask.journal.note(route.name, (), before + found.left_out)
        raise refusal(ask.request, found.left_out)
    return found


def _model_not_found(model: str) -> RequestError:
    return RequestError("ModelNotFound", f"The model '{model}' does not exist or you do not have access to it.",
                        status=404, param="model")
