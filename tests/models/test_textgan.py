"""textgan: the contract on passages, what the critic may see, and how prompts go on."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganforge.base import marks
from ganforge.cli import main
from ganforge.media.spec import Spec, to_float
from ganforge.media.text import END, Text, tokens
from ganforge.models.textgan import Config, TextGAN, inside, mean, shifted
from ganforge.system import Batch
from ganforge.testing import check_system, make_store

ALPHABET = END + "\n .:ABCabcdefgh"
SPEC = Spec(1, 12, 1, medium=Text(ALPHABET))
TINY = {"width": 8, "latent": 4, "embedding": 6, "critic": 8}
OPTIONS = ["--train.batch", "16", *(word for name, value in TINY.items() for word in (f"--model.{name}", str(value)))]


def system(**settings) -> TextGAN:
    torch.manual_seed(0)
    return TextGAN(Config(**{**TINY, **settings}), SPEC)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    make_store(folder / "store", SPEC)
    words = ["train", "textgan", folder / "store", "-o", folder / "run", "--images", "64", *OPTIONS]
    assert main([str(word) for word in words]) == 0
    return folder / "run"


@pytest.mark.parametrize("settings", [{}, {"teacher": 0.0}, {"adversary": 0.0}], ids=["both", "scratch", "teacher"])
@pytest.mark.parametrize("classes", [(), ("a", "b")], ids=["plain", "labelled"])
def test_contract_of_passages(settings, classes, tmp_path):
    spec = Spec(1, 12, 1, classes, medium=Text(ALPHABET))
    check_system("textgan", spec, tmp_path, {**TINY, **settings})


def test_the_critic_sees_no_character_that_it_scores():
    critic = system().critic.eval()
    hot = F.one_hot(torch.randint(0, len(ALPHABET), (3, 12)), len(ALPHABET)).float()
    scores = critic(shifted(hot))
    changed = hot.clone()
    changed[:, 7] = changed[:, 7].roll(1, 1)
    other = critic(shifted(changed))
    assert torch.allclose(scores[:, :8], other[:, :8], atol=1e-6)
    assert (scores[:, 8:] != other[:, 8:]).any(2).all(), "and all that comes after it does"


def test_no_gradient_goes_back_through_made_characters():
    """Over many steps it would grow without bounds; each choice still has its own."""
    one, seen = system(), []
    one.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hot = F.one_hot(torch.randint(1, len(ALPHABET), (2, 12)), len(ALPHABET)).float()
    made, _ = one.made(torch.randn(2, 4), hot, 0, 12)
    assert made.requires_grad and len(seen) == 12 and not any(before.requires_grad for before in seen)
    (gradient,) = torch.autograd.grad(made[:, 7].square().sum(), one.generator.logits.weight)
    assert gradient.any()


def test_made_passages_are_characters_and_begin_as_the_real_ones_do():
    one = system()
    real = torch.randint(1, len(ALPHABET), (5, 12))
    hot = F.one_hot(real, len(ALPHABET)).float()
    made, scored = one.made(torch.randn(5, 4), hot, 4, 3)
    assert scored.tolist() == [0] * 4 + [1] * 3 + [0] * 5
    numbers = made.argmax(2)
    assert torch.equal(numbers[:, :4], real[:, :4]) and torch.equal(numbers[:, 7:], real[:, 7:])
    assert torch.allclose(made, F.one_hot(numbers, len(ALPHABET)).float(), atol=1e-6), "one-hot"
    assert made.requires_grad, "and with a gradient"


def test_choices_have_the_probabilities_of_the_logits():
    """The same inverse of the distribution for every seed: shares of first characters are those of the softmax."""
    one = system().eval()
    latents = one.latents(range(4000))
    latents[:, :4] = 0  # the same z for all
    with torch.no_grad():
        first = tokens(one.generate(latents))[:, 0]
        logits, _ = one.generator(torch.zeros(1, 1, len(ALPHABET)), torch.zeros(1, 4))
    shares = torch.bincount(first, minlength=len(ALPHABET)) / 4000
    assert shares[0] == 0, "no passage is empty"
    assert (shares[1:] - F.softmax(logits[0, 0, 1:], 0)).abs().max() < 4 * 0.5 / 4000**0.5


def test_after_the_end_nothing_follows():
    one = system().eval()
    with torch.no_grad():
        one.generator.logits.bias[0] = 2.0
        numbers = tokens(one.generate(one.latents(range(50))))
    ended = numbers == 0
    assert ended.any() and torch.equal(ended, ended.cumsum(1) > 0)


def test_means_are_over_what_is_inside():
    numbers = torch.tensor([[3, 0, 5, 0], [1, 1, 1, 1]])
    assert inside(numbers).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert mean(torch.tensor([[1.0, 3.0, 100.0, 100.0], [5.0, 5.0, 5.0, 5.0]]), numbers) == pytest.approx(4.0)


def test_a_system_learns_what_follows_what(tmp_path):
    """Passages that alternate between two characters: few steps of each way of learning make them likely."""
    rows = np.tile(np.array([7, 9], np.uint8), (16, 6))[:, None, :, None]
    rows[::2] = np.roll(rows[::2], 1, 2)
    batch = Batch(to_float(torch.from_numpy(rows)), None, 10**9)
    for settings in ({"adversary": 0.0}, {"teacher": 0.0, "dropout": 0.0}):
        one = system(growth=1, width=16, **settings)
        adam = {name: torch.optim.Adam(one.get_submodule(name).parameters(), 0.02) for name in one.adam()}
        for _ in range(150):
            for phase in one.phases():
                one.requires_grad_(False)
                one.get_submodule(phase.name).requires_grad_(True)
                phase.loss(batch)["loss"].backward()
                adam[phase.name].step()
                adam[phase.name].zero_grad()
        with torch.no_grad():
            made = tokens(one.eval().generate(one.latents(range(100))))
        follows = (made[:, 1:] == torch.where(made[:, :-1] == 7, 9, 7)).float().mean()
        assert follows > 0.8, settings


def test_a_sheet_of_passages_and_their_texts(run, tmp_path):
    assert main(["sample", str(run), "--seeds", "0-3", "-o", str(tmp_path / "s.png")]) == 0
    sheet, text = tmp_path / "s.png", tmp_path / "s.txt"
    assert sheet.is_file() and len(text.read_text("utf-8").split("-" * 32)) == 4
    assert marks.read(text)["seeds"] == marks.read(sheet)["seeds"] == [0, 1, 2, 3]
    assert main(["sample", str(run), "--seeds", "2", "--each", "-o", str(tmp_path / "e")]) == 0
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["seed-000002.txt", "seed-000002.txt.json"]


def test_a_prompt_goes_on(run, tmp_path):
    words = ["sample", str(run), "--seeds", "0-2", "--each", "-o"]
    assert main([*words, str(tmp_path / "one"), "--prompt", "ABC:\n"]) == 0
    assert main([*words, str(tmp_path / "two"), "--prompt", "ABC:\n"]) == 0
    texts = [(tmp_path / "one" / f"seed-00000{n}.txt").read_text("utf-8") for n in range(3)]
    assert all(text.startswith("ABC:\n") and len(text) <= 5 + 12 for text in texts)
    assert len(set(texts)) == 3
    assert texts == [(tmp_path / "two" / f"seed-00000{n}.txt").read_text("utf-8") for n in range(3)]
    assert marks.read(tmp_path / "one" / "seed-000001.txt")["prompt"] == "ABC:\n"
    assert main(["sample", str(run), "--prompt", "a" * 200, "-o", str(tmp_path / "long.png")]) == 0


def test_prompts_that_cannot_be(run, tmp_path, fails, store):
    assert "'z' (U+007A)" in (message := fails("sample", run, "--prompt", "zebra"))
    assert "it with these characters" in message
    assert "at most 10,000" in fails("sample", run, "--prompt", "a" * 10_001)
    assert "--walk" in fails("sample", run, "--prompt", "a", "--walk")
    words = ["train", "gan", str(store), "-o", str(tmp_path / "pictures"), "--images", "32", "--train.batch", "16"]
    assert main(words) == 0
    assert "makes pictures from seeds and takes no prompt" in fails("sample", tmp_path / "pictures", "--prompt", "a")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--train.augment", "flip"], "train.augment has flip, which is for pictures and not for passages"),
        (["--train.mirror", "true"], "train.mirror has flip"),
        (["--model.teacher", "0", "--model.adversary", "0"], "nothing is learned"),
    ],
)
def test_settings_that_make_no_sense(run, tmp_path, fails, words, says):
    assert says in fails("train", "textgan", run.parent / "store", "-o", tmp_path / "r", *words)
    assert not (tmp_path / "r" / "run.toml").exists()


def test_systems_of_pictures_name_the_one_for_texts(run, store, tmp_path, fails):
    message = fails("train", "dcgan", run.parent / "store", "-o", tmp_path / "r")
    assert "holds passages. For passages there is: textgan." in message
    assert "textgan learns from passages" in fails("train", "textgan", store, "-o", tmp_path / "r")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sample", "--walk"], "works with pictures"),
        (["sample", "--labels", "a"], "Leave the labels out"),
        (["directions"], "has no directions"),
        (["measure", "--as-training-data"], "no pictures by class|learn from levels"),
    ],
)
def test_what_texts_do_not_have(run, fails, words, says):
    verb, *rest = words
    assert re.search(says, fails(verb, run, *rest))


def test_a_run_of_text_is_shown_measured_and_reported(run, capsys):
    assert main(["show", str(run)]) == 0
    assert "12 characters of" in capsys.readouterr().out
    assert main(["measure", str(run), "--samples", "16", "--report"]) == 0
    printed = capsys.readouterr().out
    assert "bits a character" in printed and "counts of order 5" in printed
    numbers = json.loads((run / "measures.jsonl").read_text().splitlines()[-1])
    assert {"bits", "bits_floor", "divergence", "distinct", "copies", "bits_of_counts_3"} <= numbers.keys()
    assert (run / "nearest.png").is_file()
    assert "bits a character" in (run / "report.html").read_text("utf-8")
