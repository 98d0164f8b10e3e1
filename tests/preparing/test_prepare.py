"""Preparing at any scale: parts, shards and engines, splits, normalising."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.base.errors import DataError, StoreError
from ganforge.cli import main
from ganforge.media.spec import to_float, to_uint8
from ganforge.preparing.prepare import prepare
from ganforge.store.split import ASIDE
from ganforge.store.store import Store

# ------------------------------------------------------------------------------------------------- parts and engines


def test_shards_joined_are_the_store_made_at_once(pictures, tmp_path, capsys):
    words = ["prepare", str(pictures), "--resolution", "16", "--part-size", "20"]
    assert main([*words, "-o", str(tmp_path / "whole")]) == 0
    jobs = [*words, "-o", str(tmp_path / "jobs")]
    assert main([*jobs, "--shard", "2/3"]) == 0
    assert "2 of 6 parts" in capsys.readouterr().out
    assert not (tmp_path / "jobs").exists()
    made = sorted((tmp_path / ".jobs.parts").glob("part-*/part.json"))
    before = [path.stat().st_mtime_ns for path in made]
    assert main([*jobs, "--shard", "2/3"]) == 0, "a job that is run again"
    assert [path.stat().st_mtime_ns for path in made] == before
    assert main([*jobs, "--shard", "0/3"]) == 0
    assert main(jobs) == 0, "without --shard what is missing is made, and all is joined"
    whole, joined = Store(tmp_path / "whole"), Store(tmp_path / "jobs")
    assert whole.manifest == joined.manifest
    assert len(whole.shards) == 6
    joined.verify()
    assert not (tmp_path / ".jobs.parts").exists()


def test_a_stopped_prepare_goes_on_where_it_was(pictures, tmp_path):
    code = f"""
import os, signal, sys
from ganforge.cli import main
import ganforge.preparing.prepare as module
made = module.convert_part
def part(plan, portions, number, *rest):
    if number == 3:
        os.kill(os.getpid(), signal.SIGINT)
    made(plan, portions, number, *rest)
module.convert_part = part
sys.exit(main(["prepare", {str(pictures)!r}, "--resolution", "16", "--part-size", "20", "-o", {str(tmp_path / "s")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "3 of 6 parts finished" in done.stderr
    first = (tmp_path / ".s.parts" / "part-00000" / "images.npy").stat().st_ino
    with pytest.raises(StoreError, match="unfinished store with another spec"):
        prepare(pictures, tmp_path / "s", resolution=24, part_size=20)
    store = prepare(pictures, tmp_path / "s", resolution=16, part_size=20).store
    assert (store.path / "images-00000.npy").stat().st_ino == first, "the finished part is that of before"
    assert store.manifest == prepare(pictures, tmp_path / "t", resolution=16, part_size=20).store.manifest


def test_a_disk_that_is_full_when_parts_are_joined_loses_none(pictures, tmp_path, monkeypatch):
    from ganforge.preparing import parts

    written = parts.write_json

    def full(path: Path, value: object) -> None:
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        written(path, value)

    monkeypatch.setattr(parts, "write_json", full)
    with pytest.raises(DataError, match="Its parts are kept"):
        prepare(pictures, tmp_path / "s", resolution=16, part_size=20)
    assert [path.name for path in tmp_path.iterdir()] == [".s.parts"]
    monkeypatch.undo()
    store = prepare(pictures, tmp_path / "s", resolution=16, part_size=20).store
    store.verify()
    assert store.manifest == prepare(pictures, tmp_path / "t", resolution=16, part_size=20).store.manifest


def test_ray_with_a_worker_killed_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for n in range(400):
        Image.fromarray(rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)).save(tmp_path / "in" / f"{n}.jpg")
    words = ["prepare", str(tmp_path / "in"), "--resolution", "16", "--part-size", "25"]
    by_ray = [*words, "--engine", "ray", "-o", str(tmp_path / "ray")]
    code = f"import sys; from ganforge.cli import main; sys.exit(main({by_ray!r}))"
    environment = {**os.environ, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    job = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment)
    killed = 0
    until = time.monotonic() + 400  # a worker's first task imports torch, on a busy machine for a minute
    while job.poll() is None and time.monotonic() < until:
        parts = list((tmp_path / ".ray.parts").glob("part-*/part.json")) if (tmp_path / ".ray.parts").exists() else []
        if len(parts) < 14 and not killed:
            for worker in _descendants(job.pid):
                if b"ray::_ray_part" in worker[1] and not killed:
                    os.kill(worker[0], signal.SIGKILL)
                    killed += 1
        time.sleep(0.02)
    assert job.wait(120) == 0, job.stderr.read()
    assert killed == 1, "no worker was seen at work"
    here = prepare(tmp_path / "in", tmp_path / "here", resolution=16, part_size=25).store
    assert Store(tmp_path / "ray").manifest == here.manifest


def _descendants(root: int) -> list[tuple[int, bytes]]:
    """(pid, command line) of all processes below `root`."""
    parent: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    found = []
    for pid in parent:
        above = pid
        while above in parent and above != root:
            above = parent[above]
        if above == root:
            try:
                found.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes()))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("shard", ["3/3", "x", "1", "-1/4", "1/0"])
def test_wrong_shards(pictures, tmp_path, fails, shard):
    assert "0/16 to 15/16" in fails("prepare", pictures, "-o", tmp_path / "s", f"--shard={shard}")


# ------------------------------------------------------------------------------------------------------------ splits


def test_folds_caps_and_groups_from_a_csv_reach_the_store(pictures, tmp_path):
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    rows = [f'"{name}",{name.split("/")[0]},patient{n // 4}' for n, name in enumerate(names)]
    (tmp_path / "l.csv").write_text("file,label,group\n" + "\n".join(rows))
    made = prepare(
        pictures, tmp_path / "s", resolution=16, labels=tmp_path / "l.csv", folds=3, per_class=25, stratify=True
    )
    table = pq.read_table(made.store.path / "meta.parquet").to_pylist()
    for patient in range(len(names) // 4):
        mine = [row for row in table if row["group"] == patient]
        assert len({row["split"] for row in mine if row["split"]}) <= 1
    assert (made.store.splits == ASIDE).sum() > 20
    parts = [made.store.fold(n) for n in range(3)]
    assert np.array_equal(np.sort(np.concatenate([part.heldout for part in parts])), made.store.train)
    assert not set(parts[0].train) & set(parts[0].heldout)
    with pytest.raises(StoreError, match="has 3 folds, not fold 3"):
        made.store.fold(3)


def test_an_audit_is_obeyed(pictures, tmp_path):
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    verdicts = [
        {"file": n, "verdict": "ok", "reasons": [], "group": 5 if i < 9 else -1, "rank": i if i < 9 else -1,
         "label": None,
         "sha256": hashlib.sha256((pictures / n).read_bytes()).digest()}
        for i, n in enumerate(names)
    ]  # fmt: skip
    verdicts[20] |= {"verdict": "reject", "reasons": ["truncated"]}
    (tmp_path / "audit").mkdir()
    pq.write_table(pa.Table.from_pylist(verdicts), tmp_path / "audit" / "pictures.parquet")
    found = [{"file": names[20], "code": "truncated", "severity": "reject"}]
    pq.write_table(pa.Table.from_pylist(found), tmp_path / "audit" / "findings.parquet")
    made = prepare(pictures, tmp_path / "s", resolution=16, audit=tmp_path / "audit", heldout=0.3)
    assert made.skipped == [(names[20], "refused by the audit: truncated")]
    rows = pq.read_table(tmp_path / "s" / "meta.parquet").to_pylist()
    assert len({row["split"] for row in rows if row["file"] in names[:9]}) == 1
    assert len({row["group"] for row in rows if row["file"] in names[:9]}) == 1
    with pytest.raises(DataError, match=r"has no pictures\.parquet"):
        prepare(pictures, tmp_path / "t", audit=tmp_path)


def test_wrong_words_about_splits(pictures, tmp_path, fails):
    out = tmp_path / "s"
    assert "2 to 100" in fails("prepare", pictures, "-o", out, "--folds", 1)
    assert "Did you mean centre?" in fails("prepare", pictures, "-o", out, "--normalise", "center")
    assert "Did you mean webdataset?" in fails("prepare", pictures, "-o", out, "--format", "webdatset")
    assert "prepare.engine is 'dask'. There is: local, ray" in fails("prepare", pictures, "-o", out, "--engine", "dask")
    assert "no classes" in fails("prepare", pictures / "few", "-o", out, "--per-class", 5)
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------- pixels and levels


@pytest.mark.parametrize("name", ["none", "unit", "range", "centre", "standard"])
def test_normalising_travels_with_the_store_and_is_inverted(pictures, tmp_path, name):
    store = prepare(pictures, tmp_path / "s", resolution=16, normalise=name).store
    pixels = torch.from_numpy(store.read(np.arange(len(store))))
    images = to_float(pixels, store.spec)
    assert images.min() >= -1.0001 and images.max() <= 1.0001
    assert torch.equal(to_uint8(images, store.spec), pixels)
    if name == "unit":
        assert images.min() >= 0
    if name == "range":
        assert images.min() == -1 and images.max() == 1
    if name in ("centre", "standard"):
        assert images.mean((0, 2, 3)).abs().max() < 1e-4
        assert images.abs().max() > 0.999
    if name == "standard":
        deviation = images.std((0, 2, 3))
        assert (deviation / deviation.mean() - 1).abs().max() < 1e-3


def test_a_system_learns_and_samples_in_the_stores_levels(pictures, tmp_path):

    store = prepare(pictures, tmp_path / "s", resolution=16, normalise="range").store
    run = ganforge.train("gan", store, tmp_path / "run", size="small", images=256, verbose=False)
    assert run.spec == store.spec
    assert run.spec.levels == store.spec.levels != ()
    samples = run.sample(range(8))
    again = ganforge.train("gan", store, tmp_path / "run", size="small", images=512, verbose=False)
    assert again.load()[1]["seen"] == 512, "levels are no other setting when a run goes on"
    low, high = store.spec.levels[0]
    assert samples.min() >= low and samples.max() <= high, "tanh cannot leave the levels that the set uses"


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_beside_class_folders_are_named(pictures, tmp_path, zipped):
    folder = tmp_path / "mine"
    for n, path in enumerate(sorted(p for p in pictures.rglob("*.png"))[:40]):
        place = folder / "ab"[n % 2] / f"{n}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())

    def prepared(name: str) -> tuple[Store, str]:
        source = Path(shutil.make_archive(str(tmp_path / name), "zip", folder)) if zipped else folder
        made = prepare(source, tmp_path / f"{name}-store", resolution=16)
        return made.store, " ".join(made.notes)

    store, notes = prepared("none")
    assert store.spec.classes == ("a", "b")
    assert "beside" not in notes
    assert "left out" not in notes
    (folder / "кот.png").write_bytes(place.read_bytes())
    (folder / "bad.jpg").write_bytes(b"no picture")
    store, notes = prepared("two")
    assert store.spec.classes == ("a", "b")
    assert "left out: 2 of 42 pictures ('bad.jpg', 'кот.png'), in no folder of a class" in notes
    assert len(store) == 40
    (folder / "one more.png").write_bytes(place.read_bytes())
    store, notes = prepared("three")
    assert not store.spec.classes
    assert "no classes, since 3 of 43 pictures" in notes
    assert "--labels" in notes


def test_a_split_that_decides_nothing(tmp_path, fails):
    for side in ("train", "test"):
        (tmp_path / "in" / side / "a").mkdir(parents=True)
        for n in range(12):
            pixels = np.random.default_rng((n, side == "test")).integers(0, 256, (9, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / side / "a" / f"{n}.png")
    for words in (["--heldout", "0.3"], ["--heldout", "0.1"], ["--stratify"]):
        assert "its own split" in fails("prepare", tmp_path / "in", "-o", tmp_path / "s", *words)
    train = tmp_path / "in" / "train"
    assert "Nothing is held out" in fails("prepare", train, "-o", tmp_path / "s", "--heldout", "0", "--stratify")
    assert "fewer --folds" in fails("prepare", train, "-o", tmp_path / "s", "--folds", "50")
    assert not (tmp_path / "s").exists()


def test_two_sizes_and_channels_in_one_folder_are_no_problem(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for n in range(12):
        shape = (20, 30, 3) if n % 2 else (50, 40)
        Image.fromarray(np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8)).save(
            tmp_path / "in" / f"{n}.png"
        )
    assert main(["prepare", str(tmp_path / "in"), "-o", str(tmp_path / "s")]) == 0
    assert "12 pictures of 32x32 RGB" in capsys.readouterr().out


@pytest.mark.parametrize("layout", [None, 3, "xyz", [1, 2], {}])
def test_a_damaged_plan_is_one_sentence(pictures, tmp_path, fails, layout):
    words = ("prepare", pictures, "-o", tmp_path / "s", "--resolution", "16")
    assert main([*map(str, words), "--shard", "0/1"]) == 0
    plan = tmp_path / ".s.parts" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"layout": layout}))
    assert "another layout" in fails(*words)


def test_a_share_that_leaves_nothing_for_training_is_refused(pictures, tmp_path, fails):
    message = fails("prepare", pictures, "-o", tmp_path / "store", "--heldout", "0.9999999")
    assert "nothing is left for training" in message
    assert not (tmp_path / "store").exists()
