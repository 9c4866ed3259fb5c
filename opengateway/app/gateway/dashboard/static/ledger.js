// The signed record: who owes whom, the last entries, and the audit that anybody could do.

import { $, aligned, count, credits, el, plural, say, table, when } from "./dom.js";
import { askJson } from "./session.js";

const KINDS = { genesis: "began", open: "held", settle: "paid", earn: "earned", void: "released", transfer: "moved" };
const SHOWN = 8;
let seen = "";

export function drawLedger({ ledger }) {
  const key = JSON.stringify([ledger.accounts, ledger.entries]);
  say($("ledger-line"), `${plural(ledger.balance.entries ?? 0, "signed entry", "signed entries")}`);
  if (key === seen) return;
  seen = key;
  accounts(ledger.accounts);
  const scrolled = $("entries").scrollLeft;
  const signed = (e) => (e.amount ? (e.type === "settle" ? -e.amount : e.amount) : e.hold ?? 0);
  const moved = ledger.entries.filter(signed), texts = aligned(moved.map(signed));
  const amounts = new Map(moved.map((e, index) => [e, texts[index]]));
  $("entries").replaceChildren(ledger.entries.length ? table("Last entries of the ledger", [
    ["No.", (e) => count(e.seq), "num spare"],
    ["Time", (e) => when(e.t_ms)],
    ["What", (e) => el("span", { class: `kind ${e.type}` }, KINDS[e.type] ?? e.type)],
    ["With", (e) => e.name],
    ["Credits", (e) => amounts.get(e) ?? "", "num"],
    ["Tokens", (e) => (e.prompt_tokens || e.completion_tokens ? `${e.type === "open" ? "at most " : ""}${count(e.prompt_tokens)} in, ${count(e.completion_tokens)} out` : ""), "spare"],
    ["Both signed", (e) => (e.countersigned ? "yes" : "")],
  ], ledger.entries) : el("p", { class: "empty" }, "No entries yet: the first answer writes one."));
  $("entries").scrollLeft = scrolled;
}

function accounts(rows) {
  const most = Math.max(1, ...rows.map((row) => Math.abs(row.net)));
  const open = rows.filter((row) => row.served || row.consumed || row.net).slice(0, SHOWN);
  $("accounts").replaceChildren(...(open.length ? open.map((row) => {
    const bar = el("i", { class: row.net >= 0 ? "owed" : "owe" });
    bar.style.width = `${(50 * Math.abs(row.net)) / most}%`;
    const words = row.net > 0 ? `owes ${credits(row.net)}` : row.net < 0 ? `is owed ${credits(-row.net)}` : "even";
    return el("li", {}, el("span", {}, row.name), el("span", { class: "beam", "aria-hidden": "true" }, bar), el("span", { class: "amount" }, words));
  }) : [el("li", { class: "empty" }, "Nobody yet.")]));
}

export function startAudit() {
  $("audit").addEventListener("click", async () => {
    const button = $("audit"), place = $("verdict");
    button.disabled = true;
    place.dataset.exit = "";
    place.replaceChildren(el("p", {}, "Exporting the ledger and checking every signature, link and total …"));
    try {
      verdict(place, await askJson("/dashboard/audit", { method: "POST" }));
    } catch (error) {
      place.dataset.exit = "bad";
      place.replaceChildren(el("p", {}, error.message), error.hint ? el("p", { class: "note" }, error.hint) : "");
    } finally {
      button.disabled = false;
    }
  });
}

function verdict(place, report) {
  const { checks, subject, perf } = report;
  place.dataset.exit = report.exit > 1 ? "bad" : String(report.exit);
  const done = Object.entries(checks).filter(([, check]) => !check.skipped);
  const words = report.verdict.charAt(0) + report.verdict.slice(1).toLowerCase();
  place.replaceChildren(
    el("strong", {}, `${words}.`),
    el("p", {}, `${plural(subject.entries, "entry", "entries")} and ${plural(perf.signatures, "signature")} checked in ${perf.seconds.toFixed(2)} s, from the export alone.`),
    report.findings.length ? el("ul", {}, inWords(report).map((words) => el("li", { class: "note" }, words))) : "",
    el("details", {}, el("summary", {}, "What was checked, and what was not"),
      el("ul", {}, done.map(([name, check]) => el("li", {}, `${name}: ${count(check.ok)} in order${check.bad ? `, ${check.bad} not` : ""}`))),
      el("ul", {}, report.not_checked.map((text) => el("li", { class: "note" }, `Not checked: ${text}`)))));
}

/** Requests in flight are open in the ledger, which an audit reports: one line for all of them. */
function inWords({ findings, totals }) {
  const open = findings.filter((finding) => finding.code === "W_UNSETTLED");
  const others = findings.filter((finding) => finding.code !== "W_UNSETTLED");
  return [
    ...(open.length ? [`${plural(open.length, "request is", "requests are")} in flight: ${credits(totals.held)} credits are held for ${open.length === 1 ? "it" : "them"}.`] : []),
    ...others.map(({ code, seq, detail }) => `${code}${seq >= 0 ? `, entry ${seq}` : ""}: ${detail}`),
  ];
}
