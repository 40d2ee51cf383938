#!/bin/sh
# Makes .venv-oracles, an environment of its own for the programs that tests hold the analyser against.
# Some of them have licences under which the product could not import them: here they only ever run as
# separate processes, started by tests. Without them those tests skip. Does nothing when all is there.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-oracles
wanted="volatility3>=2.28 ntoseye>=0.52 unicorn>=2.1.4"
mark="$venv/.complete"
[ -f "$mark" ] && [ "$(cat "$mark")" = "$wanted" ] && [ -x "$venv/bin/vol" ] && exit 0
${PYTHON:-python3} -m venv "$venv" || { echo "python3-venv is missing: tests against other analysers will be skipped"; exit 0; }
# shellcheck disable=SC2086
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check $wanted || {
    echo "no package index: tests against other analysers will be skipped"
    exit 0
}
# For coverage-guided fuzzing alone; it has wheels for some versions of Python only.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "atheris>=2.3" \
    2>/dev/null || true
echo "$wanted" > "$mark"
