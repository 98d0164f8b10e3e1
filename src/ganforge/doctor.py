"""What this machine has, line by line: what can be read and done here, and what belongs into a report of a mistake."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec

from ganforge.base.device import choose
from ganforge.sources import formats
from ganforge.version import __version__

EXTRAS = {
    "web": "httpx", "clean": "cv2", "heic": "pillow_heif", "cloud": "fsspec", "ray": "ray", "video": "imageio_ffmpeg",
    "sound": "soundfile", "ocr": "pytesseract", "track": "tensorboard",
}  # fmt: skip
"""The module by which each extra is known to be installed."""


def lines() -> list[str]:
    """Versions, device, extras, and the picture formats of `sources.formats`."""
    there = [name for name, module in EXTRAS.items() if find_spec(module)]
    absent = [name for name in EXTRAS if name not in there]
    out = [
        f"ganforge {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow")) + f"; device {choose('auto')}",
        f"extras: {', '.join(there) or 'none'}" + (f"; not installed: {', '.join(absent)}" if absent else ""),
        "",
        "picture formats, read by all verbs:",
    ]
    for kind, (title, suffixes, what) in zip(formats.KINDS, formats.table(), strict=True):
        read = "yes" if formats.available(kind) else "no"
        out.append(f"  {title:15} {read:3}  {suffixes:32} {what.replace('`', '')}")
    return out
