"""The data set card."""

from __future__ import annotations

import json

from ganforge.cli import main
from ganforge.store import history
from ganforge.store.meta import counts
from ganforge.store.store import Store

LICENCES = ("CC-BY-4.0", "CC0-1.0", "")


def test_the_card(licensed, tmp_path, capsys):
    assert main(["prepare", str(licensed), "-o", str(tmp_path / "s"), "--resolution", "16", "--per-class", "10"]) == 0
    text = (tmp_path / "s" / "README.md").read_text("utf-8")
    _, header, body = text.split("---\n", 2)
    values = {line.split(": ", 1)[0]: json.loads(line.split(": ", 1)[1]) for line in header.splitlines()}
    assert values["license"] == ["cc-by-4.0", "cc0-1.0", "unknown"]
    assert values["size_categories"] == ["n<1K"] and values["pretty_name"] == "s"
    store = Store(tmp_path / "s")
    found = counts(store)
    used = len(store.train) + len(store.heldout)
    assert used < 40 and sum(found.licences.values()) == sum(found.authors.values()) == used
    assert f"| CC-BY-4.0 | {found.licences['CC-BY-4.0']} |" in body
    assert f"| not stated | {found.licences['']} |" in body
    assert "| a.example |" in body and "| dog &amp; co |" in body
    assert r"| &lt;b&gt;N. 1&lt;/b&gt; \| \*x\* |" in body, "what strangers wrote is text"
    assert "prepare: " in body and "over the cap of its class" in body
    assert str(licensed) not in text and str(tmp_path) not in text, "and no private path"
    capsys.readouterr()
    assert main(["show", str(tmp_path / "s")]) == 0
    shown = capsys.readouterr().out
    assert "licences   " in shown and f"CC-BY-4.0 {found.licences['CC-BY-4.0']}" in shown and "not stated" in shown
    for kind in ("webdataset", "folder"):
        out = tmp_path / kind
        assert main(["prepare", str(tmp_path / "s"), "-o", str(out), "--format", kind]) == 0
        assert "CC-BY-4.0" in (out / "README.md").read_text("utf-8")
        assert [step["verb"] for step in history.read(out)] == ["prepare", "prepare", "export"]
        assert str(tmp_path) not in (out / "history.jsonl").read_text("utf-8")
