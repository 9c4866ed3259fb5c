// One connection brings every section of the picture; each is drawn by the module that is named for it.

import { $, say, show } from "./dom.js";
import { ask, enterByCode, events, forget, leave, signedIn } from "./session.js";
import { drawActors } from "./actors.js";
import { drawModels, startChat } from "./chat.js";
import { drawCredit, startCredit } from "./credit.js";
import { drawJobs } from "./jobs.js";
import { drawLedger, startAudit } from "./ledger.js";
import { drawMachine, drawNode } from "./node.js";
import { drawRings, startRings } from "./rings.js";

const picture = {};
const DRAWN = {
  node: () => { drawNode(picture); drawRings(picture); },
  peers: () => { drawNode(picture); drawRings(picture); },
  models: () => { drawModels(picture); drawNode(picture); },
  machine: () => drawMachine(picture),
  jobs: () => { drawJobs(picture); drawRings(picture); },
  ledger: () => { drawLedger(picture); drawCredit(picture); },
  actors: () => { drawActors(picture); drawNode(picture); },
};

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
let watching = null, tries = 0;

async function watch() {
  watching?.abort();
  const mine = (watching = new AbortController());
  try {
    const answer = await ask("/dashboard/live", { signal: mine.signal });
    for await (const { event, data } of events(answer)) {
      tries = 0;
      pulse("live");
      if (!(event in DRAWN)) continue;
      picture[event] = JSON.parse(data);
      try { DRAWN[event](); } catch (error) { console.error(`${event} could not be drawn`, error); }
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error.status === 401) { door(error.message); return; }
  }
  if (mine.signal.aborted) return;
  pulse("lost");
  setTimeout(() => { if (watching === mine && !document.hidden) watch(); }, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
}

function pulse(state) {
  const node = $("pulse");
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  say(node.lastElementChild, { live: "live", lost: "no answer, trying again", out: "signed out" }[state]);
}

function door(note = "") {
  watching?.abort();
  forget();
  pulse("out");
  show($("signed-in"), false);
  show($("signed-out"), true);
  show($("leave"), false);
  document.querySelector(".masthead nav").hidden = true;
  say($("door-note"), note);
}

function inside() {
  show($("signed-out"), false);
  show($("signed-in"), true);
  show($("leave"), true);
  document.querySelector(".masthead nav").hidden = false;
  watch();
  startCredit();
}

// -- colours -------------------------------------------------------------------------------------

const THEMES = { auto: "as the system has them", light: "light", dark: "dark" };

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("opengateway-theme", name);
  const button = $("theme");
  say(button, name[0].toUpperCase() + name.slice(1));
  button.setAttribute("aria-label", `Colours: ${THEMES[name]}`);
}

function startTheme() {
  const names = Object.keys(THEMES), stored = localStorage.getItem("opengateway-theme");
  theme(names.includes(stored) ? stored : "auto");
  $("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "auto";
    theme(names[(names.indexOf(now) + 1) % names.length]);
  });
}

// -- start ---------------------------------------------------------------------------------------

startTheme();
startChat();
startRings(() => picture);
startAudit();
$("leave").addEventListener("click", async () => { await leave(); door(); });
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => { await navigator.clipboard.writeText(button.dataset.copy); say(button, "Copied"); });
}
// A page that nobody looks at costs the node nothing.
document.addEventListener("visibilitychange", () => {
  if (!signedIn()) return;
  if (document.hidden) watching?.abort(); else watch();
});
addEventListener("hashchange", begin);

async function begin() {
  try {
    await enterByCode();
  } catch (error) {
    if (!signedIn()) { door(error.message); return; }
  }
  signedIn() ? inside() : door();
}
begin();
