// The session and the stream: what comes from the proxy, and since when nothing came.

export const session = { name: null, operator: false, login: false, csrf: null };

/** Who we are; logs in with a token if one is given. */
export async function whoami(token) {
  const given = token === undefined ? {} : { method: "POST", body: JSON.stringify({ token }),
    headers: { "Content-Type": "application/json" } };
  Object.assign(session, await answer(await fetch("/dashboard/session", given)));
  return session;
}

export async function logout() {
  Object.assign(session, await answer(await fetch("/dashboard/session", { method: "DELETE", headers: csrf() })));
}

/** A document of the API. Throws with the problem's words. */
export async function get(path) {
  return answer(await fetch(path));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", ...csrf() };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

export async function remove(path, query) {
  return answer(await fetch(`${path}?${new URLSearchParams(query)}`, { method: "DELETE", headers: csrf() }));
}

function csrf() {
  return session.csrf ? { "X-CSRF-Token": session.csrf } : {};
}

async function answer(response) {
  const document = await response.json().catch(() => ({}));
  if (response.ok) return document;
  throw Object.assign(new Error(document.detail || document.title || `status ${response.status}`), { status: response.status });
}

/**
 * Listens until `close`: a line for each rollout, all of the one that is looked at, and the audit. The browser resumes
 * by itself where it was; if the proxy refuses, we ask who we are first, so that a session which has ended leads to
 * the login, and not to one failed attempt after the other.
 */
export class Live {
  constructor(after, { opened, board, rollout, audit, refused }) {
    this.after = after;
    this.on = { opened, board, rollout, audit, refused };
    this.rollout = null;
    this.heard = performance.now();
    this.closed = false;
    this.open();
  }

  open() {
    const query = new URLSearchParams({ board: "true", after: this.after });
    if (this.rollout !== null) query.set("rollout", this.rollout);
    const source = new EventSource(`/api/v1/events/stream?${query}`);
    this.source = source;
    const take = (kind, what) => source.addEventListener(kind, (event) => {
      if (source === this.source) what(event);
    });
    take("open", () => this.on.opened());
    take("board", (event) => {
      this.heard = performance.now();
      this.on.board(JSON.parse(event.data));
    });
    take("rollout", (event) => this.on.rollout(JSON.parse(event.data)));
    take("audit", (event) => {
      this.after = Number(event.lastEventId);
      this.on.audit(JSON.parse(event.data));
    });
    take("error", () => {
      if (source.readyState === EventSource.CLOSED && !this.closed) setTimeout(() => this.again(), 2000);
    });
  }

  /** From now on in full: this rollout. */
  look(rollout) {
    if (rollout === this.rollout || this.closed) return;
    this.rollout = rollout;
    this.source.close();
    this.open();
  }

  async again() {
    if (this.closed) return;
    try {
      await whoami();
    } catch {
      setTimeout(() => this.again(), 2000);
      return;
    }
    if (session.name === null) this.on.refused();
    else {
      this.rollout = null; // it may be no more: the board says which there are
      this.open();
    }
  }

  /** Seconds since the last word. A stream that hangs without an end is opened anew. */
  silence() {
    const silent = (performance.now() - this.heard) / 1000;
    if (silent > 15 && this.source.readyState !== EventSource.CLOSED) {
      this.source.close();
      this.heard = performance.now() - 5000;
      this.again();
    }
    return silent;
  }

  close() {
    this.closed = true;
    this.source.close();
  }
}
