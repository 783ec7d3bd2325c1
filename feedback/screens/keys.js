// Which key does what on the label and rate screens, and the labeler's own choice of keys, kept in
// this browser. A key is its name in lower case (arrows as they are), never with Ctrl, Alt or Meta.

export const KEYS_CHANGED = "hone-keys"; // told to the window when a key was given to an action

const KEPT = "hone.keys";
const ARROWS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]);

// Action → its keys as they come. `left` to `both_bad` are of two answers, `up` and `down` of one.
const ORIGINAL = {
  pairs: { left: ["1", "ArrowLeft"], right: ["2", "ArrowRight"], tie: ["3", "ArrowDown"], both_bad: ["4"] },
  thumbs: { up: ["1", "ArrowRight", "ArrowUp"], down: ["2", "ArrowLeft", "ArrowDown"] },
  both: { skip: ["s"], undo: ["u"], edit: ["e"], guideline: ["g"], hide: ["h"], help: ["?"] },
};

/** Return the key's name in the table; letters by their place where the layout is not Latin. */
export function keyOf({ key, code, shiftKey }) {
  if (ARROWS.has(key)) return shiftKey ? "" : key;
  if (key.length === 1 && key > "\x7f" && code.startsWith("Key")) return code.slice(3).toLowerCase();
  return key.toLowerCase();
}

/** Return whether a key may be given to an action: what types, scrolls or leaves keeps its meaning. */
export const fits = (key) => ARROWS.has(key) || (key.length === 1 && key !== " ");

export class Keys {
  constructor(mode) {
    this.mode = mode; // "pairs" or "thumbs"
  }

  /** Return action → keys for this screen, in the order of the list of all keys. */
  all() {
    const actions = { ...ORIGINAL[this.mode], ...ORIGINAL.both };
    return Object.fromEntries(Object.keys(actions).map((name) => [name, this.of(name)]));
  }

  /** Return the keys of an action. */
  of(action) {
    const { [action]: first } = { ...ORIGINAL.pairs, ...ORIGINAL.thumbs, ...ORIGINAL.both };
    return own[action] ?? first;
  }

  /** Return the action that a key stands for on this screen, or undefined. */
  action(key) {
    return Object.entries(this.all()).find(([, keys]) => keys.includes(key))?.[0];
  }

  /** Return which other action has the key, so that an action may not get it, or undefined. */
  taken(key, action) {
    const modes = action in ORIGINAL.both ? ["pairs", "thumbs", "both"] : [this.mode, "both"];
    const rivals = modes.flatMap((mode) => Object.keys(ORIGINAL[mode]));
    return rivals.find((name) => name !== action && this.of(name).includes(key));
  }

  /** Give an action one key in place of those that it had. */
  bind(action, key) {
    keep({ ...own, [action]: [key] });
  }

  /** Go back to the original keys, of both screens. */
  reset() {
    keep({});
  }
}

/** Return the choice kept in this browser; what is not a choice of keys counts as none. */
function kept() {
  try {
    const entries = Object.entries(JSON.parse(localStorage.getItem(KEPT)) ?? {});
    return Object.fromEntries(entries.filter(([, keys]) => keys.length === 1 && fits(keys[0])));
  } catch {
    return {}; // nothing is stored here, or not by this page: the original keys do
  }
}

function keep(chosen) {
  own = chosen;
  try {
    localStorage.setItem(KEPT, JSON.stringify(own));
  } catch {
    // a browser that stores nothing keeps the choice until the page is left
  }
  window.dispatchEvent(new Event(KEYS_CHANGED));
}

let own = kept(); // action → its one key, of both screens
window.addEventListener("storage", ({ key }) => {
  if (key !== KEPT) return;
  own = kept(); // chosen in another tab
  window.dispatchEvent(new Event(KEYS_CHANGED));
});
