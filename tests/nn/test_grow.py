"""The schedule of progressive growing."""

from __future__ import annotations

from ganforge.nn import grow


def test_stages_by_images_seen():
    result = [grow.stage_at(seen, 100, 2) for seen in (0, 99, 100, 150, 199, 200, 300, 350, 400, 10**6)]
    assert result == [(0, 1), (0, 1), (1, 0), (1, 0.5), (1, 0.99), (1, 1), (2, 0), (2, 0.5), (2, 1), (2, 1)]
    assert grow.stage_at(5, 0, 3) == (3, 1.0)


def test_growth_from_a_later_stage():
    result = [grow.stage_at(seen, 100, 3, 2) for seen in (0, 99, 100, 150, 200, 10**6)]
    assert result == [(2, 1.0), (2, 1.0), (3, 0.0), (3, 0.5), (3, 1.0), (3, 1.0)]
    assert (grow.grown_after(100, 3, 2), grow.grown_after(100, 3, 3), grow.grown_after(100, 3)) == (200, 0, 600)
