// Fault proofs: two things that one key signed and that cannot both be honest.
import { decode, isBytes } from "./cbor.mjs";
import { genuine, readSigned, same, SETTLE, VOID } from "./entry.mjs";
import { contradiction } from "./rules.mjs";
import { readVoucher, vouchedBy } from "./voucher.mjs";

const pair = (value) => Array.isArray(value) && value.length === 2 && value.every((one) => isBytes(one));

// Whether the container proves what it says it does.
export function proves(proof, net) {
  if (proof.length > 4096) return false;
  try {
    const [name, kind, one, two, ...extra] = decode(proof);
    if (name !== "ogw-proof/1" || !pair(one) || !pair(two) || extra.length > 1) return false;
    const first = readSigned(...one, net);
    if (!genuine(first)) return false;
    if (kind.startsWith("F5")) {
      const voucher = readVoucher(...two);
      const ends = first.kind === SETTLE || first.kind === VOID;
      if (voucher === null || !ends || !same(first.link, voucher.openLeaf)) return false;
      return vouchedBy(first.author, voucher) && first.amount < voucher.amount;
    }
    const second = readSigned(...two, net);
    return same(first.author, second.author) && genuine(second) && contradiction(first, second) === kind;
  } catch {
    return false;
  }
}
