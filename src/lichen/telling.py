"""What long work of many parts says to the person waiting: a line for each event, and one a minute in between."""

from __future__ import annotations

import sys
import time

LINE_EVERY_S = 60.0


class Lines:
    """Lines on stderr, each beginning with ``who`` speaks; none with ``quiet``."""

    def __init__(self, who: str, *, quiet: bool) -> None:
        self._who, self._quiet = who, quiet
        self._told_s = time.monotonic()

    def tell(self, words: str) -> None:
        """Say something that happened."""
        if not self._quiet:
            print(f"{self._who}: {words}", file=sys.stderr, flush=True)  # noqa: T201 (the command line's own voice)
        self._told_s = time.monotonic()

    def is_due(self) -> bool:
        """Whether nothing was said for a minute."""
        return time.monotonic() - self._told_s > LINE_EVERY_S
