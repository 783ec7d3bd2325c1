"""The model worker as the web process sees it: answers, streams, kills, giving the device away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from align.client import (
    GenerateRequest,
    SamplingSettings,
    ScoreRequest,
    WorkerClient,
    WorkerFailed,
)
from align.locks import FileLock, is_held
from storage.errors import BadInput, Busy, NotFound, UserError
from tests.align.talk import CHAT, chats, make_adapter

ROOT = Path(__file__).resolve().parents[2]
SHORT = SamplingSettings(max_tokens=12, temperature=0.9)


@pytest.fixture(scope="module")
def model(tiny):
    return str(tiny)


@pytest.fixture(scope="module")
def run_dir(model, tmp_path_factory):
    """A run's folder with an adapter, as training leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "r-1"
    make_adapter(Path(model), folder / "adapter")
    (folder / "config.json").write_text(json.dumps({"model": model}))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data):
    made = WorkerClient(data, precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # a second thread only slows so small a model down
        yield made
    made.leave()


def requests(count, max_tokens=12, **more):
    return [GenerateRequest(c, i, max_tokens, 0.9, **more) for i, c in enumerate(chats(count))]


def in_background(call):
    """Start `call` in a thread; return (thread, list that gets its result or its error)."""
    outcome = []

    def work():
        try:
            outcome.append(call())
        except (UserError, RuntimeError) as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def test_the_web_process_never_imports_torch():
    code = (
        "import sys, align.client, align.runs, align.models, align.generation\n"
        "from align.client import WorkerClient\n"
        "heavy = ('torch', 'transformers', 'peft', 'safetensors', 'tokenizers')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_answers_come_in_the_order_of_the_requests_and_one_by_one(client, model):
    seen = []
    rows = client.generate(requests(9), seen.append, model=model)
    assert [row.index for row in rows] == list(range(9))
    assert sorted(row.index for row in seen) == list(range(9))
    assert all(1 <= row.tokens <= 12 for row in rows)
    assert all(row.finished or row.tokens == 12 for row in rows)


def test_an_answer_is_the_same_alone_and_among_others(client, model):
    together = client.generate(requests(9), model=model)
    for number in (0, 4, 8):
        (alone,) = client.generate([requests(9)[number]], model=model)
        assert alone.text == together[number].text


def test_no_requests_need_no_worker(tmp_path):
    idle = WorkerClient(tmp_path)
    assert idle.generate([]) == []
    assert idle.score([]) == []
    assert idle.pid is None


def test_a_stream_grows_to_the_answer_that_generate_gives(client, model):
    pieces = list(client.stream(CHAT, [None], SHORT, seed=5, model=model))
    texts = [piece.text for piece in pieces]
    assert all(b.startswith(a.rstrip("\ufffd")) for a, b in zip(texts, texts[1:], strict=False))
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    (row,) = client.generate([GenerateRequest(CHAT, 5, 12, 0.9)], model=model)
    assert (pieces[-1].text, pieces[-1].tokens) == (row.text, row.tokens)


def test_before_and_after_stream_side_by_side(client, run_dir, model):
    """One batch from one model; the run's folder leads to its adapter and its base model."""
    pieces = list(client.stream(CHAT, [None, run_dir], SHORT, seed=5))
    last = {piece.row: piece.text for piece in pieces if piece.done}
    order = [piece.row for piece in pieces[:4]]
    assert order == [0, 1, 0, 1]
    assert last[0] != last[1]
    alone = [
        client.generate([GenerateRequest(CHAT, 5, 12, 0.9, adapter=a)], model=model)[0].text
        for a in (None, run_dir / "adapter")
    ]
    assert [last[0], last[1]] == alone


def test_each_side_of_a_stream_has_a_conversation_of_its_own(client, run_dir, model):
    """Two turns against one, under two adapters: each answers as it would alone."""
    longer = [*CHAT, {"role": "assistant", "content": "Hi!"}, {"role": "user", "content": "Why?"}]
    asked = [GenerateRequest(CHAT, 5, 12, 0.9), GenerateRequest(longer, 5, 9, 0.9, adapter=run_dir)]
    pieces = list(client.stream_each(asked))
    last = {piece.row: piece for piece in pieces if piece.done}
    alone = [client.generate([one], model=model)[0] for one in asked]
    assert [(last[n].text, last[n].tokens) for n in (0, 1)] == [(r.text, r.tokens) for r in alone]
    assert last[1].asked > last[0].asked > len("Hello there")
    assert last[0].cut == 0


def test_the_same_model_twice_gives_the_same_answer_twice(client, model):
    pieces = list(client.stream(CHAT, [None, None], SHORT, seed=5, model=model))
    last = {piece.row: piece.text for piece in pieces if piece.done}
    assert last[0] == last[1]


def test_a_stream_goes_before_generation_under_way(client, model):
    """Over a thousand background steps are left when the stream comes; it ends long before."""
    rows = []
    thread, outcome = in_background(
        lambda: client.generate(requests(60, 300), rows.append, model=model, background=True)
    )
    wait_for(lambda: rows or not thread.is_alive())
    assert list(client.stream(CHAT, [None], SHORT, model=model))[-1].done
    assert len(rows) < 60
    thread.join()
    assert len(outcome[0]) == 60


def test_generation_that_is_waited_for_goes_before_background_generation(client, model):
    rows = []
    thread, _ = in_background(
        lambda: client.generate(requests(60, 300), rows.append, model=model, background=True)
    )
    wait_for(lambda: rows or not thread.is_alive())
    assert len(client.generate(requests(3), model=model)) == 3
    assert len(rows) < 60
    thread.join()


def test_generation_can_be_cancelled_and_keeps_what_is_there(client, model):
    rows = []
    result = client.generate(
        requests(60, 300), rows.append, model=model, cancelled=lambda: len(rows) >= 2
    )
    assert 2 <= len(result) < 60
    assert client.generate(requests(1), model=model)


def test_a_stream_that_is_closed_ends_its_job(client, model):
    stream = client.stream(CHAT, [None], SamplingSettings(max_tokens=400), model=model, seed=1)
    next(stream)
    stream.close()
    started = time.monotonic()
    client.generate(requests(1), model=model)
    assert time.monotonic() - started < 5


def test_scores_come_in_order_and_prefer_what_the_model_would_say(client, model):
    (row,) = client.generate([GenerateRequest(CHAT, 0, 8, 0.0)], model=model)
    cut = ScoreRequest(CHAT, "qqqq", finished=False)
    asked = [ScoreRequest(CHAT, row.text[:4]), ScoreRequest(CHAT, "qqqq"), cut]
    scores = client.score(asked, model=model)
    assert [score.index for score in scores] == [0, 1, 2]
    assert [score.tokens for score in scores[1:]] == [5, 4], "four bytes, and the end of turn"
    assert scores[1].logprob < 0


def test_a_killed_worker_comes_back_and_no_row_is_lost_or_double(client, model):
    seen = []
    thread, outcome = in_background(
        lambda: client.generate(requests(60, 200), seen.append, model=model)
    )
    wait_for(lambda: len(seen) >= 3 or not thread.is_alive())
    os.kill(client.pid, signal.SIGKILL)
    thread.join()
    assert [row.index for row in outcome[0]] == list(range(60))
    assert sorted(row.index for row in seen) == list(range(60))


def test_a_worker_killed_twice_over_one_job_gives_a_clear_error(client, model):
    rows: list[object] = []
    thread, outcome = in_background(
        lambda: client.generate(requests(300, 400), rows.append, model=model)
    )
    wait_for(lambda: rows)  # this job's own worker, not one that is just being left
    killed = set()
    while thread.is_alive():
        pid = client.pid
        if pid is not None and pid not in killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert isinstance(outcome[0], WorkerFailed)
    assert "SIGKILL" in str(outcome[0])
    assert len(killed) == 2
    assert client.generate(requests(1), model=model)


def test_leaving_frees_the_device_and_ends_jobs_with_busy(client, data, model):
    rows = []
    thread, outcome = in_background(
        lambda: client.generate(requests(60, 400), rows.append, model=model)
    )
    wait_for(lambda: rows)
    assert is_held(data / "DEVICE.lock")
    client.leave()
    assert not is_held(data / "DEVICE.lock")
    thread.join()
    assert isinstance(outcome[0], Busy)
    assert client.pid is None
    assert client.generate(requests(1), model=model)


def test_a_device_in_use_elsewhere_is_told(client, data, model):
    client.leave()
    other = FileLock(data / "DEVICE.lock")
    assert other.acquire()
    with pytest.raises(Busy, match="in use"):
        client.generate(requests(1), model=model)
    other.release()
    assert client.generate(requests(1), model=model)


@pytest.fixture
def training(data):
    """A run that holds its lock, as a training child does."""
    folder = data / "runs" / "r-busy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"run": "r-busy"}))
    (folder / "status.json").write_text(json.dumps({"status": "training", "seconds_left": 130}))
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    yield
    lock.release()
    (folder / "config.json").unlink()


def test_while_a_run_trains_the_worker_says_when_it_is_back(client, model, training):
    with pytest.raises(Busy, match=r"training \(r-busy\), back in about 2 min"):
        client.generate(requests(1), model=model)
    assert "2 min" in client.busy


def test_a_job_under_way_leaves_when_a_run_starts(client, model, data):
    rows = []
    thread, outcome = in_background(
        lambda: client.generate(requests(200, 400), rows.append, model=model)
    )
    wait_for(lambda: rows)
    folder = data / "runs" / "r-late"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    try:
        thread.join(20)
        assert isinstance(outcome[0], Busy)
        assert not is_held(data / "DEVICE.lock")
    finally:
        lock.release()
        (folder / "config.json").unlink()


def test_errors_of_the_worker_come_as_they_were_raised(client, model, run_dir, tmp_path):
    with pytest.raises(NotFound, match="no-such-model"):
        client.generate(requests(1), model="no-such-model")
    with pytest.raises(NotFound, match="manifest"):
        client.generate(requests(1, adapter=tmp_path), model=model)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in (run_dir / "adapter").iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInput, match="changed or damaged"):
        list(client.stream(CHAT, [None, damaged], model=model))
    assert client.generate(requests(1), model=model)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"messages": []}, "conversation"),
        ({"messages": [{"role": "user"}]}, "conversation"),
        ({"messages": [{"role": "user", "content": "x" * 1_000_001}]}, "1,000,000"),
    ],
)
def test_bad_requests_name_the_value(change, word):
    with pytest.raises(BadInput, match=word):
        GenerateRequest(**{"messages": CHAT, "seed": 1, **change})


@pytest.mark.parametrize(
    "text",
    ["\u202eright to left", "a\u2028b\nc", "\x00nul", "\U0001f469\u200d\U0001f4bb", "\\u0000"],
)
def test_odd_text_goes_through_unharmed(client, model, text):
    """A byte tokenizer gives back what it got: greedy or not, the prompt is what was asked."""
    asked = [{"role": "user", "content": text}]
    one, other = client.generate([GenerateRequest(asked, 1, 5)] * 2, model=model)
    assert one.text == other.text


def test_the_worker_ends_with_its_parent_even_in_the_middle_of_a_job(model, tmp_path):
    code = (
        "import sys, threading, time; from pathlib import Path\n"
        "from align.client import WorkerClient, GenerateRequest\n"
        "client = WorkerClient(Path(sys.argv[1]), precision='fp32')\n"
        "chat = [{'role': 'user', 'content': 'x'}]\n"
        "asked = [GenerateRequest(chat, i, 400) for i in range(500)]\n"
        "said = lambda row: print(client.pid, flush=True)\n"
        "client.generate(asked, said, model=sys.argv[2])\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), model], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert worker.nice() == 10
    parent.kill()
    parent.communicate()
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 5)
    wait_for(lambda: not is_held(tmp_path / "DEVICE.lock"), 5)
