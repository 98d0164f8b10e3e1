"""Whether two versions of ganforge make the same bytes, by the command line alone.

    python benchmarks/equal.py --source OLD/src --against NEW/src --data /path/to/flowers128.zip

Each version makes a store of the embedded digits (32 px) and, with --data, one of the first few hundred pictures of
that folder or zip (64 px), then on each store a run of 20 steps of every system, 8 samples of each run, and one
measure. What they made is hashed: shards, labels and root of a store; the tensors of a checkpoint as a multiset of
(shape, dtype, bytes), so that a tensor may be renamed but not changed; the pixels of each sample; the numbers of the
measure. Every difference is named; the exit code is 1 where there is one. Without --against the hashes of one version
are printed and written."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

STEPS, BATCH, SEEDS, SAMPLES = 20, 8, 8, 200
COLOURED = 300  # pictures of --data
TIMINGS = ("seconds", "images_per_second")  # numbers of a measure that belong to the machine, not to the run

Hashes = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="source folder of one version, such as src")
    parser.add_argument(
        "--against", type=Path, help="source folder of the version to compare with, or a hashes.json of an earlier call"
    )
    parser.add_argument("--data", type=Path, help="folder or zip of colour pictures for a second store")
    parser.add_argument("--systems", nargs="*", help="only these systems (default: all that --source has)")
    parser.add_argument("--out", type=Path, help="folder to keep stores, runs and hashes.json in (default: removed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        data = _few(options.data, out / "pictures") if options.data else None
        hashes = made(options.source, out / "source", data, options.systems)
        (out / "hashes.json").write_text(json.dumps(hashes, indent=1))
        if options.against is None:
            print(json.dumps(hashes, indent=1))
            return 0
        if options.against.is_file():
            return compare(hashes, json.loads(options.against.read_text()))
        return compare(hashes, made(options.against, out / "against", data, options.systems))


def compare(one: Hashes, other: Hashes) -> int:
    """Print how many hashes are equal and which are not; 1 where there is a difference, else 0."""
    names = list(dict.fromkeys([*one, *other]))
    different = [name for name in names if one.get(name) != other.get(name)]
    for name in different:
        print(f"different: {name}: {one.get(name, 'missing')} and {other.get(name, 'missing')}")
    print(f"{len(names) - len(different)} of {len(names)} hashes are equal")
    return int(bool(different))


def made(source: Path, out: Path, data: Path | None, systems: list[str] | None = None) -> Hashes:
    """What the version in `source` makes in `out`, by name."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    hashes: Hashes = {}
    _ganforge(source, out, "collect", "digits", "-o", "digits")
    _ganforge(source, out, "prepare", "digits", "--resolution", "32", "--heldout", "0.2", "-o", "digits-store")
    stores = ["digits-store"]
    if data:
        shutil.copytree(data, out / "pictures")
        _ganforge(source, out, "prepare", "pictures", "--resolution", "64", "--heldout", "0.2", "-o", "pictures-store")
        stores.append("pictures-store")
    names = systems or [line.partition(":")[0] for line in _ganforge(source, out, "systems").splitlines()]
    for store in stores:
        hashes |= {f"{store} {name}": value for name, value in _store(out / store).items()}
        for system in names:
            if system == "cgan" and store == "pictures-store":  # these pictures have no labels
                continue
            run = f"runs/{system}-{store}"
            size = [] if system == "composed" else ["--size", "small"]  # composed has one size
            print(f"{source}: {run}", file=sys.stderr, flush=True)
            _ganforge(
                source, out, "train", system, store, "-o", run, *size, "--images", str(STEPS * BATCH), "--train.batch",
                str(BATCH), "--train.report", str(STEPS * BATCH), "--train.precision", "fp32", "--device", "cpu",
            )  # fmt: skip
            newest = max((out / run / "checkpoints").iterdir())
            for n, value in enumerate(sorted(_tensors(newest / "tensors.safetensors"))):
                hashes[f"{run} tensor {n}"] = value
            for sheet in sorted((out / run / "samples").glob("*.png")):
                hashes[f"{run} sheet {sheet.stem}"] = _pixels(sheet)
            if system != "dae":  # makes no pictures of its own
                _ganforge(source, out, "sample", run, "--count", str(SEEDS), "--each", "-o", f"{run}-samples")
                for picture in sorted((out / f"{run}-samples").glob("*.png")):
                    hashes[f"{run} {picture.stem}"] = _pixels(picture)
    run = next(f"runs/{name}-digits-store" for name in ("dcgan", *names) if name in names and name != "dae")
    numbers = json.loads(_ganforge(source, out, "measure", run, "--samples", str(SAMPLES), "--json"))
    for name, value in numbers.items():
        if name not in TIMINGS:
            hashes[f"measure {name}"] = _sha256(json.dumps(value, sort_keys=True).encode())
    return hashes


def _ganforge(source: Path, folder: Path, *words: str) -> str:
    """What the command prints. Its cache is in the folder, so that no version sees what another one kept."""
    environment = os.environ | {"PYTHONPATH": str(source.resolve()), "GANFORGE_CACHE": str(folder.resolve() / "cache")}
    command = [sys.executable, "-m", "ganforge.cli", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{source}: ganforge {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _store(path: Path) -> Hashes:
    """Hashes of a store's shards, labels and list of rows, and its root hash."""
    files = [*path.rglob("*.npy"), *path.rglob("*.parquet")]
    out = {file.relative_to(path).as_posix(): _sha256(file.read_bytes()) for file in sorted(files)}
    return {**out, "root": json.loads((path / "manifest.json").read_text())["root"]}


def _tensors(path: Path) -> list[str]:
    """One text for each tensor: dtype, shape and hash of its bytes, but not its name."""
    return [f"{t.dtype} {list(t.shape)} {_sha256(np.ascontiguousarray(t).tobytes())}" for t in load_file(path).values()]


def _pixels(path: Path) -> str:
    with Image.open(path) as image:
        return _sha256(np.asarray(image).tobytes())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _few(source: Path, folder: Path) -> Path:
    """The first COLOURED pictures of a folder or a zip, copied into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    suffixes = (".png", ".jpg", ".jpeg", ".webp")
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in suffixes)[:COLOURED]:
            shutil.copy(path, folder / path.name)
        return folder
    with zipfile.ZipFile(source) as archive:
        for name in sorted(n for n in archive.namelist() if n.lower().endswith(suffixes))[:COLOURED]:
            (folder / Path(name).name).write_bytes(archive.read(name))
    return folder


if __name__ == "__main__":
    sys.exit(main())
