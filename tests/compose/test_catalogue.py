"""The verb `layers`."""

from __future__ import annotations

import subprocess
import sys

from ganforge.cli import main
from ganforge.compose.catalogue import LAYERS


def test_layers_verb(capsys, fails):
    assert main(["layers"]) == 0
    message = capsys.readouterr().out
    assert all(name in message for name in LAYERS)
    assert main(["layers", "convolution"]) == 0
    assert "kernel      side of the window in pixels; 3 by default" in capsys.readouterr().out
    assert "Did you mean convolution?" in fails("layers", "convolutoin")


def test_layers_answers_without_torch():
    code = "import sys; from ganforge.cli import main; main(['layers']); "
    code += "assert not {'torch', 'numpy'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
