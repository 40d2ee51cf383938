#!/bin/sh
# Installs the independent servers that tests/servers talk to. Needs root; without it those tests skip.
set -eu
missing=""
command -v smbd >/dev/null 2>&1 || [ -x /usr/sbin/smbd ] || missing="$missing samba"
command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "not root: tests against$missing will be skipped"
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || { echo "no apt-get: tests against$missing will be skipped"; exit 0; }
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
