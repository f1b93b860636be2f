"""How a person sees that something long is going on.

Rooms take a ``Step``: a callable told how many images were just finished. The command line gives them a ``Progress``,
which draws a bar with the time left and the grams so far, or, when stderr is no terminal, one plain line a minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Never

from tqdm import tqdm

Step = Callable[[int], None]


def silent(_: int) -> None:
    """A ``Step`` that shows nothing."""


class Progress:
    """A bar on a terminal; elsewhere a plain line at the end and each ``line_every_s`` seconds.

    ``note`` is asked for a few words at each redraw, e.g. the grams so far. ``done`` is what an earlier process did.
    ``after`` is called after each piece, and may end the work by raising.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        done: int = 0,
        note: Callable[[], str] = str,
        line_every_s: float = 60.0,
        quiet: bool = False,
        after: Callable[[], None] | None = None,
    ) -> None:
        self.title, self.total, self.done, self.note, self.after = title, total, done, note, after
        self.line_every_s, self.quiet = line_every_s, quiet
        self._first, self._start = done, time.monotonic()
        self._shown = self._start
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Progress:
        self._start = self._shown = time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            self._bar = bar = tqdm(
                total=self.total,
                initial=self.done,
                desc=f"{self.title:<11}",
                bar_format="{desc} {percentage:3.0f}% {bar:12} {n_fmt}/{total_fmt} images, {remaining} left{postfix}",
                leave=True,
            )
            bar.set_postfix_str(self.note(), refresh=True)
        return self

    @property
    def share(self) -> float:
        """How much of what there was to do at the start is done, from 0 to 1."""
        to_do = self.total - self._first
        return min(1.0, (self.done - self._first) / to_do) if to_do > 0 else 1.0

    def __call__(self, images: int) -> None:
        """Count ``images`` more as finished."""
        self.done += images
        now = time.monotonic()
        if self._bar is not None:
            if now - self._shown > 0.5:
                self._shown = now
                self._bar.set_postfix_str(self.note(), refresh=False)
            self._bar.update(images)
        elif not self.quiet and now - self._shown >= self.line_every_s:
            self._shown = now
            self._print_line(now)
        if self.after is not None:
            self.after()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(self.note(), refresh=True)
            self._bar.close()
        elif not self.quiet and kind is None:
            self._print_line(time.monotonic())

    def _print_line(self, now: float) -> None:
        elapsed, finished = now - self._start, self.done - self._first
        words = [f"{self.title}: {self.done}/{self.total} images"]
        if finished and self.done < self.total:
            words.append(f"{_clock(elapsed / finished * (self.total - self.done))} left")
        else:
            words.append(f"{_clock(elapsed)} taken")
        if note := self.note():
            words.append(note)
        print(", ".join(words), file=sys.stderr, flush=True)  # noqa: T201 (the command line's own voice)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
