"""SQLAlchemy, core and ORM, over PyMySQL and over mysqlclient."""

import datetime
import decimal
import enum
import warnings

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

from transcript import HOST, IS_TIDB, PASSWORD, PORT, SCHEMA, TLS_CA, USER, step

# TiDB's answers about foreign keys and the like are worth a warning to SQLAlchemy, not to us.
warnings.simplefilter("ignore")


class Base(orm.DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Customer(Base):
    __tablename__ = "orm_customer"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(100), unique=True)
    balance: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(20, 6), default=0)
    born: orm.Mapped[datetime.date | None]
    seen: orm.Mapped[datetime.datetime | None] = orm.mapped_column(mysql.DATETIME(fsp=6))
    colour: orm.Mapped[Colour | None] = orm.mapped_column(sa.Enum(Colour))
    extra: orm.Mapped[dict | None] = orm.mapped_column(sa.JSON)
    photo: orm.Mapped[bytes | None] = orm.mapped_column(mysql.MEDIUMBLOB)
    version: orm.Mapped[int] = orm.mapped_column(default=0)
    orders: orm.Mapped[list["Order"]] = orm.relationship(
        back_populates="customer", cascade="all, delete-orphan", order_by="Order.number")
    __mapper_args__ = {"version_id_col": version}


class Order(Base):
    __tablename__ = "orm_order"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    number: orm.Mapped[int]
    customer_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("orm_customer.id"))
    customer: orm.Mapped[Customer] = orm.relationship(back_populates="orders")


def url(driver):
    return sa.URL.create(f"mysql+{driver}", host=HOST, port=PORT, username=USER, database=SCHEMA,
                         query={"charset": "utf8mb4"} | ({"ssl_ca": TLS_CA} if TLS_CA else {}))


class Suite:
    def __init__(self, driver):
        self.driver = driver
        self.engine = sa.create_engine(url(driver), connect_args=self.login(), pool_size=3, max_overflow=2, pool_pre_ping=True)
        self.sessions = orm.sessionmaker(self.engine)

    def login(self):
        # PyMySQL takes text in a password for Latin 1.
        return {"password": PASSWORD.encode() if self.driver == "pymysql" else PASSWORD}

    def step(self, name, action):
        return step(f"{self.driver}: {name}", action)

    def run(self):
        self.step("version", self.version)
        self.step("create tables", lambda: Base.metadata.create_all(self.engine))
        self.reflection()
        self.columns()
        self.core()
        self.orm()
        self.locking()
        self.isolation()
        self.pool()
        self.step("drop tables", lambda: Base.metadata.drop_all(self.engine))
        self.engine.dispose()

    def version(self):
        with self.engine.connect() as connection:
            dialect = connection.dialect
            return dialect.server_version_info, dialect.default_schema_name, dialect.get_isolation_level(
                connection.connection.dbapi_connection)

    def reflection(self):
        inspector = sa.inspect(self.engine)
        self.step("tables", inspector.get_table_names)
        for table in ["extremes", "item", "orm_order"]:
            for ask in ["get_columns", "get_pk_constraint", "get_indexes", "get_foreign_keys",
                        "get_unique_constraints", "get_table_options", "get_check_constraints"]:
                self.step(f"{ask} {table}", lambda: represented(getattr(inspector, ask)(table)))

    def columns(self):
        extremes = sa.Table("extremes", sa.MetaData(), autoload_with=self.engine)
        copy = sa.Table("copy", sa.MetaData(), autoload_with=self.engine)
        for column in list(extremes.c)[1:]:
            def read():
                with self.engine.connect() as connection:
                    query = sa.select(extremes.c.id, column).order_by(extremes.c.id)
                    return [tuple(row) for row in connection.execute(query)]

            def write():
                counts = []
                with self.engine.connect() as connection:
                    for row in read():
                        try:
                            with connection.begin_nested():
                                inserted = connection.execute(sa.insert(copy).values({"id": row[0], column.name: row[1]}))
                                counts.append(inserted.rowcount)
                        except sa.exc.SQLAlchemyError as error:
                            counts.append(str(getattr(error, "orig", error)))
                    equal = connection.execute(sa.text(
                        f"SELECT c.id, c.{column.name} <=> e.{column.name} FROM copy c JOIN extremes e USING (id)"
                        " ORDER BY id")).all()
                    connection.rollback()
                return counts, [tuple(row) for row in equal]
            self.step(f"read {column.name}", read)
            self.step(f"write {column.name}", write)

    def core(self):
        item = sa.Table("item", sa.MetaData(), autoload_with=self.engine)

        def run(statement, values=None):
            with self.engine.begin() as connection:
                done = connection.execute(statement, values or {})
                return [tuple(row) for row in done] if done.returns_rows else done.rowcount
        upsert = mysql.insert(item).values(name="a", n=5)
        for name, statement, values in [
            ("insert", sa.insert(item), [{"name": name, "n": n} for n, name in enumerate("abc😀")]),
            ("select", sa.select(item.c.name, item.c.n).order_by(item.c.n), None),
            ("update", sa.update(item).where(item.c.name == "a").values(n=item.c.n + 1), None),
            ("upsert", upsert.on_duplicate_key_update(n=upsert.inserted.n + 10), None),
            ("with", sa.select(sa.func.count()).select_from(sa.select(item).where(item.c.n > 1).cte("more")), None),
            ("window", sa.select(item.c.name, sa.func.row_number().over(order_by=item.c.name)).order_by(item.c.name), None),
            ("in", sa.select(item.c.name).where(item.c.name.in_(["a", "b"])).order_by(item.c.name), None),
            ("duplicate", sa.insert(item), {"name": "a"}),
            ("no table", sa.text("SELECT * FROM nowhere"), None),
            ("delete", sa.delete(item), None),
        ]:
            self.step(f"core: {name}", lambda: run(statement, values))

        def stream():
            many = sa.Table("many", sa.MetaData(), autoload_with=self.engine)
            with self.engine.connect().execution_options(stream_results=True, max_row_buffer=100) as connection:
                return sum(row.n for row in connection.execute(sa.select(many)))
        self.step("core: stream", stream)

    def orm(self):
        def add():
            with self.sessions.begin() as session:
                session.add_all([
                    Customer(name="Zoë 😀", balance=decimal.Decimal("12345678901234.123456"),
                             born=datetime.date(1000, 1, 1), seen=datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
                             colour=Colour.BLUE, extra={"a": [1, None, "😀"]}, photo=bytes(range(256)) * 300,
                             orders=[Order(number=n) for n in range(3)]),
                    Customer(name="Nobody"),
                ])

        def read():
            with self.sessions() as session:
                query = sa.select(Customer).options(orm.selectinload(Customer.orders)).order_by(Customer.name)
                return [(c.name, c.balance, c.born, c.seen, c.colour and c.colour.name, c.extra, c.photo, c.version,
                         [order.number for order in c.orders]) for c in session.scalars(query)]

        def change():
            with self.sessions.begin() as session:
                customer = session.scalars(sa.select(Customer).where(Customer.name == "Nobody")).one()
                customer.balance += 10
                session.flush()
                try:
                    with session.begin_nested():
                        session.add(Customer(name="Nobody"))
                except sa.exc.IntegrityError as error:
                    refused = error.orig.args[0]
                with session.begin_nested() as inner:
                    session.add(Customer(name="Undone"))
                    session.flush()
                    inner.rollback()
                session.add(Order(number=9, customer=customer))
                return refused

        def stale():
            with self.sessions() as one, self.sessions() as two:
                first = one.scalars(sa.select(Customer).where(Customer.name == "Nobody")).one()
                second = two.scalars(sa.select(Customer).where(Customer.name == "Nobody")).one()
                two.commit()
                first.balance, second.balance = 1, 2
                one.commit()
                two.commit()

        def abandon():
            with self.sessions() as session:
                session.add(Customer(name="Abandoned"))
                session.flush()

        def remove():
            with self.sessions.begin() as session:
                for customer in session.scalars(sa.select(Customer)):
                    session.delete(customer)

        for name, action in [("add", add), ("read", read), ("change", change), ("changed", read),
                             ("stale version", stale), ("abandon", abandon), ("abandoned", read),
                             ("remove", remove), ("removed", read)]:
            self.step(f"orm: {name}", action)

    def locking(self):
        def lock(**options):
            with self.sessions.begin() as session:
                session.add(Customer(name="Locked"))
                session.flush()
                query = sa.select(Customer.name).where(Customer.name == "Locked").with_for_update(**options)
                names = session.scalars(query).all()
                session.execute(sa.delete(Customer).where(Customer.name == "Locked"))
                return names
        self.step("for update", lock)
        self.step("for update nowait", lambda: lock(nowait=True))
        self.step("for share", lambda: lock(read=True))

    def isolation(self):
        variable = "@@transaction_isolation" if IS_TIDB else "@@tx_isolation"
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"]:
            def ask():
                with self.engine.connect().execution_options(isolation_level=level) as connection:
                    return connection.scalar(sa.text(f"SELECT {variable}")), connection.get_isolation_level()
            self.step(f"isolation {level}", ask)

    def pool(self):
        def many():
            connections = [self.engine.connect() for _ in range(5)]
            answers = [connection.scalar(sa.text("SELECT 1")) for connection in connections]
            for connection in connections:
                connection.close()
            return answers, self.engine.pool.status().split("Connections")[0]

        def killed():
            """The pool notices by its ping, and connects again."""
            with self.engine.connect() as connection:
                victim = connection.scalar(sa.text("SELECT CONNECTION_ID()"))
            other = sa.create_engine(url(self.driver), connect_args=self.login(), poolclass=sa.NullPool)
            with other.connect() as connection:
                connection.execute(sa.text(f"KILL {victim}"))
            for _ in range(1000):
                try:
                    with self.engine.connect() as connection:
                        if connection.scalar(sa.text("SELECT CONNECTION_ID()")) != victim:
                            return "connected again"
                except sa.exc.OperationalError:
                    pass  # The kill came between ping and query.
            return "still there"
        self.step("pool: many", many)
        self.engine.dispose()
        self.step("pool: killed", killed)


def represented(value):
    """Reflected types are objects; their text says it all."""
    if isinstance(value, dict):
        return {key: represented(item) for key, item in value.items()}
    if isinstance(value, list):
        return [represented(item) for item in value]
    return repr(value) if isinstance(value, sa.types.TypeEngine) else value


for driver in ["pymysql", "mysqldb"]:
    Suite(driver).run()
