// What is being answered now: for whom, where, how far.

import { $, cut, el, ms, plural, say, show, span, svg, when } from "./dom.js";
import { way } from "./chat.js";
import { TITLES } from "./rings.js";

const arrow = () => svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, svg("path", { d: "M0 5h24M20 1.5 24 5l-4 3.5" }));

export function drawJobs({ jobs, node }) {
  drawFailures(jobs.failures ?? []);
  const { counts, rows } = jobs;
  const parts = [];
  if (counts.running) parts.push(`${plural(counts.running, "job")} running`);
  if (counts.queued) parts.push(`${counts.queued} waiting`);
  parts.push(`${(counts.done ?? 0).toLocaleString("en")} done`);
  if (counts.failed) parts.push(`${counts.failed.toLocaleString("en")} failed`);
  say($("jobs-line"), parts.join(", "));
  if (!rows.length) {
    if (!$("job-rows").querySelector(".empty")) $("job-rows").replaceChildren(el("li", { class: "empty" }, "Nothing is in flight. Ask something, or let others ask."));
    return;
  }
  $("job-rows").replaceChildren(...rows.map((job) => row(job, node)));
}

let failed = "";

/** Requests of this node's own users that ended without an answer: why, and what was tried. */
function drawFailures(rows) {
  const key = rows.map((one) => one.request).join();
  if (key === failed) return;
  failed = key;
  show($("failures"), rows.length > 0);
  $("failure-rows").replaceChildren(...rows.map((one) => el("li", {},
    el("p", {}, el("time", {}, when(one.at_ms + one.ms)), " ", el("b", {}, one.model || "any model"), ": ", cut(one.why || one.code, 160)),
    way(one.request))));
}

function row(job, node) {
  const here = node?.name ?? "this node";
  const stops = [job.from || "you"];
  if (job.ring !== "local" || job.from) stops.push(here);
  if (job.state !== "waiting") stops.push(job.ring === "local" ? job.at : `${job.at || "…"}`);
  const route = stops.flatMap((stop, index) => (index ? [arrow(), el("span", {}, stop)] : [el("span", {}, stop)]));
  const facts = [
    job.model || "any model",
    { waiting: job.eta_s ? `in the queue, about ${span(job.eta_s)}` : "in the queue", asked: "reading the prompt", answering: `first token after ${ms(job.ttft_ms)}` }[job.state],
    job.position ? `place ${job.position}` : "",
    job.ring && job.ring !== "local" ? TITLES[job.ring] ?? job.ring : "",
    span(job.age_s), cut(job.why, 90),
  ].filter(Boolean);
  return el("li", { "data-state": job.state },
    el("div", { class: "route-line" }, route),
    el("div", { class: "note" }, facts.map((fact) => el("span", {}, fact))));
}
