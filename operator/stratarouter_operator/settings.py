"""How one operator process runs: arguments first, then the environment, then defaults.

Invariant: read once at start and frozen; nothing else looks at the environment, except what a kubeconfig names.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PlatformAccess = Literal["auto", "direct", "proxy"]
LogLevel = Literal["debug", "info", "warning", "error"]

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_IMAGE = "stratarouter/dataplane:dev"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the process. Each has a flag and a variable: ``--dataplane-image``, ``STRATA_DATAPLANE_IMAGE``."""

    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose resources are served. Default: all. Fewer need only Roles instead of ClusterRoles."""

    dataplane_image: str = DEFAULT_IMAGE
    """Image of pods whose RuntimeConfig names none."""

    resync_seconds: float = 120.0
    """Seconds between looks at everything without an event. Default 120. Repairs what a lost event hid, and drift of
    ServiceMonitors, which are not watched; lower costs requests to the API server."""

    workers: int = 16
    """RuntimeConfigs and ProviderPools worked on at once. Default 16. Each worker mostly waits."""

    leader_election: bool = True
    """Whether a Lease must be held before anything is written. Default true where a namespace for it is known."""

    lease_name: str = "stratarouter-operator"
    """Name of the Lease."""

    lease_namespace: str = ""
    """Namespace of the Lease. Default: the pod's own; outside a cluster none, which means no election."""

    lease_seconds: float = 15.0
    """Seconds after which an unrenewed Lease may be taken. Default 15. Lower fails over sooner and tolerates less
    of an API server that is away."""

    renew_deadline_seconds: float = 10.0
    """Seconds without a successful renewal after which this process ends. Default 10; less than ``lease_seconds``."""

    retry_seconds: float = 2.0
    """Seconds between attempts to take or renew the Lease. Default 2."""

    identity: str = ""
    """Who holds the Lease. Default: the pod's name, else the machine's name and process id."""

    host: str = "0.0.0.0"
    """Address that health and metrics listen on."""

    health_port: int = 8081
    """Port of ``/healthz`` and ``/readyz``, on followers too. Default 8081."""

    metrics_port: int = 8082
    """Port of ``/metrics``. Default 8082; 0 switches it off."""

    platform_access: PlatformAccess = "auto"
    """How pods' platform ports are read: ``direct`` by pod IP, ``proxy`` through the API server (needs ``pods/proxy``),
    ``auto``: direct inside a cluster, else proxy."""

    log_level: LogLevel = "info"
    """Least level that is logged."""

    def __post_init__(self) -> None:
        if not self.retry_seconds < self.renew_deadline_seconds < self.lease_seconds:
            raise ValueError("retry-seconds must be less than renew-deadline-seconds, and that less than lease-seconds")

    @property
    def elects(self) -> bool:
        """Whether a Lease is needed."""
        return self.leader_election and bool(self.lease_namespace)


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ, *,
          namespace_file: Path = NAMESPACE_FILE) -> Settings:
    """Settings from arguments and environment; exits with a message on wrong ones, as command lines do."""
    parser = _parser(environment, namespace_file)
    values = vars(parser.parse_args(arguments))
    values["watch_namespaces"] = tuple(each.strip() for each in values["watch_namespaces"].split(",") if each.strip())
    try:
        return Settings(**values)
    except ValueError as error:
        parser.error(str(error))


def _parser(environment: Mapping[str, str], namespace_file: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="strata-operator", description="Keeps the data planes of RuntimeConfig resources running.",
        epilog="Each option is also read from a variable: --dataplane-image from STRATA_DATAPLANE_IMAGE.")
    defaults = Settings()

    def option(name: str, convert: type, help_text: str, fallback: object, choices: tuple[str, ...] | None = None) -> None:
        variable = "STRATA_" + name.replace("-", "_").upper()
        value = environment.get(variable, fallback)
        if choices and value not in choices:  # argparse does not look at defaults
            parser.error(f"{variable}: choose from {', '.join(choices)}")
        parser.add_argument(f"--{name}", type=convert, choices=choices, default=value,
                            help=f"{help_text} (default: {fallback!r})")

    option("watch-namespaces", str, "namespaces to serve, separated by commas; empty: all", "")
    option("dataplane-image", str, "image of pods whose RuntimeConfig names none", defaults.dataplane_image)
    option("resync-seconds", float, "seconds between looks at everything without an event", defaults.resync_seconds)
    option("workers", int, "resources worked on at once", defaults.workers)
    option("lease-name", str, "name of the Lease", defaults.lease_name)
    option("lease-namespace", str, "namespace of the Lease", _own_namespace(environment, namespace_file))
    option("lease-seconds", float, "seconds after which an unrenewed Lease may be taken", defaults.lease_seconds)
    option("renew-deadline-seconds", float, "seconds without a renewal after which to exit", defaults.renew_deadline_seconds)
    option("retry-seconds", float, "seconds between attempts to take or renew the Lease", defaults.retry_seconds)
    option("identity", str, "who holds the Lease", environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}")
    option("host", str, "address that health and metrics listen on", defaults.host)
    option("health-port", int, "port of /healthz and /readyz", defaults.health_port)
    option("metrics-port", int, "port of /metrics; 0 switches it off", defaults.metrics_port)
    option("platform-access", str, "how pods' platform ports are read", defaults.platform_access, ("auto", "direct", "proxy"))
    option("log-level", str, "least level that is logged", defaults.log_level, ("debug", "info", "warning", "error"))
    parser.add_argument("--leader-election", action=argparse.BooleanOptionalAction, help="hold a Lease before writing",
                        default=environment.get("STRATA_LEADER_ELECTION", "true").lower() not in ("false", "0", "no"))
    return parser


def _own_namespace(environment: Mapping[str, str], file: Path) -> str:
    if found := environment.get("POD_NAMESPACE"):
        return found
    try:
        return file.read_text().strip()
    except OSError:
        return ""
