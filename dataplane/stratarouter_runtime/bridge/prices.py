"""What a model costs where its pool does not say: the price list that the ``genai-prices`` package carries.

Only the bundled list is read; nothing is fetched. Importing it takes a third of a second and 25 MB, so it is imported
only where a price is missing, and by ``look_up`` on another thread than the event loop's. Invariants: decimal throughout; what the list
does not know stays unknown; looked up once for a snapshot, never for a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stratarouter_runtime.config import Model, Provider
from stratarouter_runtime.model.plan import Rate

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelPrice

LISTS: Mapping[str, str] = {"openai": "openai", "azureopenai": "azure", "anthropic": "anthropic", "google": "google", "vertexai": "google",
                            "cohere": "cohere"}
"""A provider's type as the package names whose prices it has. Other types are known by their endpoint."""

MAX_KNOWN = 4_096
"""Models whose rates are remembered between snapshots: more than any configuration has in use."""

_STEP = Decimal("1e-9")
"""Prices have nine decimals, as those of a pool."""


def unpriced(providers: Iterable[Provider]) -> list[tuple[Provider, Model]]:
    """The models that need the list."""
    return [(provider, model) for provider in providers if not provider.is_local for model in provider.models if model.price is None]


def look_up(models: Iterable[tuple[Provider, Model]]) -> None:
    """Remember the rates of models; blocks. Without it the first ``rate_of`` of each does."""
    for provider, model in models:
        rate_of(provider, model)


def rate_of(provider: Provider, model: Model, *, now: datetime | None = None) -> Rate | None:
    """The rate of a model by its provider's type, or endpoint, and by the vendor's name for it; None where it is unknown.

    A deployment of Azure may have any name: where that says nothing, the public name does. ``now`` decides between prices that have
    changed; None: the clock.
    """
    listed = LISTS.get(provider.type, "")
    day = (now or datetime.now(UTC)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    names = (model.upstream, model.name) if provider.type == "azureopenai" else (model.upstream,)
    found = (_known(listed, "" if listed else provider.base_url, name, day) for name in names)
    return next((rate for rate in found if rate is not None), None)


@lru_cache(maxsize=MAX_KNOWN)
def _known(listed: str, endpoint: str, name: str, day: datetime) -> Rate | None:
    snapshot = _snapshot()
    if snapshot is None:
        return None
    try:
        owner = snapshot.find_provider(None, listed or None, endpoint or None)
    except LookupError:
        return None
    model = owner.find_model(name, all_providers=snapshot.providers)
    return None if model is None else _rate(_standard(model.prices, day))


def _snapshot() -> Any:
    try:
        from genai_prices import data_snapshot  # noqa: PLC0415 (what it costs is said above)
    except ImportError:  # pragma: no cover (the library alone, installed without its extra)
        return None
    return data_snapshot.get_snapshot()


def _standard(prices: ModelPrice | list[ConditionalPrice], day: datetime) -> ModelPrice:
    """The price of that day; without discounts by the hour, so that none is promised that does not last."""
    if not isinstance(prices, list):
        return prices
    for each in reversed(prices):
        begins = getattr(each.constraint, "start_date", None)
        if each.constraint is None or (begins is not None and begins <= day.date()):
            return each.prices
    return prices[0].prices


def _rate(price: ModelPrice) -> Rate | None:
    base = _at(price, 0)
    if base is None:
        return None
    starts = {tier.start for value in vars(price).values() for tier in getattr(value, "tiers", ())}
    above = tuple((start, rate) for start in sorted(starts) if (rate := _at(price, start + 1)) is not None)
    return Rate(base.input, base.output, base.cached_input, base.cache_write, above)


def _at(price: ModelPrice, tokens: int) -> Rate | None:
    """The rates for an input of so many tokens: beyond a tier's start all tokens cost what the tier does."""
    def value(name: str) -> Decimal | None:
        found = getattr(price, name, None)
        if found is not None and not isinstance(found, Decimal):
            found = next((tier.price for tier in reversed(found.tiers) if tokens > tier.start), found.base)
        return None if found is None else found.quantize(_STEP)

    given = value("input_mtok")
    if given is None:
        return None
    # Models that embed have no price for an output, as they have none.
    return Rate(given, value("output_mtok") or Decimal(0), value("cache_read_mtok"), value("cache_write_mtok"))
