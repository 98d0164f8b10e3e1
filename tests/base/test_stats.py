"""Statistics of a run: means, and lines that cannot be read."""

from __future__ import annotations

import json

import torch

from ganforge.base.stats import Log, Means, read

NAN = float("nan")


def test_means_leave_out_what_is_not_finite():
    means = Means()
    good, bad = torch.tensor(False), torch.tensor(True)
    means.add("a", {"loss": torch.tensor(1.0), "hit": torch.tensor(NAN)}, good)
    means.add("a", {"loss": torch.tensor(3.0), "hit": torch.tensor(NAN)}, good)
    means.add("a", {"loss": torch.tensor(99.0), "hit": torch.tensor(1.0)}, bad)
    assert means.result() == {"a/loss": 2.0}
    assert means.result() == {}


def test_unreadable_lines_cost_no_others(tmp_path):
    file = tmp_path / "stats.jsonl"
    one, two, four, five = (
        json.dumps({"seen": n, "seconds": 1.0, "images_per_second": 2.0, "both/loss": NAN if n == 2 else 0.5}).encode()
        for n in (1, 2, 4, 5)
    )
    broken = [b'{"seen"', b"\xff\xfe", b"[3]", b'{"a": 1}', b'{"seen": 3}', b'{"seen": "3"}', b"[" * 100_000, b'{"se']
    file.write_bytes(b"\n".join([one, broken[0], two, *broken[1:-1], four, five, broken[-1]]))
    assert [(row["seen"], row.get("both/loss")) for row in read(tmp_path)] == [(1, 0.5), (2, None), (4, 0.5), (5, 0.5)]
    Log(tmp_path, 4).write({"seen": 6, "seconds": 2.0, "images_per_second": 2.0})
    assert [row["seen"] for row in read(tmp_path)] == [1, 2, 4, 6]
    assert [json.loads(line)["seen"] for line in file.read_text("utf-8").splitlines()] == [1, 2, 4, 6]
