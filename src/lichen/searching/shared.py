"""What several runners of one search do one at a time: each waits for its turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lichen.errors import RunError
from lichen.runs import RunFolder

TURN_S = 0.1
"""How often a waiting runner asks again."""


@contextmanager
def my_turn(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; whoever holds it is waited for, and one that was killed holds nothing.

    Raises:
        RunError: the folder cannot be written.
    """
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(RunFolder(folder).lock())
                break
            except RunError:
                if not RunFolder(folder).is_locked():  # it is let go of now, or cannot be locked at all
                    held.enter_context(RunFolder(folder).lock())
                    break
            time.sleep(TURN_S)
        yield
