"""Which of a group of alike pictures is kept."""

from __future__ import annotations

from PIL import Image

from defects import encoded, photo, reasons, rows
from ganforge.auditing.audit import audit
from ganforge.cleaning.clean import clean


def test_of_near_duplicates_the_better_one_is_kept_by_audit_and_clean_alike(tmp_path):
    """Of one size the one with more bytes, else the larger one, but none with a defect before one without."""
    root = tmp_path / "set"
    root.mkdir()
    first, second, third, fourth = (photo(n, 120, 120) for n in range(700, 704))
    framed = third.resize((240, 216), Image.Resampling.BICUBIC)
    bars = Image.new("RGB", (240, 240))
    bars.paste(framed, (0, 12))
    files = {
        "1-small.jpg": encoded(first, "JPEG", quality=40), "1-whole.jpg": encoded(first, "JPEG", quality=92),
        "2-half.png": encoded(second.resize((60, 60), Image.Resampling.BOX)),
        "2-whole.jpg": encoded(second, "JPEG", quality=80),
        "3-bars.png": encoded(bars), "3-plain.jpg": encoded(third, "JPEG", quality=90),
        "4-again.jpg": encoded(fourth, "JPEG", quality=60), "4-also.jpg": encoded(fourth, "JPEG", quality=60),
        "4-best.jpg": encoded(fourth, "JPEG", quality=95),
    }  # fmt: skip
    for name, data in files.items():
        (root / name).write_bytes(data)
    result = audit(root, tmp_path / "out")
    table = {str(row["file"]): row for row in rows(result.path)}
    kept = {name for name, row in table.items() if row["rank"] == 0}
    assert kept == {"1-whole.jpg", "2-whole.jpg", "3-plain.jpg", "4-best.jpg"}
    by_name = reasons(result.path)
    assert not any(by_name[name] & {"near_duplicate", "exact_duplicate"} for name in kept)
    assert by_name["4-again.jpg"] == {"near_duplicate"}, "equal bytes: one of them is only a near duplicate"
    assert by_name["4-also.jpg"] == {"exact_duplicate"}
    clean(root, tmp_path / "clean", audit=result.path, drop=["near-duplicate"])
    assert {path.name for path in (tmp_path / "clean").glob("?-*")} == kept
