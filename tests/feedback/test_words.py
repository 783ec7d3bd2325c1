"""The texts that labelers read: the same ones in every language, and none beside the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from feedback import api, campaigns, doors, words
from feedback.accounts import People, people_of
from feedback.gate import Gate
from feedback.screens import label
from storage.store import Store

SCREENS = words.TABLES.parent
LONG = "correct horse battery"
FORMS = {"en": {"one", "other"}, "de": {"one", "other"}, "es": {"one", "other"},
         "zh": {"other"}, "ja": {"other"}}  # fmt: skip  # CLDR; of a million es has "many"


def texts(language: str) -> Iterator[tuple[str, str]]:
    """Return each key with its text, of a text with plural forms each of them."""
    for key, text in words.table(language).items():
        yield from [(key, text)] if isinstance(text, str) else ((key, one) for one in text.values())


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_says_the_same_things_about_the_same_values(language: str) -> None:
    english, other = words.table("en"), words.table(language)
    assert list(other) == list(english)
    wanted = {key: places(text) for key, text in texts("en")}
    assert [key for key, text in texts(language) if places(text) != wanted[key]] == []
    for key, text in other.items():
        assert isinstance(text, dict) == isinstance(english[key], dict), key
        if isinstance(text, dict):
            assert set(text) == FORMS[language], key


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_no_text_is_empty_or_holds_markup(language: str) -> None:
    """Texts are put into the page's skeleton as they are."""
    for key, text in texts(language):
        assert text.strip() == text != "", key
        assert not re.search(r'[<>&"`]|\$\{', text), key


@pytest.mark.parametrize("language", [one for one in words.LANGUAGES if one != "en"])
def test_texts_are_translated(language: str) -> None:
    """What is the same as in English is a name of a key, or a word that the languages share."""
    shared = {key for key, text in texts(language) if text == dict(texts("en")).get(key)}
    allowed = {"key.Ctrl", "key.Enter", "key.Esc", "spoken.last", "status.offline", "door.name"}
    assert shared <= allowed


def test_each_key_is_used_and_each_text_that_is_said_is_there() -> None:
    sources = [*SCREENS.glob("*.js"), *(Path(module.__file__ or "") for module in (doors, words))]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    literal = set(re.findall(r"""["'\[]([a-z]+\.[a-z_]+)["'\]]""", code)) | {"refused"}
    begun = set(re.findall(r"[`\"]([a-z]+\.)[$\{]", code))
    keys = set(words.table("en"))
    assert begun == {"verdict.", "role.", "reason.", "side.", "question.", "count.", "note.",
                     "key.", "keys.", "bar.", "error.", "door."}  # fmt: skip
    assert [key for key in keys if key not in literal and not key.startswith(tuple(begun))] == []
    families = {key.partition(".")[0] for key in keys}
    said = {key for key in literal if key.partition(".")[0] in families}
    assert {key for key in said if not key.endswith((".js", ".css", ".json"))} <= keys


def test_page_and_server_have_the_same_languages() -> None:
    script = (SCREENS / "words.js").read_text("utf-8")
    listed = re.search(r"LANGUAGES = \{(.*?)\}", script)
    assert listed is not None
    assert dict(re.findall(r'(\w+): "(.*?)"', listed[1])) == words.LANGUAGES
    assert f'"{words.COOKIE}"' in script


def test_the_page_gets_the_tables(store: Store) -> None:
    for language in words.LANGUAGES:
        answer = client(store).get(f"/static/hone/{language}.json")
        assert answer.json() == words.table(language)
    assert client(store).get("/static/hone/fr.json").status_code == 404


@pytest.mark.parametrize("language", [one for one in words.LANGUAGES if one != "en"])
def test_the_guideline_names_the_buttons_as_they_are_called(language: str) -> None:
    text = words.guideline(language) or ""
    for key in ("verdict.tie", "verdict.both_bad", "bar.skip", "bar.edit", "bar.undo"):
        assert f"**{words.say(language, key)}**" in text
    assert words.guideline("../../x") is None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_the_guideline_is_translated_as_long_as_it_is_hones_own(store: Store) -> None:
    app = FastAPI()
    app.include_router(label.routes(store))
    client = TestClient(app)

    def read(language: str) -> dict[str, str]:
        return client.get("/api/v1/guideline", params={"language": language}).json()

    assert "hättest du lieber" in read("de")["html"]
    assert (read("de")["language"], read("fr")["language"]) == ("de", "en")
    assert "would you rather" in read("en")["html"]
    campaigns.set_guideline(store, "Choose the kinder one.")
    assert read("de") == {"html": read("en")["html"], "language": ""}
    assert "kinder" in read("de")["html"]


def app(store: Store, people: People) -> FastAPI:
    made = FastAPI()
    made.add_middleware(Gate, people=people)
    api.install_errors(made)
    made.include_router(doors.router(people))
    made.include_router(api.router(lambda request: store))
    return made


def client(store: Store, people: People | None = None, **headers: str) -> TestClient:
    made = TestClient(
        app(store, people or people_of(store)), base_url="http://127.0.0.1", follow_redirects=False
    )
    made.headers.update({"accept": "text/html", **headers})
    return made


@pytest.fixture
def people(store: Store) -> People:
    found = People(store, ticks=lambda: 0.0)  # the clock of pauses stands still
    found.add("Lea", "lead", LONG, by="root")
    found.add("ann", "labeler", LONG, by="root")
    return found


def test_doors_speak_the_browsers_language_until_another_is_chosen(
    people: People, store: Store
) -> None:
    browser = client(store, people, **{"accept-language": "de-AT,en;q=0.5"})
    page = browser.get("/login").text
    assert '<html lang="de">' in page
    assert "Passwort" in page
    answer = browser.get("/login", params={"language": "ja", "next": "/rate"})
    assert answer.headers["set-cookie"] == (
        "hone_language=ja; Max-Age=31536000; Path=/; SameSite=lax"
    )
    assert "パスワード" in answer.text
    assert "?language=es&amp;next=%2Frate" in answer.text
    assert '<html lang="ja">' in browser.get("/login").text
    odd = client(store, people).get("/login", params={"language": "../../x"})
    assert '<html lang="en">' in odd.text
    assert "set-cookie" not in odd.headers


def test_what_goes_wrong_at_the_doors_is_told_in_the_labelers_language(
    people: People, store: Store
) -> None:
    browser = client(store, people, **{"accept-language": "de"})
    wrong = [browser.post("/login", data={"name": "ann", "password": "x"}) for _ in range(4)]
    assert "Name und Passwort passen nicht zusammen" in wrong[0].text
    assert re.search(r"Versuch es in \d+ s wieder", wrong[3].text)
    link = f"/invite/{people.invite('bo', 'labeler', by='Lea')}"
    assert "<b>bo</b> eingeladen" in browser.get(link).text
    short = browser.post(link, data={"password": "kurz", "again": "kurz"}).text
    assert "Das Passwort hat 4 Zeichen: Nimm 10 bis 200." in short
    easy = browser.post(link, data={"password": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"}).text
    assert "zu leicht zu erraten" in easy
    differ = browser.post(link, data={"password": LONG, "again": "x"}).text
    assert "sind verschieden" in differ


def test_what_the_page_translates_comes_with_a_code(store: Store) -> None:
    browser = client(store)
    for name, code in (("", "name_length"), ("a\u202eb", "name_sign"), ("sim-1", "name_kept")):
        answer = browser.post("/api/v1/labeler", json={"name": name})
        assert answer.json()["code"] == code
        assert f"error.{code}" in words.table("en")
    browser.post("/api/v1/labeler", json={"name": "ann"})
    vote: dict[str, Any] = {"id": "v1", "assignment": "none", "revision": 0, "verdict": "left"}
    assert browser.post("/api/v1/votes", json=vote).json()["code"] == "not_found"


class Read(HTMLParser):
    """Collects what a person reads or hears of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data.strip())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = ("aria-label", "title", "placeholder", "alt")
        self.found += [value or "" for name, value in attributes if name in named]


def test_no_text_of_the_doors_stands_outside_the_table(
    people: People, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every text of the table in brackets, whatever has none did not come from there."""
    real = words.table("en")
    marked = {key: f"⟦{text}⟧" if isinstance(text, str) else text for key, text in real.items()}
    monkeypatch.setattr(words, "table", lambda language: marked)
    link = f"/invite/{people.invite('bo', 'labeler', by='Lea')}"
    browser = client(store, people)
    pages = [browser.get(path).text for path in ("/login", link, "/invite/none")]
    pages.append(browser.post("/login", data={"name": "ann", "password": "x"}).text)
    pages.append(browser.post(link, data={"password": "x", "again": "y"}).text)
    browser.post("/login", data={"name": "ann", "password": LONG})
    pages += [browser.get(path).text for path in ("/label", "/rate")]
    names = {"", "Hone", "ann", "bo", *words.LANGUAGES.values()}
    for page in pages:
        reader = Read()
        reader.feed(page)
        assert sum("⟦" in one for one in reader.found) >= 4
        # of a sentence with a name in the middle each part has one bracket
        assert [
            one for one in reader.found if one not in names and not re.search("[⟦⟧]", one)
        ] == []
