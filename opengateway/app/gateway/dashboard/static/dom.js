// Elements and texts. Nothing on this page is ever made from markup: what came from the network is always text.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** el("p", {class: "note"}, "text", node, ...): children that are null or false are left out. */
export function el(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

export function dress(node, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? "" : value);
  }
  const kept = children.flat(9).filter((child) => child !== null && child !== undefined && child !== false);
  if (kept.length) node.append(...kept);
  return node;
}

/** Sets text without touching what is right already, so that selections and screen readers are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/** A table of rows; `columns` are [title, cell => text or node, class]. */
export function table(caption, columns, rows, rowFacts = () => ({})) {
  return el("table", {},
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, columns.map(([title, , kind]) => el("th", { scope: "col", class: kind || null }, title)))),
    el("tbody", {}, rows.map((row) => el("tr", rowFacts(row),
      columns.map(([, cell, kind]) => el("td", { class: kind || null }, cell(row)))))));
}

// -- texts ---------------------------------------------------------------------------------------

const plain = new Intl.NumberFormat("en");
export const count = (n) => plain.format(n || 0);

/** Micro-credits as credits; at most six decimals, because a micro-credit is the smallest amount there is. */
export function credits(ucr) {
  const whole = Math.abs(ucr || 0);
  const text = (Math.floor(whole / 1e6) + (whole % 1e6) / 1e6).toLocaleString("en", { maximumFractionDigits: 6 });
  return (ucr < 0 ? "−" : "") + text;
}

/** Amounts for one column: all with as many decimals as the one that has most, so that they can be compared. */
export function aligned(amounts) {
  const most = Math.max(0, ...amounts.map((ucr) => (credits(ucr).split(".")[1] ?? "").length));
  return amounts.map((ucr) => {
    const [whole, rest = ""] = credits(ucr).split(".");
    return most ? `${whole}.${rest.padEnd(most, "0")}` : whole;
  });
}

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const ms = (value) => (value === null || value === undefined ? "" : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const when = (t_ms) => new Date(t_ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** "a, b and 3 more" */
export function listed(names, most = 3) {
  if (names.length <= most) return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${names.slice(0, most - 1).join(", ")} and ${names.length - most + 1} more`;
}
