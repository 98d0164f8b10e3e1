"""Every system keeps the contract, for every kind of picture."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from ganforge import models
from ganforge.base.errors import InputError
from ganforge.media.clip import Clip
from ganforge.media.medium import Medium
from ganforge.media.pair import Pair
from ganforge.media.picture import Picture
from ganforge.media.solid import Solid
from ganforge.media.sound import Sound
from ganforge.media.spec import MEDIA, Spec
from ganforge.media.text import END, Text
from ganforge.testing import check_system, make_store
from ganforge.training.train import train

TINY = {"width": 8, "latent": 16}
TINIER = {"prior": 32, "depth": 1, "codes": 16, "steps": 4}
SPECS = {
    "grey 16x16": Spec(16, 16, 1),
    "colour 32x32": Spec(32, 32, 3),
    "colour 24x32": Spec(24, 32, 3),
    "RGBA 17x13": Spec(17, 13, 4),
    "labelled 28x28": Spec(28, 28, 1, ("a", "b", "c")),
}
OTHERS = {
    "clips 16x16": Spec(16, 16, 4, medium=Clip(4, 10.0)),
    "colour clips 13x18": Spec(13, 18, 9, ("a", "b"), medium=Clip(3, 10.0)),
    "solids 16x16x16": Spec(16, 16, 16, medium=Solid()),
    "sounds 16x22": Spec(16, 22, 1, medium=Sound.of_rate(8000)),
    "labelled sounds 33x16": Spec(33, 16, 1, ("a", "b", "c"), medium=Sound.of_rate(16000)),
    "labelled solids 11x11x11": Spec(11, 11, 11, ("a", "b", "c"), medium=Solid()),
    "passages of 12": Spec(1, 12, 1, medium=Text(END + "\n .:ABCabcdefgh")),
}
"""For systems that do not learn from pictures."""
PICTURES = models.of_medium(Picture)
CASES = [(name, spec) for name in PICTURES for spec in SPECS] + [
    (name, spec)
    for name in models.names()
    if name not in PICTURES
    for spec in OTHERS
    if name in models.of_medium(type(OTHERS[spec].medium))
]
OF_PICTURES = ("dcgan", "cgan", "vae", "flow", "stylegan2", "vqvae")
"""Some of the systems of pictures, which learn from the rows of most other media, too."""


@pytest.mark.parametrize("spec", ["colour clips 13x18", "sounds 16x22", "labelled solids 11x11x11"])
@pytest.mark.parametrize("name", OF_PICTURES)
def test_systems_of_pictures_learn_from_other_media(name, spec, tmp_path):
    test_contract(name, spec, tmp_path)


@pytest.mark.parametrize("spec", [SPECS["grey 16x16"], *OTHERS.values(), Spec(16, 16, 4, medium=Pair(1))], ids=str)
def test_a_system_that_cannot_take_a_medium_names_those_that_can(spec, tmp_path):
    store, able = make_store(tmp_path / "store", spec, 20), models.of_medium(type(spec.medium))
    assert able
    for name in models.names():
        if name not in able:
            with pytest.raises(InputError) as caught:
                train(name, store, tmp_path / "run", device_name="cpu")
            learns = ", ".join(kind.plural for kind in models.load(name).system.media)
            assert str(caught.value) == (
                f"{name} learns from {learns}, and {store.address} holds {spec.medium.plural}. "
                f"For {spec.medium.plural} there is: {', '.join(able)}."
            )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("medium", MEDIA)
def test_every_medium_has_a_system_to_begin_with(medium: type[Medium]):
    assert models.FIRST[medium.kind] in models.without_labels(medium)


LABELLED = Spec(16, 16, 3, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("pggan", {"loss": "wgan-gp"}),
        ("stylegan2", {"conditional": True, "path": 1.0, "augment": "color,translation,cutout"}),
    ],
)
def test_other_settings_keep_the_contract(name, settings, tmp_path):
    check_system(name, Spec(16, 16, 1, ("a", "b")), tmp_path, {**TINY, **settings})


@pytest.mark.parametrize("name", ["r3gan", "fastgan", "dcgan"])
def test_contract_with_ada(name, tmp_path):
    check_system(name, Spec(16, 24, 3), tmp_path, {"width": 8, "latent": 16, "augment": "color, ada"})


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_contract(name, spec, tmp_path):
    loaded, target = models.load(name), {**SPECS, **OTHERS}[spec]
    if loaded.system.needs_labels(loaded.config()):
        target = replace(target, classes=("a", "b", "c"))
    known = {field.name for field in fields(loaded.config)}
    settings = {word: value for word, value in {**TINY, **TINIER}.items() if word in known}
    check_system(name, target, tmp_path, settings | ({"degradation": "edges 0.2"} if name == "pix2pix" else {}))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gan", {"conditional": True}),
        ("dcgan", {"conditional": True}),
        ("dcgan", {"conditional": True, "discriminator": "classic"}),
        ("vae", {"conditional": True}),
        ("cgan", {"condition": "concatenation"}),
        ("sagan", {"labels": "none"}),
        ("video", {"conditional": True, "augment": "translation"}),
    ],
)
def test_contract_with_and_without_labels(name, settings, tmp_path):
    spec = LABELLED if name in PICTURES else OTHERS["colour clips 13x18"]
    check_system(name, spec, tmp_path, {**TINY, **settings})


def test_classic_discriminator_and_augmentation(tmp_path):
    settings = {**TINY, "discriminator": "classic", "augment": "color, translation,cutout"}
    check_system("dcgan", Spec(16, 24, 3), tmp_path, settings)
