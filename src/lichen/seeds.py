"""Random numbers that depend on what they are for, never on what was drawn before.

Every draw in lichen comes from a generator seeded by (seed, purpose, position). So a resumed run, or one spread over
several processes, draws exactly what an uninterrupted one would, and no generator state has to be saved.
"""

from __future__ import annotations

import hashlib


def mix_seed(*parts: int | str) -> int:
    """A 63-bit seed from any parts, e.g. ``mix_seed(seed, "noise", images_seen)``; equal parts, equal seed."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
