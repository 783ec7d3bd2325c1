// What the label and rate screens look like: the skeleton, one item, the states, the status line.
// Knows the document, not the server. Item html comes from the server's own renderer, which lets no
// tag of the text through; every other text is set as text.

const ARROWS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const ROLES = { system: "Instruction", user: "Person", assistant: "Model" };
const PROMPT_SHARE = 0.42; // of the window's height; Choice: both answers still begin above the bar
const FLASH_MS = 120; // Choice: seen, and over before the next key

const ICONS = {
  up: "M7 11v9H4a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1h3Zm0 0 4-8a2.5 2.5 0 0 1 2.5 2.5V9h5a2 2 0 0 1 2 2.3l-1.2 7a2 2 0 0 1-2 1.7H7",
  down: "M17 13V4h3a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-3Zm0 0-4 8a2.5 2.5 0 0 1-2.5-2.5V15h-5a2 2 0 0 1-2-2.3l1.2-7a2 2 0 0 1 2-1.7H17",
  done: "M20 6 9 17l-5-5",
  pen: "M12 20h9M16.5 3.5a2.1 2.1 0 0 1 3 3L7 19l-4 1 1-4Z",
};

const icon = (name) =>
  `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
const cap = (key) => `<kbd>${ARROWS[key] ?? (key.length === 1 ? key.toUpperCase() : key)}</kbd>`;

function choiceButton(choice) {
  const keys = choice.keys.join(" ").replace(/\?/g, "");
  return `<button type="button" class="choice ${choice.tone}" data-verdict="${choice.verdict}"
    aria-keyshortcuts="${keys}">${choice.icon ? icon(choice.icon) : ""}
    <span class="words">${choice.words}</span>
    <span class="caps" aria-hidden="true">${choice.keys.map(cap).join("")}</span></button>`;
}

const toolButton = (act, words, key) =>
  `<button type="button" class="tool" data-act="${act}" aria-keyshortcuts="${key}">
    ${words}<span class="caps" aria-hidden="true">${cap(key)}</span></button>`;

const answerCard = (side, name) => `
  <article class="answer" data-side="${side}" aria-labelledby="name-${side}">
    <header><h2 id="name-${side}">${name}</h2>
      <span class="corrected" hidden>corrected by you</span>
      <button type="button" class="tool pen" data-act="edit" data-side="${side}"
        aria-label="Edit ${name}">${icon("pen")}<span>Edit</span></button></header>
    <div class="body text" dir="auto" tabindex="-1"></div>
  </article>`;

const keyRow = ([keys, words]) =>
  `<div><dt>${keys.map(cap).join(" ")}</dt><dd>${words}</dd></div>`;

function keyRows(mode) {
  return [
    ...mode.choices.map((choice) => [choice.keys, choice.words]),
    [["s"], "Skip this one"],
    [["u"], "Undo, as often as you like"],
    [["e"], "Edit an answer: your version becomes the chosen one"],
    [["Ctrl", "Enter"], "Save the edit"],
    [["Esc"], "Leave the edit, the comment or this list"],
    [["g"], "Guideline"],
    [["h"], "Hide a note"],
    [["Space"], "Scroll on"],
    [["?"], "This list"],
  ].map(keyRow).join("");
}

const skeleton = (mode) => `
<div class="screen" data-mode="${mode.name}">
  <header class="top">
    <h1>${mode.question}</h1>
    <div class="progress" hidden><span class="today"></span>
      <span class="pace" hidden></span>
      <span class="track" aria-hidden="true"><i></i></span><span class="total"></span></div>
    <nav aria-label="This screen">
      <button type="button" class="tool" data-act="guideline" aria-expanded="false"
        aria-controls="guideline" aria-keyshortcuts="g">Guideline</button>
      <button type="button" class="tool" data-act="help" aria-keyshortcuts="?">Keys</button>
      <button type="button" class="tool who" data-act="rename" hidden></button>
    </nav>
  </header>
  <section id="guideline" class="guideline text" aria-label="Guideline" hidden></section>
  <section class="state" aria-live="polite" hidden></section>
  <div class="item" hidden>
    <section class="prompt" aria-label="Prompt"><div class="messages" dir="auto"></div>
      <button type="button" class="tool more" data-act="more" hidden>Show all of it</button></section>
    <div class="answers">${mode.sides.map(([side, name]) => answerCard(side, name)).join("")}</div>
  </div>
  <div class="bar" role="group" aria-label="Your verdict">
    <div class="note" role="status" hidden><span></span>
      ${toolButton("hide-note", "Hide", "h")}</div>
    <p class="error" role="alert" hidden></p>
    <div class="choices">${mode.choices.map(choiceButton).join("")}</div>
    <div class="second">
      <div class="extras">
        <button type="button" class="tool reasons-toggle" data-act="reasons" aria-expanded="false"
          aria-controls="reasons">Add a reason</button>
        <div class="reasons" id="reasons"><span class="chips" role="group"
          aria-label="Reasons (optional)"></span><input class="comment" type="text" maxlength="2000"
          aria-label="Comment (optional)" placeholder="Comment (optional)" autocomplete="off"></div>
      </div>
      <div class="tools">${toolButton("skip", "Skip", "s")}${toolButton("undo", "Undo", "u")}
        ${toolButton("edit", "Edit", "e")}</div>
      <p class="status" role="status" aria-live="polite">${icon("done")}<span></span></p>
    </div>
  </div>
  <p class="spoken" role="status" aria-live="polite"></p>
  <dialog class="help" aria-labelledby="help-title"><h2 id="help-title">All keys</h2>
    <dl>${keyRows(mode)}</dl>
    <p>Keys do nothing while you type.</p>
    <form method="dialog"><button class="plain">Close</button></form></dialog>
</div>`;

/** Return an element with text; attributes by name. */
function element(tag, attributes = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class View {
  constructor(root, mode, reasons) {
    this.root = root;
    this.mode = mode;
    root.innerHTML = skeleton(mode);
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
    const chip = (reason) =>
      element("button", { type: "button", class: "chip", "aria-pressed": "false" }, reason);
    this.one(".chips").append(...reasons.map(chip));
  }

  /** Leave as much room under the item as the bar that floats over it is high. */
  measureBar() {
    const screen = this.one(".screen");
    new ResizeObserver(() => {
      screen.style.setProperty("--bar-height", `${this.bar.offsetHeight}px`);
    }).observe(this.bar);
  }

  // ---- one item -----------------------------------------------------------------------------

  drawItem(item) {
    this.one(".state").hidden = true;
    this.one(".item").hidden = false;
    this.bar.classList.remove("idle", "bare");
    this.drawPrompt(item.prompt);
    for (const [side] of this.mode.sides) this.drawAnswer(side, item);
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
    row.append(element("span", { class: "role" }, ROLES[role] ?? role), made);
    return row;
  }

  openPrompt(open) {
    this.one(".prompt").classList.toggle("open", open);
    this.one(".more").textContent = open ? "Show less" : "Show all of it";
    this.fadePrompt();
  }

  drawAnswer(side, item) {
    const card = this.card(side);
    card.querySelector("textarea")?.closest(".editor").remove();
    card.classList.remove("editing");
    const body = card.querySelector(".body");
    body.innerHTML = item[side].html;
    body.classList.toggle("blank", !body.textContent.trim());
    if (body.classList.contains("blank")) body.textContent = "(an empty answer)";
    card.querySelector(".corrected").hidden = item.correctedSide !== side;
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
      button.classList.toggle("before", button.dataset.verdict === verdict);
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
    const box = element("div", { class: "pick", role: "group", "aria-label": "Which answer to edit" });
    box.append(element("span", {}, "Edit which answer?"));
    this.mode.sides.forEach(([side, name], index) => {
      const button = element("button", { type: "button", class: "plain", "data-pick": side });
      button.innerHTML = `${name} <span class="caps" aria-hidden="true">${cap(String(index + 1))}</span>`;
      box.append(button);
    });
    const leave = element("button", { type: "button", class: "tool", "data-pick": "" });
    leave.innerHTML = `Leave <span class="caps" aria-hidden="true">${cap("Esc")}</span>`;
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
    const field = element("textarea", { dir: "auto", "aria-label": `Your version of ${name}` });
    field.value = text;
    const row = element("div", { class: "editor-row" });
    row.innerHTML = `<button type="button" class="plain strong" data-act="save-edit">Save
      <span class="caps" aria-hidden="true">${cap("Ctrl")}${cap("Enter")}</span></button>
      <button type="button" class="tool" data-act="leave-edit">Leave
      <span class="caps" aria-hidden="true">${cap("Esc")}</span></button>
      <span class="hint">Your version counts as better than this answer.</span>`;
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
    this.drawState("name", "Who is judging?",
      "Your name is kept with your votes, so that you can come back to them. Nothing else is asked.");
    const box = this.one(".state");
    box.querySelector("form")?.remove();
    const form = element("form", { class: "name" });
    const field = element("input", {
      type: "text", maxlength: "80", required: "", "aria-label": "Your name", autocomplete: "name",
      placeholder: "Your name", spellcheck: "false",
    });
    field.value = name;
    const start = element("button", { class: "plain strong" });
    start.innerHTML = `Start <span class="caps" aria-hidden="true">${cap("Enter")}</span>`;
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
    button.setAttribute("aria-label", `You are ${name}. Change the name`);
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
    setText(this.one(".today"), `${today.toLocaleString("en")} today`);
    setText(this.one(".total"), total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : "");
    const share = total ? Math.min(1, done / total) : 0;
    this.one(".track").hidden = !total;
    this.one(".track i").style.transform = `scaleX(${share})`;
  }

  /** Draw the labeler's own pace, a minute, and how many they judged since their last break. */
  drawOwn({ per_minute: pace, streak }) {
    const line = this.one(".pace");
    line.hidden = typeof pace !== "number";
    setText(line, line.hidden ? "" : `${pace < 10 ? pace : Math.round(pace)} a minute`);
    line.title = `Over your last few minutes; ${plural(streak, "verdict")} since your last break. ` +
      "Only you see this.";
  }

  /** Show a note above the bar, where it moves nothing; "" hides it. */
  note(text) {
    this.one(".note").hidden = !text;
    setText(this.one(".note > span"), text);
  }

  toggleGuideline(html) {
    const panel = this.one(".guideline");
    if (html !== undefined) panel.innerHTML = html;
    panel.hidden = !panel.hidden;
    this.one("[data-act=guideline]").setAttribute("aria-expanded", String(!panel.hidden));
  }

  toggleReasons() {
    const open = this.one(".extras").classList.toggle("open");
    this.one("[data-act=reasons]").setAttribute("aria-expanded", String(open));
  }

  /** Return the reasons and the comment given so far. */
  draft() {
    const chosen = this.all(".chip[aria-pressed=true]").map((chip) => chip.textContent);
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
