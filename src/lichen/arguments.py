"""From the words of a command line to its options, and from what is wrong with them to one line and a fix."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import textwrap
from typing import TypeVar

from lichen.errors import ConfigError

T = TypeVar("T")

_HELP_INDENT = " " * 8
"""tyro sets the explanation of an option this far in, and its name less far."""


def parse(options: type[T], command: str, arguments: list[str], default: T | None = None) -> T:
    """The ``arguments`` of ``lichen COMMAND`` as ``options``, a dataclass; ``default`` is what they start from.

    Raises ConfigError for an option that is unknown, lacking or of another type, and SystemExit after ``--help``.
    """
    import tyro

    settings, prog = (tyro.conf.FlagCreatePairsOff,), f"lichen {command}"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                found = tyro.cli(options, prog=prog, args=arguments, config=settings)
            else:
                found = tyro.cli(options, prog=prog, args=arguments, config=settings, default=default)
    except SystemExit as error:
        if not error.code:
            raise
        raise refusal(said.getvalue(), prog) from error
    sys.stderr.write(said.getvalue())
    return found


def refusal(said: str, prog: str) -> ConfigError:
    """What tyro says in a box, drawn with lines or with dashes, as one line and a fix."""
    lines = [re.sub(r"^│ ?|\s*│?$", "", line) for line in said.splitlines() if not line.startswith(("╭", "╰"))]
    parts = [textwrap.dedent(part).strip("\n") for part in re.split(r"(?m)^ *(?:─|-){3,} *$", "\n".join(lines))]
    first, *others = parts[1:] if "╭" not in said and len(parts) > 1 else parts  # a box of dashes begins with a title
    # after an empty line tyro tells which types it tried
    problem = re.sub(r"^(?:Error parsing )?(\w?)", lambda start: start[1].lower(), _joined(first.partition("\n\n")[0]))
    offered = next((part for part in others if part.startswith(("Perhaps", "Argument"))), "")
    option = _joined("\n".join(offered.splitlines()[1:2]))
    if not option:
        return ConfigError(problem, fix=f"{prog} --help lists the options")
    fix = f"did you mean {option}?" if offered.startswith("Perhaps") else f"give {option}"
    return ConfigError(problem, fix=f"{fix} ({prog} --help lists all)")


def _joined(text: str) -> str:
    """Wrapped lines as one, without the explanations of options."""
    kept = (line for line in text.splitlines() if not line.startswith(_HELP_INDENT))
    return " ".join(" ".join(kept).split()).rstrip(".")
