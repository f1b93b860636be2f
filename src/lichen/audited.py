"""An ``audit.json`` as far as a release needs it: which images passed, and how many copies may be left among them.

What is read here was written by somebody, somewhere: names become paths and sentences become a page for strangers, so
whatever is not understood is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lichen.audit.fdr import benjamini_hochberg
from lichen.audit.rates import at_most
from lichen.audit.result import EXIT_CODES, LAYOUT, Verdict
from lichen.errors import AuditError

MOST_NAME_BYTES = 1024
MOST_LABEL = 80

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RUN_AGAIN = "run lichen audit with this version, and release what it wrote"


@dataclass(frozen=True)
class AuditedImage:
    """What the audit says of one synthetic image."""

    file: str
    """Path relative to the folder of synthetic images, with forward slashes; leads nowhere else."""
    sha256: str
    is_flagged: bool
    is_identical: bool
    is_compared: bool
    """False where no score could compare it (it is constant): nobody found it innocent."""

    @property
    def passed(self) -> bool:
        """Whether it may be shared, if the set may."""
        return self.is_compared and not self.is_flagged


@dataclass(frozen=True)
class CopyRate:
    """Share of copies among the audited images, with its interval."""

    estimate: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """How well the audit finds one kind of planted copies; None: not known."""

    power: float | None
    false_positive_rate: float | None
    n: int | None


@dataclass(frozen=True)
class Audited:
    """An ``audit.json``, as far as a release needs it; nothing in it names a real image or patient."""

    lichen: str
    verdict: Verdict
    images: tuple[AuditedImage, ...]
    copy_rate: CopyRate | None
    self_test: Mapping[str, Sensitivity]
    settings: Mapping[str, Any]
    """Numbers, switches and the names of scores: no text that could hold a path."""
    inputs: Mapping[str, str]
    """What was compared -> its SHA-256."""
    not_tested: tuple[str, ...]

    @property
    def released(self) -> tuple[AuditedImage, ...]:
        """The images that passed, in the order of the audit."""
        return tuple(image for image in self.images if image.passed)

    @property
    def flagged(self) -> int:
        """How many were flagged."""
        return sum(image.is_flagged for image in self.images)

    @property
    def not_compared(self) -> int:
        """How many more stay back, because no score could compare them."""
        return sum(not image.is_compared and not image.is_flagged for image in self.images)

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that decided."""
        return tuple(self.settings["scores"])

    @property
    def mean_power(self) -> float | None:
        """Mean share of planted copies found, over all transformations tested; None where none was."""
        known = [tested.power for tested in self.self_test.values() if tested.power is not None]
        return sum(known) / len(known) if known else None

    @property
    def copy_rate_high(self) -> float | None:
        """Upper end of the share of copies among the images that passed; None where the audit cannot bound it.

        Of ``high`` x m copies at most, the removed ones are gone: an expected share of 1 - q of the f flagged images,
        where q is the false-discovery rate, and every identical one. What remains is divided by the n images that
        passed. It is never less than 3 / (n x power), the upper end after none was found: no filter makes a set
        better known than that. That bound alone would not do: a filter that misses half of the copies flags none of
        what it left.
        """
        n, power = len(self.released), self.mean_power
        if self.copy_rate is None or not power or not n:
            return None
        q = float(self.settings["false_discovery_rate"])
        identical = sum(image.is_identical for image in self.images)
        removed = max((1 - q) * self.flagged, identical)
        remaining = max(0.0, self.copy_rate.high * len(self.images) - removed)
        return min(1.0, max(remaining / n, at_most(n, power)))


def read_audited(found: Any) -> Audited:
    """The parsed ``audit.json``.

    Raises:
        AuditError: it lacks something, holds something odd, or contradicts itself.
    """
    try:
        audited = _audited(_is(dict, found))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise AuditError(f"audit.json is not one that can be released from: {what}", fix=_RUN_AGAIN) from error
    if not audited.images:
        raise AuditError("audit.json lists no synthetic image", fix=_RUN_AGAIN)
    return audited


def _audited(found: dict[str, Any]) -> Audited:
    if found.get("layout") != LAYOUT:
        raise ValueError(f"its layout is {found.get('layout')!r}, and {LAYOUT} is the one known here")
    if found["verdict"] not in EXIT_CODES:
        raise ValueError(f"its verdict is {found['verdict']!r}")
    images = tuple(_image(_is(dict, entry)) for entry in _is(list, found["images"]))
    names = [image.file for image in images]
    if len(set(names)) < len(names):
        raise ValueError("it names an image twice")
    if set(_is(list, found["copies"])) != {image.file for image in images if image.is_flagged}:
        raise ValueError("its copies are not the flagged images")
    settings = _settings(_is(dict, found["settings"]))
    _check_verdict(found)
    _check_flags(found, images, settings["false_discovery_rate"])
    private = {entry[key] for entry in found["images"] for key in ("nearest", "nearest_image") if entry.get(key)}
    inputs = {_key(name): _sha256(digest) for name, digest in _is(dict, found["inputs"]).items()}
    not_tested = tuple(_is(str, words) for words in _is(list, found["not_tested"]))
    if any(str(name) in words for name in private for words in not_tested):
        raise ValueError("its list of what was not tested names a training image or patient")
    return Audited(
        lichen=_key(found["lichen"]),
        verdict=found["verdict"],
        images=images,
        copy_rate=None if found["copy_rate"] is None else _copy_rate(_is(dict, found["copy_rate"])),
        self_test={
            _label(name): _tested(_is(dict, entry)) for name, entry in _is(dict, found["self_test"] or {}).items()
        },
        settings=settings,
        inputs=inputs,
        not_tested=not_tested,
    )


def _check_verdict(found: dict[str, Any]) -> None:
    """Raise ValueError for a verdict that cannot follow from the rest of the file."""
    if found["verdict"] == "clean" and found["copies"]:
        raise ValueError("its verdict is 'clean', and it flags images")
    code = found.get("exit_code")
    if code is not None and code != EXIT_CODES[found["verdict"]]:
        raise ValueError(f"its verdict is {found['verdict']!r}, and its exit code {code!a}")


def _check_flags(found: dict[str, Any], images: tuple[AuditedImage, ...], rate: float) -> None:
    """Raise ValueError where an image is not flagged whose p-value says that it is; in a competition none decides."""
    if found.get("competition") is not None:
        return
    p_values = np.array([_share(entry["p_value"]) for entry in found["images"]])
    for image, is_copy in zip(images, benjamini_hochberg(p_values, rate).tolist(), strict=True):
        if is_copy and not image.is_flagged:
            raise ValueError(f"it does not flag {image.file}, whose p-value says that it is a copy")


def _image(entry: dict[str, Any]) -> AuditedImage:
    if "sha256" not in entry:
        raise ValueError("it does not bind its images by their SHA-256")
    flagged, identical = _is(bool, entry["flagged"]), _is(bool, entry["identical"])
    if identical and not flagged:
        raise ValueError("it passes an image that is identical to a training image")
    return AuditedImage(
        safe_name(_is(str, entry["file"])), _sha256(entry["sha256"]), flagged, identical, entry["score"] is not None
    )


def safe_name(name: str) -> str:
    """``name``, if it is a relative path in normal form that stays inside its folder and fits a list of sums.

    Raises ValueError for anything absolute, hidden, with ``..``, a backslash, a control character or no UTF-8 text.
    """
    parts = name.split("/")
    odd = any(not part or part.startswith(".") or part != part.strip() for part in parts)
    if odd or "\\" in name or not name.isprintable() or len(name.encode(errors="replace")) > MOST_NAME_BYTES:
        raise ValueError(f"it holds the file name {name!a}, which is no plain relative path")
    return name


def _copy_rate(found: dict[str, Any]) -> CopyRate:
    low, high = _share(found["low"]), _share(found["high"])
    estimate = None if found["estimate"] is None else _share(found["estimate"])
    if low > high:
        raise ValueError("its copy rate is no interval")
    return CopyRate(estimate, low, high)


def _tested(found: dict[str, Any]) -> Sensitivity:
    power, rate = (None if found[name] is None else _share(found[name]) for name in ("power", "false_positive_rate"))
    n = found.get("n")
    return Sensitivity(power, rate, None if n is None else _is(int, n))


def _settings(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers and switches of the settings, and the scores; a text may be a path, and stays behind."""
    scores = [_key(name) for name in _is(list, found["scores"])]
    _share(found["false_discovery_rate"])
    plain = {_key(name): value for name, value in found.items() if type(value) in {bool, int, float}}
    return {**_finite(plain), "scores": scores}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    if not all(math.isfinite(value) for value in values.values()):
        raise ValueError("a setting is no finite number")
    return values


def _share(value: Any) -> float:
    if type(value) not in {int, float} or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share between 0 and 1")
    return float(value)


def _sha256(value: Any) -> str:
    if not _SHA256.fullmatch(_is(str, value)):
        raise ValueError(f"{value!a} is no SHA-256")
    return str(value)


def _key(value: Any) -> str:
    if not _KEY.fullmatch(_is(str, value)):
        raise ValueError(f"{value!a} is no plain word")
    return str(value)


def _label(value: Any) -> str:
    if not _is(str, value) or len(value) > MOST_LABEL or not value.isprintable():
        raise ValueError(f"{value!a} is no name of a transformation")
    return str(value)


def _is(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!a} is not {kind.__name__}"[:200])
    return value
