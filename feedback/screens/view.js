// What the label and rate screens look like: the skeleton, one item, the states, the status line.
// Knows the document, not the server. Item html comes from the server's own renderer, which lets no
// tag of the text through; every other text is set as text.

import { LETTERS, nameOfLetter } from "./rank.js";
import { LANGUAGES, has, say, tongue } from "./words.js";

const ARROWS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const NAMED_KEYS = new Set(["Ctrl", "Enter", "Esc", "Space"]);
const SPOKEN_CHARS = 160; // Choice: of the next prompt, about ten seconds to listen to
const PROMPT_SHARE = 0.42; // of the window's height; Choice: both answers still begin above the bar
const FLASH_MS = 120; // Choice: seen, and over before the next key

const ICONS = {
  up: "M7 11v9H4a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1h3Zm0 0 4-8a2.5 2.5 0 0 1 2.5 2.5V9h5a2 2 0 0 1 2 2.3l-1.2 7a2 2 0 0 1-2 1.7H7",
  down: "M17 13V4h3a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-3Zm0 0-4 8a2.5 2.5 0 0 1-2.5-2.5V15h-5a2 2 0 0 1-2-2.3l1.2-7a2 2 0 0 1 2-1.7H17",
  done: "M20 6 9 17l-5-5",
  globe: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM3.5 12h17M12 3c5 5 5 13 0 18-5-5-5-13 0-18Z",
  pen: "M12 20h9M16.5 3.5a2.1 2.1 0 0 1 3 3L7 19l-4 1 1-4Z",
};

const icon = (name) =>
  `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
const markup = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const caps = (keys) => keys.map((key) => `<kbd>${markup(keyName(key))}</kbd>`).join("");
const capsOf = (action) => `<span class="caps" aria-hidden="true" data-keys="${action}"></span>`;
const fixedCaps = (...keys) => `<span class="caps" aria-hidden="true">${caps(keys)}</span>`;

/** Return what stands on a key, as a labeler would name it. */
export function keyName(key) {
  if (NAMED_KEYS.has(key)) return say(`key.${key}`);
  return ARROWS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** Return what an action with a key does, for the list of all keys. */
export const deedOf = (action) => say(has(`keys.${action}`) ? `keys.${action}` : `verdict.${action}`);

/** Return what an answer on a side is called. */
export const nameOf = (mode, side) => say(mode.sides.length > 1 ? `side.${side}` : "side.only");

/** A choice is a verdict, whose keys can be changed, or of a ranking an act with a fixed key. */
const choiceButton = ({ verdict, act, words, key, tone, icon: sign }) => act
  ? `<button type="button" class="choice ${tone}" data-act="${act}"><span class="words">${say(words)}</span>
    ${fixedCaps(key)}</button>`
  : `<button type="button" class="choice ${tone}" data-verdict="${verdict}" data-shortcut="${verdict}">
    ${sign ? icon(sign) : ""}<span class="words">${say(`verdict.${verdict}`)}</span>
    ${capsOf(verdict)}</button>`;

const toolButton = (act, action) =>
  `<button type="button" class="tool" data-act="${act}" data-shortcut="${action}">
    ${say(`bar.${action}`)}${capsOf(action)}</button>`;

const answerCard = (side, name) => `
  <article class="answer" data-side="${side}" aria-labelledby="name-${side}">
    <header><h2 id="name-${side}">${name}</h2>
      <span class="corrected" hidden>${say("answer.corrected")}</span>
      <button type="button" class="tool pen" data-act="edit" data-side="${side}"
        aria-label="${say("edit.name", { name })}">${icon("pen")}<span>${say("bar.edit")}</span></button></header>
    <div class="body text" dir="auto" lang="" tabindex="-1"></div>
  </article>`;

const rankedCard = (letter) => {
  const name = nameOfLetter(letter);
  return `
  <article class="answer" data-side="${letter}" aria-labelledby="name-${letter}">
    <header><h2 id="name-${letter}">${name}</h2>${fixedCaps(String(LETTERS.indexOf(letter) + 1))}
      <button type="button" class="place" data-place="${letter}" aria-pressed="false"></button></header>
    <div class="body text" dir="auto" lang="" tabindex="-1"></div>
  </article>`;
};

const cards = (mode) =>
  mode.sides.map(mode.name === "rank" ? rankedCard : (side) => answerCard(side, nameOf(mode, side))).join("");

const ownRow = (action) =>
  `<div data-row="${action}"><dt>${capsOf(action)}<span class="press">${say("keys.press")}</span></dt>
    <dd>${deedOf(action)}</dd><dd><button type="button" class="tool" data-rebind="${action}"
      aria-label="${say("keys.changing", { what: deedOf(action) })}">${say("keys.change")}</button></dd></div>`;

const fixedRow = (keys, words, name = "") => `<div${name && ` data-row="${name}"`}><dt>${fixedCaps(...keys)}</dt><dd>${words}</dd></div>`;

const keyRows = (actions) =>
  fixedRow(["1", "…", "4"], say("rank.place"), "rank") +
  fixedRow(["="], say("rank.shares"), "rank") +
  fixedRow(["⌫"], say("rank.back"), "rank") +
  fixedRow(["Enter"], say("rank.send"), "rank") +
  actions.map(ownRow).join("") +
  fixedRow(["Ctrl", "Enter"], say("keys.save")) +
  fixedRow(["Esc"], say("keys.leave")) +
  fixedRow(["Space"], say("keys.scroll"));

const languages = () => Object.entries(LANGUAGES).map(([code, name]) =>
  `<option value="${code}" lang="${code}"${code === tongue() ? " selected" : ""}>${name}</option>`).join("");

const skeleton = (mode, actions) => `
<div class="screen" data-mode="${mode.name}">
  <header class="top">
    <h1>${say(`question.${mode.name}`)}</h1>
    <div class="progress" hidden><span class="today"></span>
      <span class="pace" hidden></span>
      <span class="track" aria-hidden="true"><i></i></span><span class="total"></span></div>
    <nav aria-label="${say("top.name")}">
      <button type="button" class="tool" data-act="guideline" aria-expanded="false"
        aria-controls="guideline" data-shortcut="guideline">${say("top.guideline")}</button>
      <button type="button" class="tool" data-act="help" data-shortcut="help">${say("top.keys")}</button>
      <label class="tool language">${icon("globe")}<select
        aria-label="${say("top.language")}">${languages()}</select></label>
      <button type="button" class="tool who" data-act="rename" hidden></button>
    </nav>
  </header>
  <section id="guideline" class="guideline text" aria-label="${say("top.guideline")}" hidden></section>
  <section class="state" aria-live="polite" hidden></section>
  <div class="item" hidden>
    <section class="prompt" aria-label="${say("prompt.name")}"><div class="messages" dir="auto" lang=""></div>
      <button type="button" class="tool more" data-act="more" hidden></button></section>
    <div class="answers">${cards(mode)}</div>
  </div>
  <div class="bar" role="group" aria-label="${say("bar.name")}">
    <div class="note" role="status" hidden><span></span>
      ${toolButton("hide-note", "hide")}</div>
    <p class="error" role="alert" hidden></p>
    <div class="choices">${mode.choices.map(choiceButton).join("")}</div>
    <div class="second">
      <div class="extras">
        <button type="button" class="tool reasons-toggle" data-act="reasons" aria-expanded="false"
          aria-controls="reasons">${say("bar.reason")}</button>
        <div class="reasons" id="reasons"><span class="chips" role="group"
          aria-label="${say("bar.reasons")}"></span><input class="comment" type="text" maxlength="2000"
          aria-label="${say("bar.comment")}" placeholder="${say("bar.comment")}" autocomplete="off"></div>
      </div>
      <div class="tools">${toolButton("skip", "skip")}${toolButton("undo", "undo")}
        ${toolButton("edit", "edit")}</div>
      <p class="status" role="status" aria-live="polite">${icon("done")}<span></span></p>
    </div>
  </div>
  <p class="spoken" role="status" aria-live="polite"></p>
  <dialog class="help" aria-labelledby="help-title"><h2 id="help-title" tabindex="-1" autofocus>${say("keys.title")}</h2>
    <dl>${keyRows(actions)}</dl>
    <p class="told" role="status"></p>
    <p>${say("keys.typing")}</p>
    <form method="dialog"><button class="plain">${say("keys.close")}</button>
      <button type="button" class="tool" data-act="reset-keys">${say("keys.reset")}</button></form></dialog>
</div>`;

/** Return an element with text; attributes by name. */
function element(tag, attributes = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class View {
  constructor(root, mode, reasons, keys) {
    this.root = root;
    this.mode = mode;
    this.keys = keys;
    root.host.lang = tongue();
    root.innerHTML = skeleton(mode, Object.keys(keys.all()));
    this.drawKeys();
    this.bar = this.one(".bar");
    this.drawReasons(reasons);
    this.measureBar();
    this.one(".messages").addEventListener("scroll", () => this.fadePrompt(), { passive: true });
  }

  one(selector) {
    return this.root.querySelector(selector);
  }

  all(selector) {
    return [...this.root.querySelectorAll(selector)];
  }

  drawReasons(reasons) {
    const words = (reason) => (has(`reason.${reason}`) ? say(`reason.${reason}`) : reason);
    const look = { type: "button", class: "chip", "aria-pressed": "false" };
    const chip = (reason) => element("button", { ...look, "data-reason": reason }, words(reason));
    this.one(".chips").append(...reasons.map(chip));
  }

  /** Put the keys as they are now on the buttons and in the list. */
  drawKeys() {
    for (const box of this.all("[data-keys]")) box.innerHTML = caps(this.keys.of(box.dataset.keys));
    for (const button of this.all("[data-shortcut]")) {
      button.setAttribute("aria-keyshortcuts", this.keys.of(button.dataset.shortcut).join(" "));
    }
  }

  /** Say in the list of all keys what happened; mark the action that waits for a key, if any. */
  drawRebinding(told, action = "") {
    for (const row of this.all("[data-row]")) row.classList.toggle("waits", row.dataset.row === action);
    this.one(".told").textContent = told;
  }

  /** Leave as much room under the item as the bar that floats over it is high. */
  measureBar() {
    const screen = this.one(".screen");
    new ResizeObserver(() => {
      screen.style.setProperty("--bar-height", `${this.bar.offsetHeight}px`);
    }).observe(this.bar);
  }

  // ---- one item -----------------------------------------------------------------------------

  /** Lay out the cards and buttons for what is judged now: two answers, or a ranking. */
  use(mode) {
    if (mode === this.mode) return;
    this.mode = mode;
    this.one(".screen").dataset.mode = mode.name;
    this.one(".answers").dataset.answers = mode.sides.length;
    this.one("h1").textContent = say(`question.${mode.name}`);
    this.one(".answers").innerHTML = cards(mode);
    this.one(".choices").innerHTML = mode.choices.map(choiceButton).join("");
    this.drawKeys();
  }

  /** Show the place of each ranked answer; `order` as in rank.js. */
  drawPlaces(order) {
    for (const letter of order.letters) {
      const button = this.one(`[data-place="${letter}"]`);
      const place = order.place(letter);
      const name = nameOfLetter(letter);
      button.textContent = place || "";
      button.setAttribute("aria-pressed", String(place > 0));
      button.setAttribute("aria-label", place ? say("rank.placed", { name, place }) : say("rank.next", { name }));
      this.card(letter).classList.toggle("placed", place > 0);
    }
    const tied = order.complete ? order.steps.at(-1).tied : order.tie;
    this.one("[data-act=rank-tie]").setAttribute("aria-pressed", String(tied));
    this.one("[data-act=rank-send]").classList.toggle("ready", order.complete);
  }

  drawItem(item, mode) {
    this.use(mode);
    this.one(".state").hidden = true;
    this.one(".item").hidden = false;
    this.bar.classList.remove("idle", "bare");
    this.drawPrompt(item.prompt);
    for (const side of this.mode.sides) this.drawAnswer(side, item);
    this.keepShortInView();
    this.letKeysScroll();
    this.markBefore(item.before);
    this.enable(true);
    if (window.scrollY > 0) window.scrollTo({ top: 0, behavior: "instant" });
  }

  drawPrompt(messages) {
    const box = this.one(".messages");
    const many = messages.length > 1;
    box.dir = many ? "" : "auto";
    box.replaceChildren(...messages.map((message) => this.message(message, many)));
    const fits = box.scrollHeight <= PROMPT_SHARE * window.innerHeight;
    this.openPrompt(fits);
    this.one(".more").hidden = fits;
    box.scrollTop = many ? box.scrollHeight : 0;
    this.fadePrompt();
  }

  /** Show by a fading edge that the prompt goes on there. */
  fadePrompt() {
    const box = this.one(".messages");
    const below = box.scrollHeight - box.clientHeight - box.scrollTop;
    box.classList.toggle("above", box.scrollTop > 4);
    box.classList.toggle("below", below > 4);
  }

  message({ role, html }, named) {
    const made = element("div", { class: "message text", "data-role": role });
    made.innerHTML = html;
    if (!named && role === "user") return made;
    made.dir = "auto";
    const row = element("div", { class: "turn" });
    const words = has(`role.${role}`) ? say(`role.${role}`) : role;
    row.append(element("span", { class: "role", lang: tongue() }, words), made);
    return row;
  }

  /** Return how the prompt on the screen ends, short enough to be listened to. */
  spokenPrompt() {
    const text = this.one(".messages").lastElementChild?.textContent.trim().replace(/\s+/g, " ") ?? "";
    return text.length > SPOKEN_CHARS ? `${text.slice(0, SPOKEN_CHARS)}…` : text;
  }

  openPrompt(open) {
    this.one(".prompt").classList.toggle("open", open);
    this.one(".more").textContent = say(open ? "prompt.less" : "prompt.more");
    this.fadePrompt();
  }

  drawAnswer(side, item) {
    const card = this.card(side);
    card.querySelector("textarea")?.closest(".editor").remove();
    card.classList.remove("editing");
    const body = card.querySelector(".body");
    body.innerHTML = item[side].html;
    body.classList.toggle("blank", !body.textContent.trim());
    if (body.classList.contains("blank")) body.textContent = say("answer.empty");
    const corrected = card.querySelector(".corrected");
    if (corrected) corrected.hidden = item.correctedSide !== side;
  }

  /** An answer that fits the window stays in view while the longer one is read. */
  keepShortInView() {
    const room = window.innerHeight - this.bar.offsetHeight - 48;
    for (const body of this.all(".answer .body")) {
      body.classList.toggle("short", this.mode.sides.length > 1 && body.offsetHeight < room);
    }
  }

  /** What scrolls by itself can be reached with Tab, and scrolled with Page Up and Page Down. */
  letKeysScroll() {
    for (const box of this.all(".messages, .text pre, .text .hone-table")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 4;
      box.toggleAttribute("tabindex", scrolls);
      if (scrolls) box.tabIndex = 0;
    }
  }

  card(side) {
    return this.one(`.answer[data-side="${side}"]`);
  }

  /** Mark what was chosen before, on an item that came back by undo. */
  markBefore(verdict) {
    for (const button of this.all(".choice")) {
      button.classList.toggle("before", Boolean(verdict) && button.dataset.verdict === verdict);
    }
  }

  /** Let the choice be seen for a moment; nothing waits for it. */
  flash(verdict) {
    const choice = this.mode.choices.find((one) => one.verdict === verdict);
    const lit = [this.one(`.choice[data-verdict="${verdict}"]`)];
    for (const side of choice?.lights ?? []) lit.push(this.card(side));
    for (const target of calm() ? [] : lit.filter(Boolean)) {
      const colour = getComputedStyle(target).getPropertyValue("--flash");
      target.animate([{ boxShadow: `0 0 0 3px ${colour}` }, { boxShadow: "0 0 0 3px transparent" }], {
        duration: FLASH_MS,
        easing: "ease-out",
      });
    }
  }

  enable(on) {
    for (const button of this.all(".choice, [data-act=skip], [data-act=edit]")) {
      button.disabled = !on;
    }
  }

  // ---- editing ------------------------------------------------------------------------------

  /** Ask which answer to edit; the buttons carry data-pick. */
  askSide() {
    const box = element("div", { class: "pick", role: "group", "aria-label": say("edit.which") });
    box.append(element("span", {}, say("edit.which")));
    this.mode.sides.forEach((side, index) => {
      const button = element("button", { type: "button", class: "plain", "data-pick": side });
      button.innerHTML = `${nameOf(this.mode, side)} ${fixedCaps(String(index + 1))}`;
      box.append(button);
    });
    const leave = element("button", { type: "button", class: "tool", "data-pick": "" });
    leave.innerHTML = `${say("edit.leave")} ${fixedCaps("Esc")}`;
    box.append(leave);
    this.bar.prepend(box);
    box.querySelector("button").focus({ preventScroll: true });
  }

  closeSide() {
    this.one(".pick")?.remove();
  }

  /** Put a text field in the place of the answer; returns it. */
  openEditor(side, text, name) {
    const editor = element("div", { class: "editor" });
    const field = element("textarea", { dir: "auto", "aria-label": say("edit.field", { name }) });
    field.value = text;
    const row = element("div", { class: "editor-row" });
    row.innerHTML = `<button type="button" class="plain strong" data-act="save-edit">${say("edit.save")}
      ${fixedCaps("Ctrl", "Enter")}</button>
      <button type="button" class="tool" data-act="leave-edit">${say("edit.leave")}
      ${fixedCaps("Esc")}</button>
      <span class="hint">${say("edit.counts")}</span>`;
    editor.append(field, row);
    this.card(side).classList.add("editing");
    this.card(side).append(editor);
    this.bar.classList.add("aside");
    field.focus();
    field.setSelectionRange(text.length, text.length);
    return field;
  }

  closeEditor() {
    this.one(".editor")?.remove();
    this.one(".editing")?.classList.remove("editing");
    this.bar.classList.remove("aside");
  }

  // ---- states -------------------------------------------------------------------------------

  /** Show a state instead of an item: kind, title, text, and buttons as [act, words]. */
  drawState(kind, title, text, acts = []) {
    this.one(".item").hidden = true;
    this.enable(false);
    this.bar.classList.add("idle");
    this.bar.classList.toggle("bare", !acts.some(([act]) => act === "undo"));
    const box = this.one(".state");
    const same = box.dataset.kind === kind && !box.hidden;
    box.hidden = false;
    box.dataset.kind = kind;
    if (!same) {
      const sign = element("div", { class: "sign", "aria-hidden": "true" });
      sign.innerHTML = kind === "done" ? icon("done") : "<i></i><i></i><i></i>";
      const buttons = element("div", { class: "acts" });
      for (const [act, words] of acts) {
        buttons.append(element("button", { type: "button", class: "plain", "data-act": act }, words));
      }
      box.replaceChildren(sign, element("h2"), element("p"), buttons);
    }
    setText(box.querySelector("h2"), title);
    setText(box.querySelector("p"), text);
  }

  /** Ask for the labeler's name; returns the form. */
  drawNameForm(name) {
    this.drawState("name", say("name.title"), say("name.why"));
    const box = this.one(".state");
    box.querySelector("form")?.remove();
    const form = element("form", { class: "name" });
    const field = element("input", {
      type: "text", maxlength: "80", required: "", "aria-label": say("name.field"), autocomplete: "name",
      placeholder: say("name.field"), spellcheck: "false",
    });
    field.value = name;
    const start = element("button", { class: "plain strong" });
    start.innerHTML = `${say("name.start")} ${fixedCaps("Enter")}`;
    form.append(field, start);
    box.querySelector(".acts").before(form);
    field.focus({ preventScroll: true });
    return form;
  }

  drawName(name, account) {
    const button = this.one(".who");
    button.hidden = !name || account; // an account's name stands beside its way out
    button.dataset.initial = [...name][0]?.toUpperCase() ?? "";
    button.replaceChildren(element("span", {}, name));
    button.setAttribute("aria-label", say("name.change", { name }));
  }

  // ---- lines --------------------------------------------------------------------------------

  status(kind, text) {
    const line = this.one(".status");
    line.dataset.kind = kind;
    setText(line.querySelector("span"), text);
  }

  error(text) {
    const line = this.one(".error");
    line.hidden = !text;
    setText(line, text);
  }

  /** Say something to a screen reader. */
  speak(text) {
    this.one(".spoken").textContent = text;
  }

  drawProgress({ today, done, total }) {
    this.one(".progress").hidden = false;
    setText(this.one(".today"), say("progress.today", { n: today }));
    setText(this.one(".total"), total ? say("progress.of", { done, total }) : "");
    const share = total ? Math.min(1, done / total) : 0;
    this.one(".track").hidden = !total;
    this.one(".track i").style.transform = `scaleX(${share})`;
  }

  /** Draw the labeler's own pace, a minute, and how many they judged since their last break. */
  drawOwn({ per_minute: pace, streak }) {
    const line = this.one(".pace");
    line.hidden = typeof pace !== "number";
    setText(line, line.hidden ? "" : say("progress.pace", { n: pace < 10 ? pace : Math.round(pace) }));
    line.title = say("progress.own", { n: streak });
  }

  /** Show a note above the bar, where it moves nothing; "" hides it. */
  note(text) {
    this.one(".note").hidden = !text;
    setText(this.one(".note > span"), text);
  }

  /** Open or close the guideline; `lang` is the language of its text, "" where nobody said. */
  toggleGuideline(html, lang) {
    const panel = this.one(".guideline");
    if (html !== undefined) Object.assign(panel, { innerHTML: html, lang });
    panel.hidden = !panel.hidden;
    this.one("[data-act=guideline]").setAttribute("aria-expanded", String(!panel.hidden));
  }

  toggleReasons() {
    const open = this.one(".extras").classList.toggle("open");
    this.one("[data-act=reasons]").setAttribute("aria-expanded", String(open));
  }

  /** Return the reasons and the comment given so far. */
  draft() {
    const chosen = this.all(".chip[aria-pressed=true]").map((chip) => chip.dataset.reason);
    return { reasons: chosen, comment: this.one(".comment").value.trim() };
  }

  clearDraft() {
    for (const chip of this.all(".chip[aria-pressed=true]")) chip.setAttribute("aria-pressed", "false");
    this.one(".comment").value = "";
    if (this.root.activeElement === this.one(".comment")) this.root.activeElement.blur();
  }
}

/** Set text only when it changes, so that live regions speak once. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
