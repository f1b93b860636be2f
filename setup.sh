#!/usr/bin/env bash
# Makes .venv beside this file and installs lichen into it. Safe to repeat: it installs only when something changed.
# Needs python3.11 or newer and pip, nothing else: "--without-pip" works on a Debian without python3-venv.
#   ./setup.sh          what a user needs
#   ./setup.sh dev      and what the tests need
set -euo pipefail
cd "$(dirname "$0")"
extra=${1:-}
say() { printf '%s\n' "$*" >&2; }

# Only what decides on the installation counts, so that a change of lint rules installs nothing again.
stamp="$(sed '/^\[tool\.ruff\]/,$d' pyproject.toml | cat - setup.sh | sha256sum | cut -c1-16)"
installed() { [ -x .venv/bin/lichen ] && grep -qxF "$stamp $1" .venv/lichen-setup 2>/dev/null; }

# One installation at a time: two scripts started together would tear the environment in half.
if command -v flock >/dev/null; then exec 9>.setup.lock; flock 9; fi
# What the tests need includes what a user needs.
if installed "$extra" || installed dev; then exit 0; fi

python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || { say "error: no python3 found."; say "  fix: apt-get install python3 python3-pip"; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { say "error: $("$python" --version) is too old; lichen needs Python 3.11."; say "  fix: install python3.11"; exit 2; }
# Inside an activated environment, which may be this one and has no pip: the Python that it was made from.
python=$("$python" -c 'import sys; print(sys._base_executable)')
"$python" -m pip --version >/dev/null 2>&1 ||
  { say "error: $python has no pip."; say "  fix: apt-get install python3-pip"; exit 2; }

[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
pip() { "$python" -m pip --python .venv/bin/python --disable-pip-version-check --quiet "$@"; }

# torch first and alone: a range, resolved with everything else, may bring gigabytes of GPU libraries along.
if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  say "lichen: installing PyTorch (once) ..."
  pip install "torch==2.13.0"
fi
say "lichen: installing lichen and what it needs ..."
pip install --editable ".${extra:+[$extra]}"
printf '%s\n' "$stamp $extra" >.venv/lichen-setup
