// The label and rate screens: keys and clicks become verdicts, the next item comes from memory.
// One custom element, <hone-screen mode="pairs|thumbs" reasons="[…]">, so that it starts by itself
// whenever Gradio draws it. It works only while it is visible: another tab leases no items and
// hears no keys.

import { Campaigns } from "./campaigns.js";
import { Outbox, request, uuid } from "./outbox.js";
import { View } from "./view.js";

const AHEAD = 4; // items kept in memory, so that the next one is drawn without the network
const STEPS_BACK = 20; // items fetched from the history for undo after a reload
const UNSENT_MOST = 200; // their ids go into the request for more; beyond, the votes go first
const POLL_WAITING_MS = 1000;
const POLL_DONE_MS = 3000; // Choice: as often as the server itself looks whether more is wanted
const SLOW_MS = 250; // Choice: a wait shorter than this needs no picture of waiting
const LABELERS_PAGE = "main.screen-around"; // which has no other tabs
const RENAMED = "hone-renamed";
const NOTE_STAYS = 5; // Choice: verdicts after which an unread note goes by itself
const SAVING_AFTER_MS = 400; // Choice: a save faster than this is not worth a word

const MODES = {
  pairs: {
    name: "pairs",
    question: "Which answer is better?",
    thing: "comparison",
    route: "api/v1/votes",
    sides: [["left", "Answer A"], ["right", "Answer B"]],
    choices: [
      { verdict: "left", words: "A is better", keys: ["1", "ArrowLeft"], tone: "main", lights: ["left"] },
      { verdict: "right", words: "B is better", keys: ["2", "ArrowRight"], tone: "main", lights: ["right"] },
      { verdict: "tie", words: "Tie", keys: ["3", "ArrowDown"], tone: "calm", lights: ["left", "right"] },
      { verdict: "both_bad", words: "Both are bad", keys: ["4"], tone: "calm", lights: [] },
    ],
  },
  thumbs: {
    name: "thumbs",
    question: "Is this a good answer?",
    thing: "answer",
    route: "api/v1/ratings",
    sides: [["left", "Answer"]],
    choices: [
      { verdict: "up", words: "Good", icon: "up", keys: ["1", "ArrowRight", "ArrowUp"], tone: "main", lights: ["left"] },
      { verdict: "down", words: "Bad", icon: "down", keys: ["2", "ArrowLeft", "ArrowDown"], tone: "main", lights: ["left"] },
    ],
  },
};

/** Seconds during which the page could be seen, since the last restart. */
class Stopwatch {
  constructor() {
    this.restart();
  }

  restart() {
    this.spent = 0;
    this.since = document.hidden ? null : performance.now();
  }

  pause() {
    this.spent = this.seconds();
    this.since = null;
  }

  resume() {
    this.since ??= performance.now();
  }

  seconds() {
    const running = this.since === null ? 0 : (performance.now() - this.since) / 1000;
    return Math.round((this.spent + running) * 100) / 100;
  }
}

let sharedOutbox = null;
const outbox = () => (sharedOutbox ??= new Outbox());

class Screen {
  constructor(host, mode, reasons) {
    this.host = host;
    this.mode = mode;
    this.view = new View(host.shadowRoot, mode, reasons);
    this.outbox = outbox();
    this.watch = new Stopwatch();
    this.campaigns = new Campaigns(this);
    this.labeler = "";
    this.current = null;
    this.ahead = []; // items fetched and not yet shown
    this.past = []; // what was done here, for undo: {item, verdict} or {item, edit: true}
    this.refused = "";
    this.visible = false;
    this.timers = {};
    this.keys = this.keyTable();
    this.listen();
  }

  // ---- starting, showing, hiding ------------------------------------------------------------

  listen() {
    const root = this.host.shadowRoot;
    root.addEventListener("click", (event) => this.onClick(event));
    root.addEventListener("submit", (event) => this.onSubmit(event));
    this.off = new AbortController();
    const { signal } = this.off;
    document.addEventListener("keydown", (event) => this.onKey(event), { signal });
    document.addEventListener("visibilitychange", () => this.onVisibility(), { signal });
    window.addEventListener(RENAMED, ({ detail }) => this.onRenamed(detail), { signal });
    this.outbox.addEventListener("changed", () => this.drawStatus(), { signal });
    this.outbox.addEventListener("saved", ({ detail }) => this.onSaved(detail), { signal });
    this.outbox.addEventListener("elsewhere", ({ detail }) => this.drop(detail), { signal });
    this.outbox.addEventListener("refused", ({ detail }) => this.onRefused(detail), { signal });
    this.seen = new IntersectionObserver(() => this.onVisibility());
    this.seen.observe(this.host);
  }

  close() {
    this.off.abort();
    this.seen.disconnect();
    Object.values(this.timers).forEach(clearTimeout);
  }

  onVisibility() {
    const visible = !document.hidden && this.host.getClientRects().length > 0;
    if (visible === this.visible) return;
    this.visible = visible;
    if (!visible) return this.watch.pause();
    this.watch.resume();
    if (!this.labeler) return this.hello();
    if (!this.current && !this.asking) this.next();
  }

  async hello() {
    try {
      const { name, account } = await request("api/v1/labeler");
      this.account = Boolean(account);
      document.documentElement.classList.toggle("hone-accounts", this.account);
      if (!name) return this.askName();
      this.begin(name);
    } catch (error) {
      if (error.status === 401 || error.status === 404) return this.askName(error);
      this.view.drawState("wait", "Connecting", `${capital(error.message)}. Trying again.`);
      this.later("hello", POLL_WAITING_MS, () => this.hello());
    }
  }

  begin(name) {
    if (name !== this.labeler) this.forgetItems();
    this.labeler = name;
    this.asking = false;
    this.view.drawName(name, this.account);
    this.view.error("");
    window.dispatchEvent(new CustomEvent(RENAMED, { detail: name }));
    this.outbox.send();
    this.campaigns.load();
    if (this.current) return this.view.drawItem(this.current);
    this.next();
  }

  /** The name was given on another screen of this page: what is in memory belongs to the old one. */
  onRenamed(name) {
    if (name === this.labeler) return;
    this.forgetItems();
    this.labeler = "";
    this.visible = false;
    this.onVisibility();
  }

  /** Ask for a name, or where there are accounts for the password: what waits stays kept. */
  askName(error) {
    if (error?.logIn) return location.assign(`${error.logIn}?next=${encodeURIComponent(here())}`);
    if (this.asking) return;
    this.leaveEdit();
    this.asking = true;
    this.view.drawNameForm(this.labeler);
  }

  async onSubmit(event) {
    if (!event.target.matches("form.name")) return;
    event.preventDefault();
    const name = event.target.querySelector("input").value.trim();
    if (!name) return;
    try {
      if (this.labeler) await this.outbox.settled(); // what waits belongs to the old name
      this.begin((await request("api/v1/labeler", { name })).name);
    } catch (error) {
      this.view.error(`The name was not saved: ${error.message}`);
    }
  }

  forgetItems() {
    this.current = null;
    this.ahead = [];
    this.past = [];
    this.progress = null;
    this.campaigns.hide();
    this.hideNote();
  }

  // ---- items --------------------------------------------------------------------------------

  /** Show the next item: from memory at once, else as soon as the server has one. */
  next() {
    const item = this.ahead.shift();
    if (!item) {
      this.current = null;
      this.later("slow", SLOW_MS, () => this.drawFetching());
      return this.fetchItems();
    }
    this.show(item);
    this.fetchItems();
  }

  show(item) {
    this.current = item;
    this.view.clearDraft();
    this.view.drawItem(item);
    this.watch.restart();
    this.host.dataset.assignment = item.assignment;
  }

  drawFetching() {
    if (this.current || this.asking) return;
    this.view.drawState("wait", "One moment", "Fetching the next one.");
  }

  /** Ask for more items, one request at a time, until enough are in memory. */
  async fetchItems() {
    if (this.fetching || this.ahead.length >= AHEAD || !this.visible) return;
    if (this.outbox.waiting().length > UNSENT_MOST) return; // asked again when they are saved
    this.fetching = true;
    const asked = this.whose();
    const exclude = this.exclude();
    try {
      const answer = await request(this.itemsPath(exclude));
      if (asked === this.whose()) this.take(answer, exclude.length > 0);
    } catch (error) {
      this.onItemsFailed(error);
    } finally {
      this.fetching = false;
    }
    if (this.labeler && asked !== this.whose()) this.fetchItems(); // another name meanwhile
  }

  /** Whose items are asked for: of this labeler, in this campaign. */
  whose() {
    return JSON.stringify([this.labeler, this.campaigns.chosen]);
  }

  /** Assignments that the server must not give out again: on the screen, in memory, not yet sent. */
  exclude() {
    const known = [this.current, ...this.ahead].filter(Boolean).map((item) => item.assignment);
    const unsent = this.outbox.waiting().map((entry) => entry.body.assignment);
    return [...new Set([...known, ...unsent])];
  }

  itemsPath(exclude) {
    const n = AHEAD + 1 - this.ahead.length;
    return `api/v1/items?${new URLSearchParams({ mode: this.mode.name, n, exclude, campaign: this.campaigns.chosen })}`;
  }

  /** `partly`: some items were excluded, so that none in the answer does not mean there are none. */
  take({ items, progress, own, waiting, campaign, stopped }, partly) {
    clearTimeout(this.timers.slow);
    this.campaigns.took({ campaign });
    const busy = new Set(this.outbox.waiting().map((entry) => entry.body.assignment));
    for (const item of [this.current, ...this.ahead]) busy.add(item?.assignment);
    for (const { item } of this.past) busy.add(item.assignment);
    this.ahead.push(...items.filter((item) => !busy.has(item.assignment)));
    if (progress) this.keepProgress(progress);
    if (own) this.view.drawOwn(own);
    if (this.current || this.asking) return;
    if (this.ahead.length) return this.next();
    if (!partly) return this.drawNothing(waiting, stopped);
    this.drawFetching();
    this.later("items", POLL_WAITING_MS, () => this.fetchItems());
  }

  /** Another tab of this browser judged an item that is in memory here, too. */
  drop(assignment) {
    this.ahead = this.ahead.filter((item) => item.assignment !== assignment);
    if (this.current?.assignment === assignment && !this.busy) this.next();
  }

  onItemsFailed(error) {
    clearTimeout(this.timers.slow);
    if (error.status === 401) return this.askName(error);
    if (!this.current && !this.asking) {
      this.view.drawState("wait", "Waiting for the server", `${capital(error.message)}. Trying again.`);
    }
    if (error.status > 0) this.view.error(capital(error.message));
    this.later("items", POLL_WAITING_MS, () => this.fetchItems());
  }

  drawNothing(waiting, stopped) {
    const undo = this.past.length || this.progress?.mine ? [["undo", "Look at the last one again"]] : [];
    const coming = waiting?.trim().endsWith("…"); // the server's sign that something is being made
    if (stopped) {
      this.campaigns.drawStopped(stopped, undo);
    } else if (coming) {
      const which = this.progress?.mine ? "next" : "first";
      this.view.drawState("wait", `Preparing the ${which} answers`, waiting);
    } else if (this.progress?.total || this.progress?.mine) {
      this.view.drawState("done", "All done", this.praise(), undo);
    } else {
      const how = document.querySelector(LABELERS_PAGE) ? ""
        : "Import answers on the Data tab, or let a model write some on the Generate tab. ";
      this.view.drawState("empty", "Nothing to judge yet", `${how}Answers appear here by themselves.`);
    }
    const soon = coming || !this.progress?.total;
    this.later("items", soon ? POLL_WAITING_MS : POLL_DONE_MS, () => this.fetchItems());
  }

  praise() {
    const { today = 0, mine = 0 } = this.progress;
    const all = mine > today ? `, ${count(mine, this.mode.thing)} in all` : "";
    return `You judged ${count(today, this.mode.thing)} today${all}. Thank you. New ones appear here by themselves.`;
  }

  // ---- verdicts -----------------------------------------------------------------------------

  /** Record a verdict on the item on the screen and show the next one. */
  cast(verdict) {
    const item = this.current;
    if (!item || this.busy) return;
    const body = { ...this.envelope(item), verdict, ...this.view.draft() };
    item.revision += 1;
    item.before = verdict;
    this.past.push({ item, verdict });
    this.view.flash(verdict);
    this.view.error("");
    this.countLocally(1);
    if (this.noteLeft && --this.noteLeft === 0) this.hideNote();
    this.outbox.add(this.mode.route, body);
    this.campaigns.voted(body);
    this.next();
    this.view.speak(`${this.wordsOf(verdict)}. ${this.current ? "Next one." : ""}`);
  }

  /** Whether keys and buttons mean something else than a verdict at the moment. */
  get busy() {
    return Boolean(this.editing || this.asking);
  }

  envelope(item) {
    const { assignment, revision } = item;
    return { id: uuid(), assignment, revision, seconds_spent: this.watch.seconds() };
  }

  wordsOf(verdict) {
    return this.mode.choices.find((choice) => choice.verdict === verdict)?.words ?? "Skipped";
  }

  /** Take back the last verdict or edit; repeated, the one before, also from before a reload. */
  async undo() {
    if (this.undoing || this.busy) return;
    this.undoing = true;
    try {
      if (!this.past.length) await this.recall();
      const last = this.past.pop();
      if (!last) return this.view.error("There is nothing to undo");
      this.takeBack(last);
    } catch (error) {
      this.view.error(`Undo needs the server: ${error.message}`);
    } finally {
      this.undoing = false;
    }
  }

  takeBack({ item, verdict, edit }) {
    this.view.error("");
    this.campaigns.hide();
    if (edit) return this.takeBackEdit(item);
    const { id, assignment, revision } = this.envelope(item);
    this.outbox.add(this.mode.route, { id, assignment, revision, verdict: "undone" });
    item.revision += 1;
    item.before = verdict;
    this.countLocally(-1);
    if (this.current && this.current !== item) this.ahead.unshift(this.current);
    this.show(item);
    this.view.speak(`Taken back: ${this.wordsOf(verdict)}`);
  }

  /** Fetch what was judged before this page was loaded. */
  async recall() {
    await this.outbox.settled();
    const query = new URLSearchParams({ mode: this.mode.name, n: STEPS_BACK });
    const { items } = await request(`api/v1/history?${query}`);
    const open = new Set([this.current, ...this.ahead].map((item) => item?.assignment));
    const judged = items.filter((item) => !open.has(item.assignment));
    this.past = judged.reverse().map((item) => ({ item, verdict: item.verdict }));
  }

  // ---- edits --------------------------------------------------------------------------------

  edit(side) {
    if (!this.current || this.busy) return;
    if (side) return this.openEditor(side);
    if (this.mode.sides.length === 1) return this.openEditor(this.mode.sides[0][0]);
    this.editing = "choose";
    this.view.askSide();
  }

  pick(side) {
    this.editing = null;
    this.view.closeSide();
    if (side) this.openEditor(side);
  }

  async openEditor(side) {
    const item = this.current;
    this.editing = side;
    const wanted = () => this.current === item && this.editing === side && !this.view.one(".editor");
    try {
      item[side].text ??= await this.storedText(item, side);
    } catch (error) {
      if (!wanted()) return;
      this.leaveEdit();
      return this.view.error(`Editing this answer needs the server: ${error.message}`);
    }
    if (!wanted()) return; // left with Esc, or another name meanwhile
    const name = this.mode.sides.find(([one]) => one === side)[1];
    const text = item.correctedSide === side ? item.correction : item[side].text;
    this.view.openEditor(side, text, name);
  }

  /** Fetch an answer as it is stored: names that are hidden on the screen stand in it. */
  async storedText({ assignment }, side) {
    const query = new URLSearchParams({ side });
    return (await request(`api/v1/items/${encodeURIComponent(assignment)}/text?${query}`)).text;
  }

  saveEdit(field) {
    const item = this.current;
    const side = this.editing;
    const text = field.value;
    if (!text.trim()) return this.view.error("The corrected answer is empty: write it, or leave with Esc");
    if (text === item[side].text.replace(/\r\n?/g, "\n")) return this.view.error("Nothing was changed: change it, or leave with Esc");
    const body = { ...this.envelope(item), revision: item.edit_revision ?? 0, side, text };
    item.edit_revision = body.revision + 1;
    Object.assign(item, { correctedSide: side, correction: text });
    this.past.push({ item, edit: true });
    this.leaveEdit();
    this.view.drawAnswer(side, item);
    this.outbox.add("api/v1/edits", body);
    this.view.speak("Correction kept. Now judge the answers as they were.");
  }

  takeBackEdit(item) {
    const side = item.correctedSide;
    const { id, assignment } = this.envelope(item);
    this.outbox.add("api/v1/edits", { id, assignment, revision: item.edit_revision, side, text: "" });
    item.edit_revision += 1;
    item.correctedSide = null;
    if (this.current !== item) {
      if (this.current) this.ahead.unshift(this.current);
      return this.show(item);
    }
    this.view.drawAnswer(side, item);
    this.view.speak("Correction taken back");
  }

  leaveEdit() {
    this.editing = null;
    this.view.closeEditor();
    this.view.error("");
  }

  // ---- what the server said -----------------------------------------------------------------

  onSaved({ entry, answer }) {
    const mine = entry.path === this.mode.route && !this.outbox.waiting().length;
    if (mine && answer.progress) this.keepProgress(answer.progress);
    if (mine && answer.own) this.view.drawOwn(answer.own);
    if (entry.path === this.mode.route && this.visible) this.showNote(answer.own?.note, entry);
    this.drawStatus(true);
    this.fetchItems();
  }

  /** Show the note that a verdict gave rise to; once, also when it is taken back and given again. */
  showNote(note, { body }) {
    if (!note || this.noted === body.assignment) return;
    this.noted = body.assignment;
    this.noteLeft = NOTE_STAYS;
    this.view.note(note.text);
  }

  hideNote() {
    this.noteLeft = 0;
    this.view.note("");
  }

  onRefused({ entry, error }) {
    this.past = this.past.filter(({ item }) => item.assignment !== entry.body.assignment);
    this.view.error(`Not saved: ${error.message}`);
    this.drawStatus();
  }

  drawStatus(saved = false) {
    const n = this.outbox.waiting().length;
    const trouble = this.outbox.trouble;
    clearTimeout(this.timers.saving);
    if (n && trouble) {
      if (trouble.status === 401 && this.visible) this.askName(trouble);
      const why = trouble.status ? capital(trouble.message) : "Offline";
      return this.view.status("offline", `${why} – ${count(n, "vote")} waiting, will be sent`);
    }
    if (n) return this.later("saving", SAVING_AFTER_MS, () => this.view.status("saving", "Saving…"));
    if (saved || this.view.one(".status").dataset.kind) this.view.status("saved", "Saved");
  }

  keepProgress(progress) {
    const { mine_today: today = 0, mine_total: mine = 0 } = progress;
    const { comparisons_total: all = 0, comparisons_open: open = 0 } = progress;
    const total = this.mode.name === "pairs" ? all : 0; // of thumbs there can always be more
    // What is done never falls: an item that somebody judged before would be known by it.
    const done = Math.min(total, Math.max(total - open, this.progress?.done ?? 0));
    this.progress = { today, mine, total, done };
    this.view.drawProgress(this.progress);
  }

  countLocally(step) {
    if (!this.progress) return;
    for (const name of ["today", "mine", "done"]) {
      this.progress[name] = Math.max(0, this.progress[name] + step);
    }
    this.view.drawProgress(this.progress);
  }

  // ---- keys and clicks ----------------------------------------------------------------------

  keyTable() {
    const table = new Map();
    for (const choice of this.mode.choices) {
      for (const key of choice.keys) table.set(key, () => this.cast(choice.verdict));
    }
    table.set("s", () => this.cast("skip"));
    table.set("u", () => this.undo());
    table.set("e", () => this.edit());
    table.set("g", () => this.guideline());
    table.set("h", () => this.hideNote());
    table.set("?", () => this.help());
    return table;
  }

  onKey(event) {
    if (!this.visible || event.isComposing || this.view.one("dialog").open) return;
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey) return this.onEnter(event, target);
    if (event.key === "Escape") return this.escape(target);
    if (isTyping(target)) return;
    if (this.campaigns.onKey(event)) return event.preventDefault();
    const key = keyOf(event);
    const act = this.editing === "choose" ? this.pickKey(key) : this.keys.get(key);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act();
  }

  onEnter(event, target) {
    if (event.key !== "Enter" || event.altKey || event.repeat || target !== this.view.one("textarea")) return;
    event.preventDefault();
    this.saveEdit(target);
  }

  pickKey(key) {
    const side = { 1: "left", ArrowLeft: "left", a: "left", 2: "right", ArrowRight: "right", b: "right" }[key];
    return side && (() => this.pick(side));
  }

  escape(target) {
    if (this.editing === "choose") return this.pick("");
    if (this.editing) return this.leaveEdit();
    if (this.asking && this.labeler) return this.begin(this.labeler);
    if (isTyping(target)) target.blur();
  }

  onClick(event) {
    const button = event.target.closest("button");
    if (!button || button.disabled) return;
    const { verdict, act, pick, side } = button.dataset;
    if (verdict) return this.cast(verdict);
    if (pick !== undefined) return this.pick(pick);
    if (button.matches(".chip")) return toggle(button, "aria-pressed");
    this.act(act, side);
  }

  act(name, side) {
    const acts = {
      skip: () => this.cast("skip"),
      undo: () => this.undo(),
      edit: () => this.edit(side),
      help: () => this.help(),
      guideline: () => this.guideline(),
      "hide-note": () => this.hideNote(),
      rename: () => this.askName(),
      reasons: () => this.view.toggleReasons(),
      more: () => this.view.openPrompt(!this.view.one(".prompt").classList.contains("open")),
      "save-edit": () => this.saveEdit(this.view.one("textarea")),
      "leave-edit": () => this.leaveEdit(),
    };
    acts[name]?.();
  }

  help() {
    this.view.one("dialog").showModal();
  }

  async guideline() {
    if (!this.view.one(".guideline").hidden) return this.view.toggleGuideline();
    try {
      const { html } = await request(`api/v1/guideline?${new URLSearchParams({ campaign: this.campaigns.current?.id ?? "" })}`);
      this.view.toggleGuideline(html);
    } catch (error) {
      this.view.error(`The guideline cannot be shown: ${error.message}`);
    }
  }

  /** Run once after a while; a timer of the same name starts anew. */
  later(name, ms, run) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(() => {
      this.timers[name] = 0;
      run();
    }, ms);
  }
}

const here = () => location.pathname + location.search;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const isTyping = (node) => Boolean(node?.matches?.("input, textarea, select") || node?.isContentEditable);
const toggle = (button, name) =>
  button.setAttribute(name, String(button.getAttribute(name) !== "true"));

/** Return the key's name in the table; letters by their place where the layout is not Latin. */
function keyOf({ key, code, shiftKey }) {
  if (key.startsWith("Arrow")) return shiftKey ? "" : key;
  if (key.length === 1 && key > "\x7f" && code.startsWith("Key")) return code.slice(3).toLowerCase();
  return key.toLowerCase();
}

/** Log out once every vote is saved: those of one person would be refused from another. */
document.addEventListener("submit", async (event) => {
  if (!event.target.matches("form.hone-out")) return;
  event.preventDefault();
  await outbox().settled().catch(() => {}); // what cannot be sent stays in this browser
  event.target.submit();
});

class HoneScreen extends HTMLElement {
  connectedCallback() {
    if (!this.shadowRoot) this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
    const reasons = JSON.parse(this.getAttribute("reasons") || "[]");
    this.screen = new Screen(this, MODES[this.getAttribute("mode")], reasons);
  }

  disconnectedCallback() {
    this.screen.close();
  }
}

const STYLE = new CSSStyleSheet();
const sheet = await fetch(new URL("./label.css", import.meta.url));
STYLE.replaceSync(await sheet.text());
customElements.define("hone-screen", HoneScreen);
