// The question box: streams like any other program that uses the node, and says where the answer came from.

import { $, cut, el, ms, say, show, table } from "./dom.js";
import { markdown } from "./markdown.js";
import { TITLES } from "./rings.js";
import { ask, askJson, events } from "./session.js";

const talk = [];
let asking = null;

export function startChat() {
  const question = $("question");
  $("ask-form").addEventListener("submit", (event) => { event.preventDefault(); asking ? asking.abort() : send(); });
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); if (!asking) send(); }
    if (event.key === "Escape" && asking) asking.abort();
  });
  $("new-talk").addEventListener("click", () => {
    asking?.abort();
    talk.length = 0;
    $("talk").replaceChildren();
    show($("new-talk"), false);
    question.focus();
  });
}

let offered = "";
export function drawModels({ models }) {
  const names = models.network.map((model) => model.name), key = names.join("\n");
  if (key === offered && $("model").options.length) return;
  offered = key;
  const pick = $("model"), before = pick.value;
  pick.replaceChildren(el("option", { value: "" }, names.length ? "Best in reach" : "No model in reach"),
    ...models.network.map((model) => el("option", { value: model.name }, `${model.name} (${model.nodes === 1 ? "1 node" : `${model.nodes} nodes`})`)));
  if (names.includes(before)) pick.value = before;
}

async function send() {
  const text = $("question").value.trim();
  if (!text) return;
  $("question").value = "";
  talk.push({ role: "user", content: text });
  show($("new-talk"), true);
  const box = el("div", { class: "said node", "aria-busy": "true" }, el("span", { class: "cursor", "aria-hidden": "true" }));
  $("talk").append(el("div", { class: "said you" }, text), box);
  scroll(true);
  busy(true);
  asking = new AbortController();
  const answer = new Writing(box);
  try {
    await stream(answer, asking.signal);
    talk.push({ role: "assistant", content: answer.text });
  } catch (error) {
    const stopped = asking.signal.aborted;
    if (answer.text) talk.push({ role: "assistant", content: answer.text }); else talk.pop();
    answer.end(stopped ? "Stopped." : [error.message, error.hint].filter(Boolean).join(" · "), !stopped);
  } finally {
    asking = null;
    busy(false);
    box.removeAttribute("aria-busy");
  }
}

async function stream(answer, signal) {
  const body = { messages: talk, stream: true, ...($("model").value ? { model: $("model").value } : {}) };
  const response = await ask("/dashboard/chat", { method: "POST", body, signal, headers: { "x-opengateway-stats": "1" } });
  for await (const { data, comment } of events(response)) {
    if (comment !== undefined) { say($("ask-note"), comment); continue; }
    if (data === "[DONE]") { answer.end(); return; }
    const event = JSON.parse(data);
    if (event.error) throw Object.assign(new Error(event.error.message), { hint: "" });
    if (event.opengateway) answer.stats = event.opengateway;
    const piece = event.choices?.[0]?.delta?.content;
    if (piece) { say($("ask-note"), ""); answer.add(piece); }
  }
  throw new Error("The answer broke off.");
}

/** One answer on its way. Drawn at most once a frame, however fast the tokens come. */
class Writing {
  constructor(box) { this.box = box; this.text = ""; this.stats = null; this.due = false; this.over = false; }

  add(piece) {
    this.text += piece;
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; if (!this.over) this.draw(el("span", { class: "cursor", "aria-hidden": "true" })); });
  }

  draw(...after) {
    const near = atEnd();
    this.box.replaceChildren(...markdown(this.text), ...after);
    scroll(near);
  }

  end(note = "", failed = false) {
    this.over = true;
    this.draw(el("p", { class: failed ? "route bad" : "route" }, note || this.route()), this.stats ? way(this.stats.request_id) : "");
  }

  route() {
    const { route, ttft_ms, tokens_per_second, completion_tokens, credits } = this.stats ?? {};
    if (!route) return "";
    return [
      route.ring === "local" ? "this node" : `${route.name} (${TITLES[route.ring] ?? route.ring})`, route.model,
      `first token ${ms(ttft_ms)}`, completion_tokens > 1 && tokens_per_second ? `${Math.round(tokens_per_second)} tokens/s` : "",
      credits && credits !== "0" ? `${credits} credits` : "free",
    ].filter(Boolean).join(" · ");
  }
}

const STEPS = { sent: "sent to", queued: "waits", asked: "asked for a slot", quoted: "quoted", not_quoted: "gave no quote", failed: "failed, next try", broke: "broke off, goes on elsewhere", continued: "goes on from what was shown", repeated: "begins anew", broken: "broke off", slow: "slow, tried elsewhere too" };

/** The search for an answer, step by step; asked for when somebody wants to see it. */
export function way(id) {
  const body = el("div", {});
  const box = el("details", { class: "route" }, el("summary", {}, "How it got here"), body);
  box.addEventListener("toggle", async () => {
    if (!box.open || body.children.length) return;
    try {
      const { events } = await askJson(`/dashboard/trace/${encodeURIComponent(id)}`);
      body.replaceChildren(table("Steps of the search", [
        ["After", (e) => ms(e.ms), "num"], ["Step", (e) => STEPS[e.what] ?? e.what.replaceAll("_", " ")],
        ["Ring", (e) => e.ring ?? ""], ["Node", (e) => e.name ?? e.node ?? ""],
        ["", (e) => cut(String(e.why ?? e.code ?? (e.tokens ? `${e.tokens} tokens` : "")), 80), "wide"],
      ], events));
    } catch (error) { body.replaceChildren(el("p", {}, error.message)); }
  });
  return box;
}

const atEnd = () => { const box = $("talk"); return box.scrollHeight - box.scrollTop - box.clientHeight < 60; };
const scroll = (wanted) => { if (wanted) $("talk").scrollTop = $("talk").scrollHeight; };

function busy(on) {
  const button = $("send");
  say(button, on ? "Stop" : "Ask");
  button.toggleAttribute("data-stop", on);
  say($("ask-note"), "");
}
