// F6 and F7: a ledger that is not what its author, or a witness, signed that it was.
import { decode, isBytes, isInt } from "./cbor.mjs";
import { sha256, verify } from "./ed25519.mjs";
import { genuine, leafOf, readSigned, same } from "./entry.mjs";
import { readNote } from "./notes.mjs";

const HEAD = Buffer.from("OGW1 head\n");
const LIMIT = 1n << 62n;
const NODE = Buffer.of(1);

// Each piece is a checkpoint, a head announcement or an entry, signed by one author.
export function rewritten(one, two, extra, net) {
  const [first, second] = [statement(one, net), statement(two, net)];
  if (first === null || second === null || !same(first.author, second.author)) return false; // all of `net`
  if (first.root !== undefined) return second.root !== undefined && twoTrees(first, second, extra);
  return second.root !== undefined ? leftOut(first, second, extra) : twoPlaces(first, second);
}

// The same witness under two checkpoints that contradict each other: its key, then the consistency proof.
export function equivocated(one, two, extra, net) {
  const notes = [one, two].map(([text, data]) => {
    const note = readText(text);
    const message = Buffer.from(`cosignature/v1\ntime ${data.readBigUInt64BE(0)}\n`);
    const good = note !== null && verify(extra.subarray(0, 32), Buffer.concat([message, text]), data.subarray(8));
    return good && same(note.net, net) ? note : null;
  });
  if (notes.includes(null) || !same(notes[0].author, notes[1].author)) return false;
  return twoTrees(...notes, extra.subarray(32));
}

function readText(text) {
  return readNote(`${text.toString("utf8")}\n— none AAAAAAAAAAA=\n`);
}

function statement([body, signature], net) {
  if (body.subarray(0, 12).toString("latin1") === "opengateway/") {
    const note = readText(body);
    return note !== null && same(note.net, net) && verify(note.author, body, signature) ? note : null;
  }
  if (body.subarray(2, 12).toString("latin1") === "ogw-head/1") return readHead(body, signature, net);
  const entry = readSigned(body, signature, net);
  return genuine(entry) ? { author: entry.author, seq: entry.seq, leaf: entry.leaf, time: entry.t, head: false } : null;
}

function readHead(body, signature, net) {
  const [, ofNet, author, seq, leaf, time, ...more] = body.length <= 160 ? decode(body) : [];
  if (more.length > 0 || !isBytes(ofNet, 8) || !same(ofNet, net) || !isBytes(author, 32) || !isBytes(leaf, 32)) return null;
  if ([seq, time].some((one) => !isInt(one) || one >= LIMIT)) return null;
  if (!verify(author, Buffer.concat([HEAD, leafOf(body)]), signature)) return null;
  return { author, seq, leaf, time, head: true };
}

function twoPlaces(one, two) {
  if (!one.head && !two.head) return false;
  if (one.seq === two.seq) return !same(one.leaf, two.leaf);
  const [earlier, later] = one.time <= two.time ? [one, two] : [two, one];
  return later.head && later.time > earlier.time && later.seq < earlier.seq;
}

function hashes(data) {
  if (data.length % 32 !== 0 || data.length > 32 * 64) throw new RangeError("not hashes");
  return Array.from({ length: data.length / 32 }, (_, at) => data.subarray(at * 32, at * 32 + 32));
}

// From a leaf (or a subtree) up to the root: for each hash whether it stands to the left (RFC 9162, 2.1.3.2).
function* climb(at, last, path) {
  for (const beside of path) {
    if (last === 0n) throw new RangeError("too long");
    const left = (at & 1n) === 1n || at === last;
    yield [beside, left];
    if (left) while ((at & 1n) === 0n && at > 0n) [at, last] = [at >> 1n, last >> 1n];
    [at, last] = [at >> 1n, last >> 1n];
  }
  if (last !== 0n) throw new RangeError("too short");
}

function leftOut(one, note, extra) {
  const [leaf, ...path] = hashes(extra);
  if (leaf === undefined || one.seq >= note.size || same(leaf, one.leaf)) return false;
  let root = leaf;
  for (const [beside, left] of climb(one.seq, note.size - 1n, path)) {
    root = left ? sha256(NODE, beside, root) : sha256(NODE, root, beside);
  }
  return same(root, note.root);
}

function twoTrees(one, two, extra) {
  if (one.size === two.size) return !same(one.root, two.root);
  if (one.size === 0n || one.size > two.size) return false;
  const whole = (one.size & (one.size - 1n)) === 0n;
  const [start, ...path] = whole ? [one.root, ...hashes(extra)] : hashes(extra);
  if (start === undefined) return false;
  let [at, last, before, after] = [one.size - 1n, two.size - 1n, start, start];
  while ((at & 1n) === 1n) [at, last] = [at >> 1n, last >> 1n];
  for (const [beside, left] of climb(at, last, path)) {
    if (left) before = sha256(NODE, beside, before);
    after = left ? sha256(NODE, beside, after) : sha256(NODE, after, beside);
  }
  return same(after, two.root) && !same(before, one.root);
}
