# shellcheck shell=bash
# What tests/run and the scripts beside this file share. To be sourced.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# Debian keeps mariadbd where an ordinary user doesn't look.
PATH=$PATH:/usr/sbin:/sbin

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The folder for what is slow to make: built tools and, in CI, cargo's target. Losing it costs time only.
cache_folder() {
    local folder=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/txguard
    if ! mkdir -p "$folder" 2>/dev/null || [[ ! -w $folder ]]; then
        folder=$root/target/cache
        mkdir -p "$folder"
    fi
    printf '%s\n' "$folder"
}

# build_once FILE COMMAND: makes FILE with `COMMAND TEMPORARY_FILE`, unless it is there already; callers at the same time
# wait for the first. What COMMAND prints goes to standard error.
build_once() {
    local file=$1 command=$2
    (
        flock 9
        [[ -x $file ]] && exit
        "$command" "$file.building" >&2
        mv -- "$file.building" "$file"
    ) 9>"$file.lock"
}
