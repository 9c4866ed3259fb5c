// Changes of keys: the papers, and the accounts that go over to the new key.
import { decode, isBytes } from "./cbor.mjs";
import { Broken, CARRY, FOLLOW, GENESIS, ROTATE, genuine, readSigned, same } from "./entry.mjs";
import { sha256, verify } from "./ed25519.mjs";
import { checkTerms } from "./rules.mjs";

const LIMIT = 2048;
const EXCUSES = 8;

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

// CBOR [leaf, [[leaf, leaf], ...]], which the recovery key signs for an accident.
function accident(leaf, pairs) {
  const bytes = (one) => Buffer.concat([Buffer.of(0x58, 0x20), one]);
  const all = pairs.map(([one, two]) => Buffer.concat([Buffer.of(0x82), bytes(one), bytes(two)]));
  return sha256(Buffer.concat([Buffer.of(0x82), bytes(leaf), Buffer.of(0x80 + pairs.length), ...all]));
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
  if (!Array.isArray(value) || value.length !== 7 || value[0] !== "ogw-rotation/1") bad("not the papers");
  const [, first, last, recovery, signature, leaves, excuse] = value;
  if (![recovery, signature, excuse].every((one) => isBytes(one)) || !Array.isArray(leaves)) bad("not the papers");
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
  const ordered = ([one, two]) => isBytes(one, 32) && isBytes(two, 32) && Buffer.compare(one, two) < 0;
  const fits = leaves.length <= EXCUSES && leaves.every((one) => Array.isArray(one) && one.length === 2 && ordered(one));
  if (!fits || (leaves.length > 0) !== (excuse.length > 0)) bad("an accident that is not named or not signed");
  const said = Buffer.concat([Buffer.from("OGW1 repair\n"), leaves.length ? accident(rotate.leaf, leaves) : Buffer.alloc(0)]);
  if (leaves.length && !verify(recovery, said, excuse)) bad("the recovery key did not sign for that accident");
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
