"""What the benchmark programs share: facts about the machine, interleaved rounds, results files."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, threads, versions, date and commit."""
    cpu, flags = platform.processor(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        lines = {name.strip(): value.strip() for name, value in lines.items()}
        cpu, flags = lines.get("model name", cpu), lines.get("flags", "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "amx_bf16": "amx_bf16" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "torch": torch.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def interleave(steps: Mapping[str, Callable[[], int]], rounds: int, seconds: float = 3.0) -> dict[str, float]:
    """Images a second of each way, the median of `rounds` turns in which every way runs for `seconds` after the other.

    A way is a function that does some work and returns how many images that was.
    """
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            images, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < seconds:
                images += step()
            speeds[name].append(images / spent)
    return {name: round(statistics.median(values), 1) for name, values in speeds.items()}


def read(name: str) -> dict[str, Any]:
    """The results in results/NAME.json without the machine; none where there is no such file."""
    file = RESULTS / f"{name}.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    results.pop("machine", None)
    return results


def write(name: str, results: Mapping[str, Any]) -> None:
    """Print the results and keep them in results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **results}, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
