"""What polling power costs: CPU time of the threads that poll GPUs without an energy counter, driver call excluded.

python benchmarks/polling_overhead.py [SECONDS]
"""

from __future__ import annotations

import sys
import threading
import time

from report import write_results

from lichen.energy.polling import PERIOD_S, PowerIntegrator, poll_in_background


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    idle = share_of_core(0, seconds)
    rows = [(str(gpus), f"{100 * (share_of_core(gpus, seconds) - idle):.2f} %") for gpus in (1, 8)]
    polls = 100_000
    integrator = PowerIntegrator(lambda: 100.0)
    start_s = time.process_time()
    for _ in range(polls):
        integrator.poll()
    poll_us = 1e6 * (time.process_time() - start_s) / polls
    note = (
        f"Each GPU is polled every {1000 * PERIOD_S:g} ms by a thread of its own, for {seconds:g} s, while the main "
        f"thread sleeps; the sensor answers at once. One poll alone is {poll_us:.1f} us, the rest is waking up. What a "
        "driver takes to answer comes on top."
    )
    write_results(__file__, ("GPUs polled", "share of one core"), rows, note)


def share_of_core(gpus: int, seconds: float) -> float:
    integrators = [PowerIntegrator(lambda: 100.0) for _ in range(gpus)]
    list(map(poll_in_background, integrators))  # and no loop variable that would keep the last one in use
    cpu_s, wall_s = time.process_time(), time.monotonic()
    time.sleep(seconds)
    share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    del integrators
    while any(thread.name == "lichen-power" for thread in threading.enumerate()):
        time.sleep(0.01)
    return share


if __name__ == "__main__":
    main()
