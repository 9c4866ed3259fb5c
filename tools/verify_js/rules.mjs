// What an entry must say, what follows from the one before it, and which two entries prove a lie.
import { ADJ, Broken, CARRY, EARN, FOLLOW, GENESIS, OPEN, ROTATE, SETTLE, VOID, same, zeros } from "./entry.mjs";
import { sha256, verify } from "./ed25519.mjs";

const LIMIT = 1n << 62n;
export const PRICE_CAP = 1_000_000n;
export const CLOCKS_APART = 120_000n;
export const HALVES_APART = 600_000n;
const GONE_AFTER = 900_000n;

const fail = (code, text) => {
  throw new Broken(code, text);
};

export function checkTerms(e) {
  const carries = (...names) => names.some((name) => e[name] !== 0n);
  if (e.kind === GENESIS) {
    if (e.seq !== 0n || !zeros(e.prev) || !same(e.peer, e.author) || !zeros(e.rid)) {
      fail("E_GENESIS", "a GENESIS stands first and names its author");
    }
    const sums = ["given", "taken", "held", "served", "consumed", "movedIn", "movedOut"];
    if (carries("ptok", "ctok", "pp", "pc", "amount", "hold", ...sums) || e.model || !zeros(e.digest)) {
      fail("E_GENESIS", "a GENESIS carries no amounts");
    }
    return;
  }
  if (e.seq === 0n) fail("E_GENESIS", "a chain starts with GENESIS");
  if (same(e.peer, e.author)) fail("E_SELF", "serving yourself earns nothing");
  if (e.kind === ADJ) {
    if (carries("ptok", "ctok", "pp", "pc") || e.model || !zeros(e.digest)) {
      fail("E_AMOUNT", "an ADJ has neither tokens nor a price");
    }
    if ((e.amount === 0n) === (e.hold === 0n)) fail("E_AMOUNT", "an ADJ moves something, in one direction");
    return;
  }
  if (e.kind === ROTATE || e.kind === CARRY || e.kind === FOLLOW) {
    if (e.model || carries("pp", "pc") || !zeros(e.digest)) fail("E_ROTATE", "neither model nor price nor answer");
    const brings = carries("amount", "hold", "ptok", "ctok");
    if (e.kind === ROTATE && (brings || !zeros(e.rid))) fail("E_ROTATE", "a ROTATE carries no amounts");
    if (e.kind !== ROTATE && (!brings || !same(e.rid, e.link.subarray(0, 16)))) {
      fail("E_ROTATE", "an account that moves brings something, and names why");
    }
    return;
  }
  if (e.pp > PRICE_CAP || e.pc > PRICE_CAP) fail("E_PRICE", "a price above the network's cap");
  const total = e.ptok * e.pp + e.ctok * e.pc;
  if (e.kind === OPEN) {
    if (e.amount !== 0n || e.hold !== total || !zeros(e.digest)) fail("E_AMOUNT", "not a hold for its tokens");
    return;
  }
  if (e.amount !== total) fail("E_AMOUNT", `an amount of ${e.amount} for tokens that cost ${total}`);
  if (e.kind === SETTLE && e.amount > e.hold) fail("E_HOLD", "more settled than held");
  if (e.kind === EARN && e.hold !== 0n) fail("E_AMOUNT", "an EARN holds nothing");
  if (e.kind === VOID && (carries("ptok", "ctok") || !zeros(e.digest))) {
    fail("E_AMOUNT", "a VOID is for a request that used nothing");
  }
}

const PAIR = ["served", "consumed", "movedIn", "movedOut"];
export const NOTHING = { served: 0n, consumed: 0n, movedIn: 0n, movedOut: 0n };

function totalsFollow(a, b) {
  let { given, taken, held } = a;
  if (b.kind === OPEN) held += b.hold;
  if (b.kind === SETTLE) taken += b.amount;
  if (b.kind === SETTLE || b.kind === VOID) held -= b.hold;
  if (b.kind === EARN) given += b.amount;
  if (b.kind === CARRY) {
    given += b.amount;
    taken += b.hold;
  }
  if (held < 0n || [given, taken, held].some((sum) => sum >= LIMIT)) return false;
  return given === b.given && taken === b.taken && held === b.held;
}

export const brought = (e) => [["served", e.amount], ["consumed", e.hold], ["movedIn", e.ptok], ["movedOut", e.ctok]];

export function pairFollows(before, e) {
  const after = { ...before };
  if (e.kind === SETTLE) after.consumed += e.amount;
  if (e.kind === EARN) after.served += e.amount;
  if (e.kind === ADJ) {
    after.movedIn += e.amount;
    after.movedOut += e.hold;
  }
  if (e.kind === CARRY || e.kind === FOLLOW) {
    for (const [name, more] of brought(e)) after[name] += more;
  }
  return PAIR.every((name) => after[name] === e[name]);
}

// The two legs of a transfer are neighbours: what comes in (amount), then what goes out (hold).
export function legsFollow(a, b) {
  const first = a.kind === ADJ ? a.amount : 0n;
  const second = b.kind === ADJ ? b.hold : 0n;
  if (first === 0n && second === 0n) return true;
  return first === second && same(a.rid, b.rid) && same(a.link, b.link) && !same(a.peer, b.peer);
}

// Why `b` does not continue `a`, or null.
export function breakBetween(a, b, pair) {
  if (b.seq !== a.seq + 1n) return "E_SEQ";
  if (!same(b.prev, a.leaf)) return "E_PREV";
  if (b.t < a.t) return "E_TIME";
  if (!totalsFollow(a, b)) return "E_TOTALS";
  if (!pairFollows(pair, b)) return "E_PAIR";
  if (!legsFollow(a, b)) return "E_LEGS";
  if (a.kind === ROTATE) return "E_ROTATE";
  return null;
}

export function checkRelease(opening, release) {
  if (!same(release.link, opening.leaf)) fail("E_LINK", "links to another entry than its OPEN");
  if (release.seq <= opening.seq || release.t < opening.t) fail("E_TIME", "comes before its OPEN");
  if (release.hold !== opening.hold) fail("E_HOLD", "releases another amount than its OPEN held");
  const alike = ["author", "peer", "rid"].every((name) => same(release[name], opening[name]));
  if (!alike || ["model", "pp", "pc"].some((name) => release[name] !== opening[name])) {
    fail("E_LINK", "names another request than its OPEN");
  }
}

export function checkHalves(settle, earn) {
  if (settle.kind !== SETTLE || earn.kind !== EARN) fail("E_PEERKIND", "not a SETTLE and an EARN");
  if (!same(settle.author, earn.peer) || !same(settle.peer, earn.author)) {
    fail("E_PEERKEY", "a half is by or for another key");
  }
  if (!same(earn.link, settle.leaf)) fail("E_PEERLINK", "the EARN links to another SETTLE");
  // An EARN of the rest, after one by voucher, is over less than its SETTLE.
  const rest = same(earn.rid, settle.leaf.subarray(0, 16));
  const fits = rest ? (name) => earn[name] <= settle[name] : (name) => earn[name] === settle[name];
  const alike =
    ["ptok", "ctok", "amount"].every(fits) && ["model", "pp", "pc"].every((name) => settle[name] === earn[name]);
  if (!alike || !(rest || same(settle.rid, earn.rid)) || !same(settle.digest, earn.digest)) {
    fail("E_MISMATCH", "the halves disagree");
  }
  // Above what was settled so far is what was earned by vouchers, of requests that were open at the SETTLE or,
  // where the EARN comes late, were opened after it.
  const ahead = earn.served - settle.consumed;
  const late = earn.t >= settle.t + GONE_AFTER - CLOCKS_APART;
  if (ahead < 0n || (ahead > settle.held && settle.amount !== 0n && !late)) {
    fail("E_PAIRVIEW", "the halves disagree on what was settled so far");
  }
  if (settle.served > earn.consumed + earn.held) fail("E_PAIRVIEW", "the worker forgets what it signed for");
  if (earn.t < settle.t - CLOCKS_APART) fail("E_PAIRTIME", "earned before it was settled");
}

// The kind of fault that these two entries by one author prove, or null.
export function contradiction(first, second) {
  const [a, b] = first.seq <= second.seq ? [first, second] : [second, first];
  if (a.seq === b.seq) return same(a.leaf, b.leaf) ? null : "F1-fork";
  if (same(a.rid, b.rid) && a.kind === b.kind) {
    if (same(a.peer, b.peer)) return "F3-duplicate";
    if (a.kind === ADJ && (a.amount !== b.hold || a.hold !== b.amount)) return "F4-transfer";
  }
  if (b.t < a.t || b.given < a.given || b.taken < a.taken) return "F2-history";
  if (same(a.peer, b.peer) && PAIR.some((name) => b[name] < a[name])) return "F2-history";
  if (b.seq === a.seq + 1n) {
    if (!same(b.prev, a.leaf) || !totalsFollow(a, b)) return "F2-history";
    if (!legsFollow(a, b)) return "F4-transfer";
  }
  return null;
}

// The last entry of a chain whose key was given up, by leave of the recovery key in the GENESIS.
export function checkRotate(e, parts, recovery) {
  if (!same(e.link, recovery)) fail("E_ROTATE", "by another recovery key than the GENESIS commits to");
  const [key, signature] = parts;
  if (parts.length !== 2 || !same(sha256(key), recovery)) fail("E_ROTATE", "not by the recovery key");
  if (!verify(key, Buffer.concat([Buffer.from("OGW1 rotate\n"), e.leaf]), signature)) {
    fail("E_ROTATE", "the recovery key's signature is not valid");
  }
}

export function checkCounterLeg(leg, half) {
  if (half.kind !== ADJ) fail("E_PEERKIND", "not the leg of a transfer");
  if (!same(half.author, leg.peer) || !same(half.peer, leg.author)) fail("E_PEERKEY", "by or for another key");
  if (!same(half.rid, leg.rid) || half.hold !== leg.amount) fail("E_MISMATCH", "the legs disagree");
}

// That an EARN takes what a voucher for this OPEN promises, and nothing else.
export function checkVouched(opening, voucher, earn) {
  if (opening.kind !== OPEN) fail("E_PEERKIND", "a voucher's half names no OPEN");
  if (!same(opening.author, earn.peer) || !same(opening.peer, earn.author)) {
    fail("E_PEERKEY", "a half is by or for another key");
  }
  if (!same(voucher.openLeaf, opening.leaf) || !same(earn.link, voucher.name)) {
    fail("E_PEERLINK", "the EARN, the voucher and the OPEN do not name each other");
  }
  const alike = ["model", "pp", "pc"].every((name) => opening[name] === earn[name]);
  if (!alike || !zeros(earn.digest) || !same(opening.rid, earn.rid) || voucher.ctok !== earn.ctok || voucher.amount !== earn.amount) {
    fail("E_MISMATCH", "the EARN and its voucher disagree on request, model, tokens or price");
  }
  if (voucher.amount > opening.hold) fail("E_HOLD", "vouched for more than was held");
  if (earn.t < voucher.t - CLOCKS_APART) fail("E_PAIRTIME", "earned before it was vouched for");
}
