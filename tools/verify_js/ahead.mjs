// What was earned by vouchers that no SETTLE has completed: so far a worker is ahead of its requester.
import { Broken, EARN, readSigned, same } from "./entry.mjs";

const name = (peer, rid) => peer.toString("hex") + rid.toString("hex");
const fail = (text) => {
  throw new Broken("E_PAIRVIEW", text);
};

export class Ahead {
  constructor() {
    this.sums = new Map(); // peer -> ucr
    this.open = new Map(); // request that was earned by voucher -> tokens of the voucher
    this.claims = [];
  }

  add(peer, ucr) {
    const key = peer.toString("hex");
    this.sums.set(key, (this.sums.get(key) ?? 0n) + ucr);
  }

  // The account went over to another key.
  close(peer) {
    this.sums.delete(peer.toString("hex"));
  }

  // An EARN with what stands beside it.
  earned(e, parts, net) {
    if (parts.length === 4) {
      this.add(e.peer, e.amount);
      this.open.set(name(e.peer, e.rid), [e.ptok, e.ctok]);
    } else if (parts.length === 2 && same(e.rid, e.link.subarray(0, 16))) {
      let settle;
      try {
        settle = readSigned(parts[0], parts[1], net);
      } catch (error) {
        if (error instanceof Broken) return;
        throw error;
      }
      this.add(e.peer, e.amount - settle.amount);
      const key = name(e.peer, settle.rid);
      const [ptok, ctok] = this.open.get(key) ?? [];
      this.open.delete(key);
      if (ptok !== settle.ptok - e.ptok || ctok !== settle.ctok - e.ctok) {
        fail("earns the rest of a request that was not earned by a voucher over what is missing");
      }
    }
  }

  // A receipt. Over nothing it may come whenever it likes.
  compared(e, half, index) {
    if (half.served > e.consumed) this.claims.push({ peer: e.peer, served: half.served, index });
    if (e.kind !== EARN || half.amount === 0n) return;
    const key = e.peer.toString("hex");
    const right = this.sums.get(key) ?? 0n;
    const ahead = e.served - half.consumed;
    this.sums.set(key, ahead);
    if (ahead !== right) fail(`${ahead} ucr ahead of what was settled, ${right} earned by vouchers`);
  }
}
