#!/usr/bin/env bash
# The tests of go-sql-driver/mysql, from its module.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

export MYSQL_TEST_USER=$DRIVER_USER MYSQL_TEST_PASS='' MYSQL_TEST_DBNAME=$DRIVER_SCHEMA
export MYSQL_TEST_ADDR=$DRIVER_HOST:$DRIVER_PORT MYSQL_TEST_CONCURRENT=1
# One test tries an address of the outside world.
options=(-test.v -test.timeout=10m -test.skip '^TestConnectorReturnsTimeout$')
(($#)) && options+=(-test.run "^($(IFS='|' && printf '%s' "$*"))$")

folder=$(mktemp -d)
trap 'rm -r -- "$folder"' EXIT
cd -- "$folder"
# Only whole tests: their parts can't be run alone.
{ "$SUITE_FOLDER/go_sql_driver.test" "${options[@]}" 2>/dev/null || true; } |
    sed --quiet --regexp-extended 's/^--- (PASS|FAIL): (\S+) .*/\1 \2/p'
