"""Write docs/reference.md: commands, options, settings, presets, exit codes, files.

    python scripts/make_reference.py [PAGE]

Everything that the code knows is taken from it: options and settings from the dataclasses, commands from the command
line. What stands in words in ``reference/`` are the files that lichen writes; a test compares them with a real run.
Same code, same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reference import reference

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"


def main(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference(), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
