"""Pseudonyms of the real patients and images that an audit names, and the private file that resolves them.

Whatever an audit writes or prints may be shared, so real patients and images have pseudonyms in it. Their key (HMAC,
see ``lichen.images.pseudonyms``) is made once in the audit's folder and never leaves ``PRIVATE-names.json``, in which
the owner of the images can look up whom a pseudonym stands for. Another audit's folder has another key, so nobody can
tell from two audits that they name the same patient.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lichen.errors import AuditError
from lichen.files import replacing
from lichen.images.pseudonyms import keyed

PRIVATE_NAMES = "PRIVATE-names.json"

_KEY = re.compile(r"[0-9a-f]{64}")
_ABOUT = (
    "PRIVATE: which patients and images the pseudonyms of this audit stand for, and their key. Keep it as private as "
    "the training images; audit.json and report.html can be shared without it."
)


class Names:
    """Pseudonyms by one key; remembers whom it named, so that a private list can resolve them."""

    def __init__(
        self, key: str, patients: Mapping[str, str] | None = None, images: Mapping[str, dict[str, str]] | None = None
    ) -> None:
        self._key = key
        self._pseudonym = keyed(key.encode())
        self._patients = dict(patients or {})
        self._images = dict(images or {})

    def patient(self, patient: str, *, held_out: bool = False) -> str:
        """``patient-<12 hexadecimal digits>``; ``held_out``: not the training patient of the same name."""
        pseudonym = self._pseudonym("patient", f"held-out\x1f{patient}" if held_out else patient)
        self._patients[pseudonym] = patient
        return pseudonym

    def image(self, file: str, patient: str, *, held_out: bool = False) -> str:
        """``image-<12 hexadecimal digits>`` of the image ``file`` of ``patient``.

        A held-out image has another pseudonym than a training image whose file has the same name.
        """
        pseudonym = self._pseudonym("image", f"held-out\x1f{file}" if held_out else file)
        self._images[pseudonym] = {
            "file": file,
            "patient": patient,
            "set": "held-out" if held_out else "training",
        }
        return pseudonym

    def as_json(self) -> dict[str, Any]:
        """The private list: the key, and everybody named so far."""
        return {"about": _ABOUT, "key": self._key, "patients": self._patients, "images": self._images}


def open_names(folder: Path) -> Names:
    """The pseudonyms of the audit in ``folder``, by the key that is kept there or by a new one, and whom it named.

    Raises AuditError if the file that should hold the key does not.
    """
    path = folder / PRIVATE_NAMES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Names(secrets.token_hex(32))
    except (OSError, ValueError) as error:
        raise AuditError(
            f"{path} cannot be read ({error})", fix="restore it, or delete it for new pseudonyms"
        ) from error
    key = found.get("key") if isinstance(found, dict) else None
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise AuditError(
            f"{path} holds no key of 64 hexadecimal digits", fix="restore it, or delete it for new pseudonyms"
        )
    return Names(key, found.get("patients"), found.get("images"))


def keep_names(names: Names, folder: Path) -> Path:
    """Write the private list of everybody whom ``names`` named; only its owner may read it. Returns its path."""
    path = folder / PRIVATE_NAMES
    with replacing(path) as temporary:
        temporary.touch(mode=0o600)  # before there is anything to read in it
        temporary.write_text(json.dumps(names.as_json(), indent=2) + "\n", encoding="utf-8")
    return path
