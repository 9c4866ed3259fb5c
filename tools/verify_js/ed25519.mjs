// Ed25519 by libsodium's rules, on top of Node's OpenSSL. OpenSSL alone accepts keys of small order, for
// which anybody can sign; so key, R and S are looked at first.
import { createHash, createPublicKey, verify as check } from "node:crypto";

const ORDER = (1n << 252n) + 27742317777372353535851937790883648493n;
const FIELD = (1n << 255n) - 19n;
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

// y coordinates of the eight points of small order, with the sign bit cleared. The two that are written
// above the field's prime are refused as not canonical anyway.
const SMALL = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

export const sha256 = (...pieces) => {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
};

const little = (bytes) => BigInt("0x" + Buffer.from(bytes).reverse().toString("hex"));

function unsigned(point) {
  const copy = Buffer.from(point);
  copy[31] &= 0x7f;
  return copy;
}

const keys = new Map();

function keyOf(author) {
  const name = author.toString("latin1");
  let key = keys.get(name);
  if (key === undefined) {
    const plain = unsigned(author);
    key = null;
    if (!SMALL.has(plain.toString("hex")) && little(plain) < FIELD) {
      key = createPublicKey({ key: Buffer.concat([SPKI, author]), format: "der", type: "spki" });
    }
    if (keys.size > 10000) keys.clear();
    keys.set(name, key);
  }
  return key;
}

export function verify(author, message, signature) {
  if (author.length !== 32 || signature.length !== 64) return false;
  if (little(signature.subarray(32)) >= ORDER) return false;
  if (SMALL.has(unsigned(signature.subarray(0, 32)).toString("hex"))) return false;
  try {
    const key = keyOf(author);
    return key !== null && check(null, message, key, signature);
  } catch {
    return false;
  }
}
