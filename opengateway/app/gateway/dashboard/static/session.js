// Who this page is to the node: a key in this origin's own storage, beside the cookie that scripts cannot read.

const STORED = "opengateway-key";

const key = () => localStorage.getItem(STORED) || "";
export const signedIn = () => Boolean(key());
export const forget = () => localStorage.removeItem(STORED);

/** A failed request, as the node words it: `message`, `hint`, `status`. */
export class Failed extends Error {
  constructor(status, body) {
    const error = body?.error ?? {};
    super(error.hint ? String(error.message).replace(` (${error.hint})`, "") : error.message || `The node answered ${status}.`);
    this.status = status;
    this.hint = error.hint || "";
  }
}

export async function ask(path, { method = "GET", body, signal, headers = {} } = {}) {
  const answer = await fetch(path, {
    method, signal, credentials: "same-origin", cache: "no-store",
    headers: { "x-opengateway-key": key(), ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Failed(answer.status, await answer.json().catch(() => null));
  return answer;
}

export const askJson = async (path, options) => (await ask(path, options)).json();

/** The code in the address's fragment becomes a session; the address is then clean. True if there was one. */
export async function enterByCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return false;
  history.replaceState(null, "", location.pathname);
  const { key: fresh } = await askJson("/dashboard/session", { method: "POST", body: { code } });
  localStorage.setItem(STORED, fresh);
  return true;
}

export async function leave() {
  await ask("/dashboard/session", { method: "DELETE" }).catch(() => null);
  forget();
}

/** Server-sent events of a response: yields {event, data} and, for a comment, {comment}. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = "message", data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message"; data = [];
        } else if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
        else if (line.startsWith("event:")) event = line.slice(6).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => null);
  }
}
