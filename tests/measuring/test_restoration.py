"""The table of a system that restores: closed forms, floors, the same numbers again, and bad input."""

from __future__ import annotations

import colorsys
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

import ganforge
from ganforge.base import marks
from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.image_to_image import ImageToImage
from ganforge.measuring import restoration
from ganforge.measuring.measure import as_json, measure_system
from ganforge.measuring.reference import Reference
from ganforge.measuring.restoration import Restoration, Scores, chosen, portions
from ganforge.media.clip import Clip
from ganforge.media.pair import Pair
from ganforge.media.spec import Spec, to_float, to_uint8
from ganforge.metrics import frechet
from ganforge.models import load
from ganforge.sources.transform import resize
from ganforge.testing import make_store
from ganforge.training.train import train

RGB = Spec(16, 16, 3)
LOOP = {"images": 32, "batch": 16, "precision": "fp32"}


class Told(ImageToImage):
    """A system that returns what it is given, enlarged by repeating pixels, in as many channels as are wanted."""

    fills = True
    media = (Clip, Pair)
    averaged = ()

    def __init__(self, spec, degradation):
        super().__init__(SimpleNamespace(degradation=degradation), spec)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def restore(self, images, *, holes=None):
        large = images.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return large if self.given == self.wanted else large[:, :1].expand(-1, self.wanted, -1, -1)


class Oracle(Told):
    """A system that knows what is wanted."""

    def __init__(self, spec, degradation):
        super().__init__(spec, degradation)
        self.answers_ = []

    def pair(self, images, strength=None):
        pair = super().pair(images, strength)
        self.answers_.append(pair[1])
        return pair

    def restore(self, images, *, holes=None):
        answers, self.answers_ = torch.cat(self.answers_), []
        return answers


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("rgb") / "store", RGB, 120)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("clips") / "store", Spec(8, 8, 12, medium=Clip(4, 10.0)))


def table(system, store, samples=10_000, sheets=None) -> Restoration:
    measured = measure_system(system, store, samples, sheets)
    assert measured.restoration is not None
    return measured.restoration


DEGRADATIONS = ["noise 0..0.2", "down 4", "strokes 0.1..0.4", "grey", "edges 0.1", "grey, down 2"]


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_a_system_that_returns_its_input_has_the_numbers_of_what_is_given(store, degradation):
    numbers = table(Told(RGB, degradation), store)
    assert numbers["restored"] == numbers["as given"]
    assert "better by neither" in numbers.verdict
    system = Told(RGB, degradation)
    psnrs, ssims = [], []
    for portion in portions(system, store, chosen(store, 10_000)):
        large = F.interpolate(portion.given.expand(-1, 3, -1, -1), scale_factor=system.scale)
        for made, wanted in zip(to_uint8(large).numpy(), portion.wanted, strict=True):
            psnrs.append(peak_signal_noise_ratio(wanted, made))
            ssims.append(structural_similarity(wanted, made, channel_axis=2, data_range=255))
    assert numbers["as given"].psnr == pytest.approx(np.mean(psnrs), abs=1e-6)
    assert numbers["as given"].ssim == pytest.approx(np.mean(ssims), abs=1e-6)


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_a_system_that_knows_the_answer_has_100_db_and_the_floor(store, degradation):
    numbers = table(Oracle(RGB, degradation), store)
    best, wanted = numbers["restored"], numbers["wanted"]
    assert numbers.given == degradation
    assert (best.psnr, best.ssim) == (100.0, 1.0)
    assert best.hole_psnr in (None, 100.0)
    assert (best.distance, best.consistency, best.saturation) == (
        wanted.distance, wanted.consistency, wanted.saturation
    )  # fmt: skip
    assert (wanted.psnr, wanted.ssim, wanted.hole_psnr) == (None, None, None)
    assert json.loads(json.dumps(numbers.as_dict(), allow_nan=False))["rows"]["restored"]["psnr"] == 100


def test_the_floor_is_the_distance_of_as_many_held_out_pictures(store):
    reference = Reference(store)
    numbers = table(Told(RGB, "down 2"), store, 16)
    some = reference.heldout[torch.from_numpy(chosen(store, 16))]
    assert numbers.pictures == 16
    floor = frechet.estimate(frechet.moments(reference.train), some, 16)
    assert (numbers["wanted"].distance, numbers["wanted"].distance_spread) == pytest.approx(floor, rel=1e-4)


def test_the_same_bytes_again_whatever_the_portion(store, tmp_path, monkeypatch):
    system = Told(RGB, "blur 0..2, noise 0..0.2, jpeg 30..90, strokes 0.1..0.4")
    first = table(system, store, sheets=tmp_path).as_dict()
    sheet = (tmp_path / "restored.png").read_bytes()
    torch.rand(7)
    assert table(system, store, sheets=tmp_path).as_dict() == first
    monkeypatch.setattr(restoration, "BATCH", 5)
    second = table(system, store, sheets=tmp_path).as_dict()
    for name, numbers in first["rows"].items():
        pairs = [(number, second["rows"][name][key]) for key, number in numbers.items()]
        assert all(a == b if a is None else a == pytest.approx(b, rel=1e-5) for a, b in pairs)
    assert sheet == (tmp_path / "restored.png").read_bytes()
    given = [torch.cat([p.given for p in portions(system, store, chosen(store, 99))]) for _ in range(2)]
    assert torch.equal(*given)


def test_strengths_are_spread_evenly_in_a_keyed_order(store):
    class Listening(Told):
        def pair(self, images, strength=None):
            heard.append(strength)
            return super().pair(images, strength)

    heard: list[float] = []
    system = Listening(RGB, "noise 0..0.2")
    list(portions(system, store, chosen(store, 20)))
    assert sorted(heard) == pytest.approx((np.arange(20) + 0.5) / 20)
    assert heard != sorted(heard)
    first = heard.copy()
    heard.clear()
    list(portions(system, store, chosen(store, 20)))
    assert heard == first


def test_consistency_is_psnr_of_the_answer_degraded_again(store):
    numbers = table(Told(RGB, "noise 0.1, down 4"), store)
    scores: dict[str, list[float]] = {"bicubic": [], "wanted": []}
    for portion in portions(Told(RGB, "noise 0.1, down 4"), store, chosen(store, 10_000)):
        given = to_uint8(portion.given).permute(0, 3, 1, 2).contiguous()
        wanted = torch.from_numpy(portion.wanted).permute(0, 3, 1, 2).contiguous()
        for name, pixels in (("bicubic", resize(given, 16, 16)), ("wanted", wanted)):
            for ours, theirs in zip(resize(pixels, 4, 4).numpy(), given.numpy(), strict=True):
                scores[name].append(peak_signal_noise_ratio(theirs, ours))
    for name, values in scores.items():
        assert numbers[name].consistency == pytest.approx(np.mean(values), abs=0.05)
    for degradation in ("edges 0.1", "noise 0.1", "real 2"):
        assert table(Told(RGB, degradation), store, 16)["restored"].consistency is None


def test_known_pixels_are_compared_before_they_are_put_back(store):
    class Shifting(Told):
        def restore(self, images, *, holes=None):
            return (images + 10 / 127.5).clamp(-1, 1)

    numbers = table(Shifting(RGB, "boxes 1"), store, 16)
    assert numbers["restored"].consistency == pytest.approx(20 * math.log10(255 / 10), abs=0.1)
    assert numbers["Telea"].consistency == 100
    assert numbers["restored"].psnr > numbers["restored"].hole_psnr


def test_colours_have_their_saturation(store):
    numbers = table(Told(RGB, "grey"), store)
    rows = store.read(store.heldout).reshape(-1, 3) / 255
    expected = np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in rows])
    assert numbers["wanted"].saturation == pytest.approx(expected, abs=1e-6)
    assert numbers["as given"].saturation == 0
    assert numbers["as given"].consistency == 100
    assert table(Told(RGB, "down 2"), store, 16)["wanted"].saturation is None


def test_missing_frames_are_measured_beside_the_mean_of_their_neighbours(clips, tmp_path):
    numbers = table(Told(clips.spec, "frames 1..2"), clips, sheets=tmp_path)
    assert list(numbers.rows) == ["as given", "restored", "mean of neighbours", "wanted"]
    assert numbers["mean of neighbours"].hole_psnr < 15
    assert table(Oracle(clips.spec, "frames 1..2"), clips)["restored"].hole_psnr == 100
    assert Image.open(tmp_path / "restored.png").width < 1800


def test_pairs_are_given_as_they_are(tmp_path):
    spec = Spec(8, 8, 4, ("a", "b"), medium=Pair(1))
    store = make_store(tmp_path / "store", spec, 80)
    numbers = table(Told(spec, ""), store)
    first, second = np.split(store.read(store.heldout), [1], 3)
    expected = [peak_signal_noise_ratio(b, np.broadcast_to(a, b.shape)) for a, b in zip(first, second, strict=True)]
    assert numbers["as given"].psnr == pytest.approx(np.mean(expected))
    assert numbers.given == "the first halves of pairs"
    assert numbers["wanted"].label_accuracy == pytest.approx(Reference(store).extract.accuracy)


def test_sides_that_are_no_multiples_are_cut(tmp_path):
    spec = Spec(18, 17, 3, ("a", "b"))
    store = make_store(tmp_path / "store", spec, 80)
    numbers = table(Oracle(spec, "down 4"), store, sheets=tmp_path)
    assert numbers["restored"].distance == numbers["wanted"].distance
    assert numbers["restored"].label_accuracy == numbers["wanted"].label_accuracy is not None


def test_rows_for_strengths_and_answers(every_door, store, tmp_path):
    torch.manual_seed(0)
    loaded = load(every_door)
    system = loaded.system(loaded.config(degradation="down 2", width=4), RGB)
    numbers = table(system, store, 16, tmp_path)
    strengths = [f"restored, strength {s}" for s in ("0", "0.5", "1")]
    assert list(numbers.rows) == ["as given", *strengths, "mean of 4 answers", "bicubic", "wanted"]
    assert numbers[strengths[0]].psnr == numbers["as given"].psnr
    assert numbers["mean of 4 answers"].psnr > numbers[strengths[2]].psnr
    assert list(numbers.rows) == marks.read(tmp_path / "restored.png")["rows"]
    for name in (*strengths, "mean of 4 answers"):
        assert f"{name}: " in numbers.verdict


def scores(psnr, distance):
    return Scores(
        psnr=psnr, ssim=None, hole_psnr=None, distance=distance, distance_spread=0.1, consistency=None,
        label_accuracy=None, saturation=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("psnr", "distance", "meaning"),
    [
        (25.0, 4.0, "better by both"),
        (25.0, 9.0, "less error, yet no more like real pictures"),
        (23.0, 4.0, "more like real pictures, at the price of more error"),
        (23.0, 7.9, "better by neither"),
    ],
)
def test_psnr_is_never_the_verdict_alone(psnr, distance, meaning):
    rows = {
        "as given": scores(20.0, 8.0), "restored": scores(psnr, distance), "bicubic": scores(24.0, 9.0),
        "wanted": scores(None, 2.0),
    }  # fmt: skip
    verdict = Restoration(rows, 50, "down 4", ("as given", "bicubic")).verdict
    with pytest.raises(KeyError, match="Did you mean restored"):
        Restoration(rows, 50, "down 4", ())["restord"]
    first, last = verdict.splitlines()
    assert first.startswith(f'restored: 1.00 dB {"above" if psnr > 24 else "below"} "bicubic"')
    assert first.endswith(f'"as given" 8.00, real pictures 2.00: {meaning}.')
    assert "PSNR alone is no verdict" in last


def test_pictures_smaller_than_a_window_have_no_ssim(tmp_path):
    spec = Spec(5, 9, 3)
    numbers = table(Told(spec, "noise 0.1"), make_store(tmp_path / "store", spec, 80))
    assert numbers["restored"].ssim is None and "SSIM" not in numbers.table
    assert "SSIM needs 7 pixels each way, and the pictures have 5." in numbers.verdict


def test_what_cannot_be_measured(tmp_path, store):
    class Diverged(Told):
        def restore(self, images, *, holes=None):
            return super().restore(images) * math.nan

    with pytest.raises(DataError, match="this run has diverged"):
        measure_system(Diverged(RGB, "noise 0.1"), store)
    few = make_store(tmp_path / "few", RGB, 30)
    with pytest.raises(DataError, match=r"holds out 6 pictures, .* at least 8\. Prepare it with a larger --heldout"):
        measure_system(Told(RGB, "noise 0.1"), few)


def new_run(path, name, store, **model):
    overrides = {"model": model, "train": LOOP}
    return train(name, store, path / name, size="small", device_name="cpu", overrides=overrides).path


def test_a_denoiser_from_the_command_line(tmp_path, store, capsys, fails):
    run = new_run(tmp_path, "dae", store.path, width=4)
    capsys.readouterr()
    assert main(["measure", str(run), "--report", "--samples", "20"]) == 0
    printed = capsys.readouterr().out
    for name in ("as given", "restored", "median 3x3", "bilateral", "wanted"):
        assert f"\n{name} " in printed
    assert "PSNR alone is no verdict" in printed and "20 held-out pictures restored" in printed
    page = (run / "report.html").read_text("utf-8")
    assert page.count("data:image/png") == 2 and "median 3x3" in page and "PSNR alone" in page
    assert marks.read(run / "restored.png")["restored"]
    assert main(["measure", str(run), "--json", "--samples", "20"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    kept = json.loads((run / "measures.jsonl").read_text().splitlines()[-1])
    assert numbers["restoration"] == kept["restoration"]
    assert numbers["restoration"]["pictures"] == numbers["samples"] == 20
    measured = ganforge.measure(run, samples=20)
    assert measured.restoration["restored"].psnr == numbers["restoration"]["rows"]["restored"]["psnr"]
    assert not measured.rows
    other = make_store(tmp_path / "other", Spec(8, 8, 3), 60)
    assert "Measure it against its own store" in fails("measure", run, "--store", other.path)


@pytest.mark.parametrize("name", ["vae", "autoencoder", "vqvae"])
def test_systems_that_generate_and_reconstruct_have_both_tables(name, store):
    torch.manual_seed(0)
    loaded = load(name)
    settings = {"width": 8} if name == "vqvae" else {"width": 8, "latent": 8}
    system = loaded.system(loaded.config(**settings), RGB).eval()
    measured = measure_system(system, store, 32)
    numbers = json.loads(as_json(measured))
    assert numbers["distance"] == measured["distance"].value
    assert list(numbers["restoration"]["rows"]) == ["restored", "wanted"]
    images = store.read(store.heldout)
    made = to_uint8(system.restore(to_float(torch.from_numpy(images)))).numpy()
    expected = [peak_signal_noise_ratio(a, b) for a, b in zip(images, made, strict=True)]
    assert measured.restoration["restored"].psnr == pytest.approx(np.mean(expected), abs=0.05)
    assert "told from real ones" in str(measured) and "restored: " in str(measured)


def test_a_generator_of_a_store_without_held_out_pictures_is_measured_as_before(tmp_path, logged):
    few = make_store(tmp_path / "few", RGB, 30)
    loaded = load("vae")
    measured = measure_system(loaded.system(loaded.config(width=8, latent=8), RGB).eval(), few, 32)
    assert measured.restoration is None and "restoration" not in measured.as_dict()
    assert any("fewer than 8 pictures are held out" in line for line in logged)
