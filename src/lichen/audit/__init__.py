"""Is a synthetic image a copy of a training patient? Scores, calibration against held-out patients, a verdict.

    result = audit(synthetic, train, reference, AuditConfig())     # three lichen.images.ImageSet on one grid
    print(summary(result)); sys.exit(result.exit_code)

Knows images and nothing of models or energy: any generator's images can be audited. Torch is loaded only by ``audit``.
"""

from lichen.audit.compare import audit
from lichen.audit.conformal import bonferroni, conformal_p_values, patient_maxima
from lichen.audit.fdr import benjamini_hochberg
from lichen.audit.membership import Membership, membership
from lichen.audit.resolution import Resolution, resolution
from lichen.audit.result import AuditResult, Counts, Finding, Verdict, write_audit
from lichen.audit.scores import Nearest, Score, Search, find_score, register, score_names
from lichen.audit.summary import summary

__all__ = [
    "AuditResult",
    "Counts",
    "Finding",
    "Membership",
    "Nearest",
    "Resolution",
    "Score",
    "Search",
    "Verdict",
    "audit",
    "benjamini_hochberg",
    "bonferroni",
    "conformal_p_values",
    "find_score",
    "membership",
    "patient_maxima",
    "register",
    "resolution",
    "score_names",
    "summary",
    "write_audit",
]
