"""Measure one GPU: correctness against the CPU, training speed of the papers' networks, memory, and jobs side by side.

    python benchmarks/gpu.py [--out results/hardware] [--sections correctness,loop]

Needs torch, numpy, scipy, pydantic and safetensors, no data and no network, and takes less than six minutes on one
card. Every section is measured by itself: one that fails leaves its error in the JSON file and the others go on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.gpu_sections.card import card
from benchmarks.gpu_sections.correctness import correctness
from benchmarks.gpu_sections.loop import loop
from benchmarks.gpu_sections.memory import memory
from benchmarks.gpu_sections.networks import networks
from benchmarks.gpu_sections.semantic_genesis import semantic_genesis
from benchmarks.gpu_sections.side_by_side import side_by_side


def main() -> int:
    """Measure the sections asked for and write one JSON file, named after the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/hardware"), help="folder of the JSON file")
    parser.add_argument("--sections", default="correctness,loop,semantic_genesis,side_by_side,memory,networks")
    parser.add_argument("--minutes", type=float, default=5.5, help="after this long, compiled networks are left out")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("This benchmark needs a CUDA device, and torch sees none.", file=sys.stderr)
        return 1
    began = time.monotonic()
    found: dict[str, Any] = {"card": card(), "seconds": {}, "networks": {}}
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "correctness": correctness,
        "loop": loop,
        "semantic_genesis": semantic_genesis,
        "side_by_side": side_by_side,
        "memory": memory,
        "networks": lambda: networks(began + 60 * arguments.minutes - 45, found["networks"]),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", found["card"]["name"].lower()).strip("-")
    path = arguments.out / f"{stem}.json"
    for name in arguments.sections.split(","):
        started = time.monotonic()
        try:
            found[name] = sections[name]()
        except Exception:  # one failed section must not lose the others
            found[name] = {**found.get(name, {}), "error": traceback.format_exc(limit=8)}
            torch.cuda.empty_cache()
        found["seconds"][name] = round(time.monotonic() - started, 1)
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(name, found["seconds"][name], "s", found[name].get("error", ""), flush=True)
    print(f"{path} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
