"""The train screen in a real browser: from what it would use to a finished run, and its ends."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Server
from tests.browser.lead import PHONE, TRAINING_MS, Desk, Voter, explain, vote

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # the first waits for a training
At = Callable[..., Desk]


@pytest.fixture(scope="module")
def server(serve: Callable[[int], Server]) -> Server:
    return serve(40)


def test_an_empty_folder_says_what_to_do_first(desk: At, server: Server) -> None:
    screen = desk(server, "Train")
    screen.says("#train-ready", "Nothing to learn from yet")
    expect(screen.part("#train-watch")).to_be_hidden()
    screen.part("#train-go").click()
    screen.refuses("nobody has voted yet")
    assert screen.console == []


def test_the_numbers_move_while_others_vote(desk: At, server: Server) -> None:
    """Three votes come in by REST while the tab is open, then they are taken back."""
    screen = desk(server, "Train")
    screen.says("#train-ready", "Nothing to learn from yet")
    screen.says("#train-light", "Not ready")
    ada = Voter(screen, server.url)
    items = ada.begin(3)
    for verdict, said in (("left", 3), ("undone", 0)):
        for item in items:
            ada.say(item, verdict)
        screen.page.wait_for_function(PAIRS, arg=said)
    screen.says("#train-ready", "Nothing to learn from yet")
    assert screen.console == []


PAIRS = """(said) => {
  const rows = [...document.querySelectorAll("#train-ready tr")];
  const row = rows.find((one) => /Pairs/.test(one.innerText));
  const cells = row ? [...row.cells].slice(1).map((cell) => Number(cell.innerText)) : [0];
  return cells.reduce((sum, n) => sum + n, 0) === said;
}"""  # whether the table says so many pairs, in all splits together


def test_the_command_follows_the_settings(desk: At, server: Server) -> None:
    screen = desk(server, "Train")
    screen.says("#train-command", "python app.py train --method dpo --data")
    screen.page.get_by_label("0.5 · a short leash").check()
    screen.says("#train-command", "--set beta=0.5")
    screen.unfold("Advanced settings")
    screen.fill("Epochs", "7")
    screen.says("#train-command", "--set epochs=7")
    choose(screen, "KTO")
    screen.says("#train-command", "--method kto --data")
    expect(screen.page.get_by_label("Weight of good answers")).to_be_visible()
    choose(screen, "IPO · pairs")
    screen.says("#train-words", "Target: a margin of 5 nats per pair")
    choose(screen, "ORPO")
    expect(screen.part("#train-leash")).to_be_hidden()
    expect(screen.page.get_by_label("Weight of the odds")).to_be_visible()


def test_a_number_typed_at_once_into_a_fold_is_kept(desk: At, server: Server) -> None:
    """The fold's title is reached and opened by the keyboard, as a button with its state."""
    screen = desk(server, "Train")
    epochs = screen.page.get_by_label("Epochs")
    expect(epochs).to_be_attached()
    expect(epochs).to_be_hidden()
    title = screen.part("#train-advanced summary")
    title.focus()
    screen.page.keyboard.press("Enter")
    epochs.fill("9")
    assert expanded(screen, "Advanced settings")
    screen.says("#train-command", "--set epochs=9")
    expect(epochs).to_have_value("9")
    title.press("Enter")
    expect(epochs).to_be_hidden()
    assert not expanded(screen, "Advanced settings")
    title.press("Enter")
    expect(epochs).to_have_value("9")


def expanded(screen: Desk, name: str) -> bool:
    """Return whether a screen reader is told that the fold of that name is open."""
    session = screen.page.context.new_cdp_session(screen.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    (states,) = [
        {one["name"]: one["value"].get("value") for one in node["properties"]}
        for node in nodes
        if node.get("name", {}).get("value") == name
        and any(one["name"] == "expanded" for one in node.get("properties", []))
    ]
    assert states["focusable"]
    return bool(states["expanded"])


def test_beta_is_told_in_the_words_of_the_method(desk: At, server: Server) -> None:
    screen = desk(server, "Train")
    screen.says("#train-leash", "0.01 · a long leash")
    for method, words in (
        ("IPO · pairs", "aims at 5 nats: the usual start"),
        ("IPO per token", "aims at 0.1 nats per token"),
        ("DPO per token", "5 · balanced"),
        ("SimPO", "no leash: nothing but the learning rate holds it"),
        ("KTO", "0.5 · a short leash"),
    ):
        choose(screen, method)
        screen.says("#train-leash", words)
        expect(screen.part("#train-leash input:checked")).to_have_count(1)
    screen.fill("β, or any other value", "0.2")
    screen.says("#train-command", "--set beta=0.2")
    expect(screen.part("#train-leash input:checked")).to_have_count(0)


def test_what_is_daring_is_said_before_the_start(desk: At, server: Server) -> None:
    """The embedded base: the demo profile's rate, and one above what such a model stands."""
    screen = desk(server, "Train")
    screen.says("#train-note", "Demo profile: learning rate 0.0002 is for tiny models")
    screen.unfold("Advanced settings")
    screen.fill("Learning rate", "0.002")
    screen.says("#train-note", "This would be refused: learning_rate is 0.002")
    screen.page.get_by_label("Allow a high learning rate").check()
    screen.says("#train-note", "it was allowed by hand")
    screen.says("#train-command", "--set allow_high_learning_rate=true")


def choose(screen: Desk, method: str) -> None:
    screen.part("#train-method input").click()
    screen.page.get_by_role("option").filter(has_text=method).first.click()


def test_what_a_run_would_use_is_shown_before_it(desk: At, server: Server) -> None:
    vote(server, 30, prefer="longer", noise=0.0)
    screen = desk(server, "Train")
    screen.says("#train-ready", "to learn from")
    screen.says("#train-ready", "A run takes about")
    screen.says("#train-warning", "longer answer won")


def test_what_speaks_against_a_start_turns_the_light_amber(desk: At, server: Server) -> None:
    """Length alone decided: it can be trained anyway, and the command carries the reason."""
    screen = desk(server, "Train")
    screen.says("#train-light", "it can be trained anyway")
    screen.says("#train-warning", "Do longer answers win:")
    screen.says("#train-wanted", "more pairs would tell the held-out accuracy")
    screen.part("#train-go").click()
    screen.refuses("length_bias speaks against training")
    screen.page.get_by_label("Why train anyway?").fill("a first look")
    screen.says("#train-command", "--because 'a first look'")


def test_balancing_lengths_is_said_to_cost_pairs(desk: At, server: Server) -> None:
    """Of 30 pairs the longer answer won all: balanced, none of them is left."""
    screen = desk(server, "Train")
    screen.says("#train-light", "it can be trained anyway")
    screen.page.wait_for_function(PAIRS, arg=30)
    screen.page.get_by_label("Balance lengths").check()
    screen.says("#train-ready", "Nothing is left to learn from")
    screen.says("#train-ready", "30 of 30 pairs are left out")
    screen.says("#train-command", "--balance-length")
    screen.says("#train-light", "Not ready")
    screen.page.get_by_label("Balance lengths").uncheck()
    screen.page.wait_for_function(PAIRS, arg=30)
    screen.says("#train-light", "it can be trained anyway")


def test_the_advice_has_its_figure_and_one_click_takes_it(desk: At, server: Server) -> None:
    """Earlier votes here prefer the longer answer: length shall earn nothing."""
    vote(server, 40, prefer="longer", noise=0.0, labelers=2)
    screen = desk(server, "Train")
    screen.says("#train-advice", "Advice: DPO per token.")
    screen.says("#train-advice", "of the decided votes")
    screen.part("#train-take").click()
    screen.says("#train-command", "--method dpo_norm")
    screen.says("#train-words", "length alone earns nothing")
    expect(screen.part("#train-take")).to_be_hidden()


def test_a_run_to_go_on_from_is_chosen_with_its_reference(desk: At, trained: Server) -> None:
    screen = desk(trained, "Train")
    expect(screen.part("#train-held")).to_be_hidden()
    screen.part("#train-origin input").click()
    screen.page.get_by_role("option").nth(1).click()
    screen.says("#train-command", "--reference base")
    screen.page.get_by_label("that run's adapter").check()
    screen.says("#train-command", "--reference start")
    assert screen.console == []


def test_a_bad_setting_gets_one_line(desk: At, server: Server, tiny_model: Path) -> None:
    screen = desk(server, "Train")
    screen.part("#train-model textarea").fill(str(tiny_model))
    screen.unfold("Advanced settings")
    screen.says("#train-command", str(tiny_model))
    screen.fill("Learning rate", "5")
    screen.part("#train-go").click()
    screen.refuses("learning_rate is 5")


def test_a_missing_model_gets_one_line(desk: At, server: Server) -> None:
    screen = desk(server, "Train")
    screen.part("#train-model textarea").fill("/nowhere/at-all")
    screen.part("#train-go").click()
    screen.refuses("/nowhere/at-all")


def test_a_run_goes_to_its_end_through_the_button(desk: At, trained: Server) -> None:
    """The page was reloaded in the middle (`lead.train`): all of it comes from the run's files."""
    screen = desk(trained, "Train")
    screen.says("#train-state", "Done")
    screen.says("#train-report", "Held-out accuracy")
    for title in (
        "Loss", "Reward margin", "Reward accuracy", "Log-probability per token",
        "Held-out answers: change per token", "KL to the reference per token",
    ):  # fmt: skip
        expect(
            screen.part(f"#train-curves svg[aria-label='{title}'] polyline").first
        ).to_be_visible()
    screen.says("#train-history", "DPO")
    config = json.loads(next(trained.data.glob("runs/*/config.json")).read_text())
    assert config["method"] == "dpo"
    assert screen.console == []


def test_what_looks_wrong_is_shown_with_its_remedy(desk: At, trained: Server) -> None:
    """Beside it the report does not tell the same figure again."""
    file = next(trained.data.glob("runs/*/status.json"))
    state = json.loads(file.read_text())
    concern = {"name": "length_drift", "what": "Answers have 4 tokens.", "remedy": "Look at *it*."}
    file.write_text(json.dumps({**state, "warnings": [concern]}))
    screen = desk(trained, "Train")
    expect(screen.part("#train-concerns li")).to_have_text("Answers have 4 tokens. Look at *it*.")
    expect(screen.part("#train-concerns li")).to_be_visible()
    expect(screen.part("#train-report")).not_to_contain_text("tokens on average")
    file.write_text(json.dumps({**state, "warnings": []}))
    expect(screen.part("#train-concerns")).to_be_hidden(timeout=15_000)
    screen.says("#train-report", "tokens on average")
    file.write_text(json.dumps(state))


def test_the_adapter_comes_as_a_zip_file(desk: At, trained: Server, tmp_path: Path) -> None:
    screen = desk(trained, "Train")
    screen.part("#train-pack").click()
    with screen.page.expect_download(timeout=30_000) as download:
        screen.part("#train-adapter").click()
    download.value.save_as(tmp_path / "adapter.zip")
    names = zipfile.ZipFile(tmp_path / "adapter.zip").namelist()
    assert {"adapter_model.safetensors", "adapter_config.json", "manifest.json"} <= set(names)


def test_a_run_is_cancelled_and_can_be_resumed(desk: At, trained: Server, tiny_model: Path) -> None:
    screen = desk(trained, "Train")
    screen.part("#train-model textarea").fill(str(tiny_model))
    screen.unfold("Advanced settings")
    screen.says("#train-command", str(tiny_model))
    screen.fill("Epochs", "60")
    explain(screen)
    screen.part("#train-go").click()
    screen.part("#train-cancel").click(timeout=30_000)
    screen.says("#train-state", "Cancelled", timeout=30_000)
    expect(screen.part("#train-resume")).to_be_visible()
    expect(screen.part("#train-go")).to_be_enabled()
    screen.part("#train-resume").click()
    expect(screen.part("#train-go")).to_be_disabled(timeout=30_000)
    other = desk(trained, "Compare")
    other.says("#compare-status", "training")
    screen.part("#train-cancel").click(timeout=30_000)
    screen.says("#train-state", "Cancelled", timeout=30_000)


def test_a_phone_needs_no_scrolling_sideways(desk: At, trained: Server) -> None:
    screen = desk(trained, "Train", viewport=PHONE)
    screen.says("#train-history", "DPO")
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


# Sweeps; last, for they leave newer runs behind


def test_a_few_values_of_beta_are_tried_and_one_is_taken(desk: At, trained: Server) -> None:
    screen = desk(trained, "Train")
    model = json.loads(next(trained.data.glob("runs/*/config.json")).read_text())["model"]
    screen.part("#train-model textarea").fill(model)
    screen.part("#train-model textarea").blur()
    screen.says("#train-command", model)
    screen.unfold("Which β?")
    screen.fill("Values of β", "0.05, 2")
    screen.fill("Rows per run, at most", "8")
    screen.says("#sweep-cost", "2 runs of 8 pairs: about")
    screen.says("#sweep-command", "app.py sweep --method dpo --betas 0.05,2 --rows 8")
    explain(screen)
    screen.says("#sweep-command", "--because 'only a test'")
    screen.part("#sweep-go").click()
    screen.says("#sweep-told", "run 1 of 2", timeout=60_000)
    expect(screen.part("#sweep-go")).to_be_disabled()
    trained.stop()  # the app is restarted: it goes on with the next run by itself
    again = desk(trained, "Train")
    again.unfold("Which β?")
    again.says("#sweep-picture", "β 2", timeout=TRAINING_MS)
    again.says("#sweep-words", "nats per token")
    expect(again.part("#sweep-go")).to_be_enabled()
    expect(again.part("#sweep-picture svg circle.hone-first")).to_have_count(2)
    again.part("#sweep-take").get_by_label("β 2 ·").check()
    again.says("#train-command", "--set beta=2")
    assert again.console == []


def test_a_sweep_is_cancelled_as_a_whole(desk: At, trained: Server) -> None:
    screen = desk(trained, "Train")
    model = json.loads(next(trained.data.glob("runs/*/config.json")).read_text())["model"]
    screen.part("#train-model textarea").fill(model)
    screen.part("#train-model textarea").blur()
    screen.says("#train-command", model)
    screen.unfold("Which β?")
    screen.fill("Values of β", "0.3, 3, 30")
    explain(screen)
    screen.part("#sweep-go").click()
    screen.part("#sweep-cancel").click(timeout=60_000)
    screen.says("#sweep-told", "cancelled", timeout=60_000)
    expect(screen.part("#train-go")).to_be_enabled(timeout=30_000)
    words = [json.loads(file.read_text())["status"] for file in newest(trained, 3)]
    assert words == ["cancelled"] * 3


def newest(server: Server, count: int) -> list[Path]:
    """Return the states of the runs that were made last."""
    found = sorted(server.data.glob("runs/*/config.json"), key=lambda file: file.stat().st_mtime)
    return [file.with_name("status.json") for file in found[-count:]]
