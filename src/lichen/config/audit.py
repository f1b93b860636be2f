"""Settings of the audit."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.bounds import at_least, between
from lichen.errors import ConfigError


@dataclass(frozen=True)
class AuditConfig:
    """How synthetic images are compared with training patients."""

    false_discovery_rate: float = 0.10
    """Largest expected share of innocent images among those called copies (Benjamini-Hochberg)."""
    false_alarm_rate: float = 0.05
    """'copies' is said of about this share of the synthetic sets that hold none, at most."""
    detectable_share: float = 0.10
    """'clean' is said only if this share of copies would have been found; otherwise 'inconclusive'."""
    scores: tuple[str, ...] = ("aligned",)
    """Which similarity scores vote; the p-values are corrected for their number, so each more costs resolution."""
    level: float = 0.05
    """The p-value at which the self-test states power and false positives, and at which copies are counted."""
    self_test: int = 30
    """How many training images are copied in each of the ways of the self-test; 0: none, and no rates."""
    classics: bool = False
    """Say also what the rules of two earlier papers would have called copies; trains a small network for it."""
    review_pairs: int = 50
    """Pairs on the review page: the flagged ones first, then the nearest others."""
    memory_mb: int = 1024
    """MiB of memory that comparing may take; what does not fit is kept in files of the output folder meanwhile."""
    allow_overlap: bool = False
    """Audit although patients are in both training and held-out images; these do not count as held-out then."""

    def __post_init__(self) -> None:
        between("audit.false_discovery_rate", self.false_discovery_rate, 1e-6, 0.5)
        between("audit.false_alarm_rate", self.false_alarm_rate, 1e-6, 0.5)
        between("audit.detectable_share", self.detectable_share, 1e-6, 1.0)
        between("audit.level", self.level, 1e-6, 0.5)
        at_least("audit.self_test", self.self_test, 0)
        at_least("audit.review_pairs", self.review_pairs, 1)
        at_least("audit.memory_mb", self.memory_mb, 64)
        if not self.scores:
            raise ConfigError("audit.scores names no score", fix="give at least one, e.g. --audit.scores aligned")
