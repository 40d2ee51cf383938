#!/bin/sh
# Installs the independent servers that tests/servers talk to, and tools that other tests compare with: PDBs
# (llvm-pdbutil) and cabinets. Needs root; without it those tests skip.
set -eu
missing=""
command -v smbd >/dev/null 2>&1 || [ -x /usr/sbin/smbd ] || missing="$missing samba"
command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
command -v llvm-pdbutil-19 >/dev/null 2>&1 || missing="$missing llvm-19"
command -v gcab >/dev/null 2>&1 || missing="$missing gcab"
command -v cabextract >/dev/null 2>&1 || missing="$missing cabextract"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "not root: tests against$missing will be skipped"
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || { echo "no apt-get: tests against$missing will be skipped"; exit 0; }
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
