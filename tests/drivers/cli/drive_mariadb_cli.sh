#!/usr/bin/env bash
# The command line client (mariadb): batch, table and vertical output, scripts, LOCAL INFILE, errors. Each step is a
# call, and what it printed with its exit code is said.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -r -- "$folder"' EXIT
export MYSQL_PWD=$DRIVER_PASSWORD

options=(--no-defaults --protocol=tcp --host="$DRIVER_HOST" --port="$DRIVER_PORT" --user="$DRIVER_USER"
    --default-character-set=utf8mb4 --max-allowed-packet=64M)
[[ -z ${DRIVER_TLS_CA:-} ]] || options+=(--ssl-ca="$DRIVER_TLS_CA" --ssl-verify-server-cert)
[[ -z ${DRIVER_COMPRESS:-} ]] || options+=(--compress)

# quote: standard input as a JSON string.
quote() {
    local text
    # A byte at the end keeps the line ends before it.
    text=$(iconv --from-code=UTF-8 --to-code=UTF-8//IGNORE 2>/dev/null | tr -d '\000-\010\013-\037' && printf x)
    text=${text%x}
    text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

# step NAME ARGUMENT...: runs the client with standard input as it is.
step() {
    local name=$1 code=0 kind=result said
    shift
    # Times that a statement took are no two times the same.
    mariadb "${options[@]}" "$@" >"$folder/out" 2>"$folder/err" || code=$?
    ((code == 0)) || kind=error
    said=$(sed --regexp-extended 's/\([0-9.]+ (min|sec)[^)]*\)/(TIME)/' "$folder/out" | cut --bytes=-20000 | quote)
    printf '{"step": %s, "%s": {"out": %s, "sum": "%s", "err": %s, "code": %d}}\n' "$(printf %s "$name" | quote)" \
        "$kind" "$said" "$(sed --regexp-extended 's/\([0-9.]+ (min|sec)[^)]*\)/(TIME)/' "$folder/out" | md5sum | cut -c 1-12)" \
        "$(sed "s/$DRIVER_PORT/PORT/g" "$folder/err" | quote)" "$code"
}

# ask NAME STATEMENT [OPTION...]
ask() {
    local name=$1 statement=$2
    shift 2
    step "$name" "$@" --execute="$statement" "$DRIVER_SCHEMA"
}

# all TABLE: the names and statements of a table, each in a line, tabs between.
all() {
    mariadb "${options[@]}" --batch --skip-column-names --raw \
        --execute="SELECT name, REPLACE(statement, '\n', ' ') FROM $1 ORDER BY id" "$DRIVER_SCHEMA"
}

ask hello 'SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode, @@character_set_client'
MYSQL_PWD=wrong ask 'wrong password' 'SELECT 1'
MYSQL_PWD='' ask 'no password' 'SELECT 1'
ask 'unknown user' 'SELECT 1' --user=nobody
step 'unknown schema' --execute='SELECT 1' nowhere
step 'no schema' --execute='SELECT DATABASE()'

# One connection each, so that ids don't depend on the client's own questions.
while IFS=$'\t' read -r name statement; do
    ask "asked $name" "$statement"
done < <(all asked)
while IFS=$'\t' read -r name statement; do
    ask "refused $name" "$statement"
done < <(all refused)

ask 'extremes' 'SELECT * FROM extremes ORDER BY id' --vertical
ask 'extremes as a table' 'SELECT * FROM extremes ORDER BY id' --table --column-type-info
ask 'extremes as XML' 'SELECT * FROM extremes ORDER BY id' --xml
ask 'unbuffered' 'SELECT * FROM many ORDER BY n' --quick
ask 'copied' 'INSERT INTO copy SELECT * FROM extremes; SELECT COUNT(*) FROM copy' -vvv
ask 'several statements' 'SELECT 1; SELECT 2; SELECT n FROM many WHERE n < 3' -vvv
ask 'several statements, one refused' 'SELECT 1; SELEC 2; SELECT 3'
ask 'several statements, on with it' 'SELECT 1; SELEC 2; SELECT 3' --force
ask 'warnings' 'SELECT 1 / 0; SHOW WARNINGS' --show-warnings -v
ask 'a transaction' "BEGIN; INSERT INTO item (name) VALUES ('kept'); SAVEPOINT one;
    INSERT INTO item (name) VALUES ('lost'); ROLLBACK TO one; COMMIT; SELECT name FROM item" -vvv
ask 'a transaction that fails' "BEGIN; INSERT INTO item (name) VALUES ('kept'); COMMIT"
ask 'time zones' "SET time_zone = '+09:00'; SELECT c_timestamp FROM extremes ORDER BY id;
    SET time_zone = '-12:00'; SELECT c_timestamp FROM extremes ORDER BY id"
ask 'prepared by text' "PREPARE p FROM 'SELECT ? + ?'; SET @a = 1, @b = 2; EXECUTE p USING @a, @b; DEALLOCATE PREPARE p"
ask 'receive 17 MiB' "SELECT REPEAT('x', 17 * 1024 * 1024)"
ask 'binary' 'SELECT c_longblob, c_blob, c_bit_long FROM extremes ORDER BY id' --binary-as-hex
step 'a script' --comments -vvv "$DRIVER_SCHEMA" <<'SCRIPT'
-- A script with a delimiter of its own, client commands, and comments.
use information_schema
SELECT DATABASE();
delimiter //
SELECT 1; SELECT 2 //
delimiter ;
\W
SELECT /*! 3 */ AS three, 'semicolon; inside' AS text;
SCRIPT

for ((n = 1; n <= 5000; n++)); do
    printf '%d\tname 😀 %d\t%d\n' "$((n + 100))" "$n" "$n"
done >"$folder/rows"
load="LOAD DATA LOCAL INFILE '$folder/rows' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)"
ask 'local infile' "$load; SELECT COUNT(*), SUM(n), MIN(name) FROM item" --local-infile=1
ask 'local infile, not allowed' "LOAD DATA LOCAL INFILE '/not/allowed' INTO TABLE item" --local-infile=0
ask 'local infile, no such file' "LOAD DATA LOCAL INFILE '/not/there' INTO TABLE item" --local-infile=1
if [[ $DRIVER_SERVER == mariadb ]]; then
    ask 'call' 'CALL results(3, @doubled); SELECT @doubled'
    ask 'call, error' 'CALL refuse()'
fi
