// Credit over time: one line, drawn from what the ledger held at each moment.

import { $, aligned, credits, dress, el, say, svg } from "./dom.js";
import { askJson } from "./session.js";

const H = 180, TOP = 16, BOTTOM = 26, REFRESH_MS = 60_000;
const LABELS = { 1: "an hour ago", 24: "a day ago", 168: "a week ago" };

let hours = 24, points = [], started = false, chosen = false, entriesSeen = -1;

export function startCredit() {
  if (!started) {
    started = true;
    for (const button of document.querySelectorAll("[data-hours]")) {
      button.addEventListener("click", () => {
        chosen = true;
        pick(Number(button.dataset.hours));
      });
    }
    new ResizeObserver(drawCurve).observe($("curve"));
    setInterval(() => { if (!document.hidden) load(); }, REFRESH_MS);
  }
  load();
}

function pick(wanted) {
  hours = wanted;
  for (const button of document.querySelectorAll("[data-hours]")) button.setAttribute("aria-pressed", String(Number(button.dataset.hours) === hours));
  load();
}

async function load() {
  const asked = hours;
  let found;
  try { found = (await askJson(`/dashboard/credit?hours=${asked}`)).points; } catch { return; }
  if (asked !== hours) return;
  points = found;
  // A ledger that began within the hour says nothing on the scale of a day.
  if (!chosen && hours === 24 && points.slice(0, -5).every((point) => !point.earned && !point.spent) && points.at(-1).earned + points.at(-1).spent) { chosen = true; pick(1); return; }
  drawCurve();
}

export function drawCredit({ ledger }) {
  const { balance } = ledger;
  if (balance.balance === undefined) return;
  say($("balance"), credits(balance.balance));
  const hour = (balance.earned_last_hour ?? 0) - (balance.spent_last_hour ?? 0);
  say($("credit-line"), hour ? `${hour > 0 ? "+" : ""}${credits(hour)} in the last hour` : "Unchanged in the last hour");
  const rows = [["Earned by answering", balance.earned], ["Spent by asking", balance.spent], ["Held for requests in flight", balance.held], ["Others owe this node", balance.owed_to_us], ["This node owes others", balance.owed_by_us]];
  const amounts = aligned(rows.map(([, value]) => value));
  $("credit-facts").replaceChildren(...rows.flatMap(([name], index) => [el("dt", {}, name), el("dd", {}, amounts[index])]));
  if (balance.entries !== entriesSeen) {
    if (entriesSeen >= 0 && points.length) { // the line goes on while the next reading is on its way
      points = [...points.slice(1), { t_ms: Date.now(), earned: balance.earned, spent: balance.spent }];
      drawCurve();
    }
    entriesSeen = balance.entries;
  }
}

function drawCurve() {
  const net = points.map((point) => point.earned - point.spent);
  const W = Math.max(240, $("curve").clientWidth);
  if (net.length < 2) return;
  const low = Math.min(0, ...net), high = Math.max(0, ...net), range = high - low || 1;
  const x = (index) => (index / (net.length - 1)) * W;
  const y = (value) => (high === low ? H - BOTTOM : TOP + (1 - (value - low) / range) * (H - TOP - BOTTOM));
  // Credit stays until an entry changes it, so the line has steps.
  const line = net.map((value, index) => (index ? `H${x(index).toFixed(1)}V${y(value).toFixed(1)}` : `M0 ${y(value).toFixed(1)}`)).join("");
  const last = net.at(-1), first = net[0];
  const summary = `Credit went from ${credits(first)} ${LABELS[hours]} to ${credits(last)} now; lowest ${credits(Math.min(...net))}, highest ${credits(Math.max(...net))}.`;
  const probe = svg("line", { class: "probe", y1: TOP, y2: H - BOTTOM });
  const drawing = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": summary },
    svg("path", { class: "area", d: `${line}V${y(0).toFixed(1)}H0Z` }),
    svg("line", { class: "zero", x1: 0, x2: W, y1: y(0), y2: y(0) }),
    svg("path", { class: "line", d: line }),
    probe,
    svg("circle", { class: "now", cx: W, cy: y(last), r: 4.5 }),
    svg("text", { x: 0, y: H - 6 }, LABELS[hours]),
    svg("text", { x: W, y: H - 6, "text-anchor": "end" }, "now"),
    high > 0 && high !== last ? svg("text", { x: 0, y: y(high) - 5 }, credits(high)) : null,
    low < 0 && low !== last ? svg("text", { x: 0, y: y(low) - 5 }, credits(low)) : null);
  const standing = $("credit-line").textContent;
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const index = Math.round(((event.clientX - box.left) / box.width) * (net.length - 1));
    if (!(index in net)) return;
    dress(probe, { x1: x(index), x2: x(index) });
    say($("credit-line"), `${credits(net[index])} on ${new Date(points[index].t_ms).toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })}`);
  });
  drawing.addEventListener("pointerleave", () => say($("credit-line"), standing));
  $("curve").replaceChildren(drawing);
}
