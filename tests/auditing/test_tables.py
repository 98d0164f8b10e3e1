"""The tables of an audit, and two audits compared."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from defects import encoded, photo, rows
from ganforge.auditing.audit import audit
from ganforge.auditing.checks import CHECKS, SEVERITIES
from ganforge.auditing.tables import compare
from ganforge.cli import main


def test_verdicts_groups_and_columns(audited, folder):
    table = {Path(str(row["file"])).name: row for row in rows(audited.path)}
    for row in table.values():
        severities = [CHECKS[code].severity for code in row["reasons"]]
        assert row["verdict"] in SEVERITIES
        assert bool(row["reasons"]) == (row["verdict"] != "ok")
        assert not severities or SEVERITIES.index(row["verdict"]) <= max(map(SEVERITIES.index, severities))
    assert table["again.jpg"]["group"] == table["good-00.jpg"]["group"] >= 0
    assert table["near.jpg"]["group"] == table["good-04.jpg"]["group"] >= 0
    assert [table[n]["mirrored"] for n in ("good-06.jpg", "turned-round.png")].count(True) == 1
    assert table["good-01.jpg"]["group"] == -1
    good = (folder / "cats" / "good-01.jpg").read_bytes()
    assert table["good-01.jpg"]["sha256"] == hashlib.sha256(good).digest()
    assert (table["good-01.jpg"]["bytes"], table["good-01.jpg"]["format"]) == (len(good), "JPEG")
    luma = np.asarray(Image.open(io.BytesIO(good)).convert("L"), float)
    assert abs(table["good-01.jpg"]["brightness"] - luma.mean()) < 1
    assert abs(table["good-01.jpg"]["contrast"] - luma.std()) < 1
    assert table["empty.png"]["brightness"] is None
    assert table["turned.jpg"]["width"] == table["turned.jpg"]["height"] == 128
    assert table["moving.gif"]["frames"] == 2
    findings = rows(audited.path, "findings")
    assert all(row["remedy"] == CHECKS[row["code"]].remedy for row in findings)
    assert len((audited.path / "findings.csv").read_text("utf-8").splitlines()) == len(findings) + 1


def test_comparing_two_audits(folder, audited, tmp_path, capsys):
    root = tmp_path / "set"
    for path in sorted(folder.rglob("*.*")):
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        (root / path.relative_to(folder)).write_bytes(path.read_bytes())
    (root / "dogs" / "again.jpg").unlink()
    (root / "cats" / "good-01.jpg").write_bytes(b"")
    (root / "cats" / "new.png").write_bytes(encoded(photo(500)))
    new = audit(root, tmp_path / "new")
    changes = compare(audited.path, new.path)
    assert (changes.appeared, changes.vanished) == (["cats/new.png"], ["dogs/again.jpg"])
    assert ("cats/good-01.jpg", "ok", "reject (empty)") in changes.changed
    assert main(["audit", "--diff", str(audited.path), str(new.path)]) == 0
    message = capsys.readouterr().out
    assert "appeared  cats/new.png" in message
    assert "changed   cats/good-01.jpg: ok -> reject (empty)" in message
