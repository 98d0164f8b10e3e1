"""caption: it draws what a sentence says, by a recurrent reader in each network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganforge.base.images import write_image
from ganforge.base.marks import read as read_mark
from ganforge.cli import main
from ganforge.media.captions import of_texts
from ganforge.media.spec import Spec
from ganforge.models import caption
from ganforge.preparing.parts import Meta
from ganforge.sampling import sample
from ganforge.system import Batch
from ganforge.testing import check_system, make_store, store_of
from ganforge.training.train import train

TINY = {"width": 8, "latent": 8, "embedding": 8, "units": 16}
WORDS = of_texts([["a red dot on the left"], ["a blue dot"], ["on the right"]])[0]
SPEC = Spec(16, 16, 3, captions=WORDS)


def new(**settings):
    torch.manual_seed(0)
    return caption.Caption(caption.Config(**{**TINY, **settings}), SPEC)


@pytest.mark.parametrize("spec", [Spec(16, 16, 1), Spec(17, 13, 4), Spec(24, 32, 3, ("a", "b"))])
def test_caption_keeps_the_contract(spec, tmp_path):
    check_system("caption", spec, tmp_path, TINY)


def test_what_stands_behind_the_end_of_a_caption_changes_nothing():
    system = new().eval()
    short = torch.from_numpy(WORDS.rows(["a red dot"], "RUN"))
    longer = torch.nn.functional.pad(short, (0, 9))
    latents = system.latents([1])
    assert torch.equal(system.generate(latents, captions=short), system.generate(latents, captions=longer))
    other = torch.from_numpy(WORDS.rows(["dot red a"], "RUN"))
    assert not torch.equal(system.generate(latents, captions=short), system.generate(latents, captions=other))


def test_the_discriminator_sees_each_picture_beside_anothers_caption():
    system = new(wrong=0.5, augment="", diverse=0.0)
    captions = torch.from_numpy(WORDS.rows(["a red dot", "a blue dot", "on the right"], "RUN"))
    batch = Batch(torch.rand(3, 3, 16, 16) * 2 - 1, None, 0, captions=captions)
    torch.manual_seed(1)
    values = system.loss(batch)
    scores = system.discriminator(batch.images, captions.roll(1, 0))
    assert values["wrong"].item() == pytest.approx(scores.mean().item(), abs=1e-3)
    torch.manual_seed(1)
    without = new(wrong=0.0, augment="", diverse=0.0).loss(batch)
    hinge = torch.relu(1 + scores).mean().item()
    assert values["loss"].item() - without["loss"].item() == pytest.approx(0.5 * hinge, rel=0.1)


def test_pictures_of_one_sentence_are_kept_apart():
    system = new(diverse=0.1)
    captions = torch.from_numpy(WORDS.rows(["a red dot"] * 8, "RUN"))
    noise = torch.randn(8, 8)

    def apart():
        torch.manual_seed(3)
        return system._apart(system.generator(noise, captions), noise, captions)

    before = apart()
    (gradient,) = torch.autograd.grad(0.1 / (before + 1e-3), system.generator.dense.weight)
    with torch.no_grad():
        system.generator.dense.weight -= 1e-2 * gradient / gradient.norm()
        assert apart() > before
    batch = Batch(torch.rand(8, 3, 16, 16) * 2 - 1, None, 0, captions=captions)
    assert "apart" in system.loss(batch) and "apart" not in new(diverse=0.0).loss(batch)


def two_colours(folder, count=160):
    """A red or a blue square at the left or at the right; its caption says so."""
    pictures, metas = np.full((count, 16, 16, 3), 255, np.uint8), []
    rng = np.random.default_rng(0)
    for n in range(count):
        red, left = n % 2, n // 2 % 2
        top, start = rng.integers(2, 8), 1 if left else 9
        pictures[n, top : top + 6, start : start + 6] = (220, 30, 30) if red else (30, 30, 220)
        text = f"a {'red' if red else 'blue'} square at the {'left' if left else 'right'}"
        metas.append(Meta(f"{n}.png", split="train" if n % 5 else "heldout", caption=text))
    return store_of(folder, Spec(16, 16, 3), pictures, metas)


def test_it_learns_to_draw_what_is_said(tmp_path):
    store = two_colours(tmp_path / "store")
    loop = {"images": 32 * 300, "batch": 32, "precision": "fp32"}
    model = {**TINY, "width": 16, "units": 32, "augment": ""}
    run = train("caption", store, tmp_path / "run", device_name="cpu", overrides={"model": model, "train": loop})
    texts = [f"a {colour} square at the {side}" for colour in ("red", "blue") for side in ("left", "right")]
    made = sample(run, range(8), text=texts).reshape(2, 2, 8, 16, 16, 3).astype(float)
    redness = made[..., 0].mean((2, 3, 4)) - made[..., 2].mean((2, 3, 4))  # (colour, side)
    assert (redness[0] > redness[1] + 5).all(), "the colour that was said"
    dark = 255 - made.min(-1)  # squares are dark in one channel at least
    left, right = dark[..., :8].mean((-1, -2)), dark[..., 8:].mean((-1, -2))
    share = np.concatenate([(left > right)[:, 0].ravel(), (right > left)[:, 1].ravel()]).mean()
    assert share > 0.85, "on the side that was said"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caption")
    store = two_colours(folder / "store")
    loop = {"images": 64, "batch": 16, "precision": "fp32"}
    return train("caption", store, folder / "run", device_name="cpu", overrides={"model": TINY, "train": loop})


def test_sentences_on_the_command_line(run, tmp_path, capsys, fails):
    out = tmp_path / "sheet.png"
    words = ["--text", "a red square", "--text", "a blue square at the left", "--seeds", "0-2"]
    assert main(["sample", str(run.path), *words, "-o", str(out)]) == 0
    mark = read_mark(out)
    assert mark["texts"] == ["a red square", "a blue square at the left"] and mark["seeds"] == [0, 1, 2] * 2
    assert main(["sample", str(run.path), *words, "--each", "-o", str(tmp_path / "each")]) == 0
    files = sorted(path.name for path in (tmp_path / "each").glob("*.png"))
    assert files[:2] == ["seed-000000-text-0.png", "seed-000000-text-1.png"] and len(files) == 6
    assert read_mark(tmp_path / "each" / files[1])["text"] == "a blue square at the left"
    walk = ["sample", run.path, "--walk", "--frames", "2", "--seeds", "0-1"]
    assert main([str(word) for word in (*walk, "--text", "a red square", "-o", tmp_path / "w.webp")]) == 0
    capsys.readouterr()
    assert "(did you mean 'square'?). It knows 8: a," in fails("sample", run.path, "--text", "a red sqare")
    assert "Say --text once" in fails(*walk, "--text", "a red square", "--text", "a blue square")
    assert "no words" in fails("sample", run.path, "--text", "")


def test_without_a_sentence_seeds_draw_examples(run):
    rows = sample(run, range(4))
    assert np.array_equal(rows[2:3], sample(run, [2])) and len(np.unique(rows, axis=0)) == 4


def test_a_projected_picture_keeps_its_sentence(run, tmp_path, capsys):
    write_image(tmp_path / "one.png", sample(run, [3])[0])
    out = tmp_path / "projected.png"
    assert main(["project", str(run.path), str(tmp_path / "one.png"), "-o", str(out), "--steps", "2"]) == 0
    point = next(tmp_path.rglob("*-point.safetensors"))
    assert main(["sample", str(run.path), "--points", str(point), "-o", str(tmp_path / "again.png")]) == 0


def test_where_there_are_no_captions(run, tmp_path, fails):
    store = make_store(tmp_path / "store", Spec(16, 16, 3))
    assert "these pictures have none" in fails("train", "caption", store.path, "--out", tmp_path / "r")
    dcgan = train("dcgan", store, tmp_path / "d", device_name="cpu", overrides={"train": {"images": 16, "batch": 8}})
    assert "reads no text" in fails("sample", dcgan.path, "--text", "a red square")
    loop = {"train": {"images": 80, "batch": 16}, "model": TINY}
    with pytest.raises(Exception, match="weights"):
        train("caption", make_store(tmp_path / "c", Spec(16, 16, 3), captioned=True), tmp_path / "e",
              device_name="cpu", overrides=loop, source=run)  # fmt: skip
