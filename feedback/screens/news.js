// Draws a lead's screen anew when something moved, and only then.
//
// A part of a screen that follows the app has a hidden button (`on_news` in parts.py). While its tab
// is in front this script asks the app what moved, and presses the buttons that listen to it.

const EVERY = 2000; // ms. Choice: a step of a tiny model takes about this long on two cores
const LISTENS = "hone-of-";
const RESTS = "hone-rest-"; // at least so many seconds between two presses
const pressed = new WeakMap(); // button → the marks and the time of its last press

/** Say whether a button's tab is the one in front. */
function inFront(button) {
  const panel = button.closest('[role="tabpanel"]');
  return panel === null || panel.checkVisibility();
}

/** Return what follows a beginning in the button's classes. */
function named(button, beginning) {
  const found = [...button.classList].filter((name) => name.startsWith(beginning));
  return found.map((name) => name.slice(beginning.length));
}

/** Press a button if what it listens to moved and it has rested. */
function hear(button, marks) {
  const heard = named(button, LISTENS).map((part) => marks[part]).join(" ");
  const last = pressed.get(button);
  const rest = 1000 * Number(named(button, RESTS)[0] ?? 0);
  if (last && (last.heard === heard || Date.now() - last.at < rest)) return;
  pressed.set(button, { heard, at: Date.now() });
  button.click();
}

async function look() {
  if (document.hidden) return;
  const listening = [...document.querySelectorAll("button.hone-news")].filter(inFront);
  if (listening.length === 0) return;
  const parts = new Set(listening.flatMap((button) => named(button, LISTENS)));
  const answer = await fetch(`api/v1/news?of=${[...parts].join(",")}`);
  if (!answer.ok) return;
  const marks = await answer.json();
  listening.filter((button) => button.isConnected).forEach((button) => hear(button, marks));
}

async function go() {
  await look().catch(() => {}); // the app is away for a moment: it is asked again
  setTimeout(go, EVERY);
}

setTimeout(go, EVERY);
