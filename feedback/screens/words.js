// What the label and rate screens say: one table of texts per language (words/*.json), which the
// server's own pages read as well. No text of the table holds markup, so it may stand in some.

export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", zh: "中文", ja: "日本語" };
export const CHANGED = "hone-language"; // told to the window when another language was chosen

const COOKIE = "hone_language"; // so that the server's pages follow the choice
const COOKIE_SECONDS = 365 * 24 * 3600; // Choice: a year, as long as a name is remembered
const BY_STATUS = { 413: "too_large", 503: "busy" }; // of answers without a code
const OWN_PAGE = "main.screen-around"; // a page that the server wrote in the language to use

let table = {};
let language = "";

/** Return the language in use, as in a lang attribute. */
export const tongue = () => language;

/** Return a text of the table with its {places} filled; `n` chooses between singular and plural. */
export function say(key, values = {}) {
  const found = table[key];
  const form = new Intl.PluralRules(language).select(values.n ?? 0);
  const text = typeof found === "object" ? found[form] ?? found.other : found;
  if (text === undefined) throw new Error(`no text ${key} in the language ${language}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

/** Return whether the table has a text. */
export const has = (key) => key in table;

/** Return what went wrong in words: the table's own where it has some for the error's code. */
export function why({ code, status, message }) {
  const named = `error.${code ?? BY_STATUS[status]}`;
  if (has(named)) return say(named);
  if (status === undefined) return String(message);
  return (message || say("error.status", { status })).replace(/[.。]$/, "");
}

const shown = (value) => (typeof value === "number" ? value.toLocaleString(language) : String(value));

/** Use a language from now on, and remember it in this browser. */
export async function choose(name) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}=${name}; Max-Age=${COOKIE_SECONDS}; Path=/; SameSite=Lax${secure}`;
  if (document.querySelector(OWN_PAGE)) return location.reload();
  await use(name);
  window.dispatchEvent(new Event(CHANGED));
}

async function use(name) {
  const answer = await fetch(new URL(`./${name}.json`, import.meta.url));
  table = await answer.json();
  language = name;
}

/** Return the language chosen before, else the first of the browser's that there is. */
function wanted() {
  const kept = document.cookie.split("; ").find((one) => one.startsWith(`${COOKIE}=`));
  const own = document.querySelector(OWN_PAGE) ? document.documentElement.lang : "";
  const short = navigator.languages.map((one) => one.toLowerCase().split("-")[0]);
  return [own, kept?.slice(COOKIE.length + 1), ...short].find((one) => Object.hasOwn(LANGUAGES, one)) ?? "en";
}

await use(wanted());
