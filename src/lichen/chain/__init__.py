"""The chain: images -> autoencoder -> latents -> denoiser -> samples -> audit, quality -> summary and report.

This is where the rooms meet. Every function here is one link; each leaves its result in the run folder and finds it
there when the same command is repeated.
"""

from lichen.chain.auditing import Audited, audit_folders, audit_samples, audit_with_run
from lichen.chain.begin import at_work, holding
from lichen.chain.comparing import Compared, compare_folders, compare_with_run
from lichen.chain.data import Data, read_images
from lichen.chain.judging import Quality
from lichen.chain.meeting import load_samples
from lichen.chain.membership import membership_of_run
from lichen.chain.whole import run, sample_only, train_only

__all__ = [
    "Audited",
    "Compared",
    "Data",
    "Quality",
    "at_work",
    "audit_folders",
    "audit_samples",
    "audit_with_run",
    "compare_folders",
    "compare_with_run",
    "holding",
    "load_samples",
    "membership_of_run",
    "read_images",
    "run",
    "sample_only",
    "train_only",
]
