"""Making comparisons: different answers, stored with where they come from; a stock that is kept."""

import json
import threading
import time
from collections import Counter

import pytest

from align.answering import TRIES, alike, answer_seed
from align.client import WorkerClient
from align.generation import (
    BRIEF,
    FIRST_PROMPTS,
    SECOND_PROMPTS,
    Replenisher,
    SamplingSettings,
    generate_comparisons,
    in_order,
    starter_prompts,
)
from align.models import EMBEDDED, find_model
from align.wire import Row
from storage.errors import BadInput, Busy, DiskFull, NotFound, UserError
from storage.records import Comparison, Prompt, Response
from storage.store import Store

ASKED = [[{"role": "user", "content": text}] for text in ("Tell me a joke", "Name a colour", "Hi")]


class FakeClient:
    """Answers at once with what `say(request)` says; notes what it was asked."""

    def __init__(self, say):
        self.say, self.asked, self.busy, self.left = say, [], None, 0

    def generate(self, requests, on_row=None, *, model=None, cancelled=lambda: False, **more):
        self.asked += requests
        rows = []
        for index, request in enumerate(requests):
            if cancelled():
                break
            rows.append(Row(index, self.say(request), 5, True))
            on_row(rows[-1])
        return rows

    def make_way(self):
        self.left += 1

    leave = make_way


def different(request):
    return f"Answer {request.seed} about {request.seed % 997} things"


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def make(store, tiny):
    def run(client, prompts=ASKED, **more):
        more = {"model": str(tiny), "source": "generated:test", **more}
        return generate_comparisons(store, client, prompts, **more)

    return run


def test_two_answers_make_one_comparison_and_say_where_they_come_from(store, make, tiny):
    settings = SamplingSettings(max_tokens=9, temperature=0.7, top_p=0.9)
    done = make(FakeClient(different), settings=settings, seed=3)
    assert done == {"prompts": 3, "responses": 6, "comparisons": 3, "dropped": 0}
    responses = {r.id: r for r in store.rows(Response)}
    for comparison in store.rows(Comparison):
        a, b = responses[comparison.a], responses[comparison.b]
        assert comparison.source == "generated:test"
        assert a.prompt == b.prompt == comparison.prompt
        assert a.seed == answer_seed(3, a.prompt, 0)
        assert b.seed == answer_seed(3, b.prompt, 1)
        assert (a.model, a.adapter, a.finished) == (str(tiny), "", True)
        assert a.settings["temperature"] == 0.7
        assert a.settings["max_tokens"] == 9
        assert a.settings["fingerprint"] == find_model(tiny).fingerprint


def test_more_answers_make_disjoint_pairs(store, make):
    done = make(FakeClient(different), ASKED[:1], n=5)
    assert (done["responses"], done["comparisons"]) == (5, 2)
    sides = [side for c in store.rows(Comparison) for side in (c.a, c.b)]
    assert len(set(sides)) == 4


@pytest.mark.parametrize(("n", "comparisons"), [(2, 1), (3, 3), (5, 5)])
def test_in_a_ring_each_answer_is_compared_with_two_others(store, make, n, comparisons):
    done = make(FakeClient(different), ASKED[:1], n=n, ring=True)
    assert (done["responses"], done["comparisons"]) == (n, comparisons)
    sides = Counter(side for c in store.rows(Comparison) for side in (c.a, c.b))
    assert set(sides.values()) == {2 * comparisons // n}
    assert len({frozenset((c.a, c.b)) for c in store.rows(Comparison)}) == comparisons


def test_one_answer_makes_no_comparison(make):
    assert make(FakeClient(different), n=1)["responses"] == 3


def test_asking_for_the_same_again_adds_nothing(store, make):
    make(FakeClient(different), seed=1)
    make(FakeClient(different), seed=1)
    assert len(store.rows(Response)) == 6
    make(FakeClient(different), seed=2)
    assert len(store.rows(Response)) == 12


def test_the_same_prompt_twice_is_asked_once(make):
    client = FakeClient(different)
    assert make(client, [ASKED[0], ASKED[0]])["prompts"] == 1
    assert len(client.asked) == 2


@pytest.mark.parametrize("bad", ["", "  \n", "Just the same words as ever, nothing new at all."])
def test_empty_and_equal_answers_are_drawn_anew(store, make, bad):
    """The first two draws are bad; one of two equal texts may stay, an empty one may not."""
    client = FakeClient(lambda r: bad if len(client.asked) <= 2 else different(r))
    done = make(client, ASKED[:1])
    assert done["comparisons"] == 1
    texts = store.texts([r.text for r in store.rows(Response)]).values()
    assert len({text.strip() for text in texts} - {""}) == 2


def test_a_prompt_without_two_different_answers_is_dropped_and_counted(store, make):
    client = FakeClient(lambda r: "Always this very sentence.")
    done = make(client)
    assert done == {"prompts": 3, "responses": 0, "comparisons": 0, "dropped": 3}
    assert len(client.asked) == 3 * (2 + (TRIES - 1))
    assert store.rows(Comparison) == []


def test_nearly_the_same_counts_as_the_same():
    one = "The sky looks blue because air scatters the short waves of sunlight the most."
    assert alike(one, one.replace("The", "the") + " ")
    assert alike(one, one.replace("the most", "most"))
    assert not alike(one, "It is blue because of Rayleigh scattering.")


def test_what_was_finished_before_an_error_is_stored(store, make):
    def say(request):
        if len(client.asked) and request.messages == ASKED[2]:
            raise DiskFull("no room")
        return different(request)

    client = FakeClient(say)
    with pytest.raises(DiskFull):
        make(client)
    assert len(store.rows(Comparison)) == 2


def test_bad_wishes_are_refused_before_anything_is_asked(store, make):
    client = FakeClient(different)
    with pytest.raises(BadInput, match="temperature 0"):
        make(client, settings=SamplingSettings(temperature=0.0))
    with pytest.raises(BadInput, match="n is 0"):
        make(client, n=0)
    with pytest.raises(NotFound, match="nowhere"):
        make(client, model="nowhere")
    with pytest.raises(UserError):
        make(client, [[{"role": "user", "content": ""}]])
    assert client.asked == []
    assert store.rows(Prompt) == []


def test_the_starter_prompts_are_many_different_and_fit_for_the_store():
    prompts = starter_prompts()
    assert len(prompts) >= 240
    assert len({Prompt.id_of(messages) for messages in prompts}) == len(prompts)
    assert all(messages[-1]["role"] == "user" for messages in prompts)
    assert sum(len(messages) > 1 for messages in prompts) >= 3


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def keeper(store, tiny):
    """Start a replenisher with a client; it is stopped at the end."""
    started = []

    def start(client):
        made = Replenisher(store, client, model=str(tiny))
        started.append(made)
        made.start()
        return made

    yield start
    for made in started:
        made.stop()


def test_a_fresh_folder_is_filled_from_a_small_batch_to_the_last_starter_prompt(store, keeper):
    client = FakeClient(different)
    made = keeper(client)
    total = len(starter_prompts())
    wait_for(lambda: made.progress()["message"] == "every starter prompt has its answers", 60)
    assert len(store.rows(Comparison)) == total
    assert {"made": total, "of": total, "running": False}.items() <= made.progress().items()
    assert {p.source for p in store.rows(Prompt)} == {"starter"}
    assert len({json.dumps(list(r.messages)) for r in client.asked[:6]}) == 3  # the first batch


def test_with_comparisons_of_ones_own_only_the_stock_is_kept(store, keeper, make):
    own = [[{"role": "user", "content": f"My own question number {i}"}] for i in range(25)]
    make(FakeClient(different), own)
    client = FakeClient(different)
    made = keeper(client)
    wait_for(lambda: made.progress()["of"] > 0)
    time.sleep(0.3)
    assert client.asked == []
    assert not made.progress()["running"]


def test_an_error_becomes_the_message_and_does_not_end_the_thread(store, keeper, monkeypatch):
    monkeypatch.setattr("align.generation.RETRY_SECONDS", 0.05)
    broken = threading.Event()
    broken.set()

    def say(request):
        if broken.is_set():
            raise DiskFull("no room on /data: free some")
        return different(request)

    made = keeper(FakeClient(say))
    wait_for(lambda: "no room" in made.progress()["message"])
    assert not store.rows(Comparison)
    broken.clear()
    wait_for(lambda: len(store.rows(Comparison)) > 5)


def test_a_bug_becomes_the_message_too(keeper, monkeypatch, capsys):
    def say(request):
        raise RuntimeError("the model worker met a bug")

    made = keeper(FakeClient(say))
    wait_for(lambda: "met a bug" in made.progress()["message"])
    assert "Traceback" in capsys.readouterr().err


def test_while_a_run_trains_it_pauses_and_makes_way(store, keeper, monkeypatch):
    monkeypatch.setattr("align.generation.POLL_SECONDS", 0.05)
    client = FakeClient(different)
    client.busy = "training (r-1), back in about 3 min"
    made = keeper(client)
    wait_for(lambda: "3 min" in made.progress()["message"])
    wait_for(lambda: client.left > 0)
    assert client.asked == []
    client.busy = None
    wait_for(lambda: store.rows(Comparison))


def test_a_missing_model_is_told_in_one_line(store):
    made = Replenisher(store, FakeClient(different), model="nowhere-to-be-found")
    made.start()
    wait_for(lambda: "nowhere-to-be-found" in made.progress()["message"])
    made.stop()


def test_after_stop_waking_does_nothing(store, tiny):
    client = FakeClient(different)
    made = Replenisher(store, client, model=str(tiny))
    made.start()
    made.stop()
    asked = len(client.asked)
    made.wake()
    time.sleep(0.1)
    assert len(client.asked) == asked


def test_a_real_worker_answers_too(store, tiny):
    client = WorkerClient(store.data, precision="fp32")
    settings = SamplingSettings(max_tokens=12)
    lines = []
    try:
        done = generate_comparisons(
            store,
            client,
            ASKED,
            model=str(tiny),
            settings=settings,
            source="generated:real",
            progress=lines.append,
        )
    finally:
        client.leave()
    assert done["comparisons"] == 3
    assert lines[-1] == "3 of 3 prompts answered"
    assert all(r.settings["max_tokens"] == 12 for r in store.rows(Response))


@pytest.mark.slow
@pytest.mark.alone
def test_the_first_comparison_of_a_fresh_folder_comes_within_30_seconds(store):
    """On a machine set up before: torch, the model, a small batch; then faster than judging."""
    try:
        find_model(EMBEDDED)
    except UserError as error:
        pytest.skip(f"the embedded model is not set up (make setup): {error}")
    client = WorkerClient(store.data)
    made = Replenisher(store, client)
    started = time.monotonic()
    try:
        made.start()
        wait_for(lambda: store.rows(Comparison), 30)
        wait_for(lambda: len(store.rows(Comparison)) >= 12, 90)
    finally:
        made.stop()
    assert time.monotonic() - started < 120
    texts = store.texts([r.text for r in store.rows(Response)])
    assert all(len(text.strip()) > 1 for text in texts.values())


def test_busy_is_an_error_for_who_asks_for_answers(make):
    def say(request):
        raise Busy("training (r-1), back in about 1 min.")

    with pytest.raises(Busy, match="1 min"):
        make(FakeClient(say))


def test_the_first_batches_ask_for_short_answers_and_no_prompt_is_lost():
    prompts = starter_prompts()
    ordered = in_order(prompts)
    asked = [messages[-1]["content"] for messages in ordered]
    first = FIRST_PROMPTS + SECOND_PROMPTS
    assert all(text.startswith(BRIEF) for text in asked[:first])
    assert asked[0].startswith(BRIEF[0])
    assert not all(text.startswith(BRIEF) for text in asked[first : 2 * first])
    assert sorted(map(str, ordered)) == sorted(map(str, prompts))
    assert in_order(prompts) == ordered
