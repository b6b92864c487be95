"""Django's ORM over mysqlclient: models, migrations by the schema editor, transactions, locks."""

import datetime
import decimal
import pathlib
import sys
import uuid

import django
from django.apps import AppConfig
from django.conf import settings

from transcript import COMPRESS, HOST, PASSWORD, PORT, SCHEMA, TLS_CA, USER, step

options = {"charset": "utf8mb4", "isolation_level": "repeatable read"}
if TLS_CA:
    options["ssl"] = {"ca": TLS_CA}
if COMPRESS:
    options["compress"] = True


class Drive(AppConfig):
    """This file is the whole application."""

    label = "drive"
    path = str(pathlib.Path(__file__).parent)


database = {"ENGINE": "django.db.backends.mysql", "HOST": HOST, "PORT": PORT, "USER": USER, "PASSWORD": PASSWORD,
            "NAME": SCHEMA, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
settings.configure(
    DATABASES={"default": database, "other": dict(database)}, INSTALLED_APPS=[Drive("drive", sys.modules[__name__])], USE_TZ=True, TIME_ZONE="Asia/Tokyo",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", SILENCED_SYSTEM_CHECKS=["mysql.W002"])
django.setup()

from django.db import connection, connections, models, transaction  # noqa: E402
from django.db.models import Avg, Count, F, Max, OuterRef, Q, Subquery, Sum  # noqa: E402
from django.db.models.functions import Concat, Length, TruncMonth, Upper  # noqa: E402


class Author(models.Model):
    name = models.CharField(max_length=100, unique=True)
    big = models.BigIntegerField(default=0)
    positive = models.PositiveBigIntegerField(null=True)
    small = models.SmallIntegerField(null=True)
    flag = models.BooleanField(null=True)
    price = models.DecimalField(max_digits=40, decimal_places=10, null=True)
    ratio = models.FloatField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    hour = models.TimeField(null=True)
    length = models.DurationField(null=True)
    text = models.TextField(null=True)
    data = models.BinaryField(null=True)
    extra = models.JSONField(null=True)
    key = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        app_label = "drive"
        db_table = "django_author"


class Book(models.Model):
    title = models.CharField(max_length=100)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    readers = models.ManyToManyField(Author, related_name="reads", db_table="django_readers")

    class Meta:
        app_label = "drive"
        db_table = "django_book"


def create():
    with connection.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)


def alter():
    with connection.schema_editor() as editor:
        field = models.CharField(max_length=20, default="x", db_index=True)
        field.set_attributes_from_name("added")
        editor.add_field(Author, field)
        editor.remove_field(Author, field)


def introspect():
    with connection.cursor() as cursor:
        ask = connection.introspection
        return {
            table: [ask.get_table_description(cursor, table), ask.get_constraints(cursor, table),
                    ask.get_relations(cursor, table), ask.get_primary_key_columns(cursor, table)]
            for table in ["django_author", "django_book", "item"]}


UTC = datetime.timezone.utc
EXTREMES = [
    {"name": "smallest", "big": -(2**63), "positive": 0, "small": -(2**15), "flag": False,
     "price": decimal.Decimal("-999999999999999999999999999999.9999999999"), "ratio": -1.7976931348623157e308,
     "day": datetime.date(1000, 1, 1), "moment": datetime.datetime(1000, 1, 1, tzinfo=UTC), "hour": datetime.time(0),
     "length": datetime.timedelta(microseconds=-1), "text": "", "data": b"", "extra": {}, "key": uuid.UUID(int=0),
     "address": "::"},
    {"name": "largest 😀", "big": 2**63 - 1, "positive": 2**64 - 1, "small": 2**15 - 1, "flag": True,
     "price": decimal.Decimal("999999999999999999999999999999.9999999999"), "ratio": 1.7976931348623157e308,
     "day": datetime.date(9999, 12, 31), "moment": datetime.datetime(9999, 12, 31, 1, 59, 59, 999999, tzinfo=UTC),
     "hour": datetime.time(23, 59, 59, 999999), "length": datetime.timedelta(days=106751991), "text": "😀" * 70000,
     "data": bytes(range(256)) * 1000, "extra": {"a": [1, -2.5, None, True, {"😀": "\"\n"}]},
     "key": uuid.UUID(int=2**128 - 1), "address": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"name": "nothing"},
]


def write():
    return [Author.objects.create(**values).name for values in EXTREMES]


def read():
    return list(Author.objects.order_by("name").values(*[f.name for f in Author._meta.fields if f.name != "id"]))


def names(authors=None):
    return list((Author.objects if authors is None else authors).order_by("name").values_list("name", flat=True))


def nested():
    refused = None
    with transaction.atomic():
        Author.objects.create(name="outer")
        try:
            with transaction.atomic():
                Author.objects.create(name="inner")
                Author.objects.create(name="outer")
        except django.db.IntegrityError as error:
            refused = error.args
        point = transaction.savepoint()
        Author.objects.create(name="undone")
        transaction.savepoint_rollback(point)
        Author.objects.create(name="after")
    return refused, names()


def abandoned():
    try:
        with transaction.atomic():
            Author.objects.create(name="abandoned")
            raise KeyError("on purpose")
    except KeyError:
        return names()


def broken():
    with transaction.atomic():
        try:
            Author.objects.create(name="outer")
        except django.db.IntegrityError:
            pass
        return Author.objects.count()


def books():
    author = Author.objects.get(name="after")
    Book.objects.bulk_create([Book(title=f"book {n} 😀", author=author) for n in range(250)], batch_size=100)
    first, second = Book.objects.order_by("title")[:2]
    first.readers.add(*Author.objects.all())
    return (Book.objects.count(), first.readers.count(), second.readers.count(),
            list(Book.objects.select_related("author").filter(author__name="after").order_by("title")
                 .values_list("title", "author__name")[:3]),
            [len(a.books.all()) for a in Author.objects.prefetch_related("books").order_by("name")])


def locked():
    found = {}
    for name, arguments in {"plain": {}, "nowait": {"nowait": True}, "skip": {"skip_locked": True}}.items():
        try:
            with transaction.atomic():
                found[name] = list(Author.objects.select_for_update(**arguments).filter(name="after").values_list("name"))
        except Exception as error:
            found[name] = [type(error).__name__, str(error)]
    return found


QUERIES = {
    "aggregate": lambda: Author.objects.aggregate(Sum("small"), Max("big"), Avg("ratio"), Count("name")),
    "count by": lambda: list(Author.objects.annotate(n=Count("books")).order_by("name").values_list("name", "n")),
    "functions": lambda: list(Author.objects.annotate(l=Length("name"), u=Upper(Concat("name", "name")))
                              .order_by("name").values_list("l", "u")),
    "or": lambda: names(Author.objects.filter(Q(flag=True) | Q(small__lt=0))),
    "dates": lambda: list(Author.objects.filter(moment__year__gt=2000).annotate(m=TruncMonth("moment"))
                          .values_list("name", "m")),
    "json": lambda: names(Author.objects.filter(extra__a__1__lt=0)),
    "subquery": lambda: list(Author.objects.annotate(book=Subquery(
        Book.objects.filter(author=OuterRef("pk")).order_by("title").values("title")[:1])).order_by("name")
        .values_list("name", "book")),
    "case": lambda: names(Author.objects.filter(name__icontains="LARGEST")),
    "pattern": lambda: names(Author.objects.filter(name__regex="^[a-o]")),
}


def updates():
    return (
        Author.objects.filter(name="after").update(small=F("id") - F("id") + 7),
        Author.objects.get_or_create(name="got")[1], Author.objects.get_or_create(name="got")[1],
        Author.objects.update_or_create(name="got", defaults={"small": 5})[1],
        Author.objects.bulk_create([Author(name="got", small=6), Author(name="made", small=7)], update_conflicts=True,
                                   update_fields=["small"]) and 0,
        list(Author.objects.order_by("name").values_list("name", "small")),
        Author.objects.filter(name="got").delete(),
    )


def streamed():
    return sum(len(title) for title in Book.objects.values_list("title", flat=True).iterator(chunk_size=50))


def raw():
    with connection.cursor() as cursor:
        cursor.execute("SELECT n, name FROM many WHERE n < %s ORDER BY n", [3])
        rows = cursor.fetchall()
        cursor.execute("UPDATE item SET n = 1")
        return rows, cursor.rowcount


def reconnected():
    with connection.cursor() as cursor, connections["other"].cursor() as other:
        cursor.execute("SELECT CONNECTION_ID()")
        other.execute(f"KILL {cursor.fetchone()[0]}")
    for _ in range(500):
        if not connection.is_usable():
            break
    connection.close_if_health_check_failed()
    connection.close()
    return names()


def drop():
    with connection.schema_editor() as editor:
        editor.delete_model(Book)
        editor.delete_model(Author)


for name, action in {
    "version": lambda: (connection.mysql_version, connection.mysql_is_mariadb, connection.vendor,
                        connection.data_types_suffix, connection.sql_mode),
    "create": create, "alter": alter, "introspect": introspect, "write": write, "read": read, "nested": nested,
    "abandoned": abandoned, "broken transaction": broken, "books": books, "locked": locked,
    **QUERIES, "updates": updates, "streamed": streamed, "raw": raw,
    "too long": lambda: Author.objects.create(name="x" * 101).name,
    "null": lambda: Author.objects.create(name=None).name,
    "features": lambda: {feature: getattr(connection.features, feature) for feature in [
        "has_select_for_update_skip_locked", "supports_transactions", "supports_json_field",
        "can_introspect_foreign_keys", "supports_explain_analyze", "has_zoneinfo_database"]},
    "explain": lambda: len(Author.objects.all().explain()) > 0,
    "delete": lambda: Author.objects.filter(name="after").delete(),
    "reconnected": reconnected, "drop": drop,
}.items():
    step(name, action)
