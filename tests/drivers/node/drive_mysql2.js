// mysql2: text and prepared, with its types as they are and as text; streams, pools, pipelining.
"use strict";

const fs = require("node:fs");
const { Readable } = require("node:stream");
const mysql = require("mysql2/promise");
const callbacks = require("mysql2");
const t = require("./transcript.js");

const { step } = t;

function options(changes = {}) {
  return {
    host: t.host, port: t.port, user: t.user, password: t.password, database: t.schema, charset: "utf8mb4",
    supportBigNumbers: true, timezone: "Z", compress: t.compress,
    ...(t.tlsCa ? { ssl: { ca: fs.readFileSync(t.tlsCa) } } : {}),
    ...changes,
  };
}

const connect = (changes) => mysql.createConnection(options(changes));

// Fields by what the server said of them.
function answer([rows, fields]) {
  const described = (list) => list?.map((f) => f && [f.name, f.columnType ?? f.type, f.flags, f.decimals, f.columnLength, f.characterSet]);
  const nested = Array.isArray(fields?.[0]) || fields?.some?.((f) => f === undefined);
  return { rows, fields: nested ? fields.map((list) => (Array.isArray(list) ? described(list) : list)) : described(fields) };
}

async function main() {
  await logins();
  const connection = await connect();
  const query = async (text, values) => answer(await connection.query(text, values));
  const kinds = {
    text: query,
    prepared: async (text, values) => answer(await connection.execute(text, values)),
    strings: async (text, values) =>
      answer(await connection.query({ sql: text, values, dateStrings: true, bigNumberStrings: true, rowsAsArray: true })),
    "prepared once": async (text, values = []) => {
      const statement = await connection.prepare(text);
      try {
        return answer(await statement.execute(values));
      } finally {
        // Closing it by itself would leave it in the driver's cache.
        connection.unprepare(text);
      }
    },
  };
  for (const [kind, ask] of Object.entries(kinds)) {
    await asked(kind, ask, query);
    await columns(kind, ask, query, connection);
    await refused(kind, ask, query);
    await big(kind, ask, kind === "text");
  }
  await transactions(connection, query);
  await extra(connection, query);
  await pipelined();
  await pools(query);
  await multi();
  await localInfile(query);
  await reconnect(query);
  await connection.end();
  await step("closed", () => query("SELECT 1"));
}

async function logins() {
  const cases = {
    login: {}, "wrong password": { password: "wrong" }, "no password": { password: "" },
    "unknown user": { user: "nobody" }, "unknown schema": { database: "nowhere" }, "no schema": { database: undefined },
    "found rows": { flags: ["FOUND_ROWS"] }, attributes: { connectAttributes: { program: "tests 😀" } },
  };
  for (const [name, changes] of Object.entries(cases)) {
    await step(name, async () => {
      const connection = await connect(changes);
      const said = await connection.query(
        "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode, @@character_set_client, @@collation_connection");
      await connection.end();
      return said[0];
    });
  }
}

async function asked(kind, ask, query) {
  await query("DELETE FROM item");
  await query("ALTER TABLE item AUTO_INCREMENT = 1");
  for (const { name, statement } of (await query("SELECT name, statement FROM asked ORDER BY id")).rows) {
    await step(`${kind}: asked ${name}`, () => ask(statement));
  }
}

async function columns(kind, ask, query, connection) {
  for (const { Field: column } of (await query("SHOW COLUMNS FROM extremes")).rows.slice(1)) {
    await step(`${kind}: read ${column}`, () => ask(`SELECT id, ${column} FROM extremes ORDER BY id`));
    // Each value goes back as a parameter, in the encoding that the driver has for it.
    await step(`${kind}: write ${column}`, async () => {
      const { rows } = await ask(`SELECT id, ${column} FROM extremes ORDER BY id`);
      await connection.beginTransaction();
      const said = [];
      for (const row of rows) {
        const [id, value] = Object.values(row);
        try {
          said.push((await ask(`INSERT INTO copy (id, ${column}) VALUES (?, ?)`, [id, value])).rows);
        } catch (error) {
          said.push([error.code, error.message]);
        }
      }
      const equal = await query(
        `SELECT c.id, c.${column} <=> e.${column} AS same FROM copy c JOIN extremes e USING (id) ORDER BY id`);
      await connection.rollback();
      return [said, equal.rows];
    });
  }
}

async function refused(kind, ask, query) {
  for (const { name, statement } of (await query("SELECT name, statement FROM refused ORDER BY id")).rows) {
    await step(`${kind}: refused ${name}`, () => ask(statement));
  }
}

async function big(kind, ask, first) {
  const [sent, received] = [[...t.small], [...t.small]];
  if (first || t.full) received.push(t.big);
  // TiDB takes seconds to parse a statement of 16 MiB.
  if (t.full || kind === "prepared" || (first && !t.isTidb)) sent.push(t.big);
  for (const size of sent) {
    await step(`${kind}: send ${size} bytes`, () => ask("SELECT LENGTH(?) AS length, ? AS size", [t.blob(size), size]));
  }
  for (const size of received) {
    await step(`${kind}: receive ${size} bytes`, () => ask("SELECT REPEAT('x', ?) AS data", [size]));
  }
  for (const size of [0, 65536, 1 << 20]) {
    await step(`${kind}: store ${size} bytes`, async () => {
      await ask("REPLACE INTO big VALUES (1, ?)", [t.blob(size)]);
      const { rows } = await ask("SELECT v FROM big WHERE id = ?", [1]);
      return Object.values(rows[0])[0].equals(t.blob(size));
    });
  }
}

async function transactions(connection, query) {
  const insert = (name) => query("INSERT INTO item (name) VALUES (?)", [name]);
  await query("DELETE FROM item");
  const actions = {
    begin: () => connection.beginTransaction(), insert: () => insert("kept"), savepoint: () => query("SAVEPOINT one"),
    more: () => insert("undone"), duplicate: () => insert("undone"), "roll back to": () => query("ROLLBACK TO one"),
    release: () => query("RELEASE SAVEPOINT one"), commit: () => connection.commit(),
    there: () => query("SELECT name FROM item"), "begin again": () => connection.beginTransaction(),
    delete: () => query("DELETE FROM item"), rollback: () => connection.rollback(),
    "still there": () => query("SELECT name FROM item"), "read only": () => query("START TRANSACTION READ ONLY"),
    write: () => insert("refused"), end: () => connection.commit(), "no autocommit": () => query("SET autocommit = 0"),
    "delete again": () => query("DELETE FROM item"), "commit again": () => connection.commit(),
    autocommit: () => query("SET autocommit = 1"),
  };
  for (const [name, action] of Object.entries(actions)) await step(`transaction: ${name}`, action);
  for (const zone of ["+00:00", "+09:00", "-12:00"]) {
    await step(`time zone ${zone}`, async () => {
      await query("SET time_zone = ?", [zone]);
      return query("SELECT c_timestamp, c_timestamp_fraction, UNIX_TIMESTAMP(c_timestamp) AS u FROM extremes ORDER BY id");
    });
  }
  await query("SET time_zone = '+00:00'");
}

async function extra(connection, query) {
  await step("executed again", async () => {
    const values = [1, "two", 3.5, null, Buffer.from([0, 255]), true, 2n ** 63n - 1n, new Date(0), { a: "😀" }];
    const said = [];
    // TiDB takes the first type for all, until somebody's DDL makes it plan anew.
    for (const group of t.isTidb ? values.map((value) => [value, value]) : [values]) {
      const statement = await connection.prepare("SELECT ? AS v");
      for (const value of group) said.push((await statement.execute([value]))[0]);
      await statement.close();
    }
    return said;
  });
  await step("wrong count of parameters", () => connection.execute("SELECT ?, ?", [1]));
  await step("undefined parameter", () => connection.execute("SELECT ?", [undefined]));
  await step("named placeholders", async () =>
    answer(await connection.query({ sql: "SELECT :a AS a, :b AS b", namedPlaceholders: true }, { a: 1, b: "😀" })));
  await step("typeCast off", async () =>
    answer(await connection.query({ sql: "SELECT 1, 'x', NOW() > 0", typeCast: false, rowsAsArray: true })));
  await step("nested tables", async () =>
    (await connection.query({ sql: "SELECT * FROM many a JOIN many b ON b.n = a.n + 1 WHERE a.n < 2", nestTables: "_" }))[0]);
  await step("bulk insert", () => query("INSERT INTO item (name, n) VALUES ?", [Array.from({ length: 300 }, (_, n) => [`b ${n}`, n])]));
  await step("bulk insert, there", () => query("SELECT COUNT(*), SUM(n) FROM item"));
  await query("DELETE FROM item");
  await step("ping", () => connection.ping());
  await step("change user", async () => {
    const other = await connect();
    await other.changeUser({ user: t.user, password: t.password, database: t.schema });
    const said = answer(await other.query("SELECT CURRENT_USER() AS u, DATABASE() AS d"));
    await other.end();
    return said;
  });
  await step("reset", async () => {
    const other = await connect();
    await other.query("SET @a = 1");
    await other.reset?.();
    const said = await other.query("SELECT @a AS a");
    await other.end();
    return said[0];
  });
  await step("stream", async () => {
    const other = callbacks.createConnection(options());
    let [rows, sum] = [0, 0];
    for await (const row of other.query("SELECT n, name FROM many ORDER BY n").stream({ highWaterMark: 5 })) {
      rows += 1;
      sum += row.n;
    }
    other.end();
    return [rows, sum];
  });
  await step("id", async () => {
    const { rows } = await query("SELECT CONNECTION_ID() AS id");
    return rows[0].id === connection.threadId;
  });
}

// mysql2 queues: commands are written one after the other without waiting here.
async function pipelined() {
  const connection = await connect();
  for (const method of ["query", "execute"]) {
    await step(`many at once by ${method}`, async () => {
      const said = await Promise.allSettled(
        Array.from({ length: 50 }, (_, n) => connection[method](n === 25 ? "SELEC 1" : `SELECT ${n} AS n`)));
      return said.map((one) => (one.status === "fulfilled" ? one.value[0][0].n : one.reason.code));
    });
  }
  await connection.end();
}

async function pools(query) {
  const pool = mysql.createPool(options({ connectionLimit: 4 }));
  await step("pool: forty at once", () =>
    Promise.all(Array.from({ length: 40 }, async (_, n) => {
      const connection = await pool.getConnection();
      try {
        await connection.beginTransaction();
        await connection.execute("INSERT INTO item (name, n) VALUES (?, ?)", [`pooled 😀 ${n}`, n]);
        await connection.commit();
        return n;
      } finally {
        connection.release();
      }
    })));
  await step("pool: there", () => query("SELECT COUNT(*) AS c, SUM(n) AS s, MIN(name) AS m FROM item"));
  await pool.end();
  await query("DELETE FROM item");
}

async function multi() {
  const connection = await connect({ multipleStatements: true });
  const ask = async (text) => answer(await connection.query(text));
  await step("multi: selects", () => ask("SELECT 1 AS a; SELECT n, name FROM many WHERE n < 3; SELECT 3 AS b"));
  await step("multi: mixed", () => ask("INSERT INTO item (name) VALUES ('m'); SELECT name FROM item; DELETE FROM item"));
  await step("multi: error in the middle", () => ask("SELECT 1; SELEC 2; SELECT 3"));
  await step("multi: after it", () => ask("SELECT 4 AS d"));
  if (!t.isTidb) {
    await step("call", () => ask("CALL results(3, @doubled)"));
    await step("call prepared", async () => answer(await connection.execute("CALL results(?, @doubled)", [3])));
    await step("call, error", () => ask("CALL refuse()"));
  }
  await connection.end();
}

async function localInfile(query) {
  const connection = await connect();
  const load = async (text) => (await connection.query({
    sql: "LOAD DATA LOCAL INFILE 'rows' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)",
    infileStreamFactory: () => Readable.from([Buffer.from(text)]),
  }))[0];
  const rows = Array.from({ length: 5000 }, (_, n) => `${n + 1}\tname 😀 ${n}\t${n}\n`).join("");
  await step("local infile", () => load(rows));
  await step("local infile, there", () => query("SELECT COUNT(*) AS c, SUM(n) AS s, MIN(name) AS m FROM item"));
  await step("local infile, empty", () => load(""));
  await connection.end();
  await step("local infile, not allowed", () => query("LOAD DATA LOCAL INFILE '/not/allowed' INTO TABLE item"));
  await step("local infile, after that", () => query("SELECT 1 AS a"));
  await query("DELETE FROM item");
}

async function reconnect(query) {
  await step("killed", async () => {
    const victim = await connect();
    victim.on("error", () => {});
    // TiDB may forget a KILL that comes before the connection's first command.
    await victim.query("SELECT 1");
    await query(`KILL ${victim.threadId}`);
    for (let n = 0; n < 2000; n++) {
      try {
        await victim.query("SELECT 1");
      } catch {
        throw new t.Lost();
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    victim.destroy();
    return "still there";
  });
  await step("after a kill", () => query("SELECT 1 AS a"));
}

main();
