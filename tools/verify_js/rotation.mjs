// Changes of keys: the papers, and the accounts that go over to the new key.
import { decode, isBytes, isInt } from "./cbor.mjs";
import { Broken, CARRY, FOLLOW, GENESIS, ROTATE, genuine, readSigned, same } from "./entry.mjs";
import { sha256, verify } from "./ed25519.mjs";
import { checkTerms } from "./rules.mjs";

const LIMIT = 2048;
const INTEGERS = 1n << 62n;

const fail = (code, text) => {
  throw new Broken(code, text);
};
const bad = (text) => fail("E_ROTATE", `the papers prove no change of keys: ${text}`);

function half(value, net) {
  if (!Array.isArray(value) || value.length !== 2 || !value.every((one) => isBytes(one))) bad("not [body, signature]");
  const entry = readSigned(value[0], value[1], net);
  checkTerms(entry);
  return entry;
}

// The shortest CBOR of an integer.
function integer(value) {
  if (value < 24n) return Buffer.of(Number(value));
  const sizes = [[1, 0x18], [2, 0x19], [4, 0x1a], [8, 0x1b]];
  const [size, head] = sizes.find(([bytes]) => value < 1n << BigInt(8 * bytes));
  const hex = value.toString(16).padStart(2 * size, "0");
  return Buffer.concat([Buffer.of(head), Buffer.from(hex, "hex")]);
}

// CBOR [leaf, first], which the recovery key signs for an accident.
function accident(leaf, first) {
  return sha256(Buffer.concat([Buffer.of(0x82, 0x58, 0x20), leaf, integer(first)]));
}

// {old, next, leaf}, or Broken.
export function readPapers(data, net) {
  let value;
  if (data.length > LIMIT) bad("too long");
  try {
    value = decode(data);
  } catch {
    bad("not canonical CBOR");
  }
  if (!Array.isArray(value) || value.length !== 8 || value[0] !== "ogw-rotation/1") bad("not the papers");
  const [, first, last, recovery, signature, consent, place, excuse] = value;
  if (![recovery, signature, consent, excuse].every((one) => isBytes(one)) || !isInt(place)) bad("not the papers");
  let genesis, rotate;
  try {
    [genesis, rotate] = [half(first, net), half(last, net)];
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    bad(error.message);
  }
  if (genesis.kind !== GENESIS || rotate.kind !== ROTATE || !same(genesis.author, rotate.author)) {
    bad("not the GENESIS and the ROTATE of one chain");
  }
  if (!same(rotate.link, genesis.link)) bad("another recovery key than the GENESIS names");
  if (!same(sha256(recovery), genesis.link)) bad("not by the recovery key");
  if (!genuine(genesis)) bad("the GENESIS is not signed by its author");
  if (rotate.signature.length > 0 && !genuine(rotate)) bad("the ROTATE is not signed by the old key");
  if (!verify(recovery, Buffer.concat([Buffer.from("OGW1 rotate\n"), rotate.leaf]), signature)) {
    bad("the recovery key did not sign this");
  }
  if (!verify(rotate.peer, Buffer.concat([Buffer.from("OGW1 succeed\n"), rotate.leaf]), consent)) {
    bad("the new key did not agree");
  }
  if (place >= INTEGERS || place > 0n !== excuse.length > 0) bad("an accident that is not named or not signed");
  const said = Buffer.concat([Buffer.from("OGW1 repair\n"), accident(rotate.leaf, place)]);
  if (place > 0n && !verify(recovery, said, excuse)) bad("the recovery key did not sign for that accident");
  return { old: rotate.author, next: rotate.peer, leaf: rotate.leaf };
}

// What the record beside a CARRY or FOLLOW must be. `before`: kind of the entry before; `closes(old, next, entry)`.
export function checkMoved(e, parts, net, before, closes) {
  if (parts.length % 2 === 1) {
    const papers = readPapers(parts.at(-1), net);
    if (!same(papers.leaf, e.link)) fail("E_ROTATE", "names another change of keys than the papers beside it");
    if (!same(papers.next, e.kind === CARRY ? e.author : e.peer)) fail("E_ROTATE", "for another successor");
    if (e.kind === FOLLOW) closes(papers.old, papers.next, e);
    else if (before !== GENESIS && before !== CARRY) fail("E_ROTATE", "carried over in the middle of a chain");
  } else if (e.kind === FOLLOW) {
    fail("E_ROTATE", "an account that moved without the papers");
  } else if (parts.length === 0 && (e.amount > 0n || e.ptok > 0n)) {
    fail("E_ONESIDED", "carried over without the debtor's signature");
  }
}

// That the other side's entry is about this account, and owes what is taken up.
export function checkStatement(e, theirs, more) {
  if (theirs.kind !== CARRY && theirs.kind !== FOLLOW) fail("E_PEERKIND", "not about a change of keys");
  if (!same(theirs.author, e.peer) || !same(theirs.peer, e.author)) fail("E_PEERKEY", "by or for another key");
  if (more && !same(theirs.leaf, e.link)) fail("E_PEERLINK", "takes up another entry than the one beside it");
  if (e.served > theirs.consumed || e.movedIn > theirs.movedOut) fail("E_PAIRVIEW", "the other side owes less");
}
