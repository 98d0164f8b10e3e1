"""What this machine can read and do, line by line; it belongs into every report of a mistake."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec

from ganforge.base.device import choose
from ganforge.sources import formats
from ganforge.version import __version__

EXTRAS = {
    "web": "httpx", "clean": "cv2", "heic": "pillow_heif", "cloud": "fsspec", "ray": "ray", "video": "av",
    "sound": "soundfile", "solid": "trimesh", "ocr": "pytesseract", "track": "tensorboard",
}  # fmt: skip
"""The module by which each extra is known to be installed."""


def lines() -> list[str]:
    """Versions, device, extras, and the picture formats of `sources.formats`."""
    installed = [name for name, module in EXTRAS.items() if find_spec(module)]
    absent = [name for name in EXTRAS if name not in installed]
    out = [
        f"ganforge {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores",
        ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pillow")) + f"; device {choose('auto')}",
        f"extras: {', '.join(installed) or 'none'}" + (f"; not installed: {', '.join(absent)}" if absent else ""),
        "",
        "picture formats, read by all verbs:",
    ]
    for kind, (title, suffixes, note) in zip(formats.KINDS, formats.table(), strict=True):
        read = "yes" if formats.available(kind) else "no"
        out.append(f"  {title:15} {read:3}  {suffixes:32} {note.replace('`', '')}")
    return out
