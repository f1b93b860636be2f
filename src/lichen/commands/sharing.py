"""What leaves the house: release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lichen.arguments import parse
from lichen.commands.common import show
from lichen.plurals import plural

if TYPE_CHECKING:
    from lichen.chain.releasing import Release


def release(arguments: list[str]) -> int:
    """Make a folder to share of the synthetic images that passed their audit."""
    from lichen.options import ReleaseOptions

    options = parse(ReleaseOptions, "release", arguments)
    from lichen.chain.releasing import release

    done = release(options)
    show(options.json, done.as_json(), _in_words(done))
    return done.decision.exit_code


def _in_words(done: Release) -> str:
    removed = len(done.audited.images) - len(done.audited.released)
    high = done.audited.copy_rate_high
    rows = [
        ("verdict", f"{done.audited.verdict}, over {plural(len(done.audited.images), 'image')}"),
        ("passed", f"{plural(len(done.audited.released), 'image')}; {removed} stay back"),
        ("copies", "not bounded" if high is None else f"at most {high:.1%} of what passed"),
    ]
    if done.second is not None:
        rows.append(("second", f"{done.second.score}: {done.second.verdict}"))
        rows += [("", f"flagged: {name}") for name in done.second.flagged]
    rows += [("" if number else "refused", reason) for number, reason in enumerate(done.decision.reasons)]
    if done.folder is not None:
        rows += [("released", str(done.folder)), ("cite", f"SHA256SUMS, whose SHA-256 is {done.sums_sha256}")]
    return "\n".join(f"{name:<8} {words}" for name, words in rows)
