// What every program prints: a line of JSON for each step (see tests/conformance/main.rs).
"use strict";

const crypto = require("node:crypto");

const environment = process.env;
const host = environment.DRIVER_HOST;
const port = Number(environment.DRIVER_PORT);
const user = environment.DRIVER_USER;
const password = environment.DRIVER_PASSWORD;
const schema = environment.DRIVER_SCHEMA;
const isTidb = environment.DRIVER_SERVER === "tidb";
const tlsCa = environment.DRIVER_TLS_CA;
const compress = Boolean(environment.DRIVER_COMPRESS);
const full = Boolean(environment.TXGUARD_TEST_FULL);

// At and around the places where a length is encoded otherwise; and more than one frame of the protocol holds.
const small = [0, 1, 250, 251, 252, 65535, 65536];
const big = 17 << 20;

// Longer values are shown by their digest.
const shown = 300;

// Runs the action and prints what it gives, or how it fails.
async function step(name, action) {
  try {
    const value = await action();
    say({ step: name, result: describe(value) });
    return value;
  } catch (error) {
    say({ step: name, error: describeError(error) });
    return undefined;
  }
}

function say(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// A value with its type, so that 1 and "1" differ.
function describe(value) {
  if (value === undefined) return "undefined";
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return `string ${short(value)}`;
  if (typeof value === "number") return Object.is(value, -0) ? "number -0" : `number ${value}`;
  if (typeof value === "bigint") return `bigint ${value}`;
  if (value instanceof Date) return `Date ${Number.isNaN(value.getTime()) ? "invalid" : value.toISOString()}`;
  if (Buffer.isBuffer(value)) return `Buffer ${short(value.toString("hex"))}`;
  if (Array.isArray(value)) {
    const items = value.map(describe);
    return items.length > 300 ? `${items.length} items ${digest(JSON.stringify(items))}` : items;
  }
  if (typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, describe(item)]));
  }
  return typeof value;
}

class Lost extends Error {}

// A connection that was lost, as it should be, is only said to be lost: how depends on the moment.
function describeError(error) {
  if (error instanceof Lost) return "lost";
  if (environment.DRIVER_TRACE) console.error(error);
  const { code, errno, sqlState } = error;
  return { class: error.constructor.name, code, errno, sqlState, text: mask(String(error.message)) };
}

// Without the address, which is another one through txguard.
function mask(text) {
  return short(text.replaceAll(String(port), "PORT"));
}

function short(text) {
  return text.length <= shown ? text : `${text.slice(0, 20)}… ${text.length} ${digest(text)}`;
}

function digest(data) {
  return crypto.createHash("sha256").update(data).digest("hex").slice(0, 16);
}

// Bytes of every value, the same each time.
function blob(size) {
  const data = Buffer.alloc(size);
  for (let at = 0; at < size; at++) data[at] = (at * 7 + (at >> 8)) & 255;
  return data;
}

module.exports = {
  host, port, user, password, schema, isTidb, tlsCa, compress, full, small, big, step, Lost, digest, blob, describe,
};
