#!/usr/bin/env node
// The second verifier: checks an exported ledger (OGWL1) like `opengateway-audit verify`, written anew from
// the specification (opengateway/ledger/LEDGER.md) in another language on another crypto library.
//
//     node tools/ogwl-verify.mjs FILE [--json] [--evidence ENTRY] [--checkpoint NOTE] [--policy FILE]
//                                [--credit-limit CREDITS]
//
// Exit: 0 valid, 1 with warnings, 2 tampered, 3 fraud proven, 4 incomplete, 5 unreadable, 64 usage, 70 defect.
import { readFileSync } from "node:fs";
import { audit } from "./verify_js/audit.mjs";

const USAGE = 64;
const DEFECT = 70;
const VERDICTS = [
  "VALID", "VALID, WITH WARNINGS", "TAMPERED OR INCONSISTENT", "FRAUD PROVEN", "INCOMPLETE", "UNREADABLE",
];

function usage(text) {
  process.stderr.write(`ogwl-verify: ${text}\nusage: ogwl-verify FILE [--json] [--evidence ENTRY] `);
  process.stderr.write("[--checkpoint NOTE] [--policy FILE] [--credit-limit CREDITS]\n");
  process.exit(USAGE);
}

function parse(words) {
  const asked = { file: null, json: false, evidence: [], checkpoints: [], limit: null, policy: {} };
  const value = (at) => words[at] ?? usage(`${words[at - 1]} needs a value`);
  for (let at = 0; at < words.length; at++) {
    if (words[at] === "--json") asked.json = true;
    else if (words[at] === "--evidence") asked.evidence.push(value(++at));
    else if (words[at] === "--checkpoint") asked.checkpoints.push(value(++at));
    else if (words[at] === "--policy") asked.policy = JSON.parse(readFileSync(value(++at), "utf8"));
    else if (words[at] === "--credit-limit") asked.limit = BigInt(value(++at)) * 1_000_000n;
    else if (words[at].startsWith("-") || asked.file !== null) usage(`what is ${words[at]}?`);
    else asked.file = words[at];
  }
  return asked.file === null ? usage("which file?") : asked;
}

let asked;
try {
  asked = parse(process.argv.slice(2));
} catch (error) {
  usage(error.message);
}
try {
  const report = audit(asked);
  if (asked.json) {
    process.stdout.write(JSON.stringify(report, (_, value) => (typeof value === "bigint" ? Number(value) : value), 2) + "\n");
  } else {
    const lines = [`${VERDICTS[report.exit]}: ${asked.file}`];
    for (const found of report.findings.slice(0, 20)) lines.push(`  ${found.code} entry ${found.seq}: ${found.detail}`);
    if (report.findings.length > 20) lines.push(`  and ${report.findings.length - 20} more (--json lists all)`);
    process.stdout.write(lines.join("\n") + "\n");
  }
  process.exitCode = report.exit;
} catch (error) {
  process.stderr.write(`${error.stack}\nogwl-verify: a defect of this tool, not a verdict; please report it\n`);
  process.exitCode = DEFECT;
}
