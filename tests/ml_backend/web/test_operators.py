"""What orchestrators, Prometheus and people ask."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from icmformer.checkpoint import save_checkpoint
from ml_backend.app import create_app
from ml_backend.auth import authorization_header
from ml_backend.deadline import Deadline
from ml_backend.errors import BackendError
from ml_backend.learning.projects import ProjectNews
from ml_backend.serving import loaded_model, model_memory, readiness
from tests.ml_backend.label_studio_requests import clicks, keypoint, recorded
from tests.specialised_network import specialised_network
from tests.waiting import PATIENCE, wait_until
from training import __version__
from training.moments import now

LOGIN = {"basic_auth_user": "ann", "basic_auth_pass": "secret"}
EVERYWHERE = [
    ("get", "/"),
    ("get", "/metrics"),
    ("get", "/versions"),
    ("post", "/setup"),
    ("post", "/predict"),
    ("post", "/webhook"),
    ("get", "/nowhere"),
]


@pytest.fixture
def guarded(settings):
    return create_app(type(settings)(**settings.model_dump() | LOGIN)).test_client()


def test_health_is_json_and_needs_neither_login_nor_network(guarded, client):
    for anyone in (guarded, client):
        answer = anyone.get("/health")
        assert (answer.status_code, answer.json) == (200, {"status": "UP"})


def test_health_answers_while_the_network_is_busy(app):
    queue, release = app.extensions["icmformer"].queue, threading.Event()
    busy = threading.Thread(target=queue.run, args=(release.wait, Deadline(PATIENCE)))
    busy.start()
    try:
        assert app.test_client().get("/health").status_code == 200
        assert app.test_client().get("/").status_code == 200
        assert app.test_client().post("/webhook", json=recorded("webhook_START_TRAINING")).json
    finally:
        release.set()
        busy.join()


def test_waiting_annotators_leave_threads_for_everything_else(settings):
    app = create_app(settings.model_copy(update={"threads": 4}))
    queue, release = app.extensions["icmformer"].queue, threading.Event()
    busy = threading.Thread(target=queue.run, args=(release.wait, Deadline(PATIENCE)))
    busy.start()

    def ask(number):
        body = clicks(keypoint(50, 50), task=number)
        return app.test_client().post("/predict", json=body)

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, number) for number in range(2)]
        wait_until(lambda: queue.depth == 3)
        refused = ask(2)
        assert refused.status_code == 503
        assert "for the network or for images: compute on a GPU" in refused.json["error"]
        release.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
    busy.join()
    assert ask(3).status_code == 200


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_login_is_asked_for_everywhere_else(guarded, method, path):
    answer = getattr(guarded, method)(path)
    assert answer.status_code == 401
    assert "BASIC_AUTH_USER" in answer.text
    header = {"Authorization": authorization_header("ann", "secret")}
    assert getattr(guarded, method)(path, headers=header).status_code != 401


def test_ready_only_after_a_network_has_answered(client, app):
    first = client.get("/ready")
    assert (first.status_code, first.json["status"]) == (503, "LOADING")
    backend, release = app.extensions["icmformer"], threading.Event()
    busy = threading.Thread(target=backend.queue.run, args=(release.wait, Deadline(PATIENCE)))
    busy.start()
    try:
        wait_until(lambda: backend.queue.depth == 1)
        backend.readiness.warm_up(lambda: None)
        wait_until(lambda: backend.queue.depth == 2)
        assert client.get("/ready").status_code == 503, "it is loaded, and has answered nobody"
    finally:
        release.set()
        busy.join()
    wait_until(lambda: backend.readiness.ready)
    assert client.get("/ready").status_code == 200


def test_orchestrators_need_no_login_and_are_told_no_reasons(guarded):
    answer = guarded.get("/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "LOADING"})
    header = {"Authorization": authorization_header("ann", "secret")}
    assert "error" in guarded.get("/ready", headers=header).json


def test_a_damaged_network_makes_it_ready_once_it_is_mended(
    settings, tmp_path, checkpoint, monkeypatch
):
    for module in (readiness, model_memory):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nonsense")
    damaged.with_suffix(".json").write_bytes(checkpoint.with_suffix(".json").read_bytes())
    app = create_app(settings.model_copy(update={"checkpoint": damaged}))
    backend, client = app.extensions["icmformer"], app.test_client()
    backend.readiness.warm_up(lambda: None)
    wait_until(lambda: "damaged" in client.get("/ready").json["error"])
    assert client.get("/ready").status_code == 503
    damaged.write_bytes(checkpoint.read_bytes())
    wait_until(lambda: backend.readiness.ready)
    assert client.get("/ready").status_code == 200


def test_ready_once_a_network_can_be_loaded_though_nobody_asks(app, checkpoint, monkeypatch):
    backend = app.extensions["icmformer"]
    monkeypatch.setattr(readiness, "RETRY_SECONDS", 0.01)
    failures: list[Exception] = [BackendError("disk is busy"), ValueError()]
    serving, done = backend.models.serving, []
    monkeypatch.setattr(
        backend.models, "serving", lambda *asked: fail(failures) if failures else serving(*asked)
    )
    backend.readiness.warm_up(lambda: done.append(backend.readiness.ready))
    wait_until(lambda: backend.readiness.ready)
    assert done == [False], "what is done before traffic comes"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_ready_though_what_is_to_be_done_before_fails(app):
    backend = app.extensions["icmformer"]
    backend.readiness.warm_up(lambda: fail([ValueError()]))
    for thread in threading.enumerate():
        if thread.name == "warm-up":
            thread.join(PATIENCE)  # else its error may come in the middle of the next test
    assert backend.readiness.ready


def fail(failures):
    raise failures.pop()


def test_failures_stay_on_the_page_whatever_comes_after_them(app):
    backend = app.extensions["icmformer"]
    backend.recent.add("click", "no image", failed=True)
    for _ in range(100):
        backend.recent.add("setup", "connected")
    text = app.test_client().get("/").text
    assert "Last failures" in text
    assert text.count("no image") == 1


def test_what_is_refused_again_and_again_drives_no_other_failure_out(app):
    backend, client = app.extensions["icmformer"], app.test_client()
    backend.recent.add("click", "no image", failed=True)
    for _ in range(100):
        backend.recent.add("webhook", "refused", failed=True)
    assert [one.outcome for one in backend.recent.failures()] == ["refused", "no image"]
    assert [one.outcome for one in backend.recent.newest_first()] == ["refused", "no image"]
    assert "no image" in client.get("/").text


@pytest.mark.parametrize(("familiar", "network"), [(0.0, "own"), (1e6, "first")])
def test_it_is_told_which_network_of_a_version_answered(
    settings, tmp_path, caplog, familiar, network
):
    checkpoint = tmp_path / "specialised.safetensors"
    version = specialised_network(familiar=familiar, unfamiliar=1e6 - familiar)
    save_checkpoint(version, checkpoint)
    client = create_app(settings.model_copy(update={"checkpoint": checkpoint})).test_client()
    with caplog.at_level("INFO"):
        client.post("/predict", json=clicks(keypoint(50, 50, id="a")))
    assert f"network={network} ms=" in caplog.text
    counted = f'icmformer_masks_total{{kind="clicks",network="{network}"}} 1.0'
    assert counted in client.get("/metrics").text


def test_versions_are_listed(client):
    (version,) = client.get("/versions").json["versions"]
    assert version.startswith("tiny-")


def test_metrics_tell_the_story(client):
    client.post("/predict", json=clicks(keypoint(50, 50, id="a")))
    client.post("/predict", json=clicks(keypoint(50, 50, id="a"), keypoint(9, 9, id="b")))
    client.post("/predict", json=recorded("predict_batch_retrieve"))
    client.post("/webhook", json=recorded("webhook_ANNOTATION_CREATED"))
    client.post("/webhook", json={"action": "SOMETHING_NEW"})
    client.post("/predict", data=b"{")
    text = client.get("/metrics").text
    for line in (
        'icmformer_predict_seconds_count{kind="click"} 2.0',
        'icmformer_predict_seconds_count{kind="batch"} 1.0',
        "icmformer_network_seconds_count 2.0",
        "icmformer_image_seconds_count 2.0",
        'icmformer_image_cache_total{outcome="hit"} 1.0',
        'icmformer_image_cache_total{outcome="miss"} 1.0',
        "icmformer_clicks_total 2.0",
        'icmformer_masks_total{kind="clicks",network="own"} 2.0',
        'icmformer_click_memory_total{outcome="first"} 1.0',
        'icmformer_click_memory_total{outcome="remembered"} 1.0',
        'icmformer_errors_total{kind="RequestError"} 1.0',
        'icmformer_responses_total{route="/predict",status="200"} 3.0',
        'icmformer_responses_total{route="/predict",status="400"} 1.0',
        'icmformer_webhooks_total{action="ANNOTATION_CREATED"} 1.0',
        'icmformer_webhooks_total{action="other"} 1.0',
        'icmformer_model_loads_total{outcome="loaded"} 1.0',
        "icmformer_inference_queue 0.0",
        "icmformer_ready 0.0",
        f'icmformer_build_info{{version="{__version__}"}} 1.0',
    ):
        assert line in text, line
    for name in ("click_memory", "model", "image_cache"):
        assert f"icmformer_{name}_bytes " in text
    assert 'icmformer_model_info{trained="true",version="tiny-' in text


def test_two_applications_count_apart(settings):
    one, other = create_app(settings), create_app(settings)
    one.test_client().post("/predict", json=clicks(keypoint(50, 50)))
    assert "icmformer_clicks_total 0.0" in other.test_client().get("/metrics").text


def test_page_needs_no_script_and_names_the_model(client):
    client.post("/predict", json=clicks(keypoint(50, 50)))
    page = client.get("/").text
    assert "<script" not in page
    assert "tiny-" in page
    assert "1 mask by tiny-" in page


def test_page_says_that_a_gpu_is_not_used(settings, tmp_path, monkeypatch):
    driver = tmp_path / "libcuda.so.1"
    monkeypatch.setattr(loaded_model, "NVIDIA_DRIVERS", (tmp_path / "version", driver))
    monkeypatch.setattr(loaded_model, "why_unusable", lambda device: "its driver is too old")

    def page(device):
        return (
            create_app(settings.model_copy(update={"device": device})).test_client().get("/").text
        )

    assert "NVIDIA GPU" not in page("auto")
    driver.touch()
    assert "torch cannot use it (its driver is too old)" in page("auto")
    monkeypatch.setattr(loaded_model, "why_unusable", lambda device: None)
    assert "NVIDIA GPU" not in page("cpu")


def test_page_says_that_nothing_is_learned_without_a_token(settings, client):
    sentence = "LABEL_STUDIO_API_KEY is not set: the worker has no token, so nothing is learned"
    assert sentence not in client.get("/").text
    without = settings.model_copy(update={"label_studio_api_key": None})
    assert sentence in create_app(without).test_client().get("/").text


@pytest.mark.parametrize(
    ("change", "is_open"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", **LOGIN}, False),
    ],
)
def test_page_says_that_anybody_may_use_it_where_that_is_so(settings, change, is_open):
    client = create_app(type(settings)(**settings.model_dump() | change)).test_client()
    answer = client.get("/", headers={"Authorization": authorization_header(*LOGIN.values())})
    assert answer.status_code == 200
    assert ("everyone who reaches this address may use" in answer.text) == is_open


def test_of_a_long_address_the_page_shows_the_beginning(settings):
    client = create_app(settings.model_copy(update={"label_studio_url": None})).test_client()
    long = "ftp://" + "h" * 1990
    client.post("/setup", json={"project": "2.1", "schema": "<View/>", "hostname": long})
    assert f"<code>{long[:149]}…</code>" in client.get("/").text


def test_webhook_is_kept_before_it_is_acknowledged(settings):
    app = create_app(settings)
    client, inbox = app.test_client(), app.extensions["icmformer"].learning.inbox
    body = (
        b' {"action": "ANNOTATION_CREATED",'
        b' "project": {"id": 2, "created_at": "2026-11-22T06:06:00Z"}} '
    )
    answer = client.post("/webhook", data=body, content_type="application/json")
    assert answer.status_code == 201
    kept = inbox.next_due(now())
    assert (kept.action, kept.project, kept.body) == ("ANNOTATION_CREATED", "2.1795327560", body)
    odd = client.post("/webhook", json={"action": "X", "project": "2.²"})
    assert odd.status_code == 201
    kept = inbox.next_due(now(), passed_over=["2.1795327560"])
    assert (kept.action, kept.project) == ("X", "")


def test_a_database_that_is_away_is_said_with_503(settings):
    app = create_app(settings)
    client, learning = app.test_client(), app.extensions["icmformer"].learning
    for number in (2, 3):
        learning.projects.remember(f"{number}.1795327560", ProjectNews(title="t"))
    away = settings.model_dir / "away"
    away.mkdir()
    for file in settings.model_dir.glob("*.db*"):
        file.rename(away / file.name)
    for name in ("state.db", "inbox.db"):
        (settings.model_dir / name).mkdir()
    learning.close()
    made = {"created_at": "2026-11-22T06:06:00Z"}
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 2, **made}}
    for answer in (client.post("/webhook", json=event), client.get("/api/projects")):
        assert answer.status_code == 503
        assert "cannot be used: unable to open database file" in answer.json["error"]
    assert client.get("/projects/").status_code == 503
    for name in ("state.db", "inbox.db"):
        (settings.model_dir / name).rmdir()
    for file in away.iterdir():
        file.rename(settings.model_dir / file.name)
    # Label Studio does not repeat what could not be kept
    other = {"action": "X", "project": {"id": 3, **made}}
    assert client.post("/webhook", json=other).status_code == 201
    wait_until(learning.projects.is_reconcile_asked_for)
    asked = {one.number: one.is_reconcile_asked_for for one in learning.projects.all()}
    assert asked == {"2": True, "3": False}


@pytest.mark.parametrize("path", ["/webhook", "/setup", "/predict"])
def test_another_sites_page_cannot_ask(client, path):
    body = {"data": b'{"action": "START_TRAINING"}', "content_type": "text/plain"}
    for header, value in (
        ("Sec-Fetch-Site", "cross-site"),
        ("Origin", "https://elsewhere.example"),
        ("Origin", "http://["),
    ):
        refused = client.post(path, headers={header: value}, **body)
        assert refused.status_code == 403
        assert "the proxy in front of it must pass the Host header on" in refused.json["error"]
    assert client.post(path, **body).status_code != 403


@pytest.mark.parametrize(
    ("path", "to"), [("", "/icmformer/"), ("//projects//2?still", "/icmformer/projects/2?still")]
)
def test_redirects_keep_the_scheme_that_a_proxy_was_asked_with(client, path, to):
    """A proxy that ends TLS is asked for https and asks for http; it passes the host on."""
    answer = client.open(
        environ_overrides={
            "SCRIPT_NAME": "/icmformer",
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
        },
        headers={"Host": "tools.example.org"},
    )
    assert (answer.status_code, answer.headers["Location"]) == (308, to)


def test_a_refused_webhook_is_on_the_page_for_label_studio_says_nothing_of_it(settings):
    app = create_app(settings.model_copy(update={"max_body_mb": 1}))
    client, recent = app.test_client(), app.extensions["icmformer"].recent
    client.post("/webhook", data=b" " * (2 << 20))
    client.post("/webhook", json=["no event"])
    unread, too_large = recent.failures()
    assert (unread.kind, too_large.kind) == ("webhook", "webhook")
    assert "larger than 1 MB" in too_large.outcome
    assert unread.outcome in client.get("/").text


def test_event_cannot_forge_a_log_line(client, caplog):
    caplog.set_level("INFO", "ml_backend")
    for project in ({"id": 2}, "2.5\nforged"):
        event = {"action": "A\nforged", "project": project}
        assert client.post("/webhook", json=event).status_code == 201
    lines = [record.getMessage() for record in caplog.records if "event" in record.getMessage()]
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
