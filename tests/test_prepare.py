"""Preparing at any scale: parts, shards and engines, splits, normalising, other tools' formats, stores at addresses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ganforge.base.errors import DataError, GanforgeError, StoreError
from ganforge.cli import main
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.preparing.prepare import prepare
from ganforge.sources.transform import fit, saliency, stretch
from ganforge.store import exports
from ganforge.store.split import ASIDE, HELDOUT, TRAIN, split
from ganforge.store.store import Store
from ganforge.store.stream import Stream
from ganforge.testing import make_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three classes of 60, 30 and 10 noisy pictures, of two sizes, some of them twice."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, count in (("many", 60), ("some", 30), ("few", 10)):
        (root / name).mkdir()
        for n in range(count):
            side = 24 if n % 3 else 32
            pixels = rng.integers(20, 200, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{n:02d}.png")
    shutil.copy(root / "many" / "00.png", root / "many" / "00 again.png")
    return root


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
    code = f"import sys; from ganforge.cli import main; sys.exit(main({[*words, '--engine', 'ray', '-o', str(tmp_path / 'ray')]!r}))"
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


def random_set(count: int = 2000, classes: int = 4):
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2)
    groups = np.where(rng.random(count) < 0.4, rng.integers(0, 150, count), -1)
    labels = np.minimum(rng.geometric(0.5, count) - 1, classes - 1)
    return keys, groups, labels, np.full(count, -1, np.int8)


@pytest.mark.parametrize("stratify", [False, True])
def test_groups_are_never_on_two_sides(stratify):
    keys, groups, labels, given = random_set()
    keys[7] = keys[3]  # an exact duplicate that joins two groups
    groups[3], groups[7] = 0, 1
    made = split(keys, groups, labels, given, heldout=0.2, stratify=stratify, folds=5)
    for group in range(150):
        assert len(set(made.sides[groups == group])) <= 1
        assert len(set(made.folds[groups == group])) <= 1
    assert len(set(made.sides[(groups == 0) | (groups == 1)])) == 1
    assert 0.13 < (made.sides == HELDOUT).mean() < 0.27
    shares = [(made.folds[made.sides == TRAIN] == fold).mean() for fold in range(5)]
    assert min(shares) > 0.17 and max(shares) < 0.23
    assert (made.folds[made.sides == HELDOUT] == -1).all()


def test_stratified_shares_are_exact_without_groups():
    keys, _, labels, given = random_set()
    alone = np.full(len(keys), -1)
    made = split(keys, alone, labels, given, heldout=0.25, stratify=True)
    for label in range(4):
        assert (made.sides[labels == label] == HELDOUT).sum() == round(0.25 * (labels == label).sum())


def test_the_split_does_not_depend_on_the_order():
    keys, groups, labels, given = random_set()
    made = split(keys, groups, labels, given, heldout=0.2, stratify=True, folds=3, per_class=100)
    order = np.random.default_rng(2).permutation(len(keys))
    again = split(keys[order], groups[order], labels[order], given, heldout=0.2, per_class=100)
    plain = split(keys, groups, labels, given, heldout=0.2, per_class=100)
    assert np.array_equal(plain.sides[order], again.sides)
    assert ((made.sides == TRAIN) & (labels == 0)).sum() == 100


def test_caps_take_only_training_pictures():
    keys, groups, labels, given = random_set()
    made = split(keys, groups, labels, given, heldout=0.2, per_class=50)
    assert [((made.sides == TRAIN) & (labels == n)).sum() for n in range(4)] == [50] * 4
    assert set(made.reasons.values()) == {"over the cap of its class"}
    assert (made.sides == ASIDE).sum() == len(made.reasons)


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
        {"file": n, "verdict": "ok", "reasons": [], "group": 5 if i < 9 else -1, "rank": i if i < 9 else -1, "label": None,
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
    import ganforge

    store = prepare(pictures, tmp_path / "s", resolution=16, normalise="range").store
    run = ganforge.train("gan", store, tmp_path / "run", size="small", images=256, verbose=False)
    assert run.spec == store.spec
    assert run.spec.levels == store.spec.levels != ()
    samples = run.sample(range(8))
    again = ganforge.train("gan", store, tmp_path / "run", size="small", images=512, verbose=False)
    assert again.load()[1]["seen"] == 512, "levels are no other setting when a run goes on"
    low, high = store.spec.levels[0]
    assert samples.min() >= low and samples.max() <= high, "tanh cannot leave the levels that the set uses"


def test_stretch_is_each_pictures_own():
    pixels = np.random.default_rng(0).integers(50, 90, (3, 8, 8, 4), dtype=np.uint8)
    out = stretch(pixels)
    assert (out[..., :3].min((1, 2, 3)) == 0).all() and (out[..., :3].max((1, 2, 3)) == 255).all()
    assert np.array_equal(out[..., 3], pixels[..., 3])
    assert stretch(np.full((1, 8, 8, 3), 9, np.uint8)).max() == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_smart_crop_keeps_what_stands_out(side):
    picture = np.full((64, 192, 3), 120, np.uint8)
    at = 10 if side == "left" else 150
    picture[20:44, at : at + 28] = np.random.default_rng(0).integers(0, 256, (24, 28, 3))
    smart = fit(picture[None], 64, 64, "smart", (0, 0, 0))[0]
    centre = fit(picture[None], 64, 64, "crop", (0, 0, 0))[0]
    assert (smart != 120).any(2).sum() > 600
    assert (centre != 120).sum() == 0
    assert saliency(picture).shape == (64, 64)


def test_smart_crop_of_nothing_is_the_centre():
    picture = np.full((64, 128, 3), 7, np.uint8)
    assert np.array_equal(fit(picture[None], 32, 32, "smart", (0, 0, 0)), fit(picture[None], 32, 32, "crop", (0, 0, 0)))


# --------------------------------------------------------------------------------------------------------- balancing


@pytest.mark.parametrize(("balance", "shares"), [(0.0, (0.6, 0.3, 0.1)), (1.0, (1 / 3, 1 / 3, 1 / 3))])
def test_balance_moves_the_shares_of_classes(tmp_path, balance, shares):
    store = make_store(tmp_path / "s", Spec(8, 8, 1, tuple("abc")), 100)
    store.labels[:] = np.repeat([0, 1, 2], [60, 30, 10])
    store.train = np.arange(100)
    stream = Stream(store, 0, CPU, balance=balance)
    labels = store.labels[stream.order(0, 1800)]
    assert np.bincount(labels) / 1800 == pytest.approx(shares, abs=0.002)
    shown = np.bincount(stream.order(0, stream.size), minlength=100)
    assert shown.min() >= 1, "an epoch shows every picture"
    again = Stream(store, 0, CPU, balance=balance)
    assert np.array_equal(again.order(700, 500), stream.order(0, 1800)[700:1200])


def test_balance_needs_labels(tmp_path):
    with pytest.raises(DataError, match="has no labels"):
        Stream(make_store(tmp_path / "s", Spec(8, 8, 1), 50), 0, CPU, balance=1.0)


# ------------------------------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "folder"])
def test_formats_there_and_back(pictures, tmp_path, kind, monkeypatch, capsys):
    monkeypatch.setattr(exports, "ROWS_A_FILE", 40)
    store = prepare(pictures, tmp_path / "s", resolution=16, heldout=0.2, stratify=True).store
    assert main(["prepare", str(store.path), "-o", str(tmp_path / kind), "--format", kind]) == 0
    back = prepare(tmp_path / kind, tmp_path / "back").store
    assert back.spec == store.spec
    assert (len(back.train), len(back.heldout)) == (len(store.train), len(store.heldout))

    def contents(s: Store, rows: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted((p.tobytes(), int(n)) for p, n in zip(s.read(rows), s.labels[rows], strict=True))

    assert contents(back, back.train) == contents(store, store.train)
    assert contents(back, back.heldout) == contents(store, store.heldout)
    assert {path.name for path in tmp_path.iterdir()} == {"s", kind, "back"}


def test_hugging_face_image_folders_and_stylegan_zips(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "hf").mkdir()
    rows = []
    for n in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "hf" / f"{n}.png")
        rows.append({"file_name": f"{n}.png", "label": ["owl", "fox"][n % 2], "licence": "CC0"})
    (tmp_path / "hf" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = prepare(tmp_path / "hf", tmp_path / "one").store
    assert store.spec.classes == ("fox", "owl")
    assert np.bincount(store.labels).tolist() == [6, 6]
    with zipfile.ZipFile(tmp_path / "sg.zip", "w") as archive:
        for n in range(12):
            archive.write(tmp_path / "hf" / f"{n}.png", f"0000{n % 2}/img{n:08d}.png")
        labels = [[f"0000{n % 2}/img{n:08d}.png", n % 3] for n in range(12)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    store = prepare(tmp_path / "sg.zip", tmp_path / "two").store
    assert store.spec.classes == ("0", "1", "2")
    assert np.bincount(store.labels).tolist() == [4, 4, 4]


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

    store, said = prepared("none")
    assert store.spec.classes == ("a", "b")
    assert "beside" not in said
    assert "left out" not in said
    (folder / "кот.png").write_bytes(place.read_bytes())
    (folder / "bad.jpg").write_bytes(b"no picture")
    store, said = prepared("two")
    assert store.spec.classes == ("a", "b")
    assert "left out: 2 of 42 pictures ('bad.jpg', 'кот.png'), in no folder of a class" in said
    assert len(store) == 40
    (folder / "one more.png").write_bytes(place.read_bytes())
    store, said = prepared("three")
    assert not store.spec.classes
    assert "no classes, since 3 of 43 pictures" in said
    assert "--labels" in said


def test_a_stray_container_among_pictures_is_no_source(pictures, tmp_path):
    shutil.copytree(pictures / "few", tmp_path / "in")
    (tmp_path / "in" / "stray.tar").write_bytes(b"x" * 1024)
    made = prepare(tmp_path / "in", tmp_path / "s", resolution=16)
    assert made.skipped == [("stray.tar", "not a picture: .tar file")]


@pytest.mark.parametrize(
    ("name", "content"), [("a.tar", b"no tar at all" * 99), ("a.tar.gz", b"\x1f\x8b"), ("a.parquet", b"PAR1 no")]
)
def test_damaged_containers(tmp_path, fails, name, content):
    (tmp_path / name).write_bytes(content)
    fails("prepare", tmp_path / name, "-o", tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == [name]


# ------------------------------------------------------------------------------------------------- stores at addresses


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A store of ten shards in an object store in memory, behind a cache that holds six of them."""
    fsspec = pytest.importorskip("fsspec")
    local = make_store(tmp_path / "local", Spec(16, 16, 3), 400, shards=10)
    memory = fsspec.filesystem("memory")
    memory.rm("/bucket", recursive=True) if memory.exists("/bucket") else None
    for path in local.path.iterdir():
        memory.pipe_file(f"/bucket/store/{path.name}", path.read_bytes())
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GANFORGE_CACHE_BYTES", str(6 * 40 * 768))
    return local, "memory://bucket/store", memory


@pytest.fixture
def shared(remote):
    """The same store at an address that many may read at once, which fsspec's memory does not allow."""
    local, _, _ = remote
    return local, local.path.as_uri()


def test_a_remote_store_reads_the_same_within_its_cache(remote, tmp_path):
    local, address, _ = remote
    store = Store(address)
    rows = np.random.default_rng(0).permutation(400)
    for start in range(0, 400, 40):
        assert np.array_equal(store.read(rows[start : start + 40]), local.read(rows[start : start + 40]))
        cached = sum(path.stat().st_size - 4096 for path in (tmp_path / "cache").rglob("images-*.npy"))
        assert cached <= 6 * 40 * 768
    store.verify()


def test_processes_that_share_a_cache_make_room_at_once(shared, monkeypatch):
    local, address = shared
    monkeypatch.setenv("GANFORGE_CACHE_BYTES", str(2 * 40 * 768))

    def reads(seed: int) -> bool:
        store, draw = Store(address), np.random.default_rng(seed)
        orders = (draw.integers(0, 400, 8) for _ in range(60))
        return all(np.array_equal(store.read(rows), local.read(rows)) for rows in orders)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(reads, range(4)))


def test_windows_show_every_picture_once_an_epoch_for_any_batch_and_rank(shared):
    _, address = shared
    store = Store(address)
    assert store.window == 3
    stream = Stream(store, 5, CPU)
    count = len(store.train)
    whole = stream.order(0, 3 * count)
    for epoch in range(3):
        assert np.array_equal(np.sort(whole[epoch * count : (epoch + 1) * count]), np.arange(count))
    assert not np.array_equal(whole[:count], whole[count : 2 * count])
    ranks = [Stream(Store(address), 5, CPU) for _ in range(2)]
    shared = [rank.batch(seen + 8 * n, 8).images for seen in range(0, 64, 16) for n, rank in enumerate(ranks)]
    assert torch.equal(torch.cat(shared), stream.batch(0, 64).images)
    used = np.unique(np.searchsorted(store.starts, store.train[whole[:90]], side="right"))
    assert len(used) == 3, "the first window's shards alone"


def test_training_on_a_remote_store_is_training(remote, tmp_path):
    import ganforge

    _, address, _ = remote
    run = ganforge.train("gan", address, tmp_path / "run", size="small", images=512, verbose=False)
    assert run.store == address
    assert Store(run.store).root == Store(address).root


def test_a_remote_store_that_was_changed_or_is_missing(remote, fails):
    _, address, memory = remote
    data = bytearray(memory.cat_file("/bucket/store/images-00003.npy"))
    data[5000] ^= 1
    memory.pipe_file("/bucket/store/images-00003.npy", bytes(data))
    with pytest.raises(StoreError, match="images-00003"):
        Store(address).read(np.arange(400))
    assert "no manifest.json" in fails("train", "gan", "memory://nowhere/store")
    with pytest.raises(GanforgeError, match="cannot be opened"):
        Store("nonsense://x/y")
