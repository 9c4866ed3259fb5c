// One file, everything in it, one verdict.
import { readFileSync } from "node:fs";
import { decode, isBytes } from "./cbor.mjs";
import { Chain } from "./chain.mjs";
import { Broken, OPEN, genuine, readSigned, same } from "./entry.mjs";
import { File, Torn, Unreadable } from "./file.mjs";
import { readNote } from "./notes.mjs";
import { proves } from "./proofs.mjs";
import { CLOCKS_APART } from "./rules.mjs";
import { readVoucher, vouchedBy } from "./voucher.mjs";

const [VALID, WARNINGS, TAMPERED, PROVEN, TRUNCATED, UNREADABLE] = [0, 1, 2, 3, 4, 5];
const RANK = [0, 1, 3, 5, 2, 4];
const OTHERS = {
  E_VERSION: UNREADABLE, E_KIND: UNREADABLE, E_UNREADABLE: UNREADABLE,
  E_TORN: TRUNCATED, E_TRUNCATED: TRUNCATED, E_BEHIND: TRUNCATED,
  E_PEERFORK: PROVEN, E_PEERHISTORY: PROVEN, E_FORK: PROVEN,
  E_UNDERSETTLE: PROVEN, E_CONFLICT: PROVEN, E_EQUIVOCATION: PROVEN,
};

const severity = (code) => OTHERS[code] ?? (code.startsWith("W_") ? WARNINGS : TAMPERED);

export function audit({ file: path, evidence = [], checkpoints = [], limit = null, policy = {} }) {
  const findings = [];
  const add = (code, seq, detail, proven = false) =>
    findings.push({ code, seq, detail, severity: proven ? PROVEN : severity(code) });
  const report = { tool: "ogwl-verify.mjs", format: "OGWL1", file: path, findings };
  try {
    const file = new File(path);
    whole(file, add, report, { evidence, checkpoints, limit, policy });
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    add("E_UNREADABLE", -1, error.message);
  }
  const worst = findings.reduce((a, b) => (RANK[b.severity] > RANK[a] ? b.severity : a), VALID);
  return { ...report, exit: worst };
}

function whole(file, add, report, asked) {
  const now = BigInt(Date.now());
  const latest = (now < file.created ? now : file.created) + CLOCKS_APART;
  const limit = asked.policy.credit_limit === undefined ? asked.limit : BigInt(asked.policy.credit_limit) * 1_000_000n;
  const { tokens_per_s: rate = 20_000, price_cap: cap = null } = asked.policy;
  const chain = new Chain(
    file.net, file.author, latest, limit, BigInt(rate), cap === null ? null : BigInt(cap), add,
  );
  for (const name of asked.evidence) loadEvidence(name, file, chain, add);
  const notes = asked.checkpoints.map((name) => readFileSync(name, "utf8"));
  const trailer = skim(file);
  const read = readNotes([...notes, ...(trailer?.checkpoints ?? [])], file, add);
  for (const note of read) chain.roots.set(Number(note.size), null);
  try {
    for (const record of file.records()) chain.entry(record);
    chain.finish();
    file.trailer();
  } catch (error) {
    if (!(error instanceof Torn)) throw error;
    chain.finish();
    add("E_TORN", -1, error.message);
  }
  report.subject = { entries: chain.tree.size, root: chain.tree.root().toString("hex") };
  checkNotes(read, chain, add, asked.policy);
  if (trailer === null) return;
  if (!trailer.intact) add("E_DIGEST", -1, "the file's digest does not fit, or something follows it");
  for (const voucher of trailer.vouchers) checkVoucher(voucher, chain, add);
  for (const proof of trailer.proofs) {
    if (!isBytes(proof) || !proves(proof, file.net)) add("E_PROOF", -1, "an enclosed fault proof proves nothing");
  }
}

// The trailer stands behind the entries, and names the sizes at which their tree is looked at.
function skim(file) {
  const start = file.at;
  try {
    for (const _ of file.records());
    return file.trailer();
  } catch (error) {
    if (!(error instanceof Torn)) throw error;
    return null;
  } finally {
    file.at = start;
  }
}

function loadEvidence(name, file, chain, add) {
  try {
    const [body, signature] = decode(readFileSync(name));
    const entry = readSigned(body, signature, file.net);
    if (!same(entry.author, file.author) || !genuine(entry)) throw new Broken("E_EVIDENCE", "not by this author");
    chain.evidence.set(entry.seq, entry);
  } catch (error) {
    add("E_EVIDENCE", -1, `${name} is no evidence: ${error.message}`);
  }
}

function readNotes(texts, file, add) {
  const read = [];
  for (const text of texts) {
    const note = typeof text === "string" ? readNote(text) : null;
    if (note === null) add("E_CHECKPOINT", -1, "not a checkpoint");
    else if (!same(note.net, file.net) || !same(note.author, file.author)) add("E_CHECKPOINT", -1, "a checkpoint of another ledger");
    else if (!note.signed) add("E_CHECKPOINT", -1, `the checkpoint of ${note.size} entries is not signed by its author`);
    else read.push(note);
  }
  return read;
}

function checkNotes(read, chain, add, policy) {
  const roots = new Map();
  const witnessed = new Map();
  for (const note of read) {
    const at = `the checkpoint of ${note.size} entries`;
    const before = roots.get(note.size);
    if (before !== undefined && !same(before, note.root)) add("E_CONFLICT", -1, `${at}: another with another root`, true);
    roots.set(note.size, note.root);
    for (const witness of note.bad) add("E_COSIG", -1, `${at}: a bad cosignature by ${witness}`);
    for (const { witness } of note.cosigned) {
      const key = `${witness} ${note.size}`;
      const seen = witnessed.get(key);
      if (seen !== undefined && !same(seen, note.root)) add("E_EQUIVOCATION", -1, `${at}: ${witness} signed two`, true);
      witnessed.set(key, note.root);
    }
    if (note.size > BigInt(chain.tree.size)) add("E_BEHIND", -1, `${at} is ahead of this file`);
    else if (note.size > 0n && !same(chain.roots.get(Number(note.size)), note.root)) {
      add("E_ROOT", -1, `${at} has another root than the entries here`);
    }
  }
  if (policy.quorum !== undefined) checkQuorum(read, add, policy);
}

function checkQuorum(read, add, policy) {
  const trusted = policy.witnesses === undefined ? null : new Set(policy.witnesses.map(fromBase32));
  // One checkpoint must have it; a newer one that its author signed alone is only not witnessed yet.
  const enough = read.some((note) => {
    const names = new Set(note.cosigned.map((one) => one.witness));
    return [...names].filter((name) => trusted === null || trusted.has(name)).length >= policy.quorum;
  });
  if (!enough) add("E_QUORUM", -1, `no checkpoint is cosigned by ${policy.quorum} witnesses`);
}

function fromBase32(text) {
  let bits = 0n;
  for (const letter of text.toLowerCase()) bits = (bits << 5n) | BigInt("abcdefghijklmnopqrstuvwxyz234567".indexOf(letter));
  return (bits >> 4n).toString(16).padStart(64, "0");
}

// [voucher, signature], or that and [.., OPEN, signature] where the OPEN is in another ledger.
function checkVoucher(value, chain, add) {
  const fits = Array.isArray(value) && [2, 4].includes(value.length) && value.every((one) => isBytes(one));
  const voucher = fits ? readVoucher(value[0], value[1]) : null;
  const bad = (text) => add("E_VOUCHER", -1, text);
  if (voucher === null) return bad("an enclosed voucher is none");
  const known = [...(chain.vouched.get(voucher.openLeaf.toString("hex")) ?? [])];
  if (value.length === 4) {
    let opening;
    try {
      opening = readSigned(value[2], value[3], chain.net);
    } catch {
      return bad("an enclosed voucher stands beside no OPEN");
    }
    if (!same(opening.leaf, voucher.openLeaf) || opening.kind !== OPEN || !genuine(opening)) {
      return bad("a voucher that does not belong to the OPEN beside it");
    }
    known.push(opening);
  }
  if (known.length === 0) return bad("a voucher for an OPEN that is not here");
  if (!vouchedBy(known[0].author, voucher)) return bad("a voucher that its debtor did not sign");
  for (const end of known) {
    if (end.kind !== OPEN && end.amount < voucher.amount && genuine(end)) {
      add("E_UNDERSETTLE", Number(end.seq), `settled ${end.amount} after vouching for ${voucher.amount}`, true);
    }
  }
}
