// The label and rate screens: keys and clicks become verdicts, the next item comes from memory.
// One custom element, <hone-screen mode="pairs|thumbs" reasons="[…]">, so that it starts by itself
// whenever Gradio draws it. It works only while it is visible: another tab leases no items and
// hears no keys.

import { Campaigns } from "./campaigns.js";
import { KEYS_CHANGED, Keys, fits, keyOf } from "./keys.js";
import { Outbox, request, uuid } from "./outbox.js";
import { Order, letterOf, nameOfLetter, rankingOf, verdictWords } from "./rank.js";
import { View, deedOf, keyName, nameOf } from "./view.js";
import { CHANGED, choose, say, tongue, why } from "./words.js";

const AHEAD = 4; // items kept in memory, so that the next one is drawn without the network
const LOW = 2; // Choice: of them left, more are asked for: a third of the requests of one by one
const STEPS_BACK = 20; // items fetched from the history for undo after a reload
const UNSENT_MOST = 200; // their ids go into the request for more; beyond, the votes go first
const POLL_WAITING_MS = 1000;
const POLL_DONE_MS = 3000; // Choice: as often as the server itself looks whether more is wanted
const SLOW_MS = 250; // Choice: a wait shorter than this needs no picture of waiting
const LABELERS_PAGE = "main.screen-around"; // which has no other tabs
const RENAMED = "hone-renamed";
const NOTE_STAYS = 5; // Choice: verdicts after which an unread note goes by itself
const SAVING_AFTER_MS = 400; // Choice: a save faster than this is not worth a word
const RANKING_TOO = new Set(["skip", "undo", "guideline", "hide", "help"]); // keys that rankings share
const MODIFIERS = new Set(["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "Dead"]);

const MODES = {
  pairs: {
    name: "pairs",
    thing: "comparison",
    route: "api/v1/votes",
    more: ["api/v1/rankings"],
    sides: ["left", "right"],
    choices: [
      { verdict: "left", tone: "main", lights: ["left"] },
      { verdict: "right", tone: "main", lights: ["right"] },
      { verdict: "tie", tone: "calm", lights: ["left", "right"] },
      { verdict: "both_bad", tone: "calm", lights: [] },
    ],
  },
  thumbs: {
    name: "thumbs",
    thing: "answer",
    route: "api/v1/ratings",
    sides: ["left"],
    choices: [
      { verdict: "up", icon: "up", tone: "main", lights: ["left"] },
      { verdict: "down", icon: "down", tone: "main", lights: ["left"] },
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
    this.keys = new Keys(mode.name);
    this.view = new View(host.shadowRoot, mode, reasons, this.keys);
    this.outbox = outbox();
    this.watch = new Stopwatch();
    this.campaigns = new Campaigns(this);
    this.labeler = "";
    this.current = null;
    this.order = null; // of a ranking on the screen: the places given so far
    this.ahead = []; // items fetched and not yet shown
    this.past = []; // what was done here, for undo: {item, verdict} or {item, edit: true}
    this.counted = 0; // how often something was judged or taken back here
    this.refused = "";
    this.visible = false;
    this.timers = {};
    this.deeds = this.deedTable();
    this.listen();
  }

  // ---- starting, showing, hiding ------------------------------------------------------------

  listen() {
    const root = this.host.shadowRoot;
    this.off = new AbortController();
    const { signal } = this.off;
    root.addEventListener("click", (event) => this.onClick(event), { signal });
    root.addEventListener("submit", (event) => this.onSubmit(event), { signal });
    root.addEventListener("change", (event) => this.onChange(event), { signal });
    this.view.one("dialog").addEventListener("close", () => this.leaveRebinding(), { signal });
    window.addEventListener(KEYS_CHANGED, () => this.view.drawKeys(), { signal });
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
      showAccount(account);
      if (!name) return this.askName();
      this.begin(name);
    } catch (error) {
      if (error.status === 401 || error.status === 404) return this.askName(error);
      this.view.drawState("wait", say("state.connecting"), again(error));
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
    if (this.current) return this.drawCurrent();
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
      this.view.error(say("name.failed", { why: why(error) }));
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
    this.order = item.mode === "rank" ? new Order(this.modeOf(item).sides, item.before) : null;
    this.view.clearDraft();
    this.drawCurrent();
    this.watch.restart();
    this.host.dataset.assignment = item.assignment;
  }

  drawCurrent() {
    this.view.drawItem(this.current, this.modeOf(this.current));
    if (this.order) this.view.drawPlaces(this.order);
  }

  /** Return the mode of an item: among pairs there may be rankings. */
  modeOf(item) {
    return item.mode === "rank" ? rankingOf(item) : this.mode;
  }

  drawFetching() {
    if (this.current || this.asking) return;
    this.view.drawState("wait", say("state.moment"), say("state.fetching"));
  }

  /** Ask for more items, one request at a time, when few are left in memory. */
  async fetchItems() {
    if (this.fetching || this.ahead.length > LOW || !this.visible) return;
    if (this.outbox.waiting().length > UNSENT_MOST) return; // asked again when they are saved
    this.fetching = true;
    const asked = this.whose();
    const exclude = this.exclude();
    const counted = this.outbox.waiting().length ? null : this.counted;
    try {
      const { progress, ...answer } = await request(this.itemsPath(exclude));
      if (asked === this.whose()) {
        // Where something was judged meanwhile the answer counts too few: the vote's own tells more.
        if (progress && (counted === this.counted || !this.progress)) this.keepProgress(progress);
        this.take(answer, exclude.length > 0);
      }
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
  take({ items, own, waiting, campaign, stopped }, partly) {
    clearTimeout(this.timers.slow);
    this.campaigns.took({ campaign });
    const busy = new Set(this.outbox.waiting().map((entry) => entry.body.assignment));
    for (const item of [this.current, ...this.ahead]) busy.add(item?.assignment);
    for (const { item } of this.past) busy.add(item.assignment);
    this.ahead.push(...items.filter((item) => !busy.has(item.assignment)));
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
      this.view.drawState("wait", say("state.server"), again(error));
    }
    if (error.status > 0) this.view.error(capital(why(error)));
    this.later("items", POLL_WAITING_MS, () => this.fetchItems());
  }

  drawNothing(waiting, stopped) {
    const undo = this.past.length || this.progress?.mine ? [["undo", say("state.undo")]] : [];
    const coming = waiting?.trim().endsWith("…"); // the server's sign that something is being made
    if (stopped) {
      this.campaigns.drawStopped(stopped, undo);
    } else if (coming) {
      const which = this.progress?.mine ? "state.next" : "state.first";
      // What exactly is being made, the server says in English alone.
      this.view.drawState("wait", say(which), tongue() === "en" ? waiting : say("state.prepared"));
    } else if (this.progress?.total || this.progress?.mine) {
      this.view.drawState("done", say("state.done"), this.praise(), undo);
    } else {
      const how = document.querySelector(LABELERS_PAGE) ? "state.come" : "state.lead";
      this.view.drawState("empty", say("state.empty"), say(how));
    }
    const soon = coming || !this.progress?.total;
    this.later("items", soon ? POLL_WAITING_MS : POLL_DONE_MS, () => this.fetchItems());
  }

  praise() {
    const { today = 0, mine = 0 } = this.progress;
    const counted = (n) => say(`count.${this.mode.thing}`, { n });
    return say(mine > today ? "state.all" : "state.today", { today: counted(today), all: counted(mine) });
  }

  // ---- verdicts -----------------------------------------------------------------------------

  /** Record a verdict on the item on the screen and show the next one. */
  cast(verdict) {
    const item = this.current;
    if (!item || this.busy) return;
    const mode = this.modeOf(item);
    const body = { ...this.envelope(item), verdict, ...this.view.draft() };
    item.revision += 1;
    item.before = verdict;
    this.past.push({ item, verdict });
    this.view.flash(verdict);
    this.view.error("");
    this.countLocally(mode.pairs ?? 1);
    if (this.noteLeft && --this.noteLeft === 0) this.hideNote();
    this.outbox.add(mode.route, body);
    if (mode.pairs) this.campaigns.hide(); // its questions are about one vote, not about several
    else this.campaigns.voted(body);
    this.next();
    const next = this.current ? "spoken.next" : "spoken.last";
    this.view.speak(say(next, { verdict: verdictWords(verdict), prompt: this.view.spokenPrompt() }));
  }

  /** Whether keys and buttons mean something else than a verdict at the moment. */
  get busy() {
    return Boolean(this.editing || this.asking);
  }

  envelope(item) {
    const { assignment, revision } = item;
    return { id: uuid(), assignment, revision, seconds_spent: this.watch.seconds() };
  }

  /** Take back the last verdict or edit; repeated, the one before, also from before a reload. */
  async undo() {
    if (this.undoing || this.busy) return;
    this.undoing = true;
    try {
      if (!this.past.length) await this.recall();
      const last = this.past.pop();
      if (!last) return this.view.error(say("undo.none"));
      this.takeBack(last);
    } catch (error) {
      this.view.error(say("undo.failed", { why: why(error) }));
    } finally {
      this.undoing = false;
    }
  }

  takeBack({ item, verdict, edit }) {
    this.view.error("");
    this.campaigns.hide();
    if (edit) return this.takeBackEdit(item);
    const { id, assignment, revision } = this.envelope(item);
    const mode = this.modeOf(item);
    this.outbox.add(mode.route, { id, assignment, revision, verdict: "undone" });
    item.revision += 1;
    item.before = verdict;
    this.countLocally(-(mode.pairs ?? 1));
    if (this.current && this.current !== item) this.ahead.unshift(this.current);
    this.show(item);
    this.view.speak(say("spoken.undone", { verdict: verdictWords(verdict) }));
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

  // ---- rankings -----------------------------------------------------------------------------

  /** Give an answer the next place, or take its place back. */
  place(letter) {
    if (!this.order || !this.current || this.busy) return;
    const placed = this.order.press(letter);
    const said = placed.map((one) => say("rank.placed", { name: nameOfLetter(one), place: this.order.place(one) }));
    this.tellPlaces(placed.length ? said : [say("rank.gone", { name: nameOfLetter(letter) })]);
  }

  takePlaceBack() {
    const gone = this.order.back();
    this.tellPlaces(gone.map((one) => say("rank.gone", { name: nameOfLetter(one) })));
  }

  tiePlaces() {
    this.order.toggleTie();
    const last = this.order.complete ? this.order.steps.at(-1).letter : "";
    const said = last && say("rank.placed", { name: nameOfLetter(last), place: this.order.place(last) });
    this.tellPlaces(said ? [said] : this.order.tie ? [say("rank.shares")] : []);
  }

  tellPlaces(said) {
    this.view.error("");
    this.view.drawPlaces(this.order);
    this.view.speak([...said, ...(this.order.complete ? [say("rank.ready")] : [])].join(" "));
  }

  sendOrder() {
    if (this.order.complete) return this.cast(this.order.text());
    this.view.error(say("rank.unfinished"));
  }

  /** Return what a key does while a ranking is on the screen. */
  rankKey(key, target) {
    const action = this.keys.action(key);
    if (RANKING_TOO.has(action)) return this.deeds[action];
    const letter = letterOf(key, this.order.letters);
    if (letter) return () => this.place(letter);
    if (key === "enter" && this.pressesButton(target)) return undefined;
    return { enter: () => this.sendOrder(), "=": () => this.tiePlaces(), backspace: () => this.takePlaceBack() }[key];
  }

  /** Whether Enter has to press the button that has the focus: until the order can be sent, any. */
  pressesButton(target) {
    const ours = this.order.complete && target.closest?.(".answer button, .choice");
    return Boolean(target.closest?.("button, a, summary") && !ours);
  }

  // ---- edits --------------------------------------------------------------------------------

  edit(side) {
    if (!this.current || this.busy || this.order) return;
    if (side) return this.openEditor(side);
    if (this.mode.sides.length === 1) return this.openEditor(this.mode.sides[0]);
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
      return this.view.error(say("edit.failed", { why: why(error) }));
    }
    if (!wanted()) return; // left with Esc, or another name meanwhile
    const text = item.correctedSide === side ? item.correction : item[side].text;
    this.view.openEditor(side, text, nameOf(this.mode, side));
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
    if (!text.trim()) return this.view.error(say("edit.empty"));
    if (text === item[side].text.replace(/\r\n?/g, "\n")) return this.view.error(say("edit.same"));
    const body = { ...this.envelope(item), revision: item.edit_revision ?? 0, side, text };
    item.edit_revision = body.revision + 1;
    Object.assign(item, { correctedSide: side, correction: text });
    this.past.push({ item, edit: true });
    this.leaveEdit();
    this.view.drawAnswer(side, item);
    this.outbox.add("api/v1/edits", body);
    this.view.speak(say("edit.kept"));
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
    this.view.speak(say("edit.undone"));
  }

  leaveEdit() {
    this.editing = null;
    this.view.closeEditor();
    this.view.error("");
  }

  // ---- what the server said -----------------------------------------------------------------

  onSaved({ entry, answer }) {
    const judged = [this.mode.route, ...(this.mode.more ?? [])].includes(entry.path);
    const mine = judged && !this.outbox.waiting().length;
    if (mine && answer.progress) this.keepProgress(answer.progress);
    if (mine && answer.own) this.view.drawOwn(answer.own);
    if (judged && this.visible) this.showNote(answer.own?.note, entry);
    this.drawStatus(true);
    this.fetchItems();
  }

  /** Show the note that a verdict gave rise to; once, also when it is taken back and given again. */
  showNote(note, { body }) {
    if (!note || this.noted === body.assignment) return;
    this.noted = body.assignment;
    this.noteLeft = NOTE_STAYS;
    const { kind, n, side, seconds } = note;
    this.view.note(say(`note.${kind}`, { n, side, seconds }));
  }

  hideNote() {
    this.noteLeft = 0;
    this.view.note("");
  }

  onRefused({ entry, error }) {
    this.past = this.past.filter(({ item }) => item.assignment !== entry.body.assignment);
    this.view.error(say("refused", { why: why(error) }));
    this.drawStatus();
  }

  drawStatus(saved = false) {
    const n = this.outbox.waiting().length;
    const trouble = this.outbox.trouble;
    clearTimeout(this.timers.saving);
    if (n && trouble) {
      if (trouble.status === 401 && this.visible) this.askName(trouble);
      const cause = trouble.status ? capital(why(trouble)) : say("status.offline");
      return this.view.status("offline", say("status.waiting", { why: cause, n }));
    }
    const saving = () => this.view.status("saving", say("status.saving"));
    if (n) return this.later("saving", SAVING_AFTER_MS, saving);
    if (saved || this.view.one(".status").dataset.kind) this.view.status("saved", say("status.saved"));
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
    this.counted += 1;
    if (!this.progress) return;
    for (const name of ["today", "mine", "done"]) {
      this.progress[name] = Math.max(0, this.progress[name] + step);
    }
    this.view.drawProgress(this.progress);
  }

  // ---- keys and clicks ----------------------------------------------------------------------

  /** Return what each action of keys.js does. */
  deedTable() {
    const verdicts = [...this.mode.choices.map(({ verdict }) => verdict), "skip"];
    return {
      ...Object.fromEntries(verdicts.map((verdict) => [verdict, () => this.cast(verdict)])),
      undo: () => this.undo(),
      edit: () => this.edit(),
      guideline: () => this.guideline(),
      hide: () => this.hideNote(),
      help: () => this.help(),
    };
  }

  onKey(event) {
    if (!this.visible || event.isComposing) return;
    if (this.rebinding) return this.onNewKey(event);
    if (this.view.one("dialog").open) return;
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey) return this.onEnter(event, target);
    if (event.key === "Escape") return this.escape(target);
    if (isTyping(target)) return;
    if (this.campaigns.onKey(event)) return event.preventDefault();
    const key = keyOf(event);
    const act = this.editing === "choose" ? this.pickKey(key) : this.deedOf(key, target);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act();
  }

  deedOf(key, target) {
    const ranking = this.order && this.current && !this.busy;
    return ranking ? this.rankKey(key, target) : this.deeds[this.keys.action(key)];
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
    if (!button) return this.onCard(event.target);
    if (button.disabled) return;
    const { verdict, act, pick, side, rebind, place } = button.dataset;
    if (place) return this.place(place);
    if (verdict) return this.cast(verdict);
    if (rebind) return this.rebind(rebind);
    if (pick !== undefined) return this.pick(pick);
    if (button.matches(".chip")) return toggle(button, "aria-pressed");
    this.act(act, side);
  }

  /** A click anywhere on an answer that is ranked, unless it chose some of its text or a link. */
  onCard(target) {
    const card = target.closest(".answer");
    if (!card || !this.order || target.closest("a") || selected(this.host.shadowRoot)) return;
    this.place(card.dataset.side);
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
      "rank-send": () => this.sendOrder(),
      "rank-tie": () => this.tiePlaces(),
      "rank-back": () => this.takePlaceBack(),
      reasons: () => this.view.toggleReasons(),
      "reset-keys": () => this.resetKeys(),
      more: () => this.view.openPrompt(!this.view.one(".prompt").classList.contains("open")),
      "save-edit": () => this.saveEdit(this.view.one("textarea")),
      "leave-edit": () => this.leaveEdit(),
    };
    acts[name]?.();
  }

  help() {
    this.view.one("dialog").showModal();
  }

  // ---- keys of one's own ----------------------------------------------------------------------

  /** Give an action the key that is pressed next. */
  rebind(action) {
    this.rebinding = action;
    this.view.drawRebinding(say("keys.press"), action);
  }

  onNewKey(event) {
    if (MODIFIERS.has(event.key) || event.repeat) return;
    if (event.key === "Tab") return this.leaveRebinding(); // and the focus moves on
    event.preventDefault(); // Escape leaves the choice of a key, not the list
    if (event.key === "Escape") return this.leaveRebinding();
    const key = keyOf(event);
    const name = fits(key) ? key : event.key === " " ? "Space" : event.key;
    const told = { key: keyName(name), what: deedOf(this.rebinding) };
    if (event.ctrlKey || event.metaKey || event.altKey || !fits(key)) {
      return this.view.drawRebinding(say("keys.unfit", told), this.rebinding);
    }
    const rival = this.keys.taken(key, this.rebinding);
    if (rival) {
      return this.view.drawRebinding(say("keys.taken", { ...told, what: deedOf(rival) }), this.rebinding);
    }
    this.keys.bind(this.rebinding, key);
    this.rebinding = "";
    this.view.drawRebinding(say("keys.set", told));
  }

  leaveRebinding() {
    const left = this.rebinding ? say("keys.stays", { what: deedOf(this.rebinding) }) : "";
    this.rebinding = "";
    this.view.drawRebinding(left);
  }

  resetKeys() {
    this.rebinding = "";
    this.keys.reset();
    this.view.drawRebinding(say("keys.original"));
  }

  onChange({ target }) {
    if (!target.matches(".language select")) return;
    target.blur(); // so that the next key judges
    choose(target.value).catch((error) => this.view.error(capital(why(error))));
  }

  async guideline() {
    if (!this.view.one(".guideline").hidden) return this.view.toggleGuideline();
    try {
      const asked = new URLSearchParams({ language: tongue(), campaign: this.campaigns.current?.id ?? "" });
      const { html, language } = await request(`api/v1/guideline?${asked}`);
      this.view.toggleGuideline(html, language);
    } catch (error) {
      this.view.error(say("guideline.failed", { why: why(error) }));
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
const again = (error) => say("state.again", { why: capital(why(error)) });
const isTyping = (node) => Boolean(node?.matches?.("input, textarea, select") || node?.isContentEditable);
const selected = (root) => String((root.getSelection?.() ?? document.getSelection()) || "") !== "";
const toggle = (button, name) =>
  button.setAttribute(name, String(button.getAttribute(name) !== "true"));

/** Log out once every vote is saved: those of one person would be refused from another. */
document.addEventListener("submit", async (event) => {
  if (!event.target.matches("form.hone-out")) return;
  event.preventDefault();
  await outbox().settled().catch(() => {}); // what cannot be sent stays in this browser
  event.target.submit();
});

/** Show on the page what belongs to an account: the way out. */
function showAccount(account) {
  document.documentElement.classList.toggle("hone-accounts", Boolean(account));
}

// A lead who opens another tab at once may never see a screen of this kind.
if (!document.querySelector(LABELERS_PAGE)) {
  request("api/v1/labeler").then(({ account }) => showAccount(account), () => {});
}

class HoneScreen extends HTMLElement {
  connectedCallback() {
    if (!this.shadowRoot) this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
    this.anew = () => this.begin();
    window.addEventListener(CHANGED, this.anew);
    this.begin();
  }

  /** Draw all of it, once more after another language was chosen. */
  begin() {
    this.screen?.close();
    const reasons = JSON.parse(this.getAttribute("reasons") || "[]");
    this.screen = new Screen(this, MODES[this.getAttribute("mode")], reasons);
  }

  disconnectedCallback() {
    window.removeEventListener(CHANGED, this.anew);
    this.screen.close();
  }
}

const STYLE = new CSSStyleSheet();
const sheet = await fetch(new URL("./label.css", import.meta.url));
STYLE.replaceSync(await sheet.text());
customElements.define("hone-screen", HoneScreen);
