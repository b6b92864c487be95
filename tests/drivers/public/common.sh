# shellcheck shell=bash
# What the suites share. A suite runs the tests that a driver's own package holds: all it wants, or those named. It
# prints `PASS NAME` or `FAIL NAME` for each; what was skipped is not said. Environment: DRIVER_HOST, DRIVER_PORT,
# DRIVER_USER, DRIVER_SCHEMA (which is there, empty), DRIVER_SERVER, and SUITE_FOLDER, which driver-env prepared.

set -euo pipefail

: "${DRIVER_HOST:?}" "${DRIVER_PORT:?}" "${DRIVER_USER:?}" "${DRIVER_SCHEMA:?}" "${DRIVER_SERVER:?}" "${SUITE_FOLDER:?}"
python=$SUITE_FOLDER/bin/python
export PYTHONDONTWRITEBYTECODE=1

# A suite that fails tells so by its lines.
# pytest_lines ARGUMENT...: in the current folder.
pytest_lines() {
    "$python" -m pytest -p no:cacheprovider --quiet --tb=no -rA "$@" |
        sed --quiet --regexp-extended 's/^PASSED (.*)/PASS \1/p; s/^(FAILED|ERROR) ([^ ]+).*/FAIL \2/p' || true
}
