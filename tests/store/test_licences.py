"""Licences as people write them, by their SPDX identifiers."""

from __future__ import annotations

import pytest

from ganforge.store.licences import identifiers, is_among, spdx


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC0", "CC0-1.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("Creative Commons Zero", "CC0-1.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("CC BY-NC-ND 2.5", "CC-BY-NC-ND-2.5"),
        ("by-sa", "CC-BY-SA"),
        ("CC-BY", "CC-BY"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"),
        ("Attribution-NonCommercial-ShareAlike 2.0 Generic", "CC-BY-NC-SA-2.0"),
        ("Creative Commons Attribution-Share Alike 4.0", "CC-BY-SA-4.0"),
        ("Attribution-NoDerivs License", "CC-BY-ND"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by-nc-sa/3.0/deed.fr", "CC-BY-NC-SA-3.0"),
        ("//creativecommons.org/licenses/by-sa/2.0", "CC-BY-SA-2.0"),
        ("https://creativecommons.org/licenses/by/3.0/de/", "CC-BY-3.0-DE"),
        ("https://creativecommons.org/licenses/by/3.0/xx/", "CC-BY-3.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("Public domain", "CC-PDM-1.0"),
        ("MIT License", "MIT"),
        ("CC BY-SA 3.0 (as commonly stated)", "CC-BY-SA-3.0"),
        ("CC BY 9.9", None),
        ("https://creativecommons.org/licenses/by-evil/4.0/", None),
        ("https://creativecommons.org.evil.example/licenses/by/4.0/", None),
        ("not CC BY 4.0", None),
        ("CC BY or GFDL", None),
        ("all rights reserved", None),
        ("unknown", None),
        ("", None),
        (None, None),
        ("Apache-2.0", "Apache-2.0"),
        ("GFDL-1.2-only", "GFDL-1.2-only"),
    ],
)
def test_licences_by_their_identifiers(text, name):
    assert spdx(text) == name


def test_which_licences_are_allowed():
    allowed = identifiers(["cc0", "CC-BY"])
    assert allowed == ("CC0-1.0", "CC-BY")
    assert [
        is_among(name, allowed)
        for name in ("CC-BY-4.0", "CC-BY-3.0-DE", "CC-BY", "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC0-1.0", "MIT")
    ] == [True, True, True, False, False, True, False]
    assert not is_among("CC-BY-3.0", identifiers(["cc-by-4.0"]))
