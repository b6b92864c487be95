#!/usr/bin/env bash
# The tests of mysqlclient, from its source package.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

settings=$(mktemp)
trap 'rm -- "$settings"' EXIT
cat >"$settings" <<SETTINGS
[MySQLdb-tests]
host = $DRIVER_HOST
port = $DRIVER_PORT
protocol = tcp
user = $DRIVER_USER
database = $DRIVER_SCHEMA
default-character-set = utf8mb4
SETTINGS
cd -- "$SUITE_FOLDER"/sources/mysqlclient-*/
# It creates and drops the same tables in each test; test_sqlalchemy wants a package of its own.
(($#)) || set -- tests --ignore tests/test_sqlalchemy.py
TESTDB=$settings pytest_lines "$@"
