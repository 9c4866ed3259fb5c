// The supervision tree as it is now: who is doing what, whose mail waits, who fell and why.

import { $, count, el, plural, say, span, table } from "./dom.js";

const handledBefore = new Map();

export function drawActors({ actors }) {
  const fallen = actors.filter((actor) => ["failed", "backoff", "abandoned"].includes(actor.state));
  const restarts = actors.reduce((sum, actor) => sum + Math.max(0, actor.life - 1), 0);
  say($("actors-line"), fallen.length ? `${plural(fallen.length, "actor")} in trouble`
    : `${plural(actors.length, "actor")}, all well${restarts ? `; ${plural(restarts, "restart")} since the start` : ""}`);
  const limbs = branches(actors.map((actor) => actor.depth));
  const rows = actors.map((actor, index) => ({ ...actor, limb: limbs[index] }));
  const scrolled = $("tree").scrollLeft;
  $("tree").replaceChildren(table("Actors", [
    ["Actor", (a) => [el("span", { class: "limb", "aria-hidden": "true" }, a.limb), el("span", { class: "dot", "aria-hidden": "true" }), a.name.split("/").at(-1), a.state === "running" ? "" : ` (${a.state})`]],
    ["Handled", (a) => el("span", { class: ticked(a) ? "tick" : null }, count(a.handled)), "num"],
    ["Mail", (a) => (a.mailbox ? count(a.mailbox) : "–"), "num"],
    ["Up", (a) => (a.uptime_s ? span(a.uptime_s) : ""), "num spare"],
    ["Life", (a) => String(a.life), "num spare"],
    ["Now", (a) => a.error && a.state !== "running" ? el("span", { class: "bad" }, a.error) : a.lost ? `${a.doing} (${count(a.lost)} lost)` : a.doing],
  ], rows, (a) => ({ "data-state": a.state, title: a.error || null })));
  $("tree").scrollLeft = scrolled;
  for (const actor of actors) handledBefore.set(actor.name, actor.handled);
}

const ticked = (actor) => handledBefore.has(actor.name) && handledBefore.get(actor.name) !== actor.handled;

function branches(depths) {
  return depths.map((depth, index) => {
    let line = "";
    for (let level = 1; level <= depth; level++) {
      const later = depths.slice(index + 1);
      const end = later.findIndex((other) => other < level);
      const goesOn = (end < 0 ? later : later.slice(0, end)).includes(level);
      line += level === depth ? (goesOn ? "├ " : "└ ") : goesOn ? "│ " : "  ";
    }
    return line;
  });
}
