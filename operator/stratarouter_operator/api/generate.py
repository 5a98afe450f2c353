"""Write the files that are generated from the contract: CRDs, the chart's copy of them, and the reference.

``python -m stratarouter_operator.api.generate`` writes them, ``--check`` only tells (exit status 1) which differ.
Invariant: the same contract gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from .crds import provider_pool, runtime_config
from .reference import reference
from .schema import Schema

MAX_CRD = 200 * 1024
"""``kubectl apply`` keeps a copy of the object in an annotation, and annotations end at 256 KiB."""

NOTE = "# Generated from the configuration contract by `make generate`; edits here are lost.\n"
CHART_HEAD = "{{- if .Values.crds.enabled }}\n"
CHART_TAIL = "{{- end }}\n"


class _Dumper(yaml.SafeDumper):
    """No anchors: they are legal YAML, but nobody expects them in a manifest."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (PyYAML's signature)
        return True


def generated() -> dict[str, str]:
    """Path from the project's root to content."""
    files = {"docs/reference.md": reference()}
    for crd in (runtime_config(), provider_pool()):
        name = f"{crd['spec']['names']['plural']}.yaml"
        files[f"crds/{name}"] = NOTE + _yaml(crd)
        files[f"charts/stratarouter-runtime/templates/crds/{name}"] = _chart(crd)
    return files


def _chart(crd: Schema) -> str:
    # Deleting a CRD deletes every resource of its kind: uninstalling the chart must not.
    kept = {**crd, "metadata": {**crd["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
    content = _yaml(kept)
    if "{{" in content:
        raise ValueError("a description would be taken for a template")
    return CHART_HEAD + NOTE + content + CHART_TAIL


def _yaml(crd: Schema) -> str:
    content = yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    if len(content) > MAX_CRD:
        raise ValueError(f"{crd['metadata']['name']} has {len(content)} bytes; kubectl apply would refuse it")
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stratarouter_operator.api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's root (default: here)")
    chosen = parser.parse_args(arguments)
    stale = [path for path, content in generated().items() if _differs(chosen.root / path, content)]
    for path in stale:
        if chosen.check:
            sys.stderr.write(f"{path} is not what the contract generates; run make generate\n")
        else:
            (chosen.root / path).parent.mkdir(parents=True, exist_ok=True)
            (chosen.root / path).write_text(generated()[path])
            sys.stdout.write(f"wrote {path}\n")
    return 1 if stale and chosen.check else 0


def _differs(path: Path, content: str) -> bool:
    try:
        return path.read_text() != content
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    sys.exit(main())
