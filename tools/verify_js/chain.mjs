// The audit of one chain, entry by entry.
import { Ahead } from "./ahead.mjs";
import {
  ADJ, Broken, CARRY, EARN, FOLLOW, GENESIS, OPEN, ROTATE, SETTLE, VOID, genuine, leafOf, readSigned, same,
} from "./entry.mjs";
import { pieces } from "./file.mjs";
import * as rules from "./rules.mjs";
import { checkMoved, checkStatement } from "./rotation.mjs";
import { Frontier } from "./tree.mjs";
import { readVoucher, vouchedBy } from "./voucher.mjs";

const hex = (bytes) => bytes.toString("hex");
const latin = (...all) => all.map((bytes) => bytes.toString("latin1")).join("");

export class Chain {
  constructor(net, author, latest, limit, rate, cap, add) {
    Object.assign(this, { net, author, latest, limit, rate, cap, add });
    this.index = -1;
    this.previous = null;
    this.tree = new Frontier();
    this.pairs = new Map();
    this.closed = new Map(); // keys that were given up -> who came after
    this.opens = new Map();
    this.ahead = new Ahead();
    this.requests = new Map();
    this.places = new Map();
    this.highest = new Map();
    this.evidence = new Map();
    this.vouched = new Map(); // leaf of an OPEN -> the entries that begin and end its request
    this.roots = new Map(); // sizes that checkpoints name -> root
  }

  finding(code, text, proven = false) {
    this.add(code, this.index, text, proven);
  }

  broken(run, rename = (code) => code) {
    try {
      run();
      return true;
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      this.finding(rename(error.code), error.message);
      return false;
    }
  }

  entry(record) {
    this.index += 1;
    const parts = pieces(record);
    let e = null;
    if (parts === null) this.finding("E_FORMAT", "a record is not [body, signature]");
    else this.broken(() => (e = readSigned(parts[0], parts[1], this.net)));
    this.tree.append(e === null ? leafOf(record) : e.leaf);
    const size = this.tree.size;
    if (this.roots.has(size)) this.roots.set(size, this.tree.root());
    if (e === null) {
      this.previous = null;
      return;
    }
    this.signature(e);
    this.terms(e);
    this.continues(e);
    this.holds(e);
    this.halves(e, parts.slice(2));
    this.compareEvidence(e);
    this.previous = e;
    if (this.closed.has(latin(e.peer))) this.finding("E_ROTATE", "with a key that was given up before");
    else if (e.kind !== GENESIS) {
      this.pairs.set(latin(e.peer), e);
      this.once(this.requests, `${e.kind}` + latin(e.peer, e.rid), e, "E_DUPRID", false);
    }
  }

  signature(e) {
    if (!same(e.author, this.author)) this.finding("E_WRONG_KEY", "by another author than the file's");
    if (!genuine(e)) this.finding("E_SIG", "the author's signature is not valid");
  }

  terms(e) {
    this.broken(() => rules.checkTerms(e));
    if (e.t > this.latest) this.finding("E_FUTURE", "later than the file itself");
    if (this.cap !== null && (e.pp > this.cap || e.pc > this.cap)) this.finding("E_PRICE", "above the policy's cap");
    if (this.limit !== null && e.kind === OPEN && e.taken + e.held - e.given > this.limit) {
      this.finding("E_LIMIT", "spent and held exceed what was earned by more than the limit");
    }
  }

  continues(e) {
    if (this.index === 0) {
      this.recovery = e.kind === GENESIS ? e.link : Buffer.alloc(0);
      if (e.kind !== GENESIS) this.finding("E_HEADLESS", "the chain does not start with its GENESIS");
      return;
    }
    if (this.previous === null) {
      if (e.seq !== BigInt(this.index)) this.finding("E_SEQ", `entry ${e.seq} at place ${this.index}`);
      return;
    }
    const code = rules.breakBetween(this.previous, e, this.pairs.get(latin(e.peer)) ?? rules.NOTHING);
    if (code === null) return;
    const known = this.pairs.get(latin(e.peer));
    const proven = this.prove(this.previous, e) || (code === "E_PAIR" && known !== undefined && this.prove(known, e));
    this.finding(code, `does not follow from entry ${this.previous.seq}`, proven);
  }

  // Only what one key signed convicts it.
  prove(a, b) {
    return same(a.author, b.author) && rules.contradiction(a, b) !== null && genuine(a) && genuine(b);
  }

  holds(e) {
    const key = latin(e.peer, e.rid);
    if (e.kind === OPEN) {
      this.opens.set(key, e);
      this.note(e.leaf, e);
    } else if (e.kind === SETTLE || e.kind === VOID) {
      const opening = this.opens.get(key);
      this.opens.delete(key);
      this.note(e.link, e);
      if (opening === undefined) {
        this.finding("E_NOOPEN", "releases a hold that no OPEN took");
        return;
      }
      this.broken(() => rules.checkRelease(opening, e));
      if (e.ctok * 1000n > this.rate * (e.t - opening.t + 1000n)) this.finding("W_RATE", "faster than any model");
    }
  }

  note(leaf, e) {
    const name = hex(leaf);
    this.vouched.set(name, [...(this.vouched.get(name) ?? []), e]);
  }

  halves(e, parts) {
    if (e.kind === ADJ && e.amount > 0n) {
      this.leg(e, parts);
      return;
    }
    if (e.kind === ROTATE) {
      this.broken(() => rules.checkRotate(e, parts, this.recovery ?? Buffer.alloc(0)));
      return;
    }
    if (e.kind === EARN) this.broken(() => this.ahead.earned(e, parts, this.net));
    if (e.kind === CARRY || e.kind === FOLLOW) {
      this.moved(e, parts);
      return;
    }
    if (parts.length % 2 === 1) {
      this.finding("E_FORMAT", "papers where there is no change of keys");
      return;
    }
    if (e.kind !== SETTLE && e.kind !== EARN) {
      if (parts.length) this.finding("E_PEERKIND", "a counterparty's half where there is none to have");
      return;
    }
    if (!parts.length) {
      if (e.kind === EARN) this.finding("E_ONESIDED", "earned without the debtor's signature");
      else this.finding("W_NOCOUNTER", "the worker's EARN has not come back");
      return;
    }
    if (parts.length === 4) {
      this.byVoucher(e, parts);
      return;
    }
    const half = this.half(e, parts);
    if (half === null) return;
    const [settle, earn] = e.kind === EARN ? [half, e] : [e, half];
    this.broken(() => rules.checkHalves(settle, earn));
    this.broken(() => this.ahead.compared(e, half, this.index));
    if (half.kind === SETTLE) this.note(half.link, half);
    if (earn.t > settle.t + rules.HALVES_APART) this.finding("W_PAIRTIME", "earned long after it was settled");
  }

  moved(e, parts) {
    const closes = (old, next, follow) => {
      const known = this.pairs.get(latin(old)) ?? rules.NOTHING;
      this.closed.set(latin(old), next);
      this.ahead.close(old);
      this.pairs.delete(latin(old));
      if (rules.brought(follow).some(([name, all]) => known[name] !== all)) {
        throw new Broken("E_PAIR", "moves something else than the account with the old key holds");
      }
    };
    const before = this.previous === null ? CARRY : this.previous.kind;
    this.broken(() => checkMoved(e, parts, this.net, before, closes));
    if (parts.length === 1 && e.kind === CARRY) this.finding("W_NOCOUNTER", "the other side has not answered yet");
    if (parts.length < 2) return;
    const half = this.half(e, parts);
    if (half !== null) this.broken(() => checkStatement(e, half, parts.length % 2 === 0));
  }

  // The key under which the account with this one ended.
  account(key) {
    for (let at = 0; at < this.closed.size && this.closed.has(key); at += 1) key = latin(this.closed.get(key));
    return key;
  }

  // A debt that a transfer took away: its creditor must have signed that it gave the claim up.
  leg(e, parts) {
    if (!parts.length) {
      this.finding("W_NOCOUNTER", "the creditor's side of this transfer has not come back");
      return;
    }
    const half = this.half(e, parts);
    if (half !== null) this.broken(() => rules.checkCounterLeg(e, half));
  }

  half(e, [body, signature]) {
    let half = null;
    if (!this.broken(() => (half = readSigned(body, signature, this.net)), () => "E_PEERFORMAT")) return null;
    if (!genuine(half)) {
      this.finding("E_PEERSIG", "the counterparty's signature is not valid");
      return null;
    }
    this.broken(() => rules.checkTerms(half), () => "E_PEERTERMS");
    if (same(half.author, e.peer)) this.witness(half);
    return half;
  }

  // No SETTLE came: the last voucher, and the OPEN that it is for.
  byVoucher(e, parts) {
    const voucher = readVoucher(parts[0], parts[1]);
    if (e.kind !== EARN) {
      this.finding("E_PEERKIND", "a voucher where none can be");
      return;
    }
    if (voucher === null) {
      this.finding("E_PEERFORMAT", "not a voucher");
      return;
    }
    const opening = this.half(e, parts.slice(2));
    if (opening === null) return;
    if (!vouchedBy(opening.author, voucher)) {
      this.finding("E_PEERSIG", "the voucher's signature is not valid");
      return;
    }
    this.broken(() => rules.checkVouched(opening, voucher, e));
  }

  witness(half) {
    const author = latin(half.author);
    this.once(this.places, author + half.seq, half, "E_PEERFORK", true);
    const highest = this.highest.get(author) ?? half;
    if (highest.seq !== half.seq && this.prove(highest, half)) {
      this.finding("E_PEERHISTORY", "a counterparty signed entries that do not follow from each other", true);
    }
    if (highest === half || highest.seq < half.seq) this.highest.set(author, half);
  }

  // Two different entries under one name: found at the end, as they may stand anywhere.
  once(seen, name, e, code, needsProof) {
    const before = seen.get(name);
    seen.set(name, e);
    if (before === undefined || same(before.leaf, e.leaf)) return;
    const proven = this.prove(before, e);
    if (proven || !needsProof) this.finding(code, `entries ${before.seq} and ${e.seq}`, proven);
  }

  compareEvidence(e) {
    const held = this.evidence.get(e.seq);
    this.evidence.delete(e.seq);
    if (held === undefined || same(held.leaf, e.leaf)) return;
    const proven = this.prove(e, held);
    this.finding(proven ? "E_FORK" : "E_EVIDENCE", "somebody holds another entry for this place", proven);
  }

  finish() {
    this.index = -1;
    const last = this.previous;
    if (last !== null && last.kind === ADJ && last.amount > 0n) {
      this.add("E_LEGS", Number(last.seq), "one leg of a transfer without the other", false);
    }
    const held = new Map();
    for (const opening of this.opens.values()) {
      const peer = latin(opening.peer);
      held.set(peer, (held.get(peer) ?? 0n) + opening.hold);
      if (opening.hold > 0n) this.add("W_UNSETTLED", Number(opening.seq), `${opening.hold} ucr are held`, false);
    }
    for (const { peer, served, index } of this.ahead.claims) {
      const account = this.account(latin(peer));
      const spent = (this.pairs.get(account) ?? rules.NOTHING).consumed;
      if (served > spent + (held.get(account) ?? 0n)) {
        this.add("E_PAIRVIEW", index, `a peer claims ${served} ucr earned here, where ${spent} were spent at it`, false);
      }
    }
    for (const seq of this.evidence.keys()) {
      this.add("E_TRUNCATED", Number(seq), "somebody holds this entry, which is not in the file", false);
    }
  }
}
