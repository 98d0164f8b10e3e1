"""The line of StyleGAN: its blocks against their plain definitions, growing, and what can be done with styles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import upfirdn
from torch.nn import functional as F

from ganforge import models
from ganforge.base import marks
from ganforge.base.errors import InputError
from ganforge.latent.inversion import project
from ganforge.latent.walk import mix, spherical, walk
from ganforge.media.spec import Spec
from ganforge.models.stylegan2 import path_lengths
from ganforge.nn import equal, grow, resample, style
from ganforge.nn.penalties import gamma_for, squared_gradient
from ganforge.runs import Run
from ganforge.sampling import drawn, pictures, sample
from ganforge.system import Batch
from ganforge.testing import check_system, make_store
from ganforge.training.train import train

TINY = {"width": 8, "latent": 16}
GREY = Spec(16, 16, 1)


def new(name, spec=GREY, **settings):
    torch.manual_seed(0)
    loaded = models.load(name)
    system = loaded.system(loaded.config(**{**TINY, **settings}), spec)
    for part in system.modules():
        if isinstance(getattr(part, "strength", None), torch.nn.Parameter):
            torch.nn.init.constant_(part.strength, 0.3)  # so that noise is to be seen
    return system.requires_grad_(False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of stylegan2 and one of vae, after a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    store = make_store(folder / "store", GREY)
    loop = {"images": 32, "batch": 16, "precision": "fp32"}
    for name in ("stylegan2", "vae"):
        train(name, store, folder / name, size="small", device_name="cpu", overrides={"model": TINY, "train": loop})
    return folder


# ----------------------------------------------------------------------------------------------------------------- blocks


def test_filters_are_those_of_scipy():
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)

    def reference(taps, scale, up, start, step):
        out = x.numpy()
        for axis in (2, 3):
            size = out.shape[axis] * up // step
            out = upfirdn(np.array(taps) / scale, out, up=up, axis=axis)
            out = np.take(out, np.arange(start, start + size * step, step), axis)
        return torch.from_numpy(out)

    torch.testing.assert_close(resample.blur(x), reference([1, 2, 1], 4, 1, 1, 1))
    torch.testing.assert_close(resample.double(x), reference([1, 3, 3, 1], 4, 2, 1, 1))
    torch.testing.assert_close(resample.halve(x), reference([1, 3, 3, 1], 8, 1, 2, 2))


@pytest.mark.parametrize("name", ["blur", "double", "halve"])
def test_filters_are_differentiable_twice(name):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(resample, name), (x,))
    assert torch.autograd.gradgradcheck(getattr(resample, name), (x,))


def test_strided_convolutions_are_a_resize_and_a_convolution():
    x, weight = torch.randn(2, 6, 8, 8, dtype=torch.float64), torch.randn(5, 6, 3, 3, dtype=torch.float64)
    bias = torch.randn(5, dtype=torch.float64)
    plain = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "down"), F.avg_pool2d(plain, 2))
    repeated = F.conv2d(resample.repeat(x), weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "up"), repeated)
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    smooth = F.conv2d(resample.double(x), weight, bias, padding=1)
    torch.testing.assert_close(equal.convolve(x, weight, bias, "up", smooth=True)[inside], smooth[inside])


@pytest.mark.parametrize("lr", [1.0, 0.01])
def test_equalised_layers_keep_the_variance(lr):
    torch.manual_seed(0)
    x = torch.randn(2000, 256)
    assert equal.EqualLinear(256, 300, gain=1.0, lr=lr)(x).std().item() == pytest.approx(1, abs=0.03)
    hidden = equal.activate(equal.EqualLinear(256, 300, lr=lr)(x))
    assert hidden.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)
    planes = equal.EqualConv(64, 64, gain=1.0)(torch.randn(16, 64, 12, 12))[:, :, 1:-1, 1:-1]
    assert planes.std().item() == pytest.approx(1, abs=0.05)


def test_a_learning_rate_factor_is_one_of_the_step():
    """Adam moves an effective weight by the factor times what it moves one without."""
    moved = {}
    for lr in (1.0, 0.01):
        torch.manual_seed(0)
        layer = equal.EqualLinear(8, 4, lr=lr)
        optimizer = torch.optim.Adam(layer.parameters(), 1e-3)
        before = layer(torch.eye(8)).detach()
        layer(torch.eye(8)).sum().backward()
        optimizer.step()
        moved[lr] = (layer(torch.eye(8)) - before).abs().mean().item()
    assert moved[0.01] == pytest.approx(0.01 * moved[1.0], rel=0.01)


@pytest.mark.parametrize("step", ["", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_the_plain_one_of_each_picture(step, demodulate):
    layer = style.ModulatedConv(5, 6, 7, 3, step, demodulate).double()
    x, w = torch.randn(3, 6, 4, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for n in range(3):
        kernel = layer.weight * layer.scale * layer.affine(w)[n][None, :, None, None]
        if demodulate:
            kernel = kernel * (2 / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8)).sqrt()
        if step:
            plain = resample.blur(F.conv2d(resample.repeat(x[n : n + 1]), kernel, padding=1))
        else:
            plain = F.conv2d(x[n : n + 1], kernel, padding=1)
        torch.testing.assert_close(layer(x, w)[n : n + 1], plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_minibatch_deviation_of_any_batch(count):
    x = torch.randn(count, 3, 2, 2, dtype=torch.float64)
    groups = -(-count // 4)
    out = equal.deviation_map(x)
    assert torch.equal(out[:, :3], x)
    for n in range(count):
        members = x[n % groups :: groups]
        expected = (members.var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(out[n, 3], expected.expand(2, 2))


def test_pixel_norm_and_adain():
    from ganforge.models.stylegan import adain

    x = torch.randn(4, 6, 5, 5, dtype=torch.float64) * 3 + 1
    torch.testing.assert_close(equal.pixel_norm(x).square().mean(1), torch.ones(4, 5, 5, dtype=torch.float64))
    wanted = torch.randn(4, 12, dtype=torch.float64)
    out = adain(x, wanted)
    torch.testing.assert_close(out.mean((2, 3)), wanted[:, 6:])
    torch.testing.assert_close(out.var((2, 3), unbiased=False).sqrt(), (1 + wanted[:, :6]).abs())


# -------------------------------------------------------------------------------------------------------------- penalties


def test_path_length_of_a_linear_map():
    jacobian, w = torch.randn(5, 12), torch.randn(3, 5, requires_grad=True)
    directions = torch.randn(3, 1, 3, 4)
    lengths = path_lengths((w @ jacobian).view(3, 1, 3, 4), w, directions)
    torch.testing.assert_close(lengths, (directions.flatten(1) @ jacobian.T).norm(dim=1))


@pytest.mark.parametrize("penalty", ["path", "r1"])
def test_penalties_in_float32_have_the_gradient_of_float64(penalty):
    """The penalty's gradient by the weights, which is a second derivative."""
    system = new("stylegan2").requires_grad_(True)
    torch.manual_seed(1)
    latents, images, directions = torch.randn(4, 16), torch.rand(4, 1, 16, 16) * 2 - 1, torch.randn(4, 1, 16, 16)
    found = {}
    for dtype in (torch.float32, torch.float64):
        system.to(dtype).zero_grad()
        if penalty == "path":
            w = system.generator.mapping(latents.to(dtype))
            code = style.grain(latents.to(dtype))
            made = system.generator(w[:, None].expand(-1, system.layers, -1), code)
            value = (path_lengths(made, w, directions.to(dtype)) - 1).square().mean()
        else:
            x = images.to(dtype).requires_grad_(True)
            value = squared_gradient(system.discriminator(x), x).mean()
        value.backward()
        found[dtype] = [value.double(), *(p.grad.double() for p in system.parameters() if p.grad is not None)]
    assert len(found[torch.float32]) > 10
    largest = max(double.norm() for double in found[torch.float64])
    for single, double in zip(*found.values(), strict=True):
        assert (single - double).norm() <= 1e-4 * double.norm().clamp(min=1e-4 * largest)  # biases' are 0


def test_the_weight_of_r1_follows_resolution_and_batch():
    assert gamma_for(0, torch.zeros(64, 3, 32, 32)) == pytest.approx(0.0002 * 32**2 / 64)
    assert gamma_for(3.0, torch.zeros(64, 3, 32, 32)) == 3.0


# ---------------------------------------------------------------------------------------------------------------- growing


def test_stages_by_images_seen():
    found = [grow.stage_at(seen, 100, 2) for seen in (0, 99, 100, 150, 199, 200, 300, 350, 400, 10**6)]
    assert found == [(0, 1), (0, 1), (1, 0), (1, 0.5), (1, 0.99), (1, 1), (2, 0), (2, 0.5), (2, 1), (2, 1)]
    assert grow.stage_at(5, 0, 3) == (3, 1.0)


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_a_resolution_fades_in_from_the_one_below(name):
    system = new(name)
    latents = system.latents(range(3))
    given = (latents,) if name == "pggan" else (system.styles(latents), style.grain(latents))
    small, large = system.generator(*given, 0), system.generator(*given, 1)
    assert small.shape[2] * 2 == large.shape[2]
    torch.testing.assert_close(system.generator(*given, 1, 0.0), resample.repeat(small))
    torch.testing.assert_close(system.generator(*given, 1, 0.25), 0.75 * resample.repeat(small) + 0.25 * large)
    assert torch.equal(system.generator(*given, 1, 1.0), large)
    doubled = resample.repeat(small)
    torch.testing.assert_close(system.discriminator(doubled, 1, 0.0), system.discriminator(small, 0))
    images = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(grow.reals_at(images, 1, 1.0, 1), images)
    torch.testing.assert_close(grow.reals_at(images, 1, 0.0, 1), resample.repeat(F.avg_pool2d(images, 2)))


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_growing_run_keeps_the_contract(name, tmp_path):
    """Resumed in the middle of a fade; samples at the resolution that it has reached."""
    check_system(name, Spec(20, 17, 3), tmp_path, {**TINY, "grow_images": 24})


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
def test_what_is_not_grown_yet_is_not_touched(name, tmp_path):
    store = make_store(tmp_path / "store", GREY)
    loop = {"images": 48, "batch": 16, "precision": "fp32"}
    model = {**TINY, "grow_images": 1000}
    run = train(
        name, store, tmp_path / "run", size="small", device_name="cpu", overrides={"model": model, "train": loop}
    )
    tensors, _ = run.load()
    above = [k for k in tensors if "optimizer" in k and (".colours.1." in k or ".blocks." in k or ".paint.2." in k)]
    assert not above
    assert any("optimizer.generator.colours.0." in k for k in tensors)
    picture = sample(run, [3])[0, :, :, 0]
    assert np.array_equal(picture, picture[::2, ::2].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pggan", {"loss": "wgan-gp"}),
        ("stylegan2", {"conditional": True, "path": 1.0, "augment": "color,translation,cutout"}),
    ],
)
def test_other_settings_keep_the_contract(name, settings, tmp_path):
    check_system(name, Spec(16, 16, 1, ("a", "b")), tmp_path, {**TINY, **settings})


def test_labels_choose_the_picture():
    system = new("stylegan2", Spec(16, 16, 1, ("a", "b")), conditional=True)
    latents = system.latents([5, 5])
    one, two = system.generate(latents, torch.tensor([0, 1]))
    assert not torch.allclose(one, two)


# ----------------------------------------------------------------------------------------------------------------- styles


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_truncation_and_the_centre(name):
    system = new(name)
    batch = Batch(torch.zeros(64, 1, 16, 16), None, 0)
    for _ in range(300):
        system.generator.mapping.track(system.generator.mapping(system.noise(batch)))
    mean = system.generator.mapping(torch.randn(4096, 16)).mean(0)
    assert (system.centre() - mean).norm() < 0.15 * mean.norm()
    none, all_, plain = (next(pictures(system, range(6), truncation=psi)) for psi in (0.0, 1.0, 1))
    assert len(np.unique(none.reshape(6, -1), axis=0)) == 1
    assert np.array_equal(all_, plain)
    half = next(pictures(system, range(6), truncation=0.5)).astype(float)
    assert half.std(0).mean() < plain.astype(float).std(0).mean()


def test_noise_belongs_to_the_seed():
    system = new("stylegan2")
    latents = system.latents(range(40))
    styles = system.styles(latents[:1]).expand(40, -1, -1)
    made = system.paint(styles, style.grain(latents))
    assert len(made.flatten(1).unique(dim=0)) == 40
    torch.testing.assert_close(system.paint(styles[:2], style.grain(latents[7:9])), made[7:9])
    fields = style.Noise(32, 32)(torch.zeros(200, 5, 32, 32), style.grain(torch.randn(200, 16)))
    assert fields.shape == (200, 1, 32, 32)
    assert fields.std().item() == pytest.approx(1, abs=0.02)


def test_mixed_styles_change_once():
    first, second = torch.zeros(500, 3), torch.ones(500, 3)
    torch.manual_seed(0)
    out = style.mixed(first, second, 6, 0.9)
    assert out.shape == (500, 6, 3)
    steps = out[:, 1:, 0] - out[:, :-1, 0]
    assert (steps >= 0).all() and (steps.sum(1) <= 1).all() and (out[:, 0] == 0).all()
    assert (steps.sum(1) == 1).float().mean().item() == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("name", ["stylegan2", "vae", "gan"])
def test_walks_pass_through_the_plain_samples(name):
    system = new(name).eval()
    seeds = [4, 9, 2]
    frames = np.concatenate(list(walk(system, seeds, 5)))
    assert frames.shape == (15, 16, 16, 1)
    assert np.array_equal(frames[::5], next(pictures(system, seeds)))
    assert not np.array_equal(frames[1], frames[0])


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_walks_and_mixtures_of_systems_with_classes(name):
    system = new(name, Spec(16, 16, 1, ("a", "b", "c")), conditional=True).eval()
    seeds = [4, 9, 2]
    frames = np.concatenate(list(walk(system, seeds, 4)))
    assert np.array_equal(frames[::4], next(pictures(system, seeds)))
    given = np.concatenate(list(walk(system, seeds, 4, labels=[2, 0, 1])))
    assert np.array_equal(given[::4], next(pictures(system, seeds, [2, 0, 1])))
    target = next(pictures(system, [1000]))[0]
    found = project(system, target, 3)
    assert found.tensors.keys() == ({"styles", "grain"} if name == "stylegan2" else {"latents", "labels"})
    if name == "stylegan2":
        cells = next(mix(system, seeds, [7, 8], range(system.layers)))
        label = torch.tensor(drawn([7], np.ones(3)))
        own = system.paint(system.styles(system.latents([7]), label), style.grain(system.latents([4])))
        assert np.abs(cells[0, :, :, 0] / 127.5 - 1 - own[0, 0].numpy()).max() < 0.01


def test_what_cannot_be_walked_or_projected_says_so():
    dae = models.load("dae")
    with pytest.raises(InputError, match="makes none"):
        walk(dae.system(dae.config(), GREY), [1, 2])
    with pytest.raises(InputError, match="smoothly"):
        project(new("vqvae"), np.zeros((16, 16, 1), np.uint8), 2)


def test_spherical_keeps_the_length():
    a, b = F.normalize(torch.randn(5, 8), dim=1), F.normalize(torch.randn(5, 8), dim=1)
    middle = spherical(a, b, torch.full((5, 1), 0.5))
    torch.testing.assert_close(middle, F.normalize(a + b, dim=1))
    torch.testing.assert_close(spherical(a, a, torch.full((5, 1), 0.3)), a)


def test_mixing_takes_the_layers_it_is_told():
    system = new("stylegan2")
    layers = system.layers
    some = np.concatenate(list(mix(system, [1, 2], [7, 8, 9], range(1))))
    assert some.shape == (6, 16, 16, 1)
    assert len(np.unique(some.reshape(6, -1), axis=0)) == 6
    latents = system.latents([2, 8])
    styles = system.styles(latents[1:]).clone()
    own = system.paint(styles, style.grain(latents[:1]))
    whole = np.concatenate(list(mix(system, [1, 2], [7, 8, 9], range(layers))))
    assert np.abs(whole[4, :, :, 0] / 127.5 - 1 - own[0, 0].numpy()).max() < 0.01
    with pytest.raises(InputError, match=f"0-{layers - 1}"):
        mix(system, [1], [2], range(layers + 1))
    with pytest.raises(InputError, match="no styles"):
        mix(new("dcgan"), [1], [2], range(1))


# ------------------------------------------------------------------------------------------------- projection, and the words


@pytest.mark.parametrize("name", ["stylegan2", "vae"])
def test_projection_comes_nearer(name, runs):
    system = Run(runs / name).build()
    target = sample(Run(runs / name), [1000])[0]
    found = project(system, target, 60)
    before = np.sqrt(np.square(found.start.astype(float) - target).mean())
    assert found.error < 0.6 * before
    tensors = found.tensors
    with torch.no_grad():
        again = system.paint(**tensors) if name == "stylegan2" else system.generate(tensors["latents"])
    assert np.abs((again[0, 0].numpy() + 1) * 127.5 - found.picture[:, :, 0]).max() < 1


def test_words_for_walks_mixtures_and_projections(runs, tmp_path, fails):
    from ganforge.cli import main

    run = runs / "stylegan2"
    for kind in ("webp", "gif", "mp4"):
        pytest.importorskip("cv2" if kind == "mp4" else "PIL")
        out = tmp_path / f"walk.{kind}"
        assert main(["sample", str(run), "--walk", "--seeds", "1,2", "--frames", "4", "--out", str(out)]) == 0
        assert out.stat().st_size > 500
        if kind != "mp4":
            assert Image.open(out).n_frames == 8
        said = marks.read(out)
        assert said["generated"] and said["seeds"] == [1, 2] and said["run"] == run.name
        assert b"trainedAlgorithmicMedia" in out.read_bytes()
        assert marks.read(tmp_path / "walk-strip.png")["walk"] == [1, 2]
    sheet = tmp_path / "mix.png"
    words = ["sample", str(run), "--mix", "10-12", "--seeds", "0-1", "--mix-layers", "0-1", "--truncation", "0.7"]
    assert main([*words, "--out", str(sheet)]) == 0
    assert marks.read(sheet)["layers"] == [0, 1]
    assert main(["sample", str(run), "--count", "1", "--truncation", "0.5", "--out", str(tmp_path / "one.png")]) == 0
    assert main(["project", str(run), str(tmp_path / "one.png"), "-o", str(tmp_path / "p.png"), "--steps", "3"]) == 0
    assert (tmp_path / "p-point.safetensors").is_file()

    vae = runs / "vae"
    assert "no styles" in fails("sample", vae, "--truncation", "0.7")
    assert "no styles" in fails("sample", vae, "--mix", "1-2")
    assert "0-4" in fails("sample", run, "--mix", "1-2", "--mix-layers", "0-9")
    assert "not understood" in fails("sample", run, "--mix", "1-2", "--mix-layers", "a")
    assert "two seeds" in fails("sample", run, "--walk", "--seeds", "3")
    assert ".webp" in fails("sample", run, "--walk", "--out", tmp_path / "a.avi")
    assert "takes 0" in fails("sample", run, "--truncation", "7")
    (tmp_path / "no.png").write_text("words")
    assert "not an image" in fails("project", run, tmp_path / "no.png")
    assert "cannot be read" in fails("project", run, tmp_path / "missing.png")
    assert "--steps" in fails("project", run, tmp_path / "one.png", "--steps", "-1")
