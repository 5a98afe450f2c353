"""``strata-runtime``: the data plane's command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from ._version import __version__
from .config import ConfigError, load


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 for success, 2 for a configuration or an address that cannot be used."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        print(f"strata-runtime: {error.reason}", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
    except OSError as error:
        print(f"strata-runtime: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="strata-runtime", description="Execute routed LLM requests reliably.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the client port and the platform port")
    _config_arguments(serve)
    serve.add_argument("--secrets", type=Path, metavar="DIR", help="folder with DIR/<secret>/<key>, as Kubernetes mounts Secrets")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=8080, help="client port (default %(default)s)")
    serve.add_argument("--platform-port", type=int, default=9090, help="metrics, health and configuration (default %(default)s)")
    serve.set_defaults(run=_serve)
    check = commands.add_parser("check", help="validate a configuration and print its hash")
    _config_arguments(check)
    check.set_defaults(run=_check)
    return parser


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, nargs="+", required=True, metavar="FILE|DIR",
                        help="RuntimeConfig, ProviderPool and Secret resources as YAML")
    parser.add_argument("--name", help="which RuntimeConfig, where there are several")


def _serve(arguments: argparse.Namespace) -> int:
    # Imported here so that `check` and `--help` load no server.
    from .server.lifecycle import ServeOptions, serve  # noqa: PLC0415
    from .telemetry import Logging  # noqa: PLC0415

    options = ServeOptions(config=tuple(arguments.config), name=arguments.name, secrets=arguments.secrets, host=arguments.host,
                           port=arguments.port, platform_port=arguments.platform_port)
    with Logging():
        asyncio.run(serve(options))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    snapshot = load(arguments.config, name=arguments.name).snapshot
    print(f"{snapshot.namespace}/{snapshot.name} is valid: {len(snapshot.runtime.routes)} routes, {len(snapshot.pools)} pools, "
          f"hash {snapshot.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
