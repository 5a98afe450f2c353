"""From a request to a plan: the route, the ordered candidates, the deadline, the budget and the cache's terms.

Invariants: route and candidates are chosen by DESIGN's rule alone: the decided route, else a model that is a route's
name, else the default route; a pool entry's model overrides the caller's. A plan has at least one candidate, or a
``RequestError`` says why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from stratarouter_runtime.config import DEFAULT_ROUTE, DefaultRoute, Snapshot
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import CacheTerms, Candidate, Plan
from stratarouter_runtime.model.request import Caller, Directives, Family, Request

from .candidates import PoolCandidates


class Planner:
    """Makes plans for one snapshot."""

    def __init__(self, snapshot: Snapshot, random: Random | None = None) -> None:
        self._snapshot = snapshot
        # Not for secrets: it spreads load.
        self._random = random or Random()  # noqa: S311
        self._routes: Mapping[str, DefaultRoute] = MappingProxyType(dict(snapshot.routes()))
        self._pools = {name: PoolCandidates(name, pool) for name, pool in snapshot.pools.items()}

    def plan(self, request: Request, caller: Caller, directives: Directives) -> Plan:
        """The plan for a request; raises ``RequestError`` for an unknown route or model."""
        name, route = self._route(request.model, directives.route)
        candidates = self._candidates(route, request.family, request.model)
        if not candidates:
            raise _model_not_found(request.model)
        execution = self._snapshot.runtime.execution
        timeout = execution.timeout_seconds
        if directives.timeout is not None:
            timeout = min(timeout, directives.timeout)
        return Plan(
            route=name,
            family=request.family,
            request=request,
            tenant=caller.tenant,
            candidates=tuple(candidates),
            timeout=timeout,
            max_attempts=1 + execution.max_retries,
            retry_delay=execution.retry_delay_ms / 1000,
            cache=self._cache_terms(route, directives),
        )

    def models(self) -> list[str]:
        """What a caller may ask for: the routes' names, then the models reachable through the default route."""
        names = [name for name in self._routes if name != DEFAULT_ROUTE]
        default = self._routes.get(DEFAULT_ROUTE)
        for entry in default.pools if default else ():
            if entry.model is not None:
                names.append(entry.model)
                continue
            for family in ("chat", "embeddings"):
                names.extend(self._pools[entry.name].models(family))
        return list(dict.fromkeys(names))

    def _route(self, model: str, decided: str | None) -> tuple[str, DefaultRoute]:
        if decided is not None:
            route = self._routes.get(decided)
            if route is None:
                known = ", ".join(sorted(self._routes))
                raise RequestError("RouteNotFound", f"The route '{decided}' does not exist; there are: {known}.",
                                   status=404, param="x-strata-route")
            return decided, route
        route = self._routes.get(model) if model != DEFAULT_ROUTE else None
        if route is not None:
            return model, route
        default = self._routes.get(DEFAULT_ROUTE)
        if default is None:
            raise _model_not_found(model)
        return DEFAULT_ROUTE, default

    def _candidates(self, route: DefaultRoute, family: Family, model: str) -> list[Candidate]:
        found: dict[tuple[str, str, str], Candidate] = {}
        for entry in route.pools:
            for candidate in self._pools[entry.name].serve(family, entry.model or model, self._random):
                found.setdefault((candidate.pool, candidate.provider, candidate.model), candidate)
        return list(found.values())

    def _cache_terms(self, route: DefaultRoute, directives: Directives) -> CacheTerms | None:
        cache = self._snapshot.runtime.cache
        if not cache.enabled or directives.cache.no_store:
            return None
        return CacheTerms(
            scope=self._snapshot.cache_scope,
            ttl_seconds=cache.ttl_seconds,
            max_temperature=cache.max_temperature,
            threshold=route.cache.similarity_threshold or cache.similarity_threshold,
        )


def _model_not_found(model: str) -> RequestError:
    return RequestError("ModelNotFound", f"The model '{model}' does not exist or you do not have access to it.",
                        status=404, param="model")
