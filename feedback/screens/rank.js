// A ranking on the label screen: three or four answers get their places, the best first. What stands
// here knows neither the document nor the server; label.js brings it keys and clicks, view.js draws it.

import { say } from "./words.js";

export const LETTERS = ["A", "B", "C", "D"];
const SIDES = { A: "side.left", B: "side.right", C: "side.third", D: "side.fourth" };
const ORDER = /[>=]/; // what stands in a verdict that is an order

const CHOICES = [
  { act: "rank-send", words: "rank.send", key: "Enter", tone: "main" },
  { act: "rank-tie", words: "rank.tie", key: "=", tone: "calm" },
  { act: "rank-back", words: "rank.back", key: "⌫", tone: "calm" },
];

const mode = (size) => ({
  name: "rank",
  route: "api/v1/rankings",
  sides: LETTERS.slice(0, size),
  choices: CHOICES,
  pairs: (size * (size - 1)) / 2, // as many votes an order is
});

export const RANKINGS = { 3: mode(3), 4: mode(4) };

/** Return what an answer is called. */
export const nameOfLetter = (letter) => say(SIDES[letter]);

/** Return the mode of an item that is a ranking. */
export const rankingOf = (item) => RANKINGS[LETTERS.filter((letter) => letter in item).length];

/** Return a verdict in words: an order is read out, the best first. */
export function verdictWords(verdict) {
  if (!ORDER.test(verdict)) return say(`verdict.${verdict}`);
  return say("verdict.ranked", { order: verdict.replaceAll(">", ", ").replaceAll("=", " = ") });
}

/** The places that answers were given so far. */
export class Order {
  /** `verdict`: the order that was sent before, if one was. */
  constructor(letters, verdict = "") {
    this.letters = letters;
    this.steps = []; // {letter, tied: shares the place of the one before, auto: followed by itself}
    this.tie = false; // whether the next one shares the place of the last
    if (ORDER.test(verdict)) this.read(verdict);
  }

  read(verdict) {
    for (const level of verdict.split(">")) {
      level.split("=").forEach((letter, index) => this.steps.push({ letter, tied: index > 0 }));
    }
  }

  get complete() {
    return this.steps.length === this.letters.length;
  }

  /** Return the place of an answer, 1 the best, or 0. */
  place(letter) {
    const index = this.steps.findIndex((step) => step.letter === letter);
    return index < 0 ? 0 : this.steps.slice(0, index + 1).filter(({ tied }) => !tied).length;
  }

  /**
   * Give an answer the next place, or take its place back. Return the answers that got one. Who
   * presses the key of the answer that followed by itself, as if it had not, changes nothing.
   */
  press(letter) {
    const followed = this.steps.find((step) => step.letter === letter && step.auto);
    if (followed) {
      followed.auto = false;
      return [letter];
    }
    if (this.place(letter)) {
      this.keep(this.steps.filter((step) => step.letter !== letter && !step.auto));
      return [];
    }
    const before = this.steps.length;
    this.steps.push({ letter, tied: this.tie && before > 0 });
    this.tie = false;
    const left = this.letters.filter((one) => !this.place(one));
    if (left.length === 1) this.steps.push({ letter: left[0], tied: false, auto: true });
    return this.steps.slice(before).map((step) => step.letter);
  }

  /** Take the last place back, with what followed by itself; return whose it was. */
  back() {
    if (this.tie) {
      this.tie = false;
      return [];
    }
    const hand = this.steps.findLastIndex(({ auto }) => !auto);
    const gone = this.steps.slice(Math.max(0, hand)).map((step) => step.letter);
    this.keep(this.steps.slice(0, Math.max(0, hand)));
    return gone;
  }

  keep(steps) {
    this.steps = steps.map((step, index) => ({ ...step, tied: step.tied && index > 0 }));
    this.tie = false;
  }

  /** Let the next answer share the place of the last; where all have one, the last that before it. */
  toggleTie() {
    if (!this.steps.length) return;
    if (!this.complete) this.tie = !this.tie;
    else this.steps.at(-1).tied = !this.steps.at(-1).tied;
  }

  /** Return the order as it is sent: "B>A=C". */
  text() {
    return this.steps.map(({ letter, tied }, index) => (index ? (tied ? "=" : ">") : "") + letter).join("");
  }
}

/** Return the answer that a key stands for, its number or its letter; undefined if none. */
export function letterOf(key, letters) {
  return letters.find((letter, index) => key === String(index + 1) || key === letter.toLowerCase());
}
