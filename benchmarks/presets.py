"""The preset `large` beside the published configurations: parameters, multiply-adds, rates, penalties, length.

    python benchmarks/presets.py

Nothing is trained, and no memory is taken for weights: networks are built and run with fake tensors, which have shapes
only. The published networks are counted from the layers that the papers list; where a paper reports its parameters, the
count is compared with them. One multiply-add of a convolution counts once; a published layer counts at the resolution
at which the paper draws it, so a convolution after a doubling or before a halving counts at the larger of both. Ours
count as they are computed: doubling and halving are part of the convolution, which saves up to half of that.

The table is written into docs/presets.md."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import common
from ganforge import models
from ganforge.base import config
from ganforge.media.spec import Spec
from ganforge.nn.schedules import Cosine
from ganforge.system import Rule, System
from ganforge.training.train import Settings

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
TOLERANCE = 0.02  # between a count of the published layers and the parameters that a paper reports


@dataclass
class Layers:
    """Parameters and multiply-adds of a network, counted layer by layer."""

    parameters: int = 0
    macs: int = 0

    def conv(self, inputs: int, outputs: int, kernel: int, side: int, groups: int = 1, bias: bool = True) -> None:
        """A convolution whose output has this side, 1 for a dense layer."""
        weights = inputs * outputs * kernel**2 // groups
        self.parameters += weights + bias * outputs
        self.macs += weights * side**2

    def table(self, numbers: int) -> None:
        """Parameters that no picture is multiplied with: constants, embeddings."""
        self.parameters += numbers


@dataclass(frozen=True)
class Published:
    """A published configuration, and the system and pictures that it is compared with."""

    name: str
    system: str
    side: int
    generator: Layers
    discriminator: Layers | None
    source: str
    classes: int = 0
    reported: dict[str, float] = field(default_factory=dict)
    """Parameters that the source reports, in millions, of `generator`, `discriminator` or `both`."""
    rates: str = ""
    gamma: str = ""
    average: str = ""
    batch: str = ""
    images: str = ""


def _widths(base: int, side: int, most: int) -> dict[int, int]:
    """Channels by side, from 4 pixels to the full resolution."""
    return {4 * 2**n: min(most, base // (4 * 2**n)) for n in range((side // 4).bit_length())}


def pggan_generator(side: int) -> Layers:
    """Karras et al. 2018, table 2."""
    layers, widths = Layers(), _widths(16384, side, 512)
    layers.conv(512, 512, 4, 1)
    layers.conv(512, 512, 3, 4)
    for (_, before), (at, after) in pairwise(widths.items()):
        layers.conv(before, after, 3, at)
        layers.conv(after, after, 3, at)
    layers.conv(widths[side], 3, 1, side)
    return layers


def pggan_discriminator(side: int) -> Layers:
    """Karras et al. 2018, table 2."""
    layers, widths = Layers(), _widths(16384, side, 512)
    layers.conv(3, widths[side], 1, side)
    for (_, below), (at, above) in pairwise(widths.items()):
        layers.conv(above, above, 3, at)
        layers.conv(above, below, 3, at)
    layers.conv(513, 512, 3, 4)
    layers.conv(512, 512, 4, 1)
    layers.conv(512, 1, 1, 1)
    return layers


def stylegan_generator(side: int) -> Layers:
    """Karras et al. 2019, figure 1 and section 2: two layers a resolution with noise and a style, the constant in place
    of the first."""
    layers, widths = Layers(), _widths(16384, side, 512)
    for _ in range(8):
        layers.conv(512, 512, 1, 1)
    layers.table(512 * 16)
    layers.conv(512, 512, 3, 4)
    for (_, before), (at, after) in pairwise(widths.items()):
        layers.conv(before, after, 3, at)
        layers.conv(after, after, 3, at)
    for channels in widths.values():
        for _ in range(2):
            layers.conv(512, 2 * channels, 1, 1)
            layers.table(channels)
    layers.conv(widths[side], 3, 1, side)
    return layers


def stylegan2_generator(base: int, side: int) -> Layers:
    """Karras et al. 2020, figure 7b: skips."""
    layers, widths = Layers(), _widths(base, side, 512)
    for _ in range(8):
        layers.conv(512, 512, 1, 1)
    layers.table(512 * 16)
    inputs = [(512, 512, 4)]
    for (_, before), (at, after) in pairwise(widths.items()):
        inputs += [(before, after, at), (after, after, at)]
    for before, after, at in inputs:
        layers.conv(before, after, 3, at)
        layers.conv(512, before, 1, 1)
    for at, channels in widths.items():
        layers.conv(channels, 3, 1, at)
        layers.conv(512, channels, 1, 1)
    return layers


def stylegan2_discriminator(base: int, side: int) -> Layers:
    """Karras et al. 2020, figure 7c: residual."""
    layers, widths = Layers(), _widths(base, side, 512)
    layers.conv(3, widths[side], 1, side)
    for (below_at, below), (at, above) in pairwise(widths.items()):
        layers.conv(above, above, 3, at)
        layers.conv(above, below, 3, at)
        layers.conv(above, below, 1, below_at, bias=False)
    layers.conv(513, 512, 3, 4)
    layers.conv(512 * 16, 512, 1, 1)
    layers.conv(512, 1, 1, 1)
    return layers


def sagan_generator() -> Layers:
    """The code of Zhang et al. 2019 (generator.py, 64 channels at 128 px), for 1,000 classes."""
    layers = Layers()
    layers.conv(128, 1024 * 16, 1, 1)
    for (before, after), at in zip(pairwise((1024, 1024, 512, 256, 128, 64)), (8, 16, 32, 64, 128), strict=True):
        layers.conv(before, after, 3, at)
        layers.conv(after, after, 3, at)
        layers.conv(before, after, 1, at)
        layers.table(1000 * 2 * (before + after))
    _attention(layers, 256, 32)
    layers.table(2 * 64)
    layers.conv(64, 3, 3, 128)
    return layers


def sagan_discriminator() -> Layers:
    """The code of Zhang et al. 2019 (discriminator.py, 64 channels at 64 px), for 1,000 classes."""
    layers = Layers()
    for (before, after), at in zip(pairwise((3, 64, 128, 256, 512, 1024)), (128, 64, 32, 16, 8), strict=True):
        layers.conv(before, after, 3, at)
        layers.conv(after, after, 3, at)
        layers.conv(before, after, 1, at)
    _attention(layers, 128, 32)
    layers.conv(1024, 1024, 3, 4)
    layers.conv(1024, 1024, 3, 4)
    layers.conv(1024, 1, 1, 1)
    layers.table(1000 * 1024)
    return layers


def _attention(layers: Layers, channels: int, side: int) -> None:
    """Zhang et al. 2019, section 3, with keys and values of a quarter of the pixels."""
    for outputs in (channels // 8, channels // 8, channels // 2):
        layers.conv(channels, outputs, 1, side, bias=False)
    layers.conv(channels // 2, channels, 1, side, bias=False)
    layers.macs += side**2 * (side // 2) ** 2 * (channels // 8 + channels // 2)


def r3gan(widths: tuple[int, ...], generates: bool) -> Layers:
    """Huang et al. 2024, section 4: two blocks a stage, groups of 16 channels, twice as wide inside."""
    layers = Layers()
    layers.table(widths[0] * 16)
    layers.conv(64 if generates else widths[0], widths[0] if generates else 1, 1, 1, bias=False)
    for n, channels in enumerate(widths):
        at = 4 * 2**n
        for _ in range(2):
            layers.conv(channels, 2 * channels, 1, at)
            layers.conv(2 * channels, 2 * channels, 3, at, groups=2 * channels // 16)
            layers.conv(2 * channels, channels, 1, at, bias=False)
        if n and widths[n - 1] != channels:
            layers.conv(widths[n - 1], channels, 1, at // 2, bias=False)
    layers.conv(widths[-1], 3, 1, 4 * 2 ** (len(widths) - 1), bias=False)
    return layers


def fastgan_generator() -> Layers:
    """The code of Liu et al. 2021, 256 px and 64 channels: gated linear units halve the channels of each layer."""
    layers = Layers()
    layers.conv(256, 2 * 1024, 4, 1, bias=False)
    widths = {4: 1024, 8: 512, 16: 256, 32: 128, 64: 128, 128: 64, 256: 32}
    for (_, before), (at, after) in pairwise(widths.items()):
        layers.conv(before, 2 * after, 3, at, bias=False)
        layers.table(4 * after)
        if at in (8, 32, 128):
            layers.conv(after, 2 * after, 3, at, bias=False)
            layers.table(4 * after)
    for small, large in ((4, 64), (8, 128), (16, 256)):
        layers.conv(widths[small], widths[large], 4, 1, bias=False)
        layers.conv(widths[large], widths[large], 1, 1, bias=False)
    layers.conv(64, 3, 1, 128)
    layers.conv(32, 3, 3, 256)
    return layers


PARTS = ("generator", "discriminator")
GROWING = {
    "rates": "0.001; 0.0015 at 128 px, 0.002 at 256, 0.003 from 512",
    "average": "10,000",
    "batch": "32",
}
R3GAN = {
    "rates": "2e-4 to 5e-5, beta2 0.9 to 0.99",
    "source": "Huang et al. 2024, section 4 and appendix; its code (train.py); parameters: its table 2",
}
PUBLISHED = [
    Published(
        "SAGAN, ImageNet 128",
        "sagan",
        128,
        sagan_generator(),
        sagan_discriminator(),
        "Zhang et al. 2019, section 4, and its code; parameters, batch, length: Brock et al. 2019, table 1, row 1",
        classes=1000,
        reported={"both": 81.5},
        rates="1e-4, discriminator 4e-4",
        gamma="none",
        batch="256",
        images="256 M",
    ),
    Published(
        "PGGAN, LSUN 256",
        "pggan",
        256,
        pggan_generator(256),
        pggan_discriminator(256),
        "Karras et al. 2018, table 2 up to 256 px; rates, batch, length: the code of Karras et al. 2019 (train.py)",
        gamma="WGAN-GP 10",
        images="12 M",
        **GROWING,
    ),
    Published(
        "PGGAN, CelebA-HQ 1024",
        "pggan",
        1024,
        pggan_generator(1024),
        pggan_discriminator(1024),
        "Karras et al. 2018, table 2; rates, batch, length: the code of Karras et al. 2019 (train.py)",
        reported={"generator": 23.1, "discriminator": 23.1},
        gamma="WGAN-GP 10",
        images="12 M",
        **GROWING,
    ),
    Published(
        "StyleGAN, FFHQ 1024",
        "stylegan",
        1024,
        stylegan_generator(1024),
        pggan_discriminator(1024),
        "Karras et al. 2019, sections 1 and 2, appendix C; its code (train.py)",
        reported={"generator": 26.2, "discriminator": 23.1},
        gamma="10",
        images="25 M",
        **GROWING,
    ),
    Published(
        "StyleGAN2, FFHQ 256",
        "stylegan2",
        256,
        stylegan2_generator(16384, 256),
        stylegan2_discriminator(16384, 256),
        "the code of Karras et al. 2020b (train.py, paper256); parameters: Huang et al. 2024, table 2",
        reported={"generator": 24.767, "discriminator": 24.001},
        rates="0.0025",
        gamma="1",
        average="20,000",
        batch="64",
        images="25 M",
    ),
    Published(
        "StyleGAN2, FFHQ 1024",
        "stylegan2",
        1024,
        stylegan2_generator(32768, 1024),
        stylegan2_discriminator(32768, 1024),
        "Karras et al. 2020a, figure 7; the code of Karras et al. 2020b (train.py, stylegan2)",
        rates="0.002",
        gamma="10",
        average="10,000",
        batch="32",
        images="25 M",
    ),
    Published(
        "R3GAN, CIFAR-10 32",
        "r3gan",
        32,
        r3gan((768,) * 4, True),
        r3gan((768,) * 4, False),
        gamma="0.05 to 0.005",
        average="0 to 5,000,000",
        batch="512",
        images="250 M",
        **R3GAN,
    ),
    Published(
        "R3GAN, FFHQ 64",
        "r3gan",
        64,
        r3gan((768,) * 4 + (384,), True),
        r3gan((768,) * 4 + (384,), False),
        gamma="2 to 0.2",
        average="0 to 500,000",
        batch="256",
        **R3GAN,
    ),
    Published(
        "R3GAN, FFHQ 256",
        "r3gan",
        256,
        r3gan((768,) * 4 + (384, 192, 96), True),
        r3gan((768,) * 4 + (384, 192, 96), False),
        reported={"generator": 23.058, "discriminator": 23.010},
        gamma="150 to 15",
        average="0 to 500,000",
        batch="256",
        **R3GAN,
    ),
    Published(
        "FastGAN, 256",
        "fastgan",
        256,
        fastgan_generator(),
        None,
        "Liu et al. 2021, its code (models.py, train.py)",
        rates="2e-4",
        gamma="none",
        average="0.999 a step: 5,500",
        batch="8",
        images="0.4 M",
    ),
]


@dataclass(frozen=True)
class Counted:
    """The preset `large` for the pictures of a published configuration."""

    settings: dict[str, Any]
    parameters: dict[str, int]
    macs: dict[str, int]
    rates: str
    gamma: str


def count(published: Published, size: str = "large") -> Counted:
    """Build the system with the settings of `size`, count its parameters, and run both networks on one picture."""
    loaded = models.load(published.system)
    spec = Spec(published.side, published.side, 3, tuple(f"{n}" for n in range(published.classes)))
    preset = loaded.preset(size)
    loop = config.build(Settings, {"images": _settled({**preset["train"]}, spec, 0).get("images", 10**6)}, "train")
    loop = config.build(Settings, _settled(preset["train"], spec, loop.images), "train")
    values = _settled(preset["model"], spec, loop.images)
    if "grow_images" in values:
        values["grow_images"] = 0  # all at once, to run at full size
    with FakeTensorMode():
        system: System = loaded.system(config.build(loaded.config, values, "model"), spec)
        system.eval().requires_grad_(False)
        if "shown" in system.generator._buffers:
            del system.generator._buffers["shown"]
            system.generator.shown = 0
        parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in system.named_children()}
        labels = torch.zeros(1, dtype=torch.int64) if published.classes else None
        macs = {
            "generator": _macs(lambda: system.generate(torch.randn(1, system.config.latent), labels)),
            "discriminator": _macs(lambda: _judge(system, torch.randn(1, 3, *(2 * [published.side])), labels)),
        }
    return Counted(values | {"train": loop}, parameters, macs, _rates(system), _gamma(system))


def _settled(values: dict[str, Any], spec: Spec, images: int) -> dict[str, Any]:
    return {name: v.value(spec, images) if isinstance(v, Rule) else v for name, v in values.items()}


def _macs(work: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def _judge(system: System, images: Tensor, labels: Tensor | None) -> Any:
    """One pass of the discriminator."""
    stage: Any = getattr(system, "stage", None)
    if stage is not None:
        return system.discriminator(images, *stage(0))
    if hasattr(system.discriminator, "reduce"):
        return system.discriminator(images, system.discriminator.reduce(images))
    return system.discriminator(images, labels) if labels is not None else system.discriminator(images)


def _rates(system: System) -> str:
    """The learning rates, without the correction for lazy penalties."""
    if hasattr(system.config, "faster"):
        return "; ".join(f"{name} {adam.lr:g}" for name, adam in system.adam().items())
    rate = next(iter(system.adam().values())).lr
    if isinstance(rate, Cosine):
        return f"{rate.first:g} to {rate.last:g} over {rate.span / 1e6:g} M"
    return f"{system.config.lr:g}"


def _gamma(system: System) -> str:
    """The weight of the gradient penalty."""
    settings = system.config
    if getattr(settings, "loss", "") == "wgan-gp":
        return "WGAN-GP 10"
    weight: Any = getattr(system, "gamma", None)
    if callable(weight):
        return f"{weight(0):g} to {weight(10**12):g}"
    return f"{settings.gamma:g}" if hasattr(settings, "gamma") else "none"


def compare() -> list[dict[str, Any]]:
    """A row for each published configuration."""
    rows = []
    for one in PUBLISHED:
        ours = count(one)
        loop = ours.settings["train"]
        half_life = f"0 to {loop.ema_images:,}" if loop.ema_span else f"{loop.ema_images:,}"
        published: dict[str, Any] = {"rates": one.rates, "gamma": one.gamma, "average": one.average}
        published |= {"batch": one.batch, "images": one.images}
        mine: dict[str, Any] = {"rates": ours.rates, "gamma": ours.gamma, "average": half_life}
        mine |= {"batch": f"{loop.batch}", "images": f"{loop.images / 1e6:g} M"}
        for part, layers in (("generator", one.generator), ("discriminator", one.discriminator)):
            if layers is not None:
                published[part] = {"parameters": layers.parameters, "macs": layers.macs}
            mine[part] = {"parameters": ours.parameters[part], "macs": ours.macs[part]}
        rows.append(
            {"name": one.name, "system": one.system, "source": one.source, "reported": one.reported}
            | {"published": published, "ours": mine}
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, the published figure of each cell above ours."""
    lines = [
        "| | parameters, M: G, D | multiply-adds, G: G, D | rate | gamma | EMA half-life | batch | images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for who in ("published", "ours"):
            facts = row[who]
            cells = []
            for unit, scale, places in (("parameters", 1e6, 1), ("macs", 1e9, 2)):
                parts = [facts.get(part) for part in PARTS]
                cells.append(", ".join(f"{part[unit] / scale:.{places}f}" if part else "–" for part in parts))
            name = f"**{row['name']}**" if who == "published" else f"`{row['system']}` large"
            cells += [facts[name] or "–" for name in ("rates", "gamma", "average", "batch", "images")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| published | source |", "|---|---|"]
    return "\n".join(lines + [f"| {row['name']} | {row['source']} |" for row in rows])


def main() -> None:
    """Compare, check the counts against the reported parameters, write the results and the page."""
    rows = compare()
    for row in rows:
        parts = {
            part: row["published"].get(part, {}).get("parameters", 0) / 1e6 for part in ("generator", "discriminator")
        }
        parts["both"] = sum(parts.values())
        for part, reported in row["reported"].items():
            assert abs(parts[part] / reported - 1) < TOLERANCE, (row["name"], part, parts[part], reported)
    common.write("presets", {"protocol": " ".join(inspect.getdoc(inspect.getmodule(main)).split()), "rows": rows})
    text = PAGE.read_text("utf-8")
    begin, end = "<!-- made by benchmarks/presets.py -->", "<!-- end -->"
    PAGE.write_text(
        re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{table(rows)}\n\n{end}", text, flags=re.S), "utf-8"
    )


if __name__ == "__main__":
    main()
