// The network as range rings around this node: which ring a peer is in is how far the search must go for it.

import { $, credits, cut, dress, listed, ms, plural, say, show, svg, table } from "./dom.js";

const RINGS = ["lan", "nearest", "country", "continent", "world"];
export const TITLES = { lan: "this link", nearest: "nearest", country: "country", continent: "continent", world: "world" };
const X = 34, FOOT = 46, TOP = 8, EDGE = 16;
const NARROW = 460, FIRST = 92, LABEL = 170, NAME = 58, MANY = 40, LINE = 36, ROOMY = 3.2;

let asTable = false, latest = () => ({});

export function startRings(picture) {
  latest = picture;
  $("as-table").addEventListener("click", () => {
    asTable = !asTable;
    $("as-table").setAttribute("aria-pressed", String(asTable));
    show($("rings"), !asTable);
    show($("peer-table"), asTable);
    drawRings(latest());
  });
}

export function drawRings({ node, peers, jobs }) {
  if (!node || !peers) return;
  const up = peers.rows.filter((peer) => peer.state === "up");
  const models = new Set(up.flatMap((peer) => peer.models));
  say($("network-line"), up.length
    ? `${plural(up.length, "peer")} in reach, ${models.size ? `serving ${listed([...models], 3)}` : "serving nothing yet"}`
    : "");
  if (asTable) { drawTable(peers); return; }
  const busy = new Map();
  for (const job of jobs?.rows ?? []) if (job.at_id) busy.set(job.at_id, (busy.get(job.at_id) ?? 0) + 1);
  // Whom it only knows of, or who left, is in the table: the rings are who may answer now.
  draw(peers.rows.filter((peer) => !["known", "gone"].includes(peer.state)), busy);
}

/** Where everything goes in a panel of this size. Quarter ellipses: the panel is wider than high. A ring with
 *  somebody in it gets more room outside it, for their names. */
function layout(rows, width) {
  const W = Math.max(280, width), H = Math.round(Math.min(470, Math.max(310, W * 0.58)));
  const Y = H - FOOT, members = RINGS.map((ring) => rows.filter((peer) => (peer.ring || "world") === ring).sort((a, b) => (a.id < b.id ? -1 : 1)));
  const weights = RINGS.slice(0, -1).map((_, index) => (members[index].length ? ROOMY : 1));
  const most = W - X - EDGE, tall = (rx) => rx * (Y - TOP) / most;
  // The innermost ring is the smallest, and usually the fullest.
  const first = Math.min(0.52 * most, Math.max(FIRST, members[0].length * LINE * most / (Y - TOP) / 0.88));
  const unit = (most - first) / weights.reduce((sum, weight) => sum + weight, 0);
  const radii = [];
  RINGS.forEach((_, index) => radii.push(index ? radii[index - 1] + unit * weights[index - 1] : first));
  const outward = (index) => {
    const next = members.findIndex((here, other) => other > index && here.length);
    return next < 0 ? Infinity : radii[next] - radii[index];
  };
  const at = new Map(), crowded = new Map();
  members.forEach((here, index) => {
    const rx = radii[index], ry = tall(rx);
    // Evenly in height, not in angle: names have one line each, and neighbouring rings take turns.
    const step = 0.88 / here.length, shift = index % 2 ? 0.28 : 0.5;
    here.forEach((peer, place) => {
      const share = 0.05 + step * (place + shift);
      at.set(peer.id, [X + rx * Math.sqrt(1 - share * share), Y - ry * share]);
      // Names need room down the ring and, where a further ring has somebody, out to that one.
      if (outward(index) < NAME) crowded.set(peer.id, "crowded");
      else if (step * ry < LINE * 0.7) crowded.set(peer.id, step * ry < LINE * 0.4 ? "crowded" : "tight");
    });
  });
  return { W, H, Y, radii, tall, at, crowded };
}

let canvas = null;
function sheet() {
  if (canvas) return canvas;
  canvas = {
    arcs: svg("g", { "aria-hidden": "true" }, RINGS.map(() => svg("g", {}, svg("path", { class: "arc" }), svg("text", { class: "ring-name", "text-anchor": "middle" })))),
    ways: svg("g", { "aria-hidden": "true" }),
    peers: svg("g", {}),
    halo: svg("circle", { class: "home-halo", r: 22 }),
    home: svg("circle", { class: "home", r: 9 }),
    alone: svg("text", { class: "alone" }),
  };
  canvas.root = svg("svg", { role: "group", "aria-label": "Peers by distance" }, canvas.arcs, canvas.ways, canvas.halo, canvas.home, canvas.alone, canvas.peers);
  $("rings").append(canvas.root);
  new ResizeObserver(() => drawRings(latest())).observe($("rings"));
  return canvas;
}

function draw(rows, busy) {
  const { arcs, ways, peers, root, alone, home, halo } = sheet();
  const { W, H, Y, radii, tall, at, crowded } = layout(rows, $("rings").clientWidth);
  dress(root, { viewBox: `0 0 ${W} ${H}` });
  for (const spot of [home, halo]) dress(spot, { cx: X, cy: Y });
  let lastName = -Infinity;
  const fits = (index, full) => {
    if (!(full || W > NARROW) || (radii[index] - lastName < NAME && index < RINGS.length - 1)) return false;
    if (W <= NARROW && index < RINGS.length - 1 && radii.at(-1) - radii[index] < NAME) return false;
    lastName = radii[index];
    return true;
  };
  RINGS.forEach((ring, index) => {
    const [line, name] = arcs.children[index].children, rx = radii[index], ry = tall(rx);
    const full = rows.some((peer) => (peer.ring || "world") === ring && peer.state === "up");
    dress(line, { d: `M${X} ${Y - ry}A${rx} ${ry} 0 0 1 ${X + rx} ${Y}`, class: full ? "arc full" : "arc" });
    // The names of empty rings go where there is no room for all of them.
    dress(name, { x: Math.min(W - 18, X + rx), y: Y + 22, class: full ? "ring-name full" : "ring-name", visibility: fits(index, full) ? null : "hidden" });
    say(name, TITLES[ring]);
  });
  dress(alone, { x: X + 30, y: Y - 60 });
  say(alone, rows.length ? "" : W > NARROW ? "Nobody is in reach yet. Peers on this link appear by themselves." : "Nobody is in reach yet.");
  keep(ways, rows, () => svg("line", { class: "way" }), (line, peer) => {
    const [x, y] = at.get(peer.id);
    dress(line, { x1: X, y1: Y, x2: x, y2: y, class: busy.has(peer.short) ? "way busy" : "way", opacity: peer.state !== "up" ? "0" : rows.length > MANY && !busy.has(peer.short) ? "0.35" : null });
  });
  keep(peers, rows, newPeer, (group, peer) => {
    group.setAttribute("class", ["peer", crowded.get(peer.id)].filter(Boolean).join(" "));
    dressPeer(group, peer, at.get(peer.id), busy.get(peer.short) ?? 0, W);
  });
}

function newPeer() {
  return svg("g", { class: "peer", tabindex: "0", role: "img" },
    svg("circle"), svg("text"), svg("text", { class: "more" }));
}

function dressPeer(group, peer, [x, y], running, W) {
  const [dot, name, more] = group.children;
  const state = peer.state === "up" ? "" : peer.state === "down" ? "not answering" : peer.state;
  const facts = [state || (peer.quiet ? "silent" : ms(peer.rtt_ms)), peer.paused ? "paused" : "", W < NARROW ? "" : listed(peer.models, 2), running ? plural(running, "job") : "", peer.path?.startsWith("relay") && W >= NARROW ? "relayed" : ""].filter(Boolean);
  const title = peer.name || peer.short, r = 5 + Math.min(5, Math.sqrt(peer.slots || 0) * 1.6);
  dress(group, {
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "data-state": peer.state, "data-busy": running ? true : null, "data-idle": peer.quiet || peer.paused ? true : null,
    "aria-label": [title, TITLES[peer.ring] ?? "", peer.region, ...facts, peer.slots ? plural(peer.slots, "slot") : ""].filter(Boolean).join(", "),
  });
  dress(dot, { r: r.toFixed(1) });
  const left = x > W - (W < NARROW ? LABEL / 2 : LABEL);
  for (const [text, dy] of [[name, -1], [more, 14]]) dress(text, { x: left ? -r - 6 : r + 6, y: dy + 3 - 4, "text-anchor": left ? "end" : "start" });
  say(name, cut(title, 22));
  say(more, cut(facts.join(" · "), 38));
}

/** Keyed children: a peer's element lives as long as the peer, so that focus stays on it. */
function keep(parent, rows, make, dressOne) {
  const old = new Map([...parent.children].map((child) => [child.dataset.id, child]));
  for (const peer of rows) {
    let child = old.get(peer.id);
    old.delete(peer.id);
    if (!child) { child = make(peer); child.dataset.id = peer.id; parent.append(child); }
    dressOne(child, peer);
  }
  for (const gone of old.values()) gone.remove();
}

function drawTable(peers) {
  $("peer-table").replaceChildren(table("Peers", [
    ["Name", (p) => p.name || p.short],
    ["Ring", (p) => TITLES[p.ring] ?? ""],
    ["Region", (p) => (p.place_disproved ? `not ${p.region}` : p.region)],
    ["Round trip", (p) => ms(p.rtt_ms), "num"],
    ["Serves", (p) => listed(p.models, 3)],
    ["Slots", (p) => String(p.slots || ""), "num"],
    ["Way", (p) => p.path || ""],
    ["Owes us", (p) => (p.owes_us ? credits(p.owes_us) : ""), "num"],
    ["State", (p) => [p.state, p.quiet ? "silent" : "", p.paused ? "paused" : "", p.why].filter(Boolean).join(", "), "wide"],
  ], peers.rows));
}
