// The outbox: every verdict is written to the browser's storage before it is sent, and leaves it only
// when the server has answered. Sent in order, again by itself after an outage or a reload; the same
// id gets the same answer from the server, so sending twice is harmless.

const PREFIX = "hone.outbox.";
const LOCK = "hone-outbox";
// Choice: first retry after half a second, so that a restarted server is noticed at once; then doubled
// up to 10 s, so that a long outage costs little.
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 10000];
const TIMEOUT_MS = 15000; // Choice: longer than any healthy answer, shorter than patience
const KEEPALIVE_CHARS = 16000; // browsers allow 64 KiB in all for requests that outlive the page
// Answers that say "not now" or "who are you?", not "no": the entry stays.
const NOT_NOW = new Set([401, 408, 425, 429]);

/** Return a random UUID, also where the page is not in a secure context. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * Send JSON or get it; throws {status, code, message, logIn} for every answer that is not 2xx, status 0
 * for none. The code names the trouble for the table of texts; the message is the server's, or none.
 */
export async function request(path, body) {
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS), credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
    options.keepalive = options.body.length < KEEPALIVE_CHARS;
  }
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), options);
  } catch {
    throw { status: 0, code: "silent" };
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const { status } = response;
    throw { status, code: answer?.code, message: sentence(answer), logIn: answer?.log_in };
  }
  if (answer === null) throw { status: 0, code: "broken" };
  return answer;
}

function sentence(answer) {
  if (typeof answer?.detail === "string") return answer.detail;
  const first = Array.isArray(answer?.detail) ? answer.detail[0] : null;
  return first?.msg ? `${(first.loc || []).join(".")}: ${first.msg}` : "";
}

/** Return localStorage, or an empty stand-in that stores nothing where the browser forbids it. */
function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    const refuse = () => {
      throw new Error("this browser stores nothing");
    };
    return { length: 0, key: () => null, setItem: refuse, removeItem: () => {} };
  }
}

/**
 * One outbox per page. Tells "changed" after every change, "saved" {entry, answer}, "refused"
 * {entry, error}, and "elsewhere" (an assignment) when another tab of the browser judged something.
 */
export class Outbox extends EventTarget {
  constructor() {
    super();
    this.storage = browserStorage();
    this.memory = new Map(); // entries that the browser would not store (private mode, full)
    this.failures = 0;
    this.trouble = null; // the last error that keeps entries waiting
    this.timer = 0;
    this.sending = null;
    this.again = false;
    this.clock = 0;
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("storage", (event) => {
      if (!event.key?.startsWith(PREFIX)) return;
      this.tell("changed");
      if (event.newValue) this.tell("elsewhere", JSON.parse(event.newValue).body.assignment);
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retryNow();
    });
  }

  /** Keep the body for the path and start sending; returns at once. */
  add(path, body) {
    const entry = { key: this.nextKey(body.id), path, body };
    try {
      this.storage.setItem(entry.key, JSON.stringify({ path, body }));
    } catch {
      this.memory.set(entry.key, entry);
    }
    this.tell("changed");
    this.send();
  }

  /** Keys sort in the order of adding, also over reloads: milliseconds, a counter, the id. */
  nextKey(id) {
    this.clock = Math.max(Date.now() * 100, this.clock + 1);
    return `${PREFIX}${String(this.clock).padStart(18, "0")}.${id}`;
  }

  /** Return what waits, oldest first. */
  waiting() {
    const keys = Array.from({ length: this.storage.length }, (_, i) => this.storage.key(i));
    const kept = keys.filter((key) => key?.startsWith(PREFIX)).map((key) => this.read(key));
    const entries = [...kept.filter(Boolean), ...this.memory.values()];
    return entries.sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  read(key) {
    try {
      return { key, ...JSON.parse(this.storage.getItem(key)) };
    } catch {
      this.storage.removeItem(key); // not ours: nothing that was added is ever unreadable
      return null;
    }
  }

  forget(entry) {
    this.storage.removeItem(entry.key);
    this.memory.delete(entry.key);
    this.tell("changed");
  }

  /** Resolve when nothing waits, or reject with the error that keeps it waiting. */
  async settled() {
    await this.send();
    if (this.waiting().length) throw this.trouble ?? { status: 0, code: "waiting" };
  }

  retryNow() {
    clearTimeout(this.timer);
    return this.send();
  }

  /** Send what waits, one after the other; only one tab of a browser does it at a time. */
  send() {
    this.again = Boolean(this.sending); // added while the last round was ending: one more round
    this.sending ||= this.drainAlone().finally(() => {
      this.sending = null;
      if (this.again && !this.trouble) this.send();
    });
    return this.sending;
  }

  drainAlone() {
    return navigator.locks ? navigator.locks.request(LOCK, () => this.drain()) : this.drain();
  }

  async drain() {
    for (let entry = this.waiting()[0]; entry; entry = this.waiting()[0]) {
      if (!(await this.deliver(entry))) return;
    }
  }

  /** Return whether the entry is done with: saved or refused. */
  async deliver(entry) {
    try {
      const answer = await request(entry.path, entry.body);
      this.recovered(entry);
      this.tell("saved", { entry, answer });
      return true;
    } catch (error) {
      if (typeof error.status !== "number") throw error;
      if (error.status >= 400 && error.status < 500 && !NOT_NOW.has(error.status)) {
        this.recovered(entry);
        this.tell("refused", { entry, error });
        return true;
      }
      this.wait(error);
      return false;
    }
  }

  recovered(entry) {
    this.failures = 0;
    this.trouble = null;
    this.forget(entry);
  }

  wait(error) {
    const delay = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.trouble = error;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), delay);
    this.tell("changed");
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
