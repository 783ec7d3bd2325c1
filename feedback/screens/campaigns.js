// The campaigns of a labeler: which one is judged, and what it asks for beside the verdict.
// The label and rate screens tell it who labels, what came and what was voted; with one campaign that
// asks for nothing more it draws nothing. What it asks for after a vote waits beside the next item,
// takes no focus and holds nothing up.

import { request, uuid } from "./outbox.js";
import { say } from "./words.js";

const BETTER = { left: "A", same: "", right: "B" }; // which answer is better in one aspect
const STOPPED = { paused: "campaign.paused", closed: "campaign.closed", trial: "campaign.trial" };
const KEPT = "hone.campaign."; // and the mode: which campaign this browser judges
const REMARKS = "api/v1/remarks";
const CHOSEN_SIDES = ["left", "right"]; // verdicts of which one can ask how clear they were

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
.campaign { display: inline-flex; align-items: center; }
.campaign select {
  max-width: min(17rem, 46vw); padding: 0.25rem 0.5rem; font: inherit; color: var(--hone-ink);
  background: var(--hone-card); border: 1px solid var(--hone-line-strong); border-radius: 8px;
}
.asked {
  display: flex; flex-wrap: wrap; align-items: center; gap: 0.4rem 1rem; padding-bottom: 0.6rem;
  font-size: 0.95rem; color: var(--hone-soft);
}
.asked[hidden] { display: none; }
.asked > span { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0.3rem; }
.asked button {
  min-height: 1.9rem; padding: 0.15rem 0.65rem; color: var(--hone-ink); background: var(--hone-card);
  border: 1px solid var(--hone-line-strong); border-radius: 99px;
}
.asked button[aria-pressed="true"] {
  color: var(--hone-on-accent); background: var(--hone-accent); border-color: transparent;
}
@media (pointer: coarse) { .asked button { min-height: 2.5rem; padding-inline: 0.9rem; } }
`);

export class Campaigns {
  constructor(screen) {
    this.screen = screen;
    this.list = [];
    this.remark = null; // {vote, strength, aspects} of the last vote, while it can be added to
    const root = screen.host.shadowRoot;
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, STYLE];
    root.addEventListener("click", (event) => this.onClick(event));
    this.usual = screen.host.getAttribute("reasons");
  }

  get key() {
    return KEPT + this.screen.mode.name;
  }

  /** The id of the campaign that is judged; "" leaves it to the server. */
  get chosen() {
    try {
      return localStorage.getItem(this.key) ?? "";
    } catch {
      return this.kept ?? ""; // this browser stores nothing
    }
  }

  set chosen(id) {
    this.kept = id;
    try {
      localStorage.setItem(this.key, id);
    } catch {
      // kept as long as the page
    }
  }

  get current() {
    return this.list.find(({ id }) => id === this.chosen) ?? this.list[0];
  }

  /** Ask which campaigns are open to who labels now. */
  async load() {
    const query = new URLSearchParams({ mode: this.screen.mode.name });
    try {
      this.list = (await request(`api/v1/campaigns?${query}`)).campaigns;
    } catch {
      return; // the items say what is wrong
    }
    this.draw();
  }

  /** The server gave items, or none: from another campaign where the chosen one is closed. */
  took({ campaign }) {
    if (!campaign || !this.list.length || campaign === this.current.id) return;
    this.chosen = campaign;
    this.load();
  }

  draw() {
    const nav = this.screen.view.one(".top nav");
    nav.querySelector(".campaign")?.remove();
    if (this.list.length > 1) nav.prepend(this.select());
    const reasons = this.current?.reasons ?? JSON.parse(this.usual);
    if (JSON.stringify(reasons) === (this.drawn ?? JSON.stringify(JSON.parse(this.usual)))) return;
    this.drawn = JSON.stringify(reasons);
    this.screen.view.one(".chips").replaceChildren();
    this.screen.view.drawReasons(reasons);
  }

  select() {
    const label = document.createElement("label");
    label.className = "campaign";
    const field = document.createElement("select");
    field.setAttribute("aria-label", say("campaign.choose"));
    for (const { id, name, done, total } of this.list) {
      const here = id === this.current.id; // how far this one is, stands beside it and moves
      const words = here || !total ? name : say("campaign.listed", { name, done, total });
      field.append(new Option(words, id, false, here));
    }
    field.addEventListener("change", () => this.choose(field.value));
    label.append(field);
    return label;
  }

  choose(id) {
    this.chosen = id;
    this.hide();
    this.load();
    this.screen.forgetItems();
    this.screen.next();
    this.screen.view.speak(say("campaign.chosen", { name: this.current.name }));
  }

  // ---- after a vote -------------------------------------------------------------------------

  /** Offer to add to a vote what its campaign asks for. */
  voted({ id, verdict }) {
    this.hide();
    const { strengths = [], aspects = [] } = this.current ?? {};
    const clear = CHOSEN_SIDES.includes(verdict) ? strengths : [];
    const more = verdict === "skip" || this.screen.mode.name !== "pairs" ? [] : aspects;
    if (!clear.length && !more.length) return;
    this.remark = { vote: id, strength: "", aspects: {} };
    const box = document.createElement("div");
    box.className = "asked";
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", say("campaign.asked"));
    if (clear.length) box.append(this.row(say("campaign.strength"), clear.map((word, index) => [word, { strength: word }, index + 1])));
    for (const aspect of more) {
      const sides = Object.entries(BETTER).map(([side, word]) => [word || say("campaign.same"), { aspect, better: side }]);
      box.append(this.row(aspect, sides));
    }
    this.screen.view.bar.prepend(box);
  }

  row(title, choices) {
    const row = document.createElement("span");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", title);
    row.append(title);
    for (const [word, data, number] of choices) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = word;
      button.setAttribute("aria-pressed", "false");
      if (number) {
        button.title = `Shift+${number}`;
        button.setAttribute("aria-keyshortcuts", `Shift+${number}`);
      }
      Object.assign(button.dataset, data);
      row.append(button);
    }
    return row;
  }

  onClick({ target }) {
    const button = target.closest?.(".asked button");
    if (button) this.answer(button);
  }

  /** Shift and a number say how clear the last choice was; returns whether that was asked. */
  onKey({ code, shiftKey, repeat }) {
    const number = shiftKey && !repeat && /^Digit[1-9]$/.test(code) ? Number(code.at(-1)) : 0;
    const button = number && this.screen.view.all(".asked [data-strength]")[number - 1];
    if (button) this.answer(button);
    return Boolean(button);
  }

  /** Send what was added so far; the newest of a vote counts. */
  answer(button) {
    for (const other of button.parentElement.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    const { strength, aspect, better } = button.dataset;
    if (strength) this.remark.strength = strength;
    else this.remark.aspects[aspect] = better;
    this.screen.outbox.add(REMARKS, { id: uuid(), ...structuredClone(this.remark) });
    this.screen.view.speak(`${aspect ?? ""} ${button.textContent}`.trim());
    if (!this.screen.view.one(".asked [data-aspect]")) this.hide();
  }

  hide() {
    this.remark = null;
    this.screen.view.one(".asked")?.remove();
  }

  /** Say why nothing is given. */
  drawStopped(why, acts) {
    this.hide();
    this.screen.view.drawState("done", say("campaign.stopped"), say(STOPPED[why]), acts);
  }
}
