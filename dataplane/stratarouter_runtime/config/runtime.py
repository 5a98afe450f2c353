"""``RuntimeConfig.spec``: how one data plane routes, executes, caches and reports.

This model is also the Python API's ``RuntimeConfig``: the custom resource and the library share one contract.
Invariant: everything that can be checked without other resources is checked here; what needs the pools is checked
by ``snapshot``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, Unpack

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from . import keywords
from .base import Contract, ModelName, Name, SecretKeyRef, SecretRef, Url, hot, roll, rules
from .keywords import Keywords
from .origin import Origin
from .policy import Policy, RouteContext
from .secrets import MountedSecrets, Secrets, StaticSecrets
from .state import StateConfig

DEFAULT_ROUTE = "default"
"""The name under which requests of ``defaultRoute`` are reported; no route may take it."""

AUTO_MODEL = "auto"
"""The model name that asks the pod to route by itself; no route may take it."""

MAX_UTTERANCES = 2_048
"""Of all routes together: MiniLM embeds about 150 a second when a pod starts, and each request is compared with all."""

Percent = Annotated[float, Field(ge=0, le=100)]
Threshold = Annotated[float, Field(gt=0, le=1)]


class ExecutionConfig(Contract):
    """One deadline and one attempt budget for each request."""

    timeout_seconds: Annotated[
        float,
        hot("Seconds a request may take in all, failovers and retries included. Default 60. A caller may shorten it with "
            "`x-strata-timeout-ms`, never lengthen it."),
        Field(ge=0.1, le=3_600)] = 60
    max_retries: Annotated[
        int,
        hot("Attempts beyond the first, over the whole chain of candidates. Default 3. Each one costs money and load "
            "when a vendor is in trouble."),
        Field(ge=0, le=20)] = 3
    retry_delay_ms: Annotated[
        int,
        hot("Milliseconds; base of the jittered exponential backoff before the same candidate is tried again. Default 100. "
            "Another candidate is tried at once."),
        Field(ge=1, le=60_000)] = 100


class RedisConfig(Contract):
    """Where the shared cache lives."""

    url_secret_ref: Annotated[
        SecretKeyRef,
        hot("Secret key holding the URL: `redis://` or `rediss://` (TLS), with user and password where the server asks "
            "for them. While it is missing every look-up is a miss.")]


class EmbedderConfig(Contract):
    """What turns a text into the vector the semantic tier compares."""

    model_config = rules((
        "self.type != 'pool' || (has(self.pool) && has(self.model))",
        "pool and model are required for type pool", ".pool"))

    type: Annotated[
        Literal["minilm", "pool", "none"],
        hot("`minilm`: a local model inside the pod (English, 256 tokens, some 6 ms of CPU and 100 MB a pod); `pool`: the "
            "embeddings of a pool (a network call, any language); `none`: exact tier only. Default `minilm`.")] = "minilm"
    pool: Annotated[Name | None, hot("For type `pool`: the ProviderPool.")] = None
    model: Annotated[ModelName | None, hot("For type `pool`: the model of that pool.")] = None
    similarity_threshold: Annotated[
        Threshold | None,
        hot("For type `pool`: the cosine that counts as the same question for that model. Default 0.95. Local models "
            "carry a calibrated one of their own.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type == "pool" and (self.pool is None or self.model is None):
            raise ValueError("pool and model are required for type pool")
        return self


class CacheConfig(Contract):
    """Exact and semantic cache."""

    model_config = rules((
        "!self.enabled || self.backend != 'redis' || has(self.redis)",
        "redis.urlSecretRef is required for backend redis", ".redis"))

    enabled: Annotated[bool, hot("Whether answers are cached at all. Default true.")] = True
    backend: Annotated[
        Literal["memory", "redis"],
        hot("`memory`: each pod for itself, gone with it; `redis`: shared by all pods. Default `memory`.")] = "memory"
    redis: Annotated[RedisConfig | None, hot("For backend `redis`: where it is.")] = None
    scope: Annotated[
        str,
        hot("Deployments that set the same scope share entries on one Redis, which asserts that model names and tenants mean "
            "the same in all of them. Default: the RuntimeConfig's own namespace and name, shared with nobody."),
        Field(max_length=63, pattern=r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$")] = ""
    ttl_seconds: Annotated[
        int,
        hot("Seconds an answer may be reused. Default 3600. Longer saves more and answers staler. Applies to entries stored "
            "from then on."),
        Field(ge=1, le=31_536_000)] = 3_600
    max_entries: Annotated[
        int,
        hot("Entries kept in a pod's index and, for backend `memory`, in all; the least recently used go first. Default "
            "100000, about 0.3 GB with MiniLM vectors."),
        Field(ge=1, le=10_000_000)] = 100_000
    max_temperature: Annotated[
        float,
        hot("Requests with a higher `temperature` are not cached; an absent one is eligible. Default 1."),
        Field(ge=0, le=2)] = 1
    similarity_threshold: Annotated[
        Threshold | None,
        hot("Cosine from which a stored question counts as the same. Default: calibrated for the embedder. Lower hits more "
            "often and is wrong more often.")] = None
    embedder: Annotated[EmbedderConfig, hot("What the semantic tier compares with, and a pod routes by. It is there without the cache, too, where routes have utterances.")] = EmbedderConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.enabled and self.backend == "redis" and self.redis is None:
            raise ValueError("redis.urlSecretRef is required for backend redis")
        return self


class ServiceMonitorConfig(Contract):
    """The Prometheus Operator's object for this data plane."""

    enabled: Annotated[
        bool, hot("Whether a ServiceMonitor is kept where that API exists. Default true.")] = True
    interval: Annotated[
        str, hot("How often Prometheus scrapes, a Prometheus duration. Default 15s."),
        Field(max_length=16, pattern=r"^[1-9][0-9]{0,5}(ms|s|m|h)$")] = "15s"
    labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        hot("Labels by which a Prometheus selects it, for example `release: kube-prometheus-stack`. Default none."),
        Field(max_length=16)] = {}


class TracingConfig(Contract):
    """OpenTelemetry traces."""

    enabled: Annotated[bool, hot("Whether spans are exported. Default false. `traceparent` is passed on regardless.")] = False
    otlp_endpoint: Annotated[
        Url, hot("Where spans go. Default http://localhost:4317. For protocol `http` without a path, `/v1/traces` is added.")
    ] = "http://localhost:4317"
    protocol: Annotated[
        Literal["grpc", "http"], hot("OTLP over `grpc` (usually port 4317) or `http` (4318). Default `grpc`.")] = "grpc"
    sample_percent: Annotated[
        Percent,
        hot("Requests in percent that are traced when the caller did not decide. Default 10. Each traced request costs CPU "
            "and storage.")] = 10


class ObservabilityConfig(Contract):
    """Metrics, traces and logs."""

    metrics: Annotated[bool, hot("Whether `/metrics` on the platform port answers. Default true.")] = True
    service_monitor: Annotated[ServiceMonitorConfig, hot("The ServiceMonitor.")] = ServiceMonitorConfig()
    tracing: Annotated[TracingConfig, hot("Traces.")] = TracingConfig()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        hot("Least level that is logged. Default `info`: one line a request. Prompts are never logged.")] = "info"


class ServerConfig(Contract):
    """The pod's HTTP server."""

    max_body_bytes: Annotated[
        int,
        hot("Bytes of the largest request body; larger ones get 413. Default 33554432 (32 MiB)."),
        Field(ge=1_024, le=1_073_741_824)] = 33_554_432
    keepalive_seconds: Annotated[
        float,
        hot("Seconds of silence after which a stream gets a comment line, so that proxies keep it open. Default 15."),
        Field(ge=0.1, le=600)] = 15
    termination_grace_seconds: Annotated[
        int,
        roll("Seconds a pod that is being stopped gives its open streams. Default 60."), Field(ge=6, le=3_600)] = 60


class PoolRef(Contract):
    """One entry of a route's chain."""

    name: Annotated[Name, hot("The ProviderPool.")]
    model: Annotated[
        ModelName | None,
        hot("The model to ask that pool for, whatever the caller's `model` says. Default: the caller's `model`.")] = None


class RouteCache(Contract):
    """A route's deviations from the cache's settings."""

    similarity_threshold: Annotated[
        Threshold | None, hot("As `cache.similarityThreshold`, for this route. Default: that one.")] = None


class DefaultRoute(Contract):
    """Where requests go that name no route."""

    pools: Annotated[
        tuple[PoolRef, ...],
        hot("Ordered: primary first, then fallbacks. A pool may appear twice with different models.", list_type="atomic"),
        Field(min_length=1, max_length=16)]
    context: Annotated[RouteContext, hot("What the route adds to its requests.")] = RouteContext()
    policy: Annotated[Policy, hot("What must hold before anything is spent.")] = Policy()
    cache: Annotated[RouteCache, hot("The route's cache settings.")] = RouteCache()


class Route(DefaultRoute):
    """A named way to pools and models."""

    model_config = rules((
        "!(self.name in ['default', 'auto'])", "'default' and 'auto' are reserved", ".name"))

    name: Annotated[
        Name, hot("What a routing decision, `x-strata-route` or the caller's `model` names. `default` and `auto` are taken.")]
    utterances: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=512, pattern=r"\S")], ...],
        hot("Example queries. With them the pod routes by itself: a request for the model `auto` goes to the route with the "
            "utterance nearest to its last user message. At most 2048 in all routes; five to twenty for each route work well. "
            "Default: none.", list_type="atomic"), Field(max_length=256)] = ()

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.name in (DEFAULT_ROUTE, AUTO_MODEL):
            raise ValueError(f"name {self.name!r} is reserved")
        return self


class RoutingConfig(Contract):
    """How the pod routes by itself, for the model `auto`."""

    threshold: Annotated[
        float,
        hot("Least confidence at which a route is taken; below it the request goes to `defaultRoute`. Default 0.57, which is a "
            "cosine of 0.40 and measured with MiniLM (docs/routing.md); another embedder needs its own. Confidences are those of "
            "StrataRouter's core: 0.48 for a cosine of 0, 0.59 for 0.5, 0.70 for 1."),
        Field(ge=0, le=1)] = 0.57


class BatchConfig(Contract):
    """Calls that are shared instead of made twice."""

    enabled: Annotated[
        bool,
        hot("Whether requests that ask the same at the same time share one call, streams too. Default true. Only what the cache "
            "may hold is shared.")] = True
    window_ms: Annotated[
        int,
        hot("Milliseconds after a call's start in which requests that ask almost the same (`similarityThreshold`, and the cache's "
            "guard) may join it. Default 50. No chat request ever waits for it; requests for embeddings wait up to this long, and only while "
            "others are under way, to travel in one call. 0 switches both off."),
        Field(ge=0, le=10_000)] = 50
    max_size: Annotated[
        int, hot("Inputs gathered into one embeddings call, of one tenant's requests with the same parameters. Default 32."),
        Field(ge=1, le=2_048)] = 32
    similarity_threshold: Annotated[
        Threshold, hot("Cosine from which a request is nearly the same as one in flight. Default 0.98.")] = 0.98


class AuthConfig(Contract):
    """Who may call."""

    api_keys_secret_ref: Annotated[
        SecretRef,
        roll("Secret whose keys are tenant names and whose values are that tenant's API keys, one a line.")]
    admin_keys_secret_ref: Annotated[
        SecretRef | None,
        roll("Secret whose values are keys, one a line, for the admin endpoints of the platform port (`/executions/{id}`, `/cache`). "
             "Default: those endpoints are off. While it holds no key, they answer 503.")] = None
    trusted_tenant_header: Annotated[
        bool,
        hot("Whether `x-strata-tenant` of an authenticated caller names the tenant. Default false. Only for a gateway in front "
            "that sets it: whoever holds a key can then act as any tenant.")] = False


class Template(Contract):
    """Pod settings that pass through to the Deployment."""

    image: Annotated[
        str, roll("Image of the data plane. Default: the operator's own setting."), Field(max_length=512, pattern=r"^\S*$")] = ""
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], roll("When the image is pulled. Default `IfNotPresent`.")] = "IfNotPresent"
    resources: Annotated[
        dict[str, Any], roll("Requests and limits, as in a container. Default: 100m CPU and 256Mi memory requested, 1Gi memory "
                             "as the limit.", preserve=True)] = {}
    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=253)]], roll("As in a pod."), Field(max_length=32)] = {}
    tolerations: Annotated[
        tuple[Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})], ...],
        roll("As in a pod.", list_type="atomic"), Field(max_length=32)] = ()
    affinity: Annotated[dict[str, Any], roll("As in a pod.", preserve=True)] = {}
    topology_spread_constraints: Annotated[
        tuple[Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})], ...],
        roll("As in a pod; without a `labelSelector` the data plane's own labels are used.", list_type="atomic"),
        Field(max_length=16)] = ()
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], roll("Annotations of the pods."), Field(max_length=64)] = {}


class RuntimeConfig(Contract):
    """Spec of a `RuntimeConfig`: one data plane."""

    model_config = rules(
        ("has(self.defaultRoute) || size(self.routes) > 0", "a defaultRoute or at least one route is required",
         ".defaultRoute"),
        ("self.cache.embedder.type != 'none' || !self.routes.exists(route, size(route.utterances) > 0)",
         "routes with utterances need an embedder: cache.embedder.type must not be none", ".cache.embedder.type"),
        (f"self.routes.map(route, size(route.utterances)).sum() <= {MAX_UTTERANCES}",
         f"routes have more than {MAX_UTTERANCES} utterances in all", ".routes"))

    replicas: Annotated[
        int, hot("Pods. Default 2. Running pods are kept when it changes."), Field(ge=0, le=1_000)] = 2
    execution: Annotated[ExecutionConfig, hot("Deadline and retries.")] = ExecutionConfig()
    cache: Annotated[CacheConfig, hot("The cache.")] = CacheConfig()
    batch: Annotated[BatchConfig, hot("Calls that are shared instead of made twice.")] = BatchConfig()
    state: Annotated[StateConfig, hot("Where executions are recorded.")] = StateConfig()
    observability: Annotated[ObservabilityConfig, hot("Metrics, traces and logs.")] = ObservabilityConfig()
    server: Annotated[ServerConfig, hot("The HTTP server.")] = ServerConfig()
    routes: Annotated[
        tuple[Route, ...],
        hot("Named routes.", list_type="map", keys=("name",)), Field(max_length=256)] = ()
    default_route: Annotated[
        DefaultRoute | None,
        hot("Where requests go that name no route. Default: such requests get 404 `model_not_found`.")] = None
    routing: Annotated[RoutingConfig, hot("How the pod routes by itself.")] = RoutingConfig()
    auth: Annotated[
        AuthConfig | None, hot("Who may call. Default: everybody who can reach the pod, as one tenant.")] = None
    template: Annotated[Template, roll("Pod settings.")] = Template()

    _origin: Origin = PrivateAttr(default_factory=Origin)

    def __init__(self, **given: Unpack[Keywords]) -> None:
        """In Python: the flat keywords of ``keywords.FLAT`` beside the nested fields, and the URLs of back ends.

        Raises ``ConfigError`` for an unknown keyword or a field that is given twice, pydantic's ``ValidationError`` for a
        value out of bounds; both are ``ValueError``.
        """
        try:
            super().__init__(**keywords.nested(given, type(self)))
        except ValidationError as error:
            keywords.explained(error, given)
            raise
        self._origin = Origin(secrets=StaticSecrets(keywords.urls(given, self)))

    # Only ``RuntimeConfig(...)`` takes keywords: documents are validated without it.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # as pydantic marks its own

    @classmethod
    def load(cls, *paths: str | Path, name: str | None = None, secrets: str | Path | Secrets | None = None) -> RuntimeConfig:
        """Read the resources' YAML as ``strata-runtime serve --config`` does, with the pools and Secrets beside it.

        ``paths`` are files or folders, ``name`` chooses among several RuntimeConfigs, ``secrets`` is a folder of
        ``<secret>/<key>`` whose values go before those of Secret manifests. Reads files, so call it outside the event loop
        where that matters. Raises ``ConfigError`` that names the file or the field.
        """
        from .files import load  # noqa: PLC0415 (it reads into this model)

        loaded = load(paths, name=name)
        beside: Secrets = StaticSecrets(loaded.secrets)
        if isinstance(secrets, str | Path):
            beside = MountedSecrets(Path(secrets), beside)
        elif secrets is not None:
            beside = secrets
        config = loaded.snapshot.runtime
        config._origin = Origin(loaded.snapshot, beside)  # noqa: SLF001 (its own class)
        return config

    @property
    def origin(self) -> Origin:
        """The pools and secrets that came with it; no part of its value."""
        return self._origin

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [route.name for route in self.routes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"routes has {twice!r} twice")
        if self.routable and self.cache.embedder.type == "none":
            raise ValueError("routes with utterances need an embedder: cache.embedder.type must not be none")
        if sum(len(route.utterances) for route in self.routes) > MAX_UTTERANCES:
            raise ValueError(f"routes have more than {MAX_UTTERANCES} utterances in all")
        return self

    @property
    def routable(self) -> bool:
        """Whether a route has utterances: then the pod routes by itself, and needs the embedder also without a cache."""
        return any(route.utterances for route in self.routes)
