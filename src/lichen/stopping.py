"""Being asked to stop: by Ctrl-C, by a scheduler (SIGTERM), or before a time limit (SIGUSR1).

All that is worth keeping is on disk within a moment, so a command may end anywhere by an exception. Only training
first finishes its step and saves: it is run within ``deferred``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Asked = Callable[[], bool]
"""Whether somebody wants the process to stop."""


class Stopped(BaseException):
    """The process was asked to stop, and did."""


_asked: list[int] = []
"""The signal that came, if it has to wait."""
_waiting: list[bool] = []
"""Not empty within ``deferred``."""


def never() -> bool:
    """An ``Asked`` for work that nobody interrupts."""
    return False


@contextmanager
def listening() -> Iterator[None]:
    """Turn SIGTERM and SIGUSR1 into ``Stopped``; in another thread than the main one, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _receive) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[Asked]:
    """Let a signal wait until the end of what is inside, which is to ask for it and end early.

    A second Ctrl-C does not wait: there is somebody who does not want to. An error inside goes before: who is told that
    all is saved must be able to rely on it.
    """
    _waiting.append(True)
    stopped = False
    try:
        yield lambda: bool(_asked)
    except Stopped:
        stopped = True
    finally:
        _waiting.pop()
    if _asked and not _waiting:
        raise _exception(_asked.pop())
    if stopped:  # another process of the job was asked
        raise Stopped


def _receive(number: int, _: FrameType | None) -> None:
    if not _waiting or (number == signal.SIGINT and _asked):
        _asked.clear()
        raise _exception(number)
    if not _asked:
        _asked.append(number)


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Stopped()
