"""The ``lichen`` command: which command is meant, and one place where errors become two lines and a code.

Exit codes: 0 ok, 1 verdict failed, 2 something given cannot be used, 3 inconclusive, 4 a budget does not allow it,
70 a defect of lichen, 130 interrupted, 143 an audit or a release asked to stop.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

from lichen import __version__
from lichen.commands import COMMANDS
from lichen.commands.common import say
from lichen.errors import BUDGET_CODE, BudgetError, LichenError
from lichen.plain import plain
from lichen.stopping import Stopped, listening

DEFECT_CODE = 70
STOPPED_CODE = 143
"""Of a command that says by 0 that all is well with the images, when SIGTERM or SIGUSR1 ended it: nothing was said."""
KEEPERS = frozenset({"run", "train", "sample", "segment", "audit", "study", "select"})
"""Commands that keep what is done, and go on from there."""
JUDGES = frozenset({"audit", "release"})
"""Commands whose 0 is a verdict."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    try:
        with listening():
            code = _run_command(arguments)
    except LichenError as error:
        print(f"{_who()}error: {plain(str(error), lines=True)}", file=sys.stderr)
        code = BUDGET_CODE if isinstance(error, BudgetError) else 2
    except Stopped:
        again = "goes on from here" if KEEPERS.intersection(arguments[:1]) else "begins anew"
        print(f"{_who()}stopped as asked; the same command again {again}", file=sys.stderr)
        code = STOPPED_CODE if JUDGES.intersection(arguments[:1]) else 0
    except (OSError, MemoryError) as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        print("  fix: free some space or memory, or choose another folder; then repeat the command", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        again = "goes on from the last checkpoint" if KEEPERS.intersection(arguments[:1]) else "begins anew"
        print(f"stopped; the same command again {again}", file=sys.stderr)
        code = 130
    except Exception:  # noqa: BLE001 (a defect of lichen: its code must not look like a verdict)
        traceback.print_exc()
        print("error: this is a defect of lichen\n  fix: report it with the lines above", file=sys.stderr)
        code = DEFECT_CODE
    sys.exit(code)


def _run_command(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        say(_overview())
        return 0
    if arguments[0] in {"-V", "--version"}:
        say(f"lichen {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise _unknown(name)
    return COMMANDS[name](rest)


def _overview() -> str:
    commands = "\n".join(f"  {name:<8} {(command.__doc__ or '').strip()}" for name, command in COMMANDS.items())
    return (
        f"lichen {__version__}: train generative models of medical images, know what they cost,\n"
        "and whose images are in the output.\n\n"
        f"usage: lichen COMMAND [options]\n\n{commands}\n\n"
        "lichen COMMAND --help lists the options.\n"
        "Exit codes: 0 ok, 1 verdict failed, 2 error, 3 inconclusive, 4 a budget does not allow it.\n"
        "First steps: lichen run --preset demo, or the same with --images.path DIR for your own images."
    )


def _unknown(name: str) -> LichenError:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return LichenError(
        f"there is no command {name!r}", fix=f"did you mean lichen {near[0]}?" if near else "see lichen --help"
    )


def _who() -> str:
    """Which process of a job speaks, unless it is the only one or the first."""
    rank = os.environ.get("RANK", "0")
    return "" if rank == "0" else f"process {rank}: "
