#!/usr/bin/env bash
# The tests of SQLAlchemy that concern the database, from its source package: over mysqlclient.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

cd -- "$SUITE_FOLDER"/sources/sqlalchemy-*/
(($#)) || set -- test/dialect/test_suite.py test/dialect/mysql test/sql/test_query.py test/sql/test_insert_exec.py \
    test/engine/test_transaction.py test/orm/test_transaction.py test/orm/test_unitofwork.py
pytest_lines --dburi "mysql+mysqldb://$DRIVER_USER@$DRIVER_HOST:$DRIVER_PORT/$DRIVER_SCHEMA?charset=utf8mb4" \
    -p no:warnings "$@"
