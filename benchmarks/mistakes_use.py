"""Mistakes in what is asked of the tool: places, stores, runs, options."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from mistakes_ground import SHAPE, SHORT, Ground, Mistake, flip, listed, three


def places(ground: Ground) -> Iterator[Mistake]:
    """One thing where another is expected, and places that may not be written."""
    source = ground.few()
    yield Mistake(
        "prepare --out inside the source",
        ("prepare", source, *SHAPE, "-o", source / "out"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake(
        "clean --out inside the source",
        ("clean", source, "-o", source / "out", "--filter", "median"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake(
        "audit --out inside the source",
        ("audit", source, "-o", source / "out"),
        1,
        "lie in each other",
        source,
    )
    yield Mistake("--out that is the source", ("prepare", source, *SHAPE, "-o", source), 1, "is no store", source)
    yield Mistake(
        "--out that is another folder of files",
        ("prepare", source, *SHAPE, "-o", ground.audit),
        1,
        "is no store",
        ground.audit,
    )
    yield Mistake(
        "the same with --overwrite",
        ("prepare", source, *SHAPE, "-o", ground.audit, "--overwrite"),
        1,
        "is no store",
        ground.audit,
    )
    yield Mistake(
        "--out that is the source, with --overwrite",
        ("prepare", source, *SHAPE, "-o", source, "--overwrite"),
        1,
        "is no store",
        source,
    )
    yield Mistake(
        "audit --overwrite over pictures", ("audit", source, "-o", ground.set, "--overwrite"), 1, "set", ground.set
    )
    yield Mistake(
        "a store over itself",
        ("prepare", ground.store, "-o", ground.store, "--overwrite"),
        1,
        "lie in each other",
        ground.store,
    )
    yield Mistake(
        "--out that is a file",
        ("prepare", source, *SHAPE, "-o", ground.picture()),
        1,
        ground.picture().name,
        ground.picture(),
    )
    yield Mistake(
        "a store as the source of clean",
        ("clean", ground.store, "-o", ground.room() / "out", "--filter", "median"),
        1,
        "store",
        ground.store,
    )
    yield Mistake(
        "a store as the source of collect",
        ("collect", ground.store, "-o", ground.room() / "out"),
        0,
        "300 pictures",
        ground.store,
    )
    yield Mistake(
        "a run as the source of prepare", ("prepare", ground.run, *SHAPE, "-o", ground.room() / "out"), 1, "run"
    )
    yield Mistake(
        "an audit as the source of prepare",
        ("prepare", ground.audit, *SHAPE, "-o", ground.room() / "out"),
        1,
        "audit",
    )
    yield Mistake("pictures where a store is expected", ("train", "gan", ground.set, *SHORT), 1, "prepare")
    yield Mistake("a run where a store is expected", ("train", "gan", ground.run, *SHORT), 1, "run|store")
    yield Mistake("a store where a run is expected, sample", ("sample", ground.store), 1, "run", ground.store)
    yield Mistake("a store where a run is expected, measure", ("measure", ground.store), 1, "run", ground.store)
    yield Mistake("a store where a run is expected, train", ("train", ground.store), 1, "store|system")
    yield Mistake("a run that does not exist", ("sample", ground.place / "none"), 1, "none")
    yield Mistake("a file where a folder is expected", ("audit", ground.picture()), 1, ground.picture().name)
    yield Mistake(
        "-o of train that is a store",
        ("train", "gan", ground.store, "-o", ground.store, *SHORT),
        1,
        "store",
        ground.store,
    )
    yield Mistake("-o of sample that is the run", ("sample", ground.run, "-o", ground.run), 1, "png", ground.run)
    locked = ground.room() / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    yield Mistake(
        "--out where nothing may be written",
        ("prepare", source, *SHAPE, "-o", locked / "store"),
        1,
        "permission|written",
        locked,
    )
    yield Mistake(
        "a run where nothing may be written",
        ("train", "gan", ground.store, "-o", locked / "run", *SHORT),
        1,
        "permission|written",
        locked,
    )
    locked.chmod(0o755)
    yield Mistake(
        "a full disk, prepare",
        ("prepare", source, *SHAPE, "-o", source.parent / "full"),
        1,
        "large|full|space|room",
        absent=source.parent / "full",
        room=20_000,
    )
    yield Mistake(
        "a full disk, train",
        ("train", "gan", ground.store, "-o", source.parent / "fullrun", *SHORT),
        1,
        "large|full|space|room",
        room=20_000,
    )
    yield Mistake(
        "the same words on a disk with room",
        ("train", "gan", ground.store, "-o", source.parent / "fullrun", *SHORT),
        0,
        "100%",
    )
    yield Mistake(
        "a full disk, sample",
        ("sample", ground.run, "-o", source.parent / "full.png"),
        1,
        "large|full|space|room",
        absent=source.parent / "full.png",
        room=5_000,
    )
    yield Mistake(
        "a store of nothing held out, measured",
        ("prepare", source, *SHAPE, "--heldout", "0", "-o", source.parent / "all"),
        0,
        "0 held out",
    )
    yield Mistake(
        "… trained", ("train", "gan", source.parent / "all", "-o", source.parent / "allrun", *SHORT), 0, "100%"
    )
    yield Mistake("… and measured: no floor", ("measure", source.parent / "allrun", "--samples", "64"), 0, "held.out")


def stores(ground: Ground) -> Iterator[Mistake]:
    """Damaged and moved stores."""
    for name in ("images-00000.npy", "labels.npy", "manifest.json"):
        broken = ground.copy(ground.store)
        flip(broken / name, 0.7)
        yield Mistake(f"a flipped bit in {name}: train", ("train", "gan", broken, *SHORT), 1, f"{name}|root", broken)
    broken = ground.copy(ground.store)
    flip(broken / "images-00000.npy")
    for verb in ("show", "audit", "prepare"):
        yield Mistake(f"a flipped bit in the pixels: {verb}", (verb, broken), 1, "images-00000")
    part = ground.copy(ground.store)
    (part / "images-00000.npy").unlink()
    yield Mistake("a store without a shard", ("train", "gan", part, *SHORT), 1, "images-00000")
    part = ground.copy(ground.store)
    (part / "manifest.json").unlink()
    yield Mistake("a store without its manifest", ("train", "gan", part, *SHORT), 1, "manifest")
    moved = ground.copy(ground.store, "moved")
    run = ground.copy(ground.run)
    text = (run / "run.toml").read_text().replace(str(ground.store), str(ground.place / "gone"))
    (run / "run.toml").write_text(text)
    yield Mistake("a store that moved: train", ("train", run, "--images", "1600"), 1, "--store")
    yield Mistake("a store that moved: measure", ("measure", run), 1, "--store")
    yield Mistake("… and where it is now", ("train", run, "--store", moved, "--images", "1600"), 0, "100%")
    other = ground.room() / "other"
    yield Mistake("(another store)", ("prepare", ground.few(), *SHAPE, "-o", other), 0, "40 pictures")
    yield Mistake(
        "a run with another store", ("train", run, "--store", other, "--images", "1920"), 1, "another|same|other"
    )
    yield Mistake(
        "a run measured against another store",
        ("measure", run, "--store", other, "--samples", "64"),
        0,
        "is not the store that",
    )


def runs(ground: Ground) -> Iterator[Mistake]:
    """Runs under way, damaged, edited."""
    out = ground.room() / "run"
    words = ("train", "gan", ground.store, "-o", out, *SHORT[:2], "--images", "100_000_000", *SHORT[4:])
    training = subprocess.Popen(
        [sys.executable, "-m", "ganforge.cli", *map(str, words)],
        cwd=out.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(out.glob("checkpoints/*/manifest.json")) and training.poll() is None:
        time.sleep(0.2)
    yield Mistake("two processes on one run", words, 1, "process|training|another")
    yield Mistake("samples of a run under way", ("sample", out, "--count", "4"), 0, "samples.png")
    training.send_signal(signal.SIGSTOP)
    yield Mistake("facts of a run under way", ("show", out), 0, "gan")
    yield Mistake("a run under way, measured", ("measure", out, "--samples", "64"), 0, "Fr.chet")
    training.kill()
    training.wait()
    yield Mistake("killed, sampled", ("sample", out, "--count", "4"), 0, "samples.png")
    run = ground.copy(ground.run)
    newest = max((run / "checkpoints").iterdir(), key=lambda path: path.name)
    flip(newest / "tensors.safetensors")
    yield Mistake("a damaged newest checkpoint: sample", ("sample", run), 1, newest.name)
    yield Mistake("a damaged newest checkpoint: train", ("train", run, "--images", "1600"), 0, newest.name)
    run = ground.copy(ground.run)
    for tensors in run.glob("checkpoints/*/tensors.safetensors"):
        flip(tensors)
    yield Mistake("all checkpoints damaged", ("train", run, "--images", "1600"), 1, "checkpoint", run / "checkpoints")
    run = ground.copy(ground.run)
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    yield Mistake("no checkpoint left: sample", ("sample", run), 1, "checkpoint")
    for name, old, new in (("lr", r"lr = \S+", "lr = 0.1"), ("seed", r"seed = \S+", "seed = 9")):
        run = ground.copy(ground.run)
        text = (run / "run.toml").read_text()
        (run / "run.toml").write_text(re.sub(old, new, text, count=1))
        yield Mistake(f"run.toml edited by hand: {name}", ("train", run, "--images", "1600"), 1, name)
    run = ground.copy(ground.run)
    (run / "run.toml").write_text("[run\n")
    yield Mistake("a run.toml that is none", ("sample", run), 1, "run.toml")
    run = ground.copy(ground.run)
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(re.sub(r"system = .*", "", text))
    yield Mistake("a run.toml without its system", ("train", run), 1, "system")
    run = ground.copy(ground.run)
    with (run / "stats.jsonl").open("ab") as file:
        file.write(b'{"images": \xff\n{broken')
    yield Mistake("broken lines in stats.jsonl", ("train", run, "--images", "1600"), 0, "100%")
    run = ground.copy(ground.run)
    (run / "samples").rename(run.parent / "samples")
    (run / "samples").symlink_to(run.parent / "samples")
    yield Mistake("a link in a run", ("train", run, "--images", "1600"), 1, "link", run.parent / "samples")
    yield Mistake(
        "resumed with another setting",
        ("train", "gan", ground.store, "-o", ground.run, *SHORT, "--model.lr", "1e-3"),
        1,
        "lr",
        ground.run,
    )
    yield Mistake("a run made shorter", ("train", ground.run, "--images", "640"), 1, "shorter|longer", ground.run)
    yield Mistake(
        "another system in its folder", ("train", "dcgan", ground.store, "-o", ground.run, *SHORT), 1, "gan", ground.run
    )


def options(ground: Ground) -> Iterator[Mistake]:
    """Misspelt, contradictory, without effect, out of range."""
    store, run, few = ground.store, ground.run, ground.few()

    def wrong(planted: str, words: Sequence[object], says: str) -> Mistake:
        return Mistake(planted, words, 1, says)

    train = ("train", "gan", store, "-o", ground.room() / "none")
    yield wrong("--resolutionn", ("prepare", few, "--resolutionn", "32"), "did you mean --resolution")
    yield wrong("a verb misspelt", ("prepair", few), "did you mean prepare")
    yield wrong("a system misspelt", ("train", "dcgn", store), "did you mean dcgan")
    yield wrong("a setting misspelt", (*train, "--model.latnt", "8"), "did you mean.*latent")
    yield wrong("a setting that is no number", (*train, "--model.latent", "many"), "latent")
    yield wrong("a setting out of range", (*train, "--model.latent", "-5"), "latent")
    yield wrong("a batch of none", (*train, "--train.batch", "0"), "batch")
    yield wrong("--images and --minutes", (*train, "--images", "640", "--minutes", "1"), "images|minutes")
    yield wrong("minutes below nothing", (*train, "--minutes", "-3"), "minutes")
    yield wrong("minutes that are no number", (*train, "--minutes", "nan"), "minutes")
    yield wrong("--train.cooldown 1 with minutes", (*train, "--minutes", "1", "--train.cooldown", "1"), "cooldown")
    yield wrong("--size with a run", ("train", run, "--size", "large"), "size")
    yield wrong("--size with a file that says it", (*train, "--config", run / "run.toml", "--size", "large"), "size")
    yield wrong("an option said twice", ("prepare", few, "--resolution", "32", "--resolution", "64"), "twice")
    yield wrong("a resolution of 32x", ("prepare", few, "--resolution", "32x"), "resolution")
    yield wrong("two channels", ("prepare", few, *SHAPE, "--channels", "2"), "channels|1, 3")
    yield wrong(
        "half of everything and more held out", ("prepare", few, *SHAPE, "--heldout", "1.5"), "heldout|held out"
    )
    yield wrong("held out: not a number", ("prepare", few, *SHAPE, "--heldout", "nan"), "heldout|held out")
    yield wrong("a fit that there is not", ("prepare", few, *SHAPE, "--fit", "crp"), "did you mean crop")
    yield wrong("a colour that there is not", ("prepare", few, *SHAPE, "--background", "whit"), "whit")
    yield wrong("a fold of a store without folds", (*train, "--train.fold", "0"), "fold")
    yield wrong("seeds below nothing", ("sample", run, "--seeds=-3"), "seed")
    yield wrong("seeds the wrong way round", ("sample", run, "--seeds", "9-3"), "seed")
    yield wrong("a seed beyond 64 bits", ("sample", run, "--seeds", "99999999999999999999999"), "seed")
    yield wrong("--seeds and --count", ("sample", run, "--seeds", "3", "--count", "4"), "either")
    yield wrong("no pictures", ("sample", run, "--count", "0"), "count")
    yield wrong("--mix-layers alone", ("sample", run, "--mix-layers", "0-1"), "no effect")
    yield wrong("--mix of a system without styles", ("sample", run, "--mix", "1,2"), "style")
    yield wrong("--truncation of a system without styles", ("sample", run, "--truncation", "0.5"), "truncation|style")
    yield wrong("--walk and --each", ("sample", run, "--walk", "--each"), "either")
    yield wrong("--labels of a run without classes", ("sample", run, "--labels", "roses"), "label|class")
    yield wrong("a walk of one seed", ("sample", run, "--walk", "--seeds", "3", "-o", few.parent / "w.webp"), "seed")
    yield wrong("samples for a distance: one", ("measure", run, "--samples", "1"), "samples")
    yield wrong("--device cuda without one", (*train, "--device", "cuda", *SHORT), "cuda|device")
    yield wrong("a device that there is not", ("sample", run, "--device", "gpu"), "gpu")
    yield wrong("restore with a system that cannot", ("restore", run, few, "-o", few.parent / "r"), "restore")
    yield wrong("project of no picture", ("project", run, run / "run.toml"), "run.toml")
    yield wrong(
        "a filter that there is not",
        ("clean", few, "-o", few.parent / "c", "--filter", "medain"),
        "did you mean median",
    )
    yield wrong(
        "a filter's setting out of range", ("clean", few, "-o", few.parent / "c", "--filter", "median:size=4"), "size"
    )
    yield wrong("clean with nothing to do", ("clean", few, "-o", few.parent / "c"), "nothing|filter|audit")
    yield wrong("a shard of none", ("prepare", few, *SHAPE, "--shard", "3/3"), "shard")
    yield wrong("an export without a place", ("prepare", few, *SHAPE, "--format", "parquet"), "out")
    yield wrong(
        "a licence that there is not", ("collect", few, "--licence", "ccc0", "-o", few.parent / "l"), "licence|ccc0"
    )
    yield wrong("a share below nothing", ("collect", few, "--cap", "-1", "-o", few.parent / "l"), "cap")
    yield wrong("a setting of another system", (*train, "--model.beta", "1"), "beta")
    yield wrong("a run's setting changed on going on", ("train", run, "--model.lr", "1e-3", "--images", "1600"), "lr")
    yield wrong("a length of half a picture", (*train, "--images", "0.5"), "images")
    yield wrong("a length without end", (*train, "--images", "1e999"), "images")
    yield wrong("a picture asked for as a store", ("train", "gan", ground.picture()), "store|manifest")
    yield wrong("no store", ("train", "gan"), "which store")
    yield wrong("no words behind a verb", ("prepare",), "source")
    yield wrong("a name that begins with a dash", ("prepare", "-my-pictures"), "-m")
    yield wrong("a class that there is not", ("prepare", few, *SHAPE, "--per-class", "-1"), "per.class|cap")
    yield wrong("one fold", ("prepare", few, *SHAPE, "--folds", "1"), "folds")
    yield wrong("more folds than pictures of a class", ("prepare", few, *SHAPE, "--folds", "50"), "folds")
    yield wrong("measure a folder without a store", ("measure", few), "--store")
    yield wrong("measure three pictures", ("measure", three(ground), "--store", store), "3|16|few")
    yield wrong(
        "a recipe that is no TOML",
        ("clean", few, "-o", few.parent / "c", "--recipe", ground.picture()),
        "toml|recipe|read",
    )
    yield wrong("a collection of a set that there is not", ("collect", "minst"), "did you mean mnist|minst")
    yield wrong("a list without addresses", ("collect", listed(ground), "-o", few.parent / "l"), "url")
    yield wrong("a cache that is a file", ("show", store / "labels.npy"), "labels.npy")
    yield wrong("a layer misspelt", ("layers", "convolutoin"), "did you mean convolution")
    yield wrong("an audit compared with a store", ("audit", "--diff", ground.audit, store), "audit")
    yield wrong("a word too many", ("show", store, "more"), "more")
