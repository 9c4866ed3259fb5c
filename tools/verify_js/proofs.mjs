// Fault proofs: two things that one key signed and that cannot both be honest.
import { decode, isBytes } from "./cbor.mjs";
import { SETTLE, VOID, genuine, readSigned, same } from "./entry.mjs";
import { equivocated, rewritten } from "./rewrite.mjs";
import { contradiction } from "./rules.mjs";
import { readVoucher, vouchedBy } from "./voucher.mjs";

const pair = (value) => Array.isArray(value) && value.length === 2 && value.every((one) => isBytes(one));

// Whether the container proves what it says it does.
export function proves(proof, net) {
  if (proof.length > 4096) return false;
  try {
    const value = decode(proof);
    const [name, kind, one, two, extra = Buffer.alloc(0)] = value;
    if (![4, 5].includes(value.length) || name !== "ogw-proof/1" || !isBytes(extra)) return false;
    if (!pair(one) || !pair(two)) return false;
    if (kind === "F6-rewrite") return rewritten(one, two, extra, net);
    if (kind === "F7-witness") return equivocated(one, two, extra, net);
    return entries(kind, one, two, net);
  } catch {
    return false;
  }
}

function entries(kind, one, two, net) {
  const first = readSigned(...one, net);
  if (!genuine(first)) return false;
  if (kind === "F5-under-settle") {
    const voucher = readVoucher(...two);
    const ends = first.kind === SETTLE || first.kind === VOID;
    if (voucher === null || !ends || !same(first.link, voucher.openLeaf)) return false;
    return vouchedBy(first.author, voucher) && first.amount < voucher.amount;
  }
  const second = readSigned(...two, net);
  if (!same(first.author, second.author) || !genuine(second)) return false;
  if (kind === "F8-repudiation") {
    const later = second.seq > first.seq && same(second.peer, first.peer);
    return first.kind === SETTLE && later && second.consumed < first.consumed;
  }
  return contradiction(first, second) === kind;
}
