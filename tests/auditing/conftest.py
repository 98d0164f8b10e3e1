"""A folder with one file a defect, and its audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from defects import defects, encoded, photo
from ganforge.auditing.audit import Audited, audit


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with one file a defect, duplicates of several kinds, and twelve good pictures."""
    root = tmp_path_factory.mktemp("audited") / "set"
    for label in ("cats", "dogs"):
        (root / label).mkdir(parents=True)
    for name, data in defects().values():
        (root / "cats" / name).write_bytes(data)
    for n in range(12):
        (root / ("cats" if n % 2 else "dogs") / f"good-{n:02d}.jpg").write_bytes(
            encoded(photo(100 + n), "JPEG", quality=92)
        )
    good = (root / "dogs" / "good-00.jpg").read_bytes()
    (root / "dogs" / "again.jpg").write_bytes(good)
    (root / "cats" / "also-a-cat.jpg").write_bytes((root / "dogs" / "good-02.jpg").read_bytes())
    (root / "dogs" / "near.jpg").write_bytes(encoded(photo(104).crop((3, 2, 126, 125)), "JPEG", quality=60))
    (root / "dogs" / "turned-round.png").write_bytes(encoded(photo(106).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return root


@pytest.fixture(scope="session")
def audited(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return audit(folder, tmp_path_factory.mktemp("out") / "audit")
