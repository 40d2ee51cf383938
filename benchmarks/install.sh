#!/bin/sh
# Makes .venv-bench, an environment of its own for the programs that benchmarks compare with, and installs
# Samba's clients (needs root; not with `install.sh packages`). Nothing of it is part of the product. Does
# nothing when all is there.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-bench
wanted="aiosmb==0.4.14 impacket==0.13.1 pike-smb2==0.4.6 pysmb==1.2.15 smbprotocol==1.17.0 vsmb==0.1.4
    git-bayesect==1.2 picire==21.8"
mark="$venv/.complete"
if ! { [ -f "$mark" ] && [ "$(cat "$mark")" = "$wanted" ] && [ -x "$venv/bin/python" ]; }; then
    ${PYTHON:-python3} -m venv "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile $wanted
    echo "$wanted" > "$mark"
fi
[ "${1:-}" = packages ] && exit 0
missing=""
command -v smbtorture >/dev/null 2>&1 || missing="$missing samba-testsuite"
command -v smbclient >/dev/null 2>&1 || missing="$missing smbclient"
[ -z "$missing" ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "not root: cannot install$missing"; exit 1; }
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
