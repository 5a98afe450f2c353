"""Every name that monitoring sees: metrics, labels, spans, attributes and log fields, each with its meaning.

Nothing else in the project invents such a name: they are API, and ``docs/telemetry.md`` is generated from here.
Span and attribute names follow the OpenTelemetry semantic conventions 1.41 (``gen-ai-spans.md``, ``http-spans.md``);
what the conventions have no word for starts with ``strata.``.

Invariants: a metric's name starts with ``PREFIX`` and ends with its unit; a label's values come from the
configuration, from the closed list given here, or from identifiers in the code, and are otherwise ``OTHER``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "stratarouter_runtime_"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
"""The version of the semantic conventions that spans follow."""

OTHER = "other"
"""Label value that stands for every name that is not in the configuration."""
NONE = "none"
"""Label value where there is nothing to name: no provider was asked, or no route was chosen."""


# --- labels -----------------------------------------------------------------------------------------------------
class Source(StrEnum):
    """Where a label's values may come from; anything else becomes ``OTHER``."""

    ROUTES = "names of routes in the configuration, or `none`"
    PROVIDERS = "names of providers in the configuration, or `none`"
    MODELS = "names of models in the configuration"
    CLOSED = "a closed list"
    STATUS = "an HTTP status code"
    CODE = "identifiers in the code"
    OWN = "what this process is"


@dataclass(frozen=True, slots=True)
class Label:
    """A label, its meaning, and where its values come from (``values`` for a closed list)."""

    name: str
    help: str
    source: Source
    values: tuple[str, ...] = ()


STAGES = ("parse", "routing", "policy", "cache", "queue", "upstream-ttfb", "upstream", "post")
ROUTING_OUTCOMES = ("matched", "below_threshold", "undecided")
TIERS = ("exact", "semantic")
TOKEN_TYPES = ("input", "output")
SUCCESS = "success"
CANCELLED = "cancelled"
"""Outcomes of an attempt beside the reasons of failures."""

PROVIDER = Label("provider", "The provider that answered or was asked; `none` when no provider was.", Source.PROVIDERS)
ROUTE = Label("route", "The route that was chosen; `none` before there is one.", Source.ROUTES)
MODEL = Label("model", "The model's public name.", Source.MODELS)
STATUS = Label("status", "The HTTP status of the reply, that of the error inside a stream, or 499 where the client went away.", Source.STATUS)
OUTCOME = Label("outcome", "`success`, `cancelled` (the client went away), or the reason of the failure.", Source.CODE)
TYPE = Label("type", "The CamelCase reason of the error; the reply's `code` is the same in snake case.", Source.CODE)
SKIP_REASON = Label("reason", "Why the candidate was passed over.", Source.CODE)
TOKEN_TYPE = Label("type", "Which tokens; both together are the total.", Source.CLOSED, TOKEN_TYPES)
TIER = Label("tier", "Which tier of the cache answered.", Source.CLOSED, TIERS)
RULE = Label("rule", "The policy's rule, as the configuration names it.", Source.CODE)
EFFECT = Label("effect", "What a violation did: `refused`, `leftOut`, `rerouted`, `reported`.", Source.CODE)
MISS_REASON = Label("reason", "Why the cache did not answer.", Source.CODE)
LIKENESS = Label("likeness", "How the other request was alike.", Source.CLOSED, ("identical", "near"))
VERDICT = Label("verdict", "What a caller said of an answer.", Source.CLOSED, ("correct", "wrong"))
SAVING = Label("reason", "What saved the money.", Source.CLOSED, ("cache", "coalesce"))
STAGE = Label("stage", "The part of the request's way, as in `Server-Timing`.", Source.CLOSED, STAGES)
BACKEND = Label("backend", "The back end.", Source.CLOSED, ("redis", "postgresql"))
ROUTING = Label("outcome", "What the pod's own routing came to.", Source.CLOSED, ROUTING_OUTCOMES)
RELOAD = Label("outcome", "Whether the configuration was taken over.", Source.CLOSED, ("success", "failure"))
SPAN_FATE = Label("outcome", "What became of the spans.", Source.CLOSED, ("exported", "failed", "dropped"))
CONFIG_HASH = Label("hash", "SHA-256 of the configuration in use.", Source.OWN)
CONFIG_GENERATION = Label("generation", "`metadata.generation` of the configuration in use.", Source.OWN)
VERSION = Label("version", "The runtime's version.", Source.OWN)
PYTHON = Label("python", "The Python version.", Source.OWN)


# --- metrics ----------------------------------------------------------------------------------------------------
class Kind(StrEnum):
    """Prometheus metric types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()


REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
FIRST_TOKEN_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

_metrics: list[Metric] = []


def _metric(kind: Kind, name: str, meaning: str, *labels: Label, buckets: tuple[float, ...] = ()) -> Metric:
    metric = Metric(PREFIX + name, kind, meaning, labels, buckets)
    _metrics.append(metric)
    return metric


def _counter(name: str, meaning: str, *labels: Label) -> Metric:
    return _metric(Kind.COUNTER, name, meaning, *labels)


def _gauge(name: str, meaning: str, *labels: Label) -> Metric:
    return _metric(Kind.GAUGE, name, meaning, *labels)


def _histogram(name: str, meaning: str, *labels: Label, buckets: tuple[float, ...]) -> Metric:
    return _metric(Kind.HISTOGRAM, name, meaning, *labels, buckets=buckets)


REQUESTS = _counter("requests_total", "Requests answered.", PROVIDER, ROUTE, STATUS)
REQUEST_DURATION = _histogram(
    "request_duration_seconds", "Seconds from a request's arrival to the last byte of its reply.", PROVIDER, ROUTE, buckets=REQUEST_BUCKETS)
REQUESTS_IN_FLIGHT = _gauge("requests_in_flight", "Requests being worked on.")
ATTEMPTS = _counter("attempts_total", "Calls to providers.", PROVIDER, MODEL, OUTCOME)
ATTEMPT_DURATION = _histogram(
    "attempt_duration_seconds", "Seconds of a call to a provider, a stream to its end.", PROVIDER, MODEL, buckets=REQUEST_BUCKETS)
FIRST_TOKEN = _histogram(
    "time_to_first_token_seconds", "Seconds from a call to its first content (streams).", PROVIDER, MODEL, buckets=FIRST_TOKEN_BUCKETS)
CACHE_HITS = _counter("cache_hits_total", "Requests answered from the cache.", TIER, ROUTE)
CACHE_MISSES = _counter("cache_misses_total", "Lookups that the cache did not answer.", MISS_REASON, ROUTE)
CACHE_SIZE = _gauge("cache_size_bytes", "Bytes of the entries that this pod holds or indexes.")
CACHE_ENTRIES = _gauge("cache_entries", "Cache entries that this pod holds or indexes.")
COALESCED = _counter("coalesced_requests_total", "Requests answered by a call that another request had made.", LIKENESS, ROUTE)
ROUTINGS = _counter(
    "routings_total", "Requests that the pod routed by itself: `matched` a route; `below_threshold`; or `undecided`, because there was no "
    "text, no index yet, or no vector in time.", ROUTING)
FEEDBACK = _counter("feedback_total", "What callers said of answers (`POST /v1/feedback`).", VERDICT, ROUTE, MODEL)
GATHERED = _counter("gathered_requests_total", "Requests for embeddings that travelled to a vendor in one call with others.", ROUTE)
POLICY_VIOLATIONS = _counter("policy_violations_total", "Violations of a route's policy.", RULE, EFFECT, ROUTE)
COST = _counter("cost_usd_total", "US dollars spent, by the prices of the pools, else of the price list.", PROVIDER)
COST_SAVED = _counter("cost_saved_usd_total", "US dollars not spent.", SAVING)
TOKENS = _counter("tokens_used_total", "Tokens that providers reported; a cache hit uses none.", PROVIDER, MODEL, TOKEN_TYPE)
ERRORS = _counter("errors_total", "Errors, of requests (provider `none`) and of calls to providers.", TYPE, PROVIDER)
SKIPS = _counter("candidates_skipped_total", "Candidates passed over without a call.", PROVIDER, MODEL, SKIP_REASON)
TIMEOUTS = _counter("timeouts_total", "Calls to providers that took longer than a timeout or the deadline.", PROVIDER)
RETRIES = _counter("retries_total", "Calls that repeated a provider and model of the same request.", PROVIDER)
FAILOVERS = _counter("failovers_total", "Steps to another provider or model within a request.")
BREAKER_STATE = _gauge("breaker_state", "The circuit breaker: 0 closed, 1 half-open, 2 open.", PROVIDER, MODEL)
STAGE_DURATION = _histogram("stage_duration_seconds", "Seconds of each part of a request's way.", STAGE, buckets=STAGE_BUCKETS)
EMBEDDER_SHED = _counter("embedder_shed_total", "Semantic lookups given up because the local embedder was busy.")
STATE_QUEUED = _gauge("state_queued_entries", "Records of executions that wait to be written.")
STATE_DROPS = _counter("state_dropped_total", "Records of executions, and checkpoints of their streams, that could not be kept.")
BACKEND_UP = _gauge("backend_up", "1 while the back end answers, else 0.", BACKEND)
BACKEND_ERRORS = _counter("backend_errors_total", "Commands to the back end that failed or took too long.", BACKEND)
CONFIG_INFO = _gauge("config_info", "1, with the configuration in use.", CONFIG_HASH, CONFIG_GENERATION)
CONFIG_LOADED = _gauge("config_loaded_timestamp_seconds", "Unix time at which the configuration in use was taken over.")
CONFIG_RELOADS = _counter("config_reloads_total", "Attempts to take over a changed configuration.", RELOAD)
SPANS = _counter("spans_total", "Spans that ended, by what became of them.", SPAN_FATE)
LOG_DROPS = _counter("log_records_dropped_total", "Log records dropped because the log's reader was too slow.")
LOOP_LAG = _gauge("event_loop_lag_seconds", "The longest delay of the event loop in the last 15 seconds.")
BUILD_INFO = _gauge("build_info", "1, with what runs.", VERSION, PYTHON)

METRICS: tuple[Metric, ...] = tuple(_metrics)
PROCESS_METRICS: tuple[tuple[str, str, str], ...] = tuple(
    (f"{PREFIX}process_{name}", kind, meaning) for name, kind, meaning in (
        ("resident_memory_bytes", "gauge", "Resident memory."),
        ("virtual_memory_bytes", "gauge", "Virtual memory."),
        ("cpu_seconds_total", "counter", "User and system CPU time."),
        ("open_fds", "gauge", "Open file descriptors."),
        ("max_fds", "gauge", "Most file descriptors that may be open."),
        ("start_time_seconds", "gauge", "Unix time of the start."),
    ))
"""What the Prometheus client's process collector adds on Linux, every five seconds."""


BREAKER_VALUES = {"closed": 0, "half_open": 1, "open": 2}
"""Values of ``BREAKER_STATE`` by the engine's word."""


# --- spans ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Term:
    """A span attribute, span event or log field: its name, meaning, and where it appears."""

    name: str
    help: str
    where: str


SERVER = "SERVER"
CLIENT = "CLIENT"
BOTH = "SERVER, CLIENT"
RESOURCE = "resource"

SERVER_SPAN = "{http.request.method} {http.route}"
CLIENT_SPAN = "{gen_ai.operation.name} {gen_ai.request.model}"

_attributes: list[Term] = []
_events: list[Term] = []


def _attribute(name: str, meaning: str, where: str) -> str:
    _attributes.append(Term(name, meaning, where))
    return name


def _event(name: str, meaning: str, where: str) -> str:
    _events.append(Term(name, meaning, where))
    return name


HTTP_METHOD = _attribute("http.request.method", "The request's method.", SERVER)
HTTP_ROUTE = _attribute("http.route", "The path's template.", SERVER)
HTTP_STATUS = _attribute("http.response.status_code", "Status sent to the client, or got from the provider.", BOTH)
URL_PATH = _attribute("url.path", "The path, without its query.", SERVER)
URL_SCHEME = _attribute("url.scheme", "`http` or `https`.", SERVER)
ERROR_TYPE = _attribute("error.type", "The reason of the error; absent on success.", BOTH)
SERVER_ADDRESS = _attribute("server.address", "The provider's host.", CLIENT)
SERVER_PORT = _attribute("server.port", "The provider's port.", CLIENT)
OPERATION = _attribute("gen_ai.operation.name", "`chat` or `embeddings`.", BOTH)
PROVIDER_NAME = _attribute("gen_ai.provider.name", "The vendor, as the conventions name it.", CLIENT)
REQUEST_MODEL = _attribute(
    "gen_ai.request.model", "The model asked for: by the client (SERVER), of the provider (CLIENT).", BOTH)
REQUEST_STREAM = _attribute("gen_ai.request.stream", "`true` for a stream, else absent.", BOTH)
RESPONSE_MODEL = _attribute("gen_ai.response.model", "The model that the provider says answered.", CLIENT)
FINISH_REASONS = _attribute("gen_ai.response.finish_reasons", "Why each choice ended.", CLIENT)
FIRST_CHUNK = _attribute("gen_ai.response.time_to_first_chunk", "Seconds to the first content of a stream.", CLIENT)
INPUT_TOKENS = _attribute("gen_ai.usage.input_tokens", "Tokens of the input.", CLIENT)
OUTPUT_TOKENS = _attribute("gen_ai.usage.output_tokens", "Tokens of the output.", CLIENT)
CACHED_TOKENS = _attribute("gen_ai.usage.cache_read.input_tokens", "Input tokens from the provider's own cache.", CLIENT)
STRATA_EXECUTION_ID = _attribute("strata.execution.id", "The execution, as in `x-strata-execution-id`.", SERVER)
STRATA_REQUEST_ID = _attribute("strata.request.id", "The request, as in `x-request-id`.", SERVER)
STRATA_ROUTE = _attribute("strata.route", "The route that was chosen.", SERVER)
STRATA_TENANT = _attribute("strata.tenant", "The tenant.", SERVER)
STRATA_PROVIDER = _attribute("strata.provider", "The provider's name in the configuration.", BOTH)
STRATA_POOL = _attribute("strata.pool", "The pool.", CLIENT)
STRATA_MODEL = _attribute("strata.model", "The model's public name.", BOTH)
STRATA_REGION = _attribute("strata.region", "The provider's region.", CLIENT)
STRATA_ATTEMPT = _attribute("strata.attempt", "The attempt's number within the request, from 1.", CLIENT)
STRATA_ATTEMPTS = _attribute("strata.attempts", "Calls to providers that the request took.", SERVER)
STRATA_CACHE = _attribute("strata.cache", "`exact` or `semantic` for a hit, else why the cache did not answer.", SERVER)
STRATA_POLICY = _attribute("strata.policy", "What the policy found, as in `x-strata-policy`.", SERVER)
STRATA_METADATA = _attribute("strata.metadata", "The request's metadata with the route's and the context's, as `key=value`.", SERVER)
STRATA_COST = _attribute("strata.cost_usd", "US dollars that the request cost.", SERVER)
SERVICE_NAME = _attribute("service.name", "`stratarouter-runtime`.", RESOURCE)
SERVICE_VERSION = _attribute("service.version", "The runtime's version.", RESOURCE)
SERVICE_NAMESPACE = _attribute("service.namespace", "The RuntimeConfig's namespace.", RESOURCE)
SERVICE_INSTANCE = _attribute("service.instance.id", "The pod's UID, or a random one.", RESOURCE)
K8S_POD = _attribute("k8s.pod.name", "The pod.", RESOURCE)
K8S_NAMESPACE = _attribute("k8s.namespace.name", "The pod's namespace.", RESOURCE)
STRATA_CONFIG = _attribute("strata.runtimeconfig", "The RuntimeConfig's name.", RESOURCE)

STRATA_CANDIDATE = _attribute("strata.candidate", "Pool, provider and model, in the event `strata.candidate_skipped`.", SERVER)
STRATA_REASON = _attribute("strata.reason", "Why, in the event `strata.candidate_skipped`.", SERVER)

SKIPPED_EVENT = _event("strata.candidate_skipped", "A candidate was passed over without a call.", SERVER)
FIRST_CONTENT_EVENT = _event("strata.first_content", "The first content of a stream arrived.", CLIENT)

ATTRIBUTES: tuple[Term, ...] = tuple(_attributes)
EVENTS: tuple[Term, ...] = tuple(_events)



@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the client port: its HTTP method and path template, and its ``gen_ai.operation.name``."""

    method: str
    route: str
    gen_ai: str = ""


OPERATIONS = {
    "chat": Operation("POST", "/v1/chat/completions", "chat"),
    "messages": Operation("POST", "/v1/messages", "chat"),
    "count-tokens": Operation("POST", "/v1/messages/count_tokens"),
    "responses": Operation("POST", "/v1/responses", "chat"),
    "embeddings": Operation("POST", "/v1/embeddings", "embeddings"),
    "models": Operation("GET", "/v1/models"),
    "execute": Operation("POST", "/v1/execute", "chat"),
    "feedback": Operation("POST", "/v1/feedback"),
    "unknown": Operation("_OTHER", "/"),
    "library": Operation("", "strata.execute", "chat"),
    "library-embeddings": Operation("", "strata.embed", "embeddings"),
}
"""By the front door's word; ``_OTHER`` is the conventions' method for what is not known, and in-process calls have none."""

VENDORS = {
    "openai": "openai",
    "azureopenai": "azure.ai.openai",
    "anthropic": "anthropic",
    "google": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
    "cohere": "cohere",
    "ollama": "ollama",
    "vllm": "vllm",
    "openaicompatible": "openai_compatible",
}
"""A provider's type as ``gen_ai.provider.name``: the conventions' word where they have one."""

# --- logs -------------------------------------------------------------------------------------------------------
EVERY = "every line"
ACCESS = "one line a request"
SOME = "where it applies"

_fields: list[Term] = []


def _field(name: str, meaning: str, where: str) -> str:
    _fields.append(Term(name, meaning, where))
    return name


LOG_TIME = _field("ts", "RFC 3339 time in UTC, with milliseconds.", EVERY)
LOG_LEVEL = _field("level", "`debug`, `info`, `warning`, `error` or `critical`.", EVERY)
LOG_LOGGER = _field("logger", "The part of the program.", EVERY)
LOG_MESSAGE = _field("message", "What happened.", EVERY)
LOG_TRACE = _field("trace_id", "The trace, as in `traceparent`.", "lines of a request")
LOG_SPAN = _field("span_id", "The SERVER span.", "lines of a traced request")
LOG_REQUEST = _field("request_id", "As in `x-request-id`.", "lines of a request")
LOG_EXECUTION = _field("execution_id", "As in `x-strata-execution-id`.", "lines of a request")
LOG_EXCEPTION = _field(
    "exception", "`type`, `stack` (innermost first) and `caused_by` of an exception; `message` only where it cannot quote a prompt.", SOME)

LOG_METHOD = _field("method", "HTTP method.", ACCESS)
LOG_PATH = _field("path", "The path's template.", ACCESS)
LOG_STATUS = _field("status", "HTTP status.", ACCESS)
LOG_ROUTE = _field("route", "Route.", ACCESS)
LOG_PROVIDER = _field("provider", "The provider that answered, or that the line is about.", ACCESS)
LOG_MODEL = _field("model", "The model's public name.", ACCESS)
LOG_TENANT = _field("tenant", "Tenant.", ACCESS)
LOG_STREAM = _field("stream", "Whether the reply was a stream.", ACCESS)
LOG_ATTEMPTS = _field("attempts", "Calls to providers.", ACCESS)
LOG_CACHE = _field("cache", "`exact` or `semantic` for a hit, else why the cache did not answer.", ACCESS)
LOG_TOKENS_IN = _field("input_tokens", "Tokens of the input that the provider reported.", ACCESS)
LOG_TOKENS_OUT = _field("output_tokens", "Tokens of the output that the provider reported.", ACCESS)
LOG_COST = _field("cost_usd", "US dollars.", ACCESS)
LOG_POLICY = _field("policy", "What the policy found, as in `x-strata-policy`.", ACCESS)
LOG_METADATA = _field("metadata", "The request's metadata with the route's and the context's.", ACCESS)
LOG_DROPPED = _field("dropped", "Parameters that were left out for the provider that answered, as in `x-strata-warning`.", ACCESS)
LOG_ERROR = _field("error", "The CamelCase reason of the error; the reply's `code` is the same in snake case.", ACCESS)
LOG_DURATION = _field("duration_ms", "Milliseconds from arrival to the last byte.", ACCESS)
LOG_UPSTREAM = _field("upstream_ms", "Milliseconds that providers took.", ACCESS)
LOG_FIRST_TOKEN = _field("first_token_ms", "Milliseconds to the first content of a stream.", ACCESS)

LOG_POOL = _field("pool", "Pool.", SOME)
LOG_REASON = _field("reason", "A CamelCase or snake_case reason.", SOME)
LOG_WHERE = _field("where", "File, line and function of a defect.", SOME)
LOG_CONFIG_HASH = _field("config_hash", "SHA-256 of a configuration.", SOME)
LOG_GENERATION = _field("generation", "`metadata.generation` of a configuration.", SOME)
LOG_BACKEND = _field("backend", "`redis` or `postgresql`.", SOME)
LOG_ENDPOINT = _field("endpoint", "Host and port of a peer.", SOME)
LOG_ADDRESS = _field("address", "URL of the client port.", SOME)
LOG_PLATFORM = _field("platform", "URL of the platform port.", SOME)
LOG_SECRET = _field("secret", "Name of a Secret; never its content.", SOME)
LOG_COUNT = _field("count", "How many.", SOME)
LOG_QUEUED = _field("queued", "How many wait.", SOME)
LOG_IN_FLIGHT = _field("in_flight", "Requests being worked on.", SOME)
LOG_GRACE = _field("grace_seconds", "Seconds that a stopping pod gives its requests.", SOME)

LOG_FIELDS: tuple[Term, ...] = tuple(_fields)
