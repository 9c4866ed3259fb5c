// The headline says in a sentence what this node is to the network; below it the few figures that matter.

import { $, count, dress, el, listed, plural, say, show, span, svg } from "./dom.js";

const ENGINES = { llama_server: "llama.cpp", ollama: "Ollama", openai: "OpenAI-compatible" };

export function drawNode({ node, models, actors }) {
  if (!node) return;
  say($("node-name"), node.name);
  document.title = `${node.name} · OpenGateway`;
  $("node-line").replaceChildren(...sentence(node));
  const [, advice = ""] = node.reachability.text.split(/: (.*)/s);
  say($("node-advice"), ["relayed", "unreachable"].includes(node.reachability.kind) ? `${advice.charAt(0).toUpperCase()}${advice.slice(1)}.` : "");
  notices(node.warnings);
  const speed = (models?.speeds ?? []).reduce((best, one) => (one.generate_tps > (best?.generate_tps ?? 0) ? one : best), null);
  const { engine } = node;
  facts([
    ["Engine", engine.state === "none" ? "none" : `${ENGINES[engine.name] ?? engine.name}, ${engine.state}`],
    engine.slots ? ["Slots busy", `${engine.busy} of ${engine.slots}`, engine.busy / engine.slots] : null,
    speed ? ["Speed", `${count(Math.round(speed.generate_tps))} tokens/s`] : null,
    ["Region", node.region],
    actors ? ["Up for", span(actors[0].uptime_s)] : null,
  ]);
  const network = node.network.private ? `private network ${node.network.name}` : `network ${node.network.name}`;
  say($("colophon"), `OpenGateway ${node.version} · node ${node.short} · ${network} · ${node.home}`);
}

function sentence({ models, engine, peers, reachability }) {
  const b = (text) => el("b", {}, text);
  const names = listed(models, 3);
  const lends = {
    running: ["Serves ", b(names || "no model"), " to whoever asks. "],
    starting: ["Is starting its engine. "],
    down: ["Its engine is ", b("down"), ". "],
    none: ["Serves nothing itself: it asks others. "],
  }[engine.state] ?? [];
  const near = peers.total ? ["Knows ", b(plural(peers.total, "peer")), "; "] : ["Knows ", b("nobody yet"), "; "];
  // After a colon stands what would improve it: advice, and no part of the sentence.
  const [text] = reachability.text.split(": ");
  const how = { loopback: `reachable by ${text}`, lan: `reachable on this link: ${text}`, relayed: `reached ${text.replace(/^relayed /, "")}`, unreachable: `reached ${text}` }[reachability.kind] ?? `reachable ${text}`;
  return [...lends, ...near, `${how}.`];
}

function facts(rows) {
  const list = $("node-facts"), kept = rows.filter(Boolean);
  while (list.children.length > kept.length) list.lastElementChild.remove();
  kept.forEach(([name, value, share], index) => {
    const box = list.children[index] ?? list.appendChild(el("div", {}, el("dt"), el("dd", {}, el("span"))));
    say(box.firstElementChild, name);
    say(box.lastElementChild.firstElementChild, value);
    meter(box.lastElementChild, share);
  });
}

function meter(box, share) {
  let bar = box.querySelector(".meter");
  if (share === undefined) { bar?.remove(); return; }
  bar ??= box.appendChild(el("span", { class: "meter", "aria-hidden": "true" }, el("i")));
  bar.firstElementChild.style.width = `${Math.round(100 * Math.min(1, share))}%`;
}

export function drawMachine({ machine }) {
  const load = machine?.load ?? {};
  const parts = [];
  if (typeof load.cpu_percent === "number") parts.push(`processor ${Math.round(load.cpu_percent)} %`);
  if (typeof load.ram_percent === "number") parts.push(`memory ${Math.round(load.ram_percent)} %`);
  $("node-facts").title = parts.join(", ");
}

let told = "";
function notices(warnings) {
  const key = JSON.stringify(warnings);
  if (key === told) return;
  told = key;
  show($("notices"), warnings.length > 0);
  $("notices").firstElementChild.replaceChildren(...warnings.map(({ text, hint }) => el("li", {},
    dress(svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }), {}, [svg("path", { d: "M10 2 18.5 17h-17zM10 8v4M10 14.2v.6" })]),
    el("p", {}, text),
    hint ? el("p", {}, ...withCommands(hint)) : null)));
}

/** What stands between backticks is typed, so it looks like it. */
function withCommands(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}
