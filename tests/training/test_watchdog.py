"""The strain of a phase."""

from __future__ import annotations

import torch

from ganforge.training.watchdog import Watch

NAN = float("nan")


def test_strain():
    watch = Watch(2, torch.device("cpu"))
    good, bad = torch.ones(3), torch.tensor([1.0, NAN])
    for numbers in (bad, bad, good, bad):
        watch.judge(0, [numbers])
        watch.judge(1, [good])
    assert not watch.strained()
    watch.judge(0, [torch.ones(2), bad])
    watch.judge(0, [good])
    assert watch.strained()
    assert int(watch.skipped) == 4
