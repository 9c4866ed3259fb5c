// Canonical CBOR (RFC 8949, 4.2.1), the part that ledgers use: unsigned integers (as BigInt), bytes
// (as Buffer), text, booleans and arrays. One value has one encoding; everything else is refused.

export class NotCanonical extends Error {}

const DEPTH = 8;
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function decode(data) {
  const [value, end] = item(data, 0, 0);
  if (end !== data.length) throw new NotCanonical("bytes after the end");
  return value;
}

function item(data, start, depth) {
  if (start >= data.length) throw new NotCanonical("truncated");
  const head = data[start];
  const major = head & 0xe0;
  let at = start + 1;
  let size = BigInt(head & 0x1f);
  if (size >= 24n) {
    if (size > 27n) throw new NotCanonical("indefinite or reserved length");
    const width = 1 << Number(size - 24n);
    if (at + width > data.length) throw new NotCanonical("truncated");
    const least = width === 1 ? 24n : 1n << BigInt(width * 4);
    size = BigInt("0x" + data.toString("hex", at, at + width));
    at += width;
    if (size < least) throw new NotCanonical("a length that is not the shortest");
  }
  if (major === 0x00) return [size, at];
  if (major === 0x40 || major === 0x60) {
    if (size > BigInt(data.length - at)) throw new NotCanonical("truncated");
    const end = at + Number(size);
    const bytes = data.subarray(at, end);
    if (major === 0x40) return [bytes, end];
    try {
      return [TEXT.decode(bytes), end];
    } catch {
      throw new NotCanonical("text that is not UTF-8");
    }
  }
  if (major === 0x80) {
    if (depth >= DEPTH) throw new NotCanonical("nested too deeply");
    if (size > BigInt(data.length - at)) throw new NotCanonical("truncated");
    const items = [];
    for (let left = Number(size); left > 0; left--) {
      const [value, end] = item(data, at, depth + 1);
      items.push(value);
      at = end;
    }
    return [items, at];
  }
  if (head === 0xf4 || head === 0xf5) return [head === 0xf5, at];
  throw new NotCanonical(`an item of kind 0x${head.toString(16)}`);
}

export const isInt = (value) => typeof value === "bigint";
export const isText = (value) => typeof value === "string";
export const isBytes = (value, length) =>
  Buffer.isBuffer(value) && (length === undefined || value.length === length);
