"""Audit results made by hand, of made-up patients: every part filled in, or only what every audit has."""

from __future__ import annotations

import numpy as np

from lichen.audit import AuditResult, Counts, Duplicates, Finding, SamePair, Transform, Verdict
from lichen.audit.classics import Classic
from lichen.audit.competition import Competition
from lichen.audit.membership import Membership
from lichen.audit.rates import Rate
from lichen.audit.resolution import resolution
from lichen.audit.selftest import SelfTest, Tested
from lichen.config import AuditConfig

PATIENT, IMAGE = "Canarius-Petra", "Canarius-Petra/scan"
"""How every real name here begins; none may come out."""
HELD_OUT = 110


def findings(images: int, copies: int) -> tuple[Finding, ...]:
    """``copies`` of ``images`` are flagged, the first of them is identical; the last image is constant."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(images - 1):
        score = float(rng.beta(8, 2)) if i < copies else float(rng.beta(3, 9))
        turned = Transform(mirror=i % 2 == 1, rotation_deg=(2.5,), shift=(0.01, -0.02), zoom=1.03)
        made.append(
            Finding(
                f"sample-{i:06}.png",
                {"aligned": 1.0 if copies and i == 0 else score},
                1 / (HELD_OUT + 1) if i < copies else 0.4,
                i < copies,
                bool(copies) and i == 0,
                "aligned",
                f"{IMAGE}-{i}.png",
                f"{PATIENT}-{i}",
                turned if i < copies else None,
            )
        )
    constant = Finding(f"sample-{images - 1:06}.png", {"aligned": None}, 1.0, False, False, "aligned", None, None)
    return (*made, constant)


def made_audit(verdict: Verdict = "copies", *, whole: bool = True, images: int = 60) -> AuditResult:
    """A result with this verdict; ``whole``: with all that an audit can do."""
    held_out = 12 if verdict == "inconclusive" else HELD_OUT
    rng = np.random.default_rng(1)
    plain = AuditResult(
        verdict,
        AuditConfig(scores=("aligned",)),
        Counts(images, 1, 60, 30, 2, 2 * held_out, held_out),
        resolution(held_out, 1, 0.1, 0.1),
        findings(images, 9 if verdict == "copies" else 0),
        ("copies of a part of an image are not looked for",),
        {"aligned": tuple(rng.beta(3, 9, held_out).tolist())},
        Duplicates(2),
    )
    if not whole:
        return plain
    tested = (
        Tested("exact", "nothing", 1.0, 0.02, 100, 50),
        Tested("rotation 10 degrees", "turned by 10 degrees", 0.97, 0.04, 100, 50),
        Tested("inversion", "black and white exchanged", 0.03, 0.0, 100, 50),
        Tested("autoencoder round trip", "encoded and decoded by the model", None, None, 0, 0),
    )
    found = verdict == "copies"
    pair = SamePair(f"{IMAGE}-3.png", f"{PATIENT}-3", f"{IMAGE}-4.png", f"{PATIENT}-4", 0.98, False)
    return AuditResult(
        **{
            **vars(plain),
            "duplicates": Duplicates(2, (pair,), (pair,), (f"{PATIENT}-9",), ((f"{PATIENT}-5", 31),)),
            "copy_rate": Rate(0.16, 0.09, 0.25) if found else Rate(0.0, 0.0, 0.055),
            "memorised_patients": Rate(0.21, 0.11, 0.34) if found else Rate(None, 0.0, 0.08),
            "self_test": SelfTest(0.05, 0.05, tested, np.zeros((1, 4)), ("a", "b", "c", "d")),
            "competition": Competition(rng.normal(size=images), 0.8, np.arange(images) < 9, 10),
            "membership": Membership(0.71, 0.64, 0.78, 0.08, 0.02, 0.15, 0.01, 30, 110),
            "classics": (
                Classic("akbar", None, None, None, "highest pixel correlation, 0.91 in the mean (Akbar et al. 2023)"),
                Classic("dar, as published", 0.93, 0.23, 0.4, "95th percentile of validation images: 23 % flagged"),
            ),
        }
    )
