// One entry of a chain: its 25 fields, its form, its hash, its signature.
import { decode, isBytes, isInt, isText } from "./cbor.mjs";
import { sha256, verify } from "./ed25519.mjs";

export const [GENESIS, OPEN, SETTLE, EARN, ADJ, ROTATE, VOID, CARRY, FOLLOW] = [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n];
const KINDS = new Set([GENESIS, OPEN, SETTLE, EARN, ADJ, ROTATE, VOID, CARRY, FOLLOW]);
const LIMIT = 1n << 62n;
const NAMES = [
  "version", "kind", "net", "author", "seq", "prev", "t", "peer", "rid", "link", "model", "ptok", "ctok",
  "pp", "pc", "amount", "hold", "given", "taken", "held", "served", "consumed", "movedIn", "movedOut",
  "digest",
];
const BYTES = { net: 8, author: 32, prev: 32, peer: 32, rid: 16, link: 32, digest: 32 };

export class Broken extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

export const leafOf = (body) => sha256(Buffer.of(0), body);
const ENTRY = Buffer.from("OGW1 entry\n");
export const signedBy = (author, leaf, signature) => verify(author, Buffer.concat([ENTRY, leaf]), signature);
export const same = (a, b) => Buffer.compare(a, b) === 0;
export const zeros = (bytes) => bytes.every((byte) => byte === 0);

// {fields, body, leaf, signature}; the signature is not looked at.
export function readSigned(body, signature, net) {
  const bad = (text) => new Broken("E_FORMAT", text);
  if (body.length > 1024) throw bad(`${body.length} bytes`);
  let values;
  try {
    values = decode(body);
  } catch (error) {
    throw bad(error.message);
  }
  if (!Array.isArray(values) || values.length !== NAMES.length) throw bad("not an array of 25");
  const fields = {};
  NAMES.forEach((name, place) => {
    const value = values[place];
    fields[name] = value;
    if (name === "model") {
      if (!isText(value) || [...value].length > 64) throw bad("the model's name");
    } else if (name in BYTES) {
      if (!isBytes(value, BYTES[name])) throw bad(`field ${place}`);
    } else if (!isInt(value) || value >= LIMIT) throw bad(`field ${place}`);
  });
  if (fields.version !== 1n) throw new Broken("E_VERSION", `${fields.version}`);
  if (!same(fields.net, net)) throw new Broken("E_NETWORK", "of another network");
  if (!KINDS.has(fields.kind)) throw new Broken("E_KIND", `${fields.kind}`);
  return { ...fields, body, leaf: leafOf(body), signature };
}

export const genuine = (entry) => signedBy(entry.author, entry.leaf, entry.signature);
