// A requester's promise while an answer streams: of this OPEN, so much is owed by now.
import { decode, isBytes, isInt } from "./cbor.mjs";
import { leafOf } from "./entry.mjs";
import { verify } from "./ed25519.mjs";

const LIMIT = 1n << 62n;
const DOMAIN = Buffer.from("OGW1 voucher\n");

// {openLeaf, n, ctok, amount, t, name, body, signature}, or null if these bytes are none.
export function readVoucher(body, signature) {
  let value;
  try {
    value = body.length <= 256 ? decode(body) : null;
  } catch {
    value = null;
  }
  if (!Array.isArray(value) || value.length !== 6 || value[0] !== "ogw-voucher/1") return null;
  const [, openLeaf, n, ctok, amount, t] = value;
  if (!isBytes(openLeaf, 32) || [n, ctok, amount, t].some((one) => !isInt(one) || one >= LIMIT)) return null;
  return { openLeaf, n, ctok, amount, t, name: leafOf(body), body, signature };
}

export const vouchedBy = (author, voucher) =>
  verify(author, Buffer.concat([DOMAIN, voucher.name]), voucher.signature);
