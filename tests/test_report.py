"""The page of a run holds all of it, and no name from outside disturbs it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ganforge import report
from ganforge.base.errors import DataError
from ganforge.cli import main
from ganforge.media.spec import Spec
from ganforge.runs import RunFolder
from ganforge.testing import make_store

HOSTILE = "</pre><script>alert('{{ 7 * 7 }}')</script>"
TINY = ["--model.width", "8", "--model.latent", "8", "--train.batch", "16", "--train.report", "16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 64 images on a store whose class has a hostile name."""
    root = tmp_path_factory.mktemp("report")
    make_store(root / "store", Spec(8, 8, 1, (HOSTILE, "b")), 120)
    assert main(["train", "gan", str(root / "store"), "--out", str(root / "<run>"), "--images", "64", *TINY]) == 0
    return root / "<run>"


def test_the_page_of_a_run(run, tmp_path):
    shutil.copytree(run, tmp_path / "<run>")
    assert main(["measure", str(tmp_path / "<run>"), "--samples", "20", "--report"]) == 0
    page = (tmp_path / "<run>" / "report.html").read_text("utf-8")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Numbers", "Samples, not chosen", "Are they copies?", "Diversity and recall on the way", "Losses",
        "Images a second", "The first sheet", "Settings",
    ]  # fmt: skip
    assert page.count("<script") == 1 and "alert(&#39;{{ 7 * 7 }}&#39;)" in page, "names are escaped, not run"
    assert "<title>gan: &lt;run&gt;</title>" in page
    data = json.loads(re.search(r"id=data>(.*?)</script>", page, re.S)[1])
    assert [row["seen"] for row in data["stats"]] == [16, 32, 48, 64]
    (numbers,) = data["measured"].values()
    assert f"<b>{numbers['distance']:.3f}</b><span>Fréchet distance" in page
    assert page.count("<polyline") == len({name for row in data["stats"] for name in row if "/" in name}) + 2
    assert "://" not in page, "nothing is fetched"


def test_the_distances_on_the_way_are_a_curve(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    rows = [{**row, "distance": 40 / row["seen"], "recall": 0.1} for row in rows]
    (tmp_path / "run" / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = report.write(RunFolder(tmp_path / "run"), [], tmp_path / "report.html").read_text("utf-8")
    assert "<h2>Fréchet distance on the way</h2>" in page
    assert page.count("<polyline") == len({name for row in rows for name in row if "/" in name}) + 4


@pytest.mark.parametrize(("other", "names"), [("both/real", ("loss", "real")), ("d/loss", ("both/loss", "d/loss"))])
def test_losses_of_a_single_phase_have_their_own_names(run, tmp_path, other, names):
    """As they are printed."""
    shutil.copytree(run, tmp_path / "run")
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if "/" not in name} for row in rows]
    rows = [{**row, "both/loss": 1.0, other: 0.5} for row in rows]
    (tmp_path / "run" / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = report.write(RunFolder(tmp_path / "run"), [], tmp_path / "report.html").read_text("utf-8")
    shown = re.findall("&#9632; (.*?)</span>", page)
    assert shown[-3:] == [*names, "images_per_second"]


def test_a_run_without_numbers_has_a_page_and_what_cannot_be_written_is_said(run, tmp_path):
    page = report.write(RunFolder(run), [], tmp_path / "report.html").read_text("utf-8")
    assert "<h2>Numbers</h2>" not in page and "<h2>Losses</h2>" in page
    with pytest.raises(DataError, match="cannot be written"):
        report.write(RunFolder(run), [], tmp_path / "none" / "report.html")
