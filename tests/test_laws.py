"""The laws of the house: who may import whom, and what must stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_no_room_imports_what_it_must_not_know() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_lichen_loads_no_torch() -> None:
    assert not {"torch", "monai", "numpy", "tyro"} & _modules_after("import lichen")


def test_help_loads_no_torch() -> None:
    code = "import lichen.cli\ntry:\n    lichen.cli.main(['--help'])\nexcept SystemExit:\n    pass"
    assert not {"torch", "monai", "numpy", "tyro"} & _modules_after(code)


def test_the_options_of_every_command_load_no_torch() -> None:
    assert not {"torch", "monai"} & _modules_after("import lichen.options")


def test_energy_and_carbon_load_no_torch() -> None:
    assert not {"torch", "monai"} & _modules_after("import lichen.energy, lichen.carbon")
