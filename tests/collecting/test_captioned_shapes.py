"""Made pictures with sentences: what the sentence says is what the pixels show."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, label

from ganforge.collecting import captioned_shapes
from ganforge.collecting.captioned_shapes import COLOURS, KINDS, RELATIONS, SIDE, Scene, Shape, draw, scene
from ganforge.collecting.collect import collect
from ganforge.preparing.prepare import prepare


def of_colour(picture, colour):
    """(H, W) bool: pixels of that colour."""
    return np.abs(picture.astype(int) - COLOURS[colour]).sum(2) < 60


@pytest.mark.parametrize("relation", RELATIONS)
def test_shapes_stand_where_the_sentence_says(relation):
    for seed in range(20):
        one = Scene((Shape("red", "square", "small", True), Shape("blue", "circle", "large", False)), relation)
        assert str(one) == f"a small red square {relation} a blue circle"
        picture = draw(one, np.random.default_rng(seed))
        assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
        red, blue = of_colour(picture, "red"), of_colour(picture, "blue")
        assert label(red)[1] == label(blue)[1] == 1, "each in one piece, none hidden"
        assert 80 < red.sum() < 200 < blue.sum(), "small and large"
        first, second = np.array(center_of_mass(red)), np.array(center_of_mass(blue))
        across = (first - second)[::-1] @ RELATIONS[relation]
        assert across > 15, "far along the axis of the relation, on its side"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_own_area_and_lies_inside(kind):
    share = {"circle": 0.785, "square": 0.774, "triangle": 0.428, "ring": 0.503, "cross": 0.51, "star": 0.309}
    for seed in range(5):
        random = np.random.default_rng(seed)
        picture = draw(Scene((Shape("green", kind, "large", True),)), random)
        radius = float(np.random.default_rng(seed).uniform(10.5, 13.0))
        behind, green = picture[0, 0].astype(float), np.array(COLOURS["green"])
        area = ((picture - behind) @ (green - behind) / np.square(green - behind).sum()).sum()
        assert area / (2 * radius) ** 2 == pytest.approx(share[kind], abs=0.01)
        green = of_colour(picture, "green")
        assert not green[0].any() and not green[-1].any() and not green[:, 0].any() and not green[:, -1].any()


def test_scenes_are_of_all_kinds_and_articles_are_right():
    scenes = [scene(np.random.default_rng(n)) for n in range(400)]
    assert {one.relation for one in scenes} == {"", *RELATIONS}
    assert {shape.kind for one in scenes for shape in one.shapes} == set(KINDS)
    texts = list(map(str, scenes))
    assert any(text.startswith("an orange") for text in texts) and not any("a orange" in text for text in texts)
    assert all(str(captioned_shapes.read(text)) == text for text in texts)
    with pytest.raises(ValueError, match="no sentence"):
        captioned_shapes.read("a red zebra")
    assert 0.12 < np.mean([len(one.shapes) == 1 for one in scenes]) < 0.25


def test_the_set_holds_out_what_training_never_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(captioned_shapes, "COUNT", 80)
    out = collect("captioned-shapes", tmp_path / "set")
    with (out / "captions.csv").open() as file:
        captions = {row["file"]: row["caption"] for row in csv.DictReader(file)}
    assert len(captions) == 80 == len(list(out.rglob("*.png")))
    pairs = list(zip(COLOURS, KINDS, strict=True))
    for name, text in captions.items():
        unseen = any(f"{colour} {kind}" in text for colour, kind in pairs)
        assert name.startswith("test/") == unseen
    again = collect("captioned-shapes", tmp_path / "again")
    assert all((out / name).read_bytes() == (again / name).read_bytes() for name in captions)

    store = prepare(out, tmp_path / "store", resolution=16).store
    assert store.spec.captions and {"red", "above"} <= set(store.spec.captions.words)
    assert len(store.heldout) == sum(name.startswith("test/") for name in captions)
    texts = {store.captions_of(int(row))[0] for row in store.heldout}
    assert texts == {text for name, text in captions.items() if name.startswith("test/")}
