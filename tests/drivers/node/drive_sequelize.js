// Sequelize over mysql2: models, types, transactions, locks, reflection.
"use strict";

const fs = require("node:fs");
const { DataTypes, Op, QueryTypes, Sequelize, Transaction } = require("sequelize");
const t = require("./transcript.js");

const { step } = t;

const sequelize = new Sequelize(t.schema, t.user, t.password, {
  host: t.host, port: t.port, dialect: "mysql", logging: false, timezone: "+09:00", pool: { max: 4, min: 0 },
  define: { timestamps: false, freezeTableName: true },
  dialectOptions: { compress: t.compress, ...(t.tlsCa ? { ssl: { ca: fs.readFileSync(t.tlsCa) } } : {}) },
});

const Author = sequelize.define("sequelize_author", {
  name: { type: DataTypes.STRING(100), unique: true, allowNull: false },
  big: DataTypes.BIGINT, positive: DataTypes.BIGINT.UNSIGNED, tiny: DataTypes.TINYINT, flag: DataTypes.BOOLEAN,
  price: DataTypes.DECIMAL(40, 10), ratio: DataTypes.DOUBLE, day: DataTypes.DATEONLY, moment: DataTypes.DATE(6),
  hour: DataTypes.TIME, text: DataTypes.TEXT("long"), data: DataTypes.BLOB("long"), extra: DataTypes.JSON,
  colour: DataTypes.ENUM("red", "blue", "😀"), key: DataTypes.UUID,
});
const Book = sequelize.define("sequelize_book", { title: DataTypes.STRING(100) });
Author.hasMany(Book, { foreignKey: "author_id", as: "books" });
Book.belongsTo(Author, { foreignKey: "author_id", as: "author" });

const extremes = [
  { name: "smallest", big: "-9223372036854775808", positive: "0", tiny: -128, flag: false,
    price: "-999999999999999999999999999999.9999999999", ratio: -1.7976931348623157e308, day: "1000-01-01",
    moment: new Date("1000-01-02T00:00:00.001Z"), hour: "-838:59:59", text: "", data: Buffer.alloc(0), extra: {},
    colour: "red", key: "00000000-0000-0000-0000-000000000000" },
  { name: "largest 😀", big: "9223372036854775807", positive: "18446744073709551615", tiny: 127, flag: true,
    price: "999999999999999999999999999999.9999999999", ratio: 1.7976931348623157e308, day: "9999-12-31",
    moment: new Date("9999-12-30T23:59:59.999Z"), hour: "838:59:59", text: "😀".repeat(70000), data: t.blob(300000),
    extra: { a: [1, -2.5, null, true, { "😀": '"\n' }] }, colour: "😀", key: "ffffffff-ffff-ffff-ffff-ffffffffffff" },
  { name: "nothing" },
];

const plain = (value) => JSON.parse(JSON.stringify(value));
const without = (list) => list.map(({ id, author_id, ...rest }) => rest);
const names = async (where) => (await Author.findAll({ where, order: ["name"] })).map((author) => author.name);

const actions = {
  version: () => sequelize.databaseVersion(),
  authenticate: () => sequelize.authenticate(),
  create: () => sequelize.sync().then(() => true),
  tables: async () => (await sequelize.getQueryInterface().showAllTables()).map((table) => table.tableName ?? table),
  describe: () => sequelize.getQueryInterface().describeTable("sequelize_author"),
  indexes: () => sequelize.getQueryInterface().showIndex("sequelize_author"),
  "foreign keys": () => sequelize.getQueryInterface().getForeignKeyReferencesForTable("sequelize_book"),
  "add column": () => sequelize.getQueryInterface().addColumn("sequelize_author", "added", { type: DataTypes.INTEGER }),
  "remove column": () => sequelize.getQueryInterface().removeColumn("sequelize_author", "added"),
  write: async () => {
    for (const values of extremes) await Author.create(values);
    return true;
  },
  read: async () => without((await Author.findAll({ order: ["name"], raw: true }))),
  "read models": async () => without(plain(await Author.findAll({ order: ["name"] }))),
  "bulk create": async () => {
    const author = await Author.findOne({ where: { name: "nothing" } });
    await Book.bulkCreate(Array.from({ length: 250 }, (_, n) => ({ title: `book ${n} 😀`, author_id: author.id })));
    return Book.count();
  },
  include: async () => {
    const author = await Author.findOne({ where: { name: "nothing" }, include: "books", order: [["books", "title", "ASC"]] });
    return author.books.slice(0, 3).map((book) => book.title);
  },
  join: async () => (await Book.findAll({ include: "author", order: ["title"], limit: 2, offset: 3 }))
    .map((book) => [book.title, book.author.name]),
  where: () => names({ [Op.or]: [{ tiny: { [Op.lt]: 0 } }, { name: { [Op.like]: "noth%" } }], flag: { [Op.or]: [null, false] } }),
  json: () => names({ "extra.a[1]": -2.5 }),
  aggregate: async () => [await Author.sum("tiny"), await Author.max("name"), await Author.count()],
  upsert: () => Author.upsert({ name: "nothing", tiny: 5 }).then(([, made]) => made),
  "find or create": () => Author.findOrCreate({ where: { name: "found" }, defaults: { tiny: 1 } }).then(([author, made]) => [author.tiny, made]),
  "find or create again": () => Author.findOrCreate({ where: { name: "found" } }).then(([author, made]) => [author.tiny, made]),
  increment: async () => {
    await Author.increment("tiny", { by: 2, where: { name: "found" } });
    return (await Author.findOne({ where: { name: "found" } })).tiny;
  },
  update: () => Author.update({ flag: true }, { where: { name: ["found", "nothing"] } }),
  duplicate: () => Author.create({ name: "found" }),
  "not null": () => Author.create({ name: null }),
  "too long": () => Author.create({ name: "x".repeat(101) }),
  "no table": () => sequelize.query("SELECT * FROM nowhere"),
  committed: async () => {
    await sequelize.transaction(async (transaction) => {
      await Author.create({ name: "committed" }, { transaction });
      await sequelize.transaction({ transaction }, (nested) => Author.create({ name: "nested" }, { transaction: nested }));
      await sequelize.transaction({ transaction }, async (nested) => {
        await Author.create({ name: "undone" }, { transaction: nested });
        throw new Error("inner");
      }).catch((error) => error.message);
    });
    return names();
  },
  "rolled back": async () => {
    await sequelize.transaction(async (transaction) => {
      await Author.create({ name: "lost" }, { transaction });
      throw new Error("on purpose");
    }).catch((error) => error.message);
    return names();
  },
  locked: () => sequelize.transaction(async (transaction) =>
    (await Author.findAll({ where: { name: "nested" }, lock: Transaction.LOCK.UPDATE, transaction })).map((one) => one.name)),
  ...Object.fromEntries(Object.values(Transaction.ISOLATION_LEVELS).map((isolationLevel) => [
    `isolation ${isolationLevel}`,
    () => sequelize.transaction({ isolationLevel }, (transaction) => Author.count({ transaction })),
  ])),
  replacements: () => sequelize.query("SELECT :a AS a, :b AS b", { replacements: { a: 1, b: "😀" }, type: QueryTypes.SELECT }),
  bind: () => sequelize.query("SELECT $a AS a, $b AS b", { bind: { a: 1, b: "😀" }, type: QueryTypes.SELECT }),
  "at once": async () => {
    const made = await Promise.all(Array.from({ length: 40 }, (_, n) => Book.create({ title: `many ${n}` })));
    return made.length;
  },
  destroy: () => Book.destroy({ where: { title: { [Op.like]: "many%" } } }),
  drop: () => sequelize.drop().then(() => true),
};

async function main() {
  for (const [name, action] of Object.entries(actions)) await step(name, action);
  await sequelize.close();
}

main();
