// OGWL1: the file around a chain.
import { readFileSync } from "node:fs";
import { decode, isBytes, isInt } from "./cbor.mjs";
import { sha256 } from "./ed25519.mjs";

const MAGIC = Buffer.from("OGWL\x01", "latin1");
const RECORD = 4096;
const TRAILER = 16 << 20;
const LIMIT = 1n << 62n;

export class Unreadable extends Error {}

export class Torn extends Error {}

const quietly = (data) => {
  try {
    return decode(data);
  } catch {
    return null;
  }
};

export class File {
  constructor(path) {
    try {
      this.data = readFileSync(path);
    } catch (error) {
      throw new Unreadable(error.code ?? "it cannot be read");
    }
    if (!this.data.subarray(0, 5).equals(MAGIC)) throw new Unreadable("it does not begin with OGWL and 1");
    this.at = 5;
    let header;
    try {
      header = quietly(this.record(RECORD));
    } catch {
      throw new Unreadable("it has no readable header");
    }
    if (!Array.isArray(header) || header.length !== 5 || header[0] !== "ogwl/1") throw new Unreadable("its header");
    const [, net, author, created, count] = header;
    if (!isBytes(net, 8) || !isBytes(author, 32) || [created, count].some((n) => !isInt(n) || n >= LIMIT)) {
      throw new Unreadable("its header is malformed");
    }
    Object.assign(this, { net, author, created, count });
  }

  record(limit) {
    if (this.at + 4 > this.data.length) throw new Torn("the file ends too early");
    const length = this.data.readUInt32BE(this.at);
    if (length > limit) throw new Torn(`a record of ${length} bytes`);
    const start = this.at + 4;
    if (start + length > this.data.length) throw new Torn("the file ends too early");
    this.at = start + length;
    return this.data.subarray(start, this.at);
  }

  *records() {
    for (let left = this.count; left > 0n; left--) yield this.record(RECORD);
  }

  // {vouchers, checkpoints, proofs, intact}
  trailer() {
    const value = quietly(this.record(TRAILER));
    if (!Array.isArray(value) || value.length !== 4 || value[0] !== "ogwl-trailer/1") throw new Torn("no trailer");
    if (!value.slice(1).every(Array.isArray)) throw new Torn("the trailer is malformed");
    const digest = sha256(this.data.subarray(0, this.at));
    const intact = this.data.subarray(this.at).equals(digest);
    return { vouchers: value[1], checkpoints: value[2], proofs: value[3], intact };
  }
}

// [body, signature], or that and what the other side signed: 2, 4 or 6 byte strings; or null.
export function pieces(record) {
  const value = quietly(record);
  const fits = Array.isArray(value) && value.length >= 2 && value.length <= 6 && value.every((one) => isBytes(one));
  return fits ? value : null;
}
