"""Joules from power that is asked for many times a second, for hardware that has a power sensor and no energy counter.

What happened between two polls is not known. The estimate is the trapezoid; the interval lets the whole time between
have been as low as the lower and as high as the higher of the two, and adds the sensor's own error. What a sensor does
not see at all, such as the three quarters of the time between the samples of an A100's (Yang et al., arXiv 2312.02741),
is in no interval: hence counters first.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

from lichen.energy.readings import NO_READING, Energy, Source

PERIOD_S = 0.08
"""Between two polls. With a sensor that takes up to 20 ms to answer that is still 10 polls a second."""
LATE_S = 1.0
"""Two polls further apart than this bound nothing; a busy machine is not that late. Boards since Ampere, A100 apart,
report the mean of the last second (NVML reference, nvmlDeviceGetPowerUsage): up to here nothing of theirs is missed,
and at a change of phase their power comes up to a second late."""
SENSOR_ERROR = 0.05
"""Relative error: NVML's reference states +/- 5 % of the power drawn for Fermi and Kepler; Yang et al. find the same in
later boards."""
MOST_W = 10_000.0
"""No board draws more; drivers say 2**32 - 1 mW where they mean that they do not know."""


class PowerIntegrator:
    """The energy since it was made, from ``read_w()``, the power in watts at the moment.

    A poll that comes more than ``LATE_S`` after the last one, because the process was stopped or starved, widens the
    interval: in between the power may have been anything from 0 to ``limit_w``, the most that the device may draw.
    Without a known limit there is no bound, and the energy is unknown from then on. (While a machine sleeps, Linux's
    monotonic clock stands still, as the device does.)

    After the first power that is an error or impossible (no number, negative, more than ``MOST_W``), after a clock that
    ran backwards, and in a forked child, whose parent goes on counting, there is no reading any more; ``failure`` says
    why. Nothing here raises.
    """

    source: Source = "polled"

    def __init__(
        self,
        read_w: Callable[[], float],
        *,
        limit_w: float | None = None,
        error: float = SENSOR_ERROR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_w, self._limit_w, self._error, self._clock = read_w, limit_w, error, clock
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._energy = Energy(0.0, 0.0, 0.0)
        self._last: tuple[float, float] | None = None
        self.failure = ""
        self.poll()

    def describe(self) -> str:
        """How it is measured and how sure, for people."""
        return f"power polled {1 / PERIOD_S:.0f} times a second, within {self._error:.0%} and the change between polls"

    def poll(self) -> None:
        """Ask for the power and add what was used since the last poll."""
        if os.getpid() != self._pid:  # before the lock: another thread may have held it when this child was forked
            self.failure = "counted by the process that forked this one"
        if self.failure:
            return
        with self._lock:
            try:
                power_w = self._read_w()
                self._add(self._clock(), power_w)
            except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever it raises, training goes on)
                self.failure = f"stopped answering ({type(error).__name__}: {error})"

    def read(self) -> Energy:
        """Poll, and the energy up to now; no reading after a failure."""
        self.poll()
        return NO_READING if self.failure else self._energy

    def _add(self, now_s: float, power_w: float) -> None:
        if not 0.0 <= power_w <= MOST_W:  # no number fails this as well
            self.failure = f"its sensor said {power_w:g} W"
            return
        before_s, before_w = self._last or (now_s, power_w)
        self._last, step_s = (now_s, power_w), now_s - before_s
        if step_s < 0:
            self.failure = "the clock ran backwards"
            return
        low_w, high_w = sorted((before_w, power_w))
        if step_s > LATE_S:
            if self._limit_w is None:
                self.failure = f"not polled for {step_s:.1f} s, and its highest power is not known"
                return
            low_w, high_w = 0.0, max(high_w, self._limit_w)
        self._energy += Energy(
            step_s * low_w * (1 - self._error),
            step_s * (before_w + power_w) / 2,
            step_s * high_w * (1 + self._error),
        )


def poll_in_background(integrator: PowerIntegrator, period_s: float = PERIOD_S) -> None:
    """Poll from a daemon thread until the integrator is no longer in use, has failed, or the process ends.

    A system that allows no further thread leaves polling to ``read()``: what is between two reads is then a long gap.
    """
    thread = threading.Thread(
        target=_poll_while_used, args=(weakref.ref(integrator), period_s), name="lichen-power", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # a limit on threads
        return


def _poll_while_used(reference: weakref.ref[PowerIntegrator], period_s: float) -> None:
    """Sleeps without holding the integrator, and without a lock that a forked child could find closed."""
    while True:
        time.sleep(period_s)
        integrator = reference()
        if integrator is None or integrator.failure:
            return
        integrator.poll()
        del integrator
