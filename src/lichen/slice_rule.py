"""Rules that choose slices of volumes: what may stand after ``--images.slices``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lichen.errors import ConfigError

_RULE = re.compile(r"(?P<all>all)|middle:(?P<middle>[0-9]{1,6})|label>=(?P<least>[0-9]{0,3}\.?[0-9]{1,9})")


@dataclass(frozen=True)
class SliceRule:
    """Which axial slices of a volume become images; at most one of the two is given, and with none all do."""

    middle: int | None = None
    """So many slices about the middle one."""
    least_share: float | None = None
    """Slices of whose voxels, background included, at least this share has a label above 0."""

    @staticmethod
    def parse(text: str) -> SliceRule:
        """The rule ``all``, ``middle:20`` or ``label>=0.15``; raises ConfigError for any other text."""
        found = _RULE.fullmatch("".join(text.split()))
        middle, least = (None, None) if found is None else (found["middle"], found["least"])
        rule = SliceRule(None if middle is None else int(middle), None if least is None else float(least))
        if found is None or rule.middle == 0 or not (rule.least_share is None or 0 < rule.least_share <= 1):
            raise ConfigError(
                f"images.slices is {text!r}; it may be all, middle:N with N from 1 on, or label>=X with 0 < X <= 1",
                fix="e.g. --images.slices 'label>=0.15', in quotes, or --images.slices middle:20",
            )
        return rule

    @property
    def needs_label(self) -> bool:
        """Whether a label map decides."""
        return self.least_share is not None

    def kept(self, slices: int, shares: Sequence[float] = ()) -> range | list[int]:
        """The numbers of the slices to take, in order, of so many; ``shares`` of each slice with a label above 0."""
        if self.least_share is not None:
            return [number for number, share in enumerate(shares) if share >= self.least_share]
        if self.middle is None or self.middle >= slices:
            return range(slices)
        first = (slices - self.middle) // 2
        return range(first, first + self.middle)
