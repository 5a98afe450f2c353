"""Who can serve a model: the candidates of each pool, in the order to try.

Invariants: computed once for a snapshot; only models with the capability the API family needs; under ``priority``
the order is fixed, under ``weighted`` equal priorities are drawn by weight and the rest stay as fallbacks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from stratarouter_runtime.config import TYPE_CAPABILITIES, AzureOpenAI, Capability, Model, Provider, ProviderPool
from stratarouter_runtime.model.plan import Candidate, Rate
from stratarouter_runtime.model.request import Dialect, Family

from . import prices

_NEEDS: Mapping[Family, Capability] = {"chat": "chat", "embeddings": "embeddings"}
_FREE = Rate(Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class _Weighted:
    candidate: Candidate
    priority: int
    weight: int


class PoolCandidates:
    """The candidates of one pool by (family, model)."""

    def __init__(self, name: str, pool: ProviderPool) -> None:
        self._name = name
        self._providers = pool.providers
        self._drawn = pool.strategy == "weighted"
        self.restricted = any(model.capabilities is not None or model.context_tokens is not None
                              for provider in pool.providers for model in provider.models)
        """Whether any of its models may be unable to serve a request of its family."""
        self.types = frozenset(provider.type for provider in pool.providers)
        """The types of its providers."""
        self._table: dict[tuple[Family, str], list[_Weighted]] = {}
        for provider in sorted(pool.providers, key=lambda each: each.priority):
            for model in provider.models:
                entry = _Weighted(_candidate(name, provider, model), provider.priority, provider.weight)
                known = entry.candidate.capabilities
                for family, needed in _NEEDS.items():
                    if known is None or needed in known:
                        self._table.setdefault((family, model.name), []).append(entry)

    def models(self, family: Family) -> list[str]:
        """Names of the models it serves, in order."""
        return [model for each, model in self._table if each == family]

    def first(self, family: Family) -> str | None:
        """The model of those who name none: the first provider's first."""
        return next((model for each, model in self._table if each == family), None)

    def serve(self, family: Family, model: str, random: Random) -> list[Candidate]:
        """The candidates for a model in the order to try; empty where none serves it."""
        entries = self._table.get((family, model), [])
        if self._drawn and len(entries) > 1:
            # Weight 0 stands by for all others, whatever their priority.
            entries = sorted(entries, key=lambda each: (each.weight == 0, each.priority, -_draw(each.weight, random)))
        return [each.candidate for each in entries]

    def unlisted(self, model: str) -> list[Candidate]:
        """The candidates for a model that it does not list: whether there is one, the vendor knows."""
        return [_candidate(self._name, provider, Model.model_construct(name=model)) for provider in self._providers]


def _draw(weight: int, random: Random) -> float:
    """A key whose descending order is a weighted draw without replacement (Efraimidis and Spirakis, 2006)."""
    if weight == 0:
        return -math.inf
    # log(u) / w orders like u ** (1 / w) and does not underflow; 1 - random() is never 0.
    return math.log(1.0 - random.random()) / weight


def _candidate(pool: str, provider: Provider, model: Model) -> Candidate:
    return Candidate(pool=pool, provider=provider.name, model=model.name, upstream_model=model.upstream,
                     region=provider.region, embedding_space=model.embedding_space, rate=_rate(provider, model),
                     capabilities=_capabilities(provider, model), context_tokens=model.context_tokens,
                     max_output_tokens=model.max_output_tokens, type=provider.type, dialects=_dialects(provider, model))


def _rate(provider: Provider, model: Model) -> Rate | None:
    """What the pool says, else nothing for a local model, else what the price list knows."""
    price = model.price
    if price is not None:
        return Rate(price.input_per_million_tokens, price.output_per_million_tokens, price.cached_input_per_million_tokens)
    return _FREE if provider.is_local else prices.rate_of(provider, model)


def _dialects(provider: Provider, model: Model) -> frozenset[Dialect]:
    """What a model can be asked in besides OpenAI's chat completions."""
    found: set[Dialect] = set()
    serves = provider.type == "openai" or (provider.type == "azureopenai" and (provider.azureopenai or AzureOpenAI()).api_version is None)
    if serves and (model.capabilities is None or "responses" in model.capabilities):
        found.add("responses")
    if provider.type == "anthropic":
        found.add("anthropic")
    return frozenset(found)


def _capabilities(provider: Provider, model: Model) -> frozenset[str] | None:
    """What it says, else what its type can do; None: everything."""
    listed = TYPE_CAPABILITIES.get(provider.type) if model.capabilities is None else model.capabilities
    return None if listed is None else frozenset(listed)
