"""Is a synthetic image a copy of a training patient? Scores, calibration against held-out patients, a verdict.

    result = audit(synthetic, train, reference, AuditConfig())     # three lichen.images.ImageSet on one grid
    write_audit(result, Path("out/audit.json"), inputs_sha256={}); sys.exit(result.exit_code)

Knows images and nothing of models or energy: any generator's images can be audited. Torch is loaded only by ``audit``.
"""

from lichen.audit.audit_file import write_audit
from lichen.audit.compare import audit, audit_steps
from lichen.audit.conformal import bonferroni, conformal_p_values, patient_maxima
from lichen.audit.fdr import benjamini_hochberg
from lichen.audit.membership import Membership, membership
from lichen.audit.names import PRIVATE_NAMES, Names, keep_names, open_names
from lichen.audit.resolution import Resolution, resolution
from lichen.audit.result import AuditResult, Counts, Duplicates, Finding, SamePair, Transform, Verdict
from lichen.audit.scores import Nearest, Pool, Score, Search, find_score, register, score_names
from lichen.audit.summary import summary

__all__ = [
    "PRIVATE_NAMES",
    "AuditResult",
    "Counts",
    "Duplicates",
    "Finding",
    "Membership",
    "Names",
    "Nearest",
    "Pool",
    "Resolution",
    "SamePair",
    "Score",
    "Search",
    "Transform",
    "Verdict",
    "audit",
    "audit_steps",
    "benjamini_hochberg",
    "bonferroni",
    "conformal_p_values",
    "find_score",
    "keep_names",
    "membership",
    "open_names",
    "patient_maxima",
    "register",
    "resolution",
    "score_names",
    "summary",
    "write_audit",
]
