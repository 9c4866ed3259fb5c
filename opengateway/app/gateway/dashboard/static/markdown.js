// Markdown to elements, the part of it that models write. Text becomes text nodes and nothing else: there is no
// way from an answer to markup, a script or an address other than http, https and mailto. Images are not loaded;
// their address is shown as a link, because loading one would tell its server that the answer was read.

import { el } from "./dom.js";

const DEPTH = 6;

export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines, depth) {
  const out = [];
  let paragraph = [];
  const flush = () => { if (paragraph.length) out.push(el("p", {}, inline(paragraph.join("\n"), 0))); paragraph = []; };
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    const fence = /^ {0,3}(`{3,}|~{3,})/.exec(line);
    if (fence) {
      flush();
      const body = [], mark = fence[1];
      while (++i < lines.length && !(lines[i].trim().startsWith(mark) && !lines[i].trim().replaceAll(mark[0], ""))) body.push(lines[i]);
      out.push(el("pre", { tabindex: "0" }, el("code", {}, body.join("\n"))));
      continue;
    }
    const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (heading) { flush(); out.push(el(`h${Math.min(5, heading[1].length + 2)}`, {}, inline(heading[2], 0))); continue; }
    if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) { flush(); out.push(el("hr")); continue; }
    if (/^ {0,3}>/.test(line) && depth < DEPTH) {
      flush();
      const body = [];
      while (i < lines.length && /^ {0,3}>/.test(lines[i])) body.push(lines[i++].replace(/^ {0,3}> ?/, ""));
      i--;
      out.push(el("blockquote", {}, blocks(body, depth + 1)));
      continue;
    }
    const item = /^( {0,3})([-*+]|\d{1,9}[.)])\s+/.exec(line);
    if (item && depth < DEPTH) { flush(); const [list, next] = listFrom(lines, i, item, depth); out.push(list); i = next - 1; continue; }
    if (line.includes("|") && /^ *\|?[ :|-]*-[ :|-]*\|[ :|-]*$/.test(lines[i + 1] ?? "")) {
      flush();
      const head = cells(line), rows = [];
      i += 2;
      while (i < lines.length && lines[i].includes("|")) rows.push(cells(lines[i++]));
      i--;
      out.push(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, el("table", {},
        el("thead", {}, el("tr", {}, head.map((cell) => el("th", { scope: "col" }, inline(cell, 0))))),
        el("tbody", {}, rows.map((row) => el("tr", {}, head.map((_, at) => el("td", { class: "wide" }, inline(row[at] ?? "", 0)))))))));
      continue;
    }
    if (line.trim()) paragraph.push(line.trim()); else flush();
  }
  flush();
  return out;
}

function listFrom(lines, start, first, depth) {
  const ordered = /\d/.test(first[2]), items = [];
  let i = start;
  while (i < lines.length) {
    const item = /^( {0,3})([-*+]|\d{1,9}[.)])\s+(.*)$/.exec(lines[i]);
    if (!item || /\d/.test(item[2]) !== ordered) break;
    const body = [item[3]];
    i++;
    while (i < lines.length && (/^ {2,}\S/.test(lines[i]) || (!lines[i].trim() && /^ {2,}\S/.test(lines[i + 1] ?? "")))) body.push(lines[i++].replace(/^ {2,4}/, ""));
    items.push(el("li", {}, body.length === 1 ? inline(body[0], 0) : blocks(body, depth + 1)));
    while (i < lines.length && !lines[i].trim() && /^( {0,3})([-*+]|\d{1,9}[.)])\s+/.test(lines[i + 1] ?? "")) i++;
  }
  const list = el(ordered ? "ol" : "ul", {}, items);
  if (ordered && parseInt(first[2], 10) !== 1) list.setAttribute("start", parseInt(first[2], 10));
  return [list, i];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

const SPANS = [
  [/(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, (m) => el("code", {}, m[2].trim() || m[2])],
  [/!?\[([^\]\n]{0,500})\]\(\s*<?([^\s)>]{1,2000})>?(?:\s+"[^"]*")?\s*\)/, (m, depth) => link(m[2], inline(m[1] || m[2], depth + 1), m[0])],
  [/\*\*(?=\S)([\s\S]*?\S)\*\*|__(?=\S)([\s\S]*?\S)__/, (m, depth) => el("strong", {}, inline(m[1] ?? m[2], depth + 1))],
  [/\*(?=\S)([^*]*?\S)\*|(?<![\p{L}\p{N}])_(?=\S)([^_]*?\S)_(?![\p{L}\p{N}])/u, (m, depth) => el("em", {}, inline(m[1] ?? m[2], depth + 1))],
  [/~~(?=\S)([\s\S]*?\S)~~/, (m, depth) => el("del", {}, inline(m[1], depth + 1))],
  [/https?:\/\/[^\s<>"'`)\]]{1,2000}/, (m) => link(m[0], [m[0]], m[0])],
];

function inline(text, depth) {
  if (depth > DEPTH) return [text];
  const out = [];
  let rest = text;
  while (rest) {
    let best = null;
    for (const [pattern, make] of SPANS) {
      const found = pattern.exec(rest);
      if (found && (!best || found.index < best.found.index)) best = { found, make };
    }
    if (!best) { out.push(rest); break; }
    if (best.found.index) out.push(rest.slice(0, best.found.index));
    out.push(best.make(best.found, depth));
    rest = rest.slice(best.found.index + best.found[0].length);
  }
  return out;
}

function link(address, label, written) {
  let url;
  try { url = new URL(address); } catch { return written; }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return written;
  return el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, label);
}
