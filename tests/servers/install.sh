#!/bin/sh
# Installs the independent servers that tests/servers talk to, and tools that other tests compare with: PDBs
# (llvm-pdbutil) and cabinets. Needs root; without it those tests skip. `install.sh packages` installs those of
# the system only, and needs no .venv.
set -eu
cd "$(dirname "$0")/../.."
python=.venv/bin/python

has() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]
}

missing=""
has smbd || missing="$missing samba"
has sshd || missing="$missing openssh-server"
has llvm-pdbutil-19 || missing="$missing llvm-19"
has gcab || missing="$missing gcab"
has cabextract || missing="$missing cabextract"
has krb5kdc || missing="$missing krb5-kdc"
has kadmin.local || missing="$missing krb5-admin-server"
has kinit || missing="$missing krb5-user"
has go || missing="$missing golang-go"
[ -d /usr/share/gocode/src/github.com/vmware/govmomi ] || missing="$missing golang-github-vmware-govmomi-dev"
has ipmi_sim || missing="$missing openipmi"
has ipmitool || missing="$missing ipmitool"
has genisoimage || missing="$missing genisoimage"
has wimlib-imagex || missing="$missing wimtools"
has 7z || missing="$missing p7zip-full"
has udfinfo || missing="$missing udftools"
kerberos=yes
"$python" -c "import gssapi, krb5" 2>/dev/null || kerberos=""
if [ -z "$kerberos" ]; then # these packages of Python are built here
    has krb5-config || missing="$missing libkrb5-dev"
    has gcc || missing="$missing gcc libc6-dev"
    "${PYTHON:-python3}" -c "import os, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h')" 2>/dev/null ||
        missing="$missing python3-dev"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "not root: tests against$missing will be skipped"
    elif ! has apt-get; then
        echo "no apt-get: tests against$missing will be skipped"
    else
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    fi
fi

[ "${1:-}" = packages ] && exit 0

if [ -z "$kerberos" ] && [ -x "$python" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check "pyspnego[kerberos]>=0.11" ||
        echo "pyspnego[kerberos] cannot be built: tests against Kerberos will be skipped"
fi

if has go && [ -x "$python" ]; then # the vCenter simulator, into the user's cache
    PYTHONPATH=tests/servers "$python" -c "import sys, vcsim; sys.exit(vcsim.build() or 0)" ||
        echo "tests against a simulated vCenter will be skipped"
fi
