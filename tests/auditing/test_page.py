"""The page shows every finding, and no name from outside disturbs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from ganforge.auditing.audit import audit


def test_the_page_and_the_summary(audited):
    page = (audited.path / "report.html").read_text("utf-8")
    assert len(page) < 12_000_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for code in audited.findings:
        assert f"id={code} " in page
    summary = json.loads((audited.path / "summary.json").read_text("utf-8"))
    assert summary["pictures"] == audited.pictures == sum(summary["verdicts"].values())
    assert set(summary["classes"]) == {"cats", "dogs"}
    assert summary["diversity"]["distinct"] < summary["readable"] < summary["pictures"]
    assert 20 < summary["diversity"]["bits apart"] < 40
    assert audited.unreadable == 5


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_page_works_from_disk_in_a_browser(folder, tmp_path):
    result = audit(folder, tmp_path / "out")
    page = result.path / "report.html"
    click = "document.querySelector('#exact_duplicate figure').click()"
    words = f"$('word').value = 'GOOD'; search(); setTimeout(() => {click}, 2000)"
    page.write_text(page.read_text("utf-8").replace("</script></body>", f";{words}</script></body>"), "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               f"--user-data-dir={tmp_path / 'home'}", "--virtual-time-budget=9000", "--dump-dom",
               page.as_uri()]  # fmt: skip
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    shown = dict(re.findall(r"<section class=\"code\" id=\"(\w+)\"([^>]*)>", seen))
    assert {code for code, rest in shown.items() if "hidden" not in rest} == {
        "exact_duplicate", "near_duplicate", "mirrored", "label_conflict",
    }  # fmt: skip
    assert "open the file" in seen
    assert re.search(r"<dialog[^>]* open", seen)
