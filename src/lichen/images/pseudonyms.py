"""Names that stand for patients and scans, and that nobody can trace back without a key.

A plain hash of a patient number is no protection: there are few numbers, so all their hashes can be tried. With a
secret key (HMAC, RFC 2104) that takes the key. It is made once and kept in the user's home, so that a patient has the
same pseudonym in every run on this machine, and another one elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from lichen.errors import ImageError

KEY_VARIABLE = "LICHEN_PSEUDONYM_KEY"
"""Environment variable that holds the key itself, for machines that share one or have no home."""
LEAST_CHARACTERS = 32
DIGITS = 12
"""Hexadecimal digits of a pseudonym: among a million names, two share one with a chance of 1 in 500."""

Pseudonym = Callable[[str, str], str]
"""(kind, value) -> ``kind-0123456789ab``."""


def pseudonyms(environment: Mapping[str, str] | None = None) -> Pseudonym:
    """A function that replaces values by pseudonyms with the user's key, which is made if there is none.

    Raises ImageError if the key cannot be read or kept, or is too short.
    """
    return keyed(_key(os.environ if environment is None else environment))


def keyed(key: bytes) -> Pseudonym:
    """A function that replaces values by pseudonyms with ``key``: HMAC-SHA256, cut to ``DIGITS`` digits."""

    def pseudonym(kind: str, value: str) -> str:
        digest = hmac.new(key, f"{kind}\x1f{value}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
        return f"{kind}-{digest[:DIGITS]}"

    return pseudonym


def key_path(environment: Mapping[str, str]) -> Path:
    """Where the key is kept: in the folder for data of the XDG Base Directory Specification."""
    base = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME") or "~").expanduser() / ".local/share")
    return Path(base) / "lichen" / "pseudonym.key"


def _key(environment: Mapping[str, str]) -> bytes:
    path = key_path(environment)
    given = environment.get(KEY_VARIABLE)
    try:
        text = given if given is not None else _kept(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"the key for pseudonyms of DICOM patients cannot be kept in {path} ({error})",
            fix=f"set {KEY_VARIABLE} to a secret of at least {LEAST_CHARACTERS} characters",
        ) from error
    if len(text.strip()) < LEAST_CHARACTERS:
        raise ImageError(
            f"the key for pseudonyms in {path if given is None else KEY_VARIABLE} has fewer than "
            f"{LEAST_CHARACTERS} characters",
            fix="use a longer secret, e.g. of python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return text.strip().encode()


def _kept(path: Path) -> str:
    """The text of the key file; of two processes that make it at once, both get the one that was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text("ascii")
