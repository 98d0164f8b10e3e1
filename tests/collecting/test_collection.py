"""Collecting in rounds: caps, seeds, duplicates, stopping and going on."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from ganforge.cli import main
from ganforge.collecting.collect import collect_pictures
from ganforge.collecting.folder import Collected
from served import folder_of, png, table, write_list


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_fetches_only_what_is_missing(tmp_path, site, fast, how):
    site.delay = 0.02
    (tmp_path / "list.txt").write_text("\n".join(site.url(f"/p/{n}.png") for n in range(60)))
    recipe = fast("place = 'list.txt'", limits="at_once = 4")
    command = [sys.executable, "-m", "ganforge.cli", "collect", str(recipe), "-o", str(tmp_path / "o")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while site.pictures < 20:
        time.sleep(0.01)
    process.send_signal(how)
    _, message = process.communicate(timeout=20)
    if how == signal.SIGINT:
        assert process.returncode == 3
        assert "The same command goes on" in message
    assert not (tmp_path / "o" / "provenance.csv").exists()
    before = site.pictures
    assert before < 60
    assert main(["collect", str(recipe), "-o", str(tmp_path / "o")]) == 0
    assert site.pictures <= 60 + 4  # those that were under way are asked for once more
    assert len(list((tmp_path / "o").glob("*.png"))) == 60
    assert len(table(tmp_path / "o" / "provenance.csv")) == 60
    asked = site.pictures
    assert main(["collect", str(recipe), "-o", str(tmp_path / "o")]) == 0
    assert site.pictures == asked


def test_caps_are_chosen_by_the_seed_alone(tmp_path, site, fast):
    folder_of(tmp_path / "mine", {"cat": range(30), "dog": range(100, 130)})
    rows = [{"url": site.url(f"/p/{n}.png"), "label": "cat" if n % 3 else "dog"} for n in range(200, 260)]
    rows[4]["url"] = site.url("/status/404")
    write_list(tmp_path / "l.csv", rows)
    recipe = fast("place = 'mine'\ncap = 20", "place = 'l.csv'\ncap = 25", top="cap_per_class = 24")

    def chosen(out: str, **options: int) -> tuple[Collected, dict[str, str]]:
        collected = collect_pictures([recipe], tmp_path / out, **options)
        return collected, {row["sha256"]: row["label"] for row in table(tmp_path / out / "provenance.csv")}

    collected, first = chosen("a")
    assert collected.kept["mine"] == 20
    assert collected.kept["l"] == 25
    assert max(Counter(first.values()).values()) <= 24
    assert chosen("b")[1] == first
    assert chosen("c", seed=1)[1] != first
    site.delay = 0.01  # the network answers in another order
    assert chosen("d")[1] == first


def test_a_cap_is_filled_in_spite_of_failures_and_fetches_no_more_than_it_needs(tmp_path, site):
    rows = [{"url": site.url(f"/p/{n // 2}.png?{n}" if n % 4 else f"/status/404?{n}")} for n in range(80)]
    collected = collect_pictures(
        [write_list(tmp_path / "l.csv", rows)], tmp_path / "o", allow_host=site.host, cap=15, unknown_rights="mix"
    )
    assert collected.kept == {"l": 15}
    asked = sum(count for path, count in site.requests.items() if path != "/robots.txt")
    assert asked == 15 + collected.duplicates + collected.skipped


def test_the_first_source_wins_and_the_other_is_noted(tmp_path, site):
    local = folder_of(tmp_path / "mine", {"cat": range(3), "dog": range(50, 53)})
    rows = [{"url": site.url(f"/p/{n}.png"), "label": "tiger", "licence": "cc0", "author": "Ann"} for n in range(1, 5)]
    listed = write_list(tmp_path / "l.csv", rows)
    collected = collect_pictures([local, listed], tmp_path / "a", allow_host=site.host)
    assert collected.kept == {"mine": 6, "l": 2}
    row = next(
        row for row in table(tmp_path / "a" / "provenance.csv") if row["sha256"] == hashlib.sha256(png(1)).hexdigest()
    )
    assert (row["source"], row["label"], row["also"]) == ("mine", "cat", f"l: {site.url('/p/1.png')}")
    collected = collect_pictures([listed, local], tmp_path / "b", allow_host=site.host)
    assert collected.kept == {"l": 4, "mine": 4}
    row = next(
        row for row in table(tmp_path / "b" / "provenance.csv") if row["sha256"] == hashlib.sha256(png(1)).hexdigest()
    )
    assert (row["source"], row["author"], row["licence"]) == ("l", "Ann", "CC0-1.0")
    assert row["also"].startswith("mine: file:///")


def test_without_httpx_it_says_what_to_install(tmp_path):
    listed = write_list(tmp_path / "l.csv", [])
    code = f"""
import sys
sys.modules['httpx'] = None
from ganforge.cli import main
sys.exit(main(['collect', {str(listed)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "ganforge[web]"' in done.stderr
    assert not list((tmp_path / "data").iterdir())
