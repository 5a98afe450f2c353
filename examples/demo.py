"""``make demo``: what the data plane does with calls, on this machine, in well under a minute.

Starts two fakes of an OpenAI-compatible vendor and ``strata-runtime serve --config examples/local/``, calls it with the
official ``openai`` SDK, and checks every claim it prints: exit status 1 if one does not hold. With ``--vendor openai`` and
``OPENAI_API_KEY`` the calls go to the real vendor (a fraction of a cent).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo_servers import EXAMPLE, NotAsClaimedError, Stack, running
from openai import OpenAI, OpenAIError

MODEL = "gpt-4o-mini"
VENDOR_SECONDS = 0.5
"""How long the fake takes to answer: about as long as a short answer of a real one."""
QUESTION = "How do I reset the password of account 4711?"
PARAPHRASE = "How can I reset the password for account 4711?"
NEAR_MISS = "How do I reset the password of account 4712?"
SHOWN_METRICS = ("requests_total", "cache_hits_total", "cache_misses_total", "tokens_used_total", "cost_usd_total",
                 "cost_saved_usd_total", "errors_total")


# --- the terminal -------------------------------------------------------------------------------------------------------
COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    """Colour, only on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURED else text


def bold(text: str) -> str:
    return paint(text, "1")


def dim(text: str) -> str:
    return paint(text, "2")


def claim(holds: bool, what: str, seen: object) -> None:
    """Print a claim that holds; raises ``NotAsClaimedError`` for one that does not."""
    if not holds:
        raise NotAsClaimedError(f"{what}: not so, but {seen}")
    print(f"   {paint('✓', '32')} {what}")


# --- the calls ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how."""

    text: str
    headers: dict[str, str]
    seconds: float
    tokens: int

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def cache(self) -> str:
        """What the cache did."""
        return self.header("cache-status")


@dataclass(slots=True)
class Show:
    """The steps, and the figures they leave."""

    stack: Stack
    client: OpenAI
    rows: list[tuple[str, Answer]] = field(default_factory=list)
    number: int = 0

    def title(self, text: str) -> None:
        self.number += 1
        print(f"\n{bold(f'{self.number}  {text}')}")

    def ask(self, label: str, question: str) -> Answer:
        """Ask, print question, answer and figures."""
        print(f"   {dim('>')} {question}")
        began = time.perf_counter()
        raw = self.client.chat.completions.with_raw_response.create(
            model=MODEL, temperature=0, messages=[{"role": "user", "content": question}])
        seconds = time.perf_counter() - began
        completion = raw.parse()
        text = (completion.choices[0].message.content or "").replace("\n", " ")
        answer = Answer(text, {name.lower(): value for name, value in raw.headers.items()}, seconds,
                        completion.usage.total_tokens if completion.usage else 0)
        print(f"   {dim('<')} {text[:100]}{'…' if len(text) > 100 else ''}")
        self.note(label, answer)
        return answer

    def note(self, label: str, answer: Answer) -> None:
        self.rows.append((label, answer))
        cost = answer.header("x-strata-cost-usd")
        print(dim(f"   {answer.seconds * 1000:.0f} ms, {answer.tokens} tokens, {f'${cost}, ' if cost else ''}"
                  f"x-strata-provider: {answer.header('x-strata-provider')}, Cache-Status: {answer.cache}"))

    def stored(self, entries: int) -> None:
        """Wait until the cache has so many entries: answers are stored after the reply has left."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            if json.loads(self.stack.platform("/config"))["cache"].get("entries", 0) >= entries:
                return
            time.sleep(0.02)
        raise NotAsClaimedError(f"the cache does not have {entries} entries")


def call(show: Show) -> None:
    show.title("A call is answered by the vendor")
    answer = show.ask("vendor", QUESTION)
    claim("fwd=miss" in answer.cache, "the cache had no answer", answer.cache)
    claim("stored" in answer.cache, "and has it now", answer.cache)
    claim(answer.header("x-strata-provider") == "primary", "the primary answered", answer.headers)
    show.stored(1)


def repeat(show: Show) -> None:
    show.title("The same again comes from the cache")
    answer = show.ask("exact hit", QUESTION)
    claim("; hit;" in answer.cache and "exact" in answer.cache, "an exact hit", answer.cache)
    claim(answer.text == show.rows[0][1].text, "with the very same answer", answer.text)
    claim(answer.header("x-strata-cost-usd") == "0", "at no cost", answer.headers)


def paraphrase(show: Show) -> None:
    show.title("So does the same question in other words")
    answer = show.ask("semantic hit", PARAPHRASE)
    claim("; hit;" in answer.cache and "semantic" in answer.cache, "a semantic hit", answer.cache)
    claim(answer.text == show.rows[0][1].text, "with the answer to the first question", answer.text)


def near_miss(show: Show) -> None:
    show.title("Almost the same words, but another account: not from the cache")
    answer = show.ask("near miss", NEAR_MISS)
    claim("; hit" not in answer.cache, "no hit, though the two texts are closer than the threshold asks", answer.cache)
    claim("guard" in answer.cache, "the guard refused it and says why", answer.cache)
    claim("4712" in answer.text or show.stack.real, "the answer is about the right account", answer.text)


def failover(show: Show) -> None:
    show.title("The primary fails, the fallback answers")
    broken = break_primary(show.stack)
    answer = show.ask("failover", "Which payment methods do you accept?")
    claim(answer.header("x-strata-provider") == "fallback", f"{broken}; the fallback answered", answer.headers)
    claim(answer.header("x-strata-attempts") == "2", "in the same call, with the second attempt", answer.headers)


def break_primary(stack: Stack) -> str:
    """Make the primary fail: the fake on demand, the real vendor by a new configuration that is taken while serving."""
    if not stack.real:
        stack.vendor("primary", "DELETE", "")
        stack.vendor("primary", "POST", "/faults", {"fault": "http_503", "times": -1})
        return "the primary says 503"
    before = json.loads(stack.platform("/config"))["hash"]
    point_to_nobody(stack.config / "20-providerpool.yaml")
    until = time.monotonic() + 10
    while json.loads(stack.platform("/config"))["hash"] == before:
        if time.monotonic() > until:
            raise NotAsClaimedError("the new configuration was not taken")
        time.sleep(0.05)
    return "the primary refuses connections"


def point_to_nobody(pool: Path) -> None:
    """Give the pool's primary an address where nobody listens."""
    pool.write_text(pool.read_text().replace("  - name: primary\n", "  - name: primary\n    endpoint: http://127.0.0.1:9/v1\n"))


def stream(show: Show) -> None:
    show.title("A stream arrives piece by piece")
    question = "What happens to my data when I close my account?"
    print(f"   {dim('>')} {question}\n   {dim('<')} ", end="", flush=True)
    began = time.perf_counter()
    arrivals: list[float] = []
    text, tokens = "", 0
    with open_stream(show.client, question) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        for chunk in response.parse():
            tokens = chunk.usage.total_tokens if chunk.usage else tokens
            piece = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            if piece:
                arrivals.append(time.perf_counter() - began)
                text += piece
                print(piece.replace("\n", " "), end="", flush=True)
    print()
    show.note("stream", Answer(text, headers, time.perf_counter() - began, tokens))
    first, last = arrivals[0], arrivals[-1]
    claim(len(arrivals) > 5 and last > first * 1.2,
          f"{len(arrivals)} pieces, the first after {first * 1000:.0f} ms, the last after {last * 1000:.0f} ms", arrivals)


def open_stream(client: OpenAI, question: str) -> Any:
    """The SDK's way to a stream together with its headers."""
    return client.chat.completions.with_streaming_response.create(
        model=MODEL, stream=True, stream_options={"include_usage": True}, messages=[{"role": "user", "content": question}])


# --- the figures --------------------------------------------------------------------------------------------------------
def figures(show: Show) -> None:
    """Latency of each, what was spent, what was saved, and the metrics that say so."""
    print(f"\n{bold('Figures')}\n   {'':14}{'latency':>10}{'tokens':>9}{'cost':>14}   answered by")
    for label, answer in show.rows:
        hit = "; hit" in answer.cache
        cost = answer.header("x-strata-cost-usd")
        by = "cache" if hit else answer.header("x-strata-provider")
        print(f"   {label:14}{answer.seconds * 1000:>7.0f} ms{0 if hit else answer.tokens:>9}"
              f"{'$' + cost if cost else '':>14}   {by}")
    metrics = samples(show.stack.platform("/metrics").decode())
    hits = [answer for _, answer in show.rows if "; hit" in answer.cache]
    saved = total(metrics, "cost_saved_usd_total")
    claim(total(metrics, "cache_hits_total") == len(hits), f"{len(hits)} of {len(show.rows)} calls came from the cache: "
          f"{sum(answer.tokens for answer in hits)} tokens and ${saved:.6f} saved", metrics)
    claim(saved > 0, f"${total(metrics, 'cost_usd_total'):.6f} spent", metrics)
    claim(total(metrics, "requests_total") >= len(show.rows), "and the metrics agree:", metrics)
    print(dim(f"\n   curl -s http://127.0.0.1:{show.stack.ports['platform']}/metrics"))
    for line, value in metrics.items():
        if value and any(line.startswith(f"stratarouter_runtime_{name}") for name in SHOWN_METRICS):
            print(f"   {line} {value:g}")


def samples(text: str) -> dict[str, float]:
    """A Prometheus exposition as series and values."""
    pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in pairs}


def total(metrics: dict[str, float], name: str) -> float:
    """The sum over all label values."""
    pattern = re.compile(rf"stratarouter_runtime_{name}(\{{|$)")
    return sum(value for series, value in metrics.items() if pattern.match(series))


STEPS: tuple[Callable[[Show], None], ...] = (call, repeat, paraphrase, near_miss, failover, stream, figures)


def run(key: str | None) -> None:
    """The whole demo; raises ``NotAsClaimedError``."""
    with running(key) as stack:
        print(bold("StrataRouter Runtime"))
        vendor = "api.openai.com" if key else f"two fakes of an OpenAI-compatible vendor ({VENDOR_SECONDS:g} s an answer)"
        shown = "examples/local/" if stack.config == EXAMPLE else "a copy of examples/local/"
        print(f"   vendor      {vendor}\n   data plane  strata-runtime serve --config {shown}, listening on {stack.base_url}")
        if not stack.real:
            for name in ("primary", "fallback"):
                stack.vendor(name, "POST", "/faults", {"fault": "slow_headers", "times": -1, "delay": VENDOR_SECONDS})
        with OpenAI(base_url=stack.base_url, api_key="none-needed-here", max_retries=0) as client:
            show = Show(stack, client)
            for step in STEPS:
                step(show)


def main() -> int:
    """0 when everything was as claimed, 1 when something was not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="examples.demo", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--vendor", choices=["fake", "openai"], default="fake",
                        help="openai: the real one, with the key in OPENAI_API_KEY (default: fake)")
    options = parser.parse_args()
    key = os.environ.get("OPENAI_API_KEY") if options.vendor == "openai" else None
    if options.vendor == "openai" and not key:
        parser.error("--vendor openai needs OPENAI_API_KEY")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(key)
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    except (NotAsClaimedError, OpenAIError, OSError) as error:
        print(f"\n   {paint('✗', '31')} {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if options.vendor == "fake" and os.environ.get("OPENAI_API_KEY"):
        print(dim("\nOPENAI_API_KEY is set: `python -m examples.demo --vendor openai` does the same with the real vendor."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
