"""Settings on the command line, in a file and in Python are the same settings."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import ganforge
from ganforge.auditing.settings import Settings as AuditSettings
from ganforge.base import config
from ganforge.base.errors import InputError
from ganforge.base.images import write_image
from ganforge.cleaning import recipe
from ganforge.cli import _verbs, main, parser
from ganforge.preparing.settings import Settings as PrepareSettings

SAID = {
    "prepare": (
        PrepareSettings,
        ["--audit", "a b", "--drop", "warn, near-duplicate", "--resolution", "48x64", "--channels", "3", "--fit", "pad",
         "--heldout", "0.25", "--stratify", "--folds", "5", "--part-size", "10", "--levels=-50,950"],
        {"audit": Path("a b"), "drop": ("warn", "near_duplicate"), "resolution": "48x64", "channels": 3, "fit": "pad",
         "heldout": 0.25, "stratify": True, "folds": 5, "part_size": 10, "levels": "-50,950"},
    ),
    "audit": (
        AuditSettings, ["--labels", "l.csv", "--features", "--ocr", "--seed", "-3"],
        {"labels": Path("l.csv"), "features": True, "ocr": True, "seed": -3},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(20):
        write_image(folder / f"{n}.png", np.random.default_rng(n).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return folder


@pytest.mark.parametrize("verb", SAID)
def test_what_a_dry_run_prints_is_a_file_that_means_the_same(verb, tmp_path, capsys):
    cls, words, values = SAID[verb]
    assert main([verb, "x", *words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    read = config.build(cls, tomllib.loads(printed)[verb], verb)
    assert read == config.build(cls, values, verb) == cls(**values)
    for field in fields(cls):
        line = next(line for line in printed.splitlines() if line.removeprefix("# ").startswith(f"{field.name} ="))
        assert field.metadata["help"] in line
    (tmp_path / "settings.toml").write_text(printed)
    assert main([verb, "x", "--config", str(tmp_path / "settings.toml"), "--dry-run"]) == 0
    assert capsys.readouterr().out == printed


def test_options_come_before_the_file(tmp_path, capsys, fails):
    file = tmp_path / "settings.toml"
    file.write_text('[prepare]\nresolution = 32\nstratify = true\nheldout = 0.2\nlabels = "a.csv"\n')
    words = ["prepare", "x", "--config", str(file)]
    assert main([*words, "--resolution", "64", "--no-stratify", "--dry-run"]) == 0
    found = tomllib.loads(capsys.readouterr().out)["prepare"]
    assert (found["resolution"], found["stratify"], found["heldout"], found["labels"]) == ("64", False, 0.2, "a.csv")
    assert "--stratify is given twice" in fails(*words, "--stratify", "--no-stratify")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[prepare]\nresolutoin = 64", "There is no setting prepare.resolutoin. Did you mean resolution?"),
        ("[prepair]\nresolution = 64", "has a section prepair. Did you mean prepare?"),
        ("[audit]\nseed = 1", "has a section audit"),
        ("", "has no section [prepare]; --dry-run prints one"),
        ("prepare = 3", "has no section [prepare]"),
        ("[prepare]\nfit = 'leterbox'", "Did you mean letterbox?"),
        ("[prepare]\nfolds = 'many'", "prepare.folds is 'many'; it takes a value of type int"),
        ("[prepare]\ndrop = 'warn'", "it takes a list of strings"),
        ("[prepare]\ndrop = ['wran']", "There is no finding 'wran'. Did you mean warn?"),
        ("[prepare]\nresolution = 3", "out of range"),
        ("[prepare]\nresolution = true", "prepare.resolution is True"),
        ("[prepare]\nheldout = nan", "finite"),
        ("[prepare", "cannot be read as TOML"),
    ],
)
def test_mistakes_in_a_file(text, said, tmp_path, fails):
    (tmp_path / "settings.toml").write_text(text)
    for more in ([], ["--dry-run"]):
        assert said in fails("prepare", "x", "--config", tmp_path / "settings.toml", *more)


def test_wrong_values_are_mistakes_in_a_dry_run_too(fails):
    for option, value, said in [
        ("--channels", 2, "prepare.channels is 2. There is: 1, 3, 4."), ("--folds", 1, "2 to 100"),
        ("--heldout", 1, "a share from 0 to less than 1"), ("--per-class", -1, "at least 0"),
        ("--part-size", 0, "at least 1"),
        ("--levels", "dark", "such as 0,4095"), ("--background", "wihte", "no colour"),
        ("--engine", "dask", "local, ray"),
        ("--resolution", "big", "48x64"), ("--drop", "blured", "Did you mean blurred?"),
    ]:  # fmt: skip
        assert said in fails("prepare", "x", "--dry-run", option, value)
    assert "Nothing is held out" in fails("prepare", "x", "--dry-run", "--heldout", "0", "--stratify")


def test_python_takes_the_same_words(pictures, tmp_path):
    by_name = ganforge.prepare(pictures, tmp_path / "a", resolution=8, heldout=0.3).store
    given = PrepareSettings(resolution="8x8", heldout=0.1)
    by_settings = ganforge.prepare(str(pictures), tmp_path / "b", settings=given, heldout=0.3).store
    (tmp_path / "p.toml").write_text("[prepare]\nresolution = 8\nheldout = 0.3\n")
    assert main(["prepare", str(pictures), "-o", str(tmp_path / "c"), "--config", str(tmp_path / "p.toml")]) == 0
    assert by_name.root == by_settings.root == ganforge.Store(tmp_path / "c").root
    with pytest.raises(InputError, match=r"There is no setting prepare\.resolutoin\. Did you mean resolution\?"):
        ganforge.prepare(pictures, tmp_path / "d", resolutoin=8)
    with pytest.raises(InputError, match=r"prepare\.fit is 'corp'\. Did you mean crop\?"):
        ganforge.prepare(pictures, tmp_path / "d", settings=PrepareSettings(fit="corp"))
    with pytest.raises(InputError, match=r"There is no setting audit\.feature\. Did you mean features\?"):
        ganforge.audit(pictures, tmp_path / "d", feature=True)
    with pytest.raises(InputError, match=r"There is no setting clean\.filter\. Did you mean filters\?"):
        ganforge.clean(pictures, tmp_path / "d", filter="median")
    assert not (tmp_path / "d").exists()


def test_an_audit_by_its_settings(pictures, tmp_path):
    (tmp_path / "a.toml").write_text("[audit]\nseed = 7\n")
    assert main(["audit", str(pictures), "-o", str(tmp_path / "a"), "--config", str(tmp_path / "a.toml")]) == 0
    ganforge.audit(pictures, tmp_path / "b", settings=AuditSettings(seed=3), seed=7)
    plain = {"source": pictures.name, "labels": None, "features": False, "ocr": False, "seed": 7}
    for name in "ab":
        assert json.loads((tmp_path / name / "summary.json").read_text())["settings"] == plain


def test_a_recipe_may_name_the_audit(pictures, tmp_path, capsys):
    ganforge.audit(pictures, tmp_path / "audit")
    words = ["clean", str(pictures), "--audit", str(tmp_path / "audit"), "--keep", "near-uniform"]
    assert main([*words, "--dry-run"]) == 0
    (tmp_path / "clean.toml").write_text(capsys.readouterr().out)
    assert recipe.read(tmp_path / "clean.toml").audit == tmp_path / "audit"
    assert main(["clean", str(pictures), "--recipe", str(tmp_path / "clean.toml"), "-o", str(tmp_path / "out")]) == 0
    assert "0 pictures filtered, 20 as they were" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["prepare", "audit", "clean"])
def test_help_has_each_setting_and_imports_nothing_heavy(verb):
    code = (
        f"import contextlib, sys, time; from ganforge.cli import main\n"
        f"with contextlib.suppress(SystemExit): main(['{verb}', '--help'])\n"
        "assert not {'torch', 'numpy', 'PIL'} & sys.modules.keys(); assert time.process_time() < 0.3"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in _verbs(parser())[verb]._option_string_actions:
        assert option in done.stdout
