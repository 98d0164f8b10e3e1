"""The verb from Python."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ganforge.collecting.collect import collect
from served import write_list


def test_in_a_notebook_and_from_python(tmp_path, site):
    listed = write_list(tmp_path / "l.csv", [{"url": site.url("/p/1.png"), "licence": "cc0"}])

    async def cell() -> Path:
        return collect([listed], tmp_path / "o", allow_host=site.host)

    assert len(list(asyncio.run(cell()).glob("*.png"))) == 1
