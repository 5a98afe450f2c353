"""``python -m fakes.vendor``: the fake vendor as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from .server import API_KEY, FakeVendor


def main() -> None:
    """Parse arguments and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="fakes.vendor", description="A fake of an OpenAI-compatible vendor.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--flavour", choices=["openai", "vllm", "vllm-old", "ollama"], default="openai")
    parser.add_argument("--api-key", action="append", help=f"accepted key, repeatable (default {API_KEY}); "
                        "an empty one accepts every call")
    parser.add_argument("--model", action="append", help="model served, repeatable; '*' serves any")
    parser.add_argument("--interval-ms", type=float, default=0.0, help="milliseconds between the frames of a stream")
    parser.add_argument("--words", type=int, default=0, help="least number of words of an answer")
    parser.add_argument("--dimensions", type=int, help="length of the vectors (default: the model's)")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    models = None if "*" in (options.model or ()) else options.model or ()
    keys = [key for key in options.api_key if key] if options.api_key else [API_KEY]
    vendor = FakeVendor(flavour=options.flavour, models=models, api_keys=keys, interval=options.interval_ms / 1000,
                        pad_words=options.words, host=options.host, port=options.port, dimensions=options.dimensions)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with vendor:
        print(f"fake vendor ({options.flavour}) on {vendor.base_url}", flush=True)  # noqa: T201 (a program: it says where it listens)
        await stop.wait()


if __name__ == "__main__":
    main()
