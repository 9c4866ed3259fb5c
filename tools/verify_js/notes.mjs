// Checkpoints: C2SP signed notes over size and root of the tree, with the cosignatures of witnesses.
import { sha256, verify } from "./ed25519.mjs";

const NAME = /^opengateway\/([0-9a-f]{64})$/;
const ORIGIN = /^opengateway\/([0-9a-f]{16})\/([0-9a-f]{64})$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function decode64(text) {
  const data = BASE64.test(text) ? Buffer.from(text, "base64") : null;
  return data !== null && data.toString("base64") === text ? data : null;
}

const keyHash = (name, kind, key) => sha256(Buffer.from(`${name}\n`), Buffer.of(kind), key).subarray(0, 4);

// {net, author, size, root, body, signed, cosigned: [{witness, time}], bad: [witness]}, or null.
export function readNote(text) {
  const at = text.lastIndexOf("\n\n");
  if (at < 0 || !text.endsWith("\n") || text.includes("\r")) return null;
  const body = text.slice(0, at + 1);
  const lines = body.slice(0, -1).split("\n");
  if (lines.length < 3 || lines.some((line) => line === "")) return null;
  const [origin, size, root] = [ORIGIN.exec(lines[0]), lines[1], decode64(lines[2])];
  if (origin === null || !/^(0|[1-9][0-9]{0,18})$/.test(size) || root === null || root.length !== 32) return null;
  const [net, author] = [Buffer.from(origin[1], "hex"), Buffer.from(origin[2], "hex")];
  const note = { name: lines[0], net, author, size: BigInt(size), root, body };
  Object.assign(note, { signed: false, cosigned: [], bad: [] });
  for (const line of text.slice(at + 2, -1).split("\n")) {
    const words = line.split(" ");
    if (words.length !== 3 || words[0] !== "—") return null;
    const data = decode64(words[2]);
    if (data === null || data.length < 5) return null;
    signature(note, words[1], data);
  }
  return note;
}

function signature(note, name, data) {
  const body = Buffer.from(note.body);
  const hash = data.subarray(0, 4);
  if (name === note.name) {
    const known = data.length === 68 && hash.equals(keyHash(name, 1, note.author));
    note.signed ||= known && verify(note.author, body, data.subarray(4));
    return;
  }
  const match = NAME.exec(name);
  if (match === null) return; // a key that we do not know, as C2SP wants it
  const key = Buffer.from(match[1], "hex");
  if (data.length === 76 && hash.equals(keyHash(name, 4, key))) {
    const time = data.readBigUInt64BE(4);
    const message = Buffer.concat([Buffer.from(`cosignature/v1\ntime ${time}\n`), body]);
    if (verify(key, message, data.subarray(12))) note.cosigned.push({ witness: match[1], time });
    else note.bad.push(match[1]);
  }
}
