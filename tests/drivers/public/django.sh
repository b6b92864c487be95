#!/usr/bin/env bash
# The tests of Django that concern the database, from its source package.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

folder=$(mktemp -d)
trap 'rm -r -- "$folder"' EXIT
cat >"$folder/txguard_settings.py" <<SETTINGS
def database(name):
    return {
        "ENGINE": "django.db.backends.mysql", "HOST": "$DRIVER_HOST", "PORT": $DRIVER_PORT, "USER": "$DRIVER_USER",
        "NAME": name, "TEST": {"NAME": name, "CHARSET": "utf8mb4", "COLLATION": "utf8mb4_general_ci"},
    }

DATABASES = {"default": database("$DRIVER_SCHEMA"), "other": database("${DRIVER_SCHEMA}_other")}
SECRET_KEY = "tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False

if "$DRIVER_SERVER" == "tidb":
    # Models of the suite are created with these, and TiDB has no Esperanto and no Swedish.
    from django.db.backends.mysql.features import DatabaseFeatures

    DatabaseFeatures.test_collations = {
        "ci": "utf8mb4_general_ci", "non_default": "utf8mb4_unicode_ci", "swedish_ci": "utf8mb4_unicode_ci",
        "virtual": "utf8mb4_unicode_ci",
    }
SETTINGS
cd -- "$SUITE_FOLDER"/sources/[Dd]jango-*/tests
(($#)) || set -- backends basic bulk_create datatypes datetimes delete expressions get_or_create introspection \
    many_to_many m2m_through model_fields nested_foreign_keys ordering prefetch_related raw_query save_delete_hooks \
    select_for_update select_related timezones transaction_hooks transactions update
# Names as runtests.py takes them: in `test (module.Class.test) ... ok`, the part in parentheses.
{ PYTHONPATH=$folder "$python" runtests.py --settings=txguard_settings --noinput --parallel=1 --verbosity=2 "$@" 2>&1 ||
    true; } |
    sed --quiet --regexp-extended '
        s/^test\S* \(([^)]+)\).* \.\.\. ok$/PASS \1/p
        s/^(FAIL|ERROR): test\S* \(([^)]+)\).*/FAIL \2/p'
