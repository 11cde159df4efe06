"""The demo's backend has nothing to do with the one that this shell is set up for."""

import pytest
import requests

from ml_backend.local_servers import backend_server, ports
from tests.ml_backend.label_studio_requests import clicks, keypoint
from tests.ml_backend.stand_in import LEGACY_TOKEN
from tests.waiting import PATIENCE


@pytest.fixture
def operators_store(tmp_path, monkeypatch):
    """A shell that is set up for another backend; the folder that backend keeps its state in."""
    store = tmp_path / "operator"
    store.mkdir()
    shell = {
        "ICMFORMER_DATABASE_URL": f"sqlite:///{store}/state.db",
        "ICMFORMER_FILES_URL": f"{store}/files",
        "ICMFORMER_QUEUE_URL": "redis://127.0.0.1:1/0",
        "ICMFORMER_LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "ICMFORMER_LABEL_STUDIO_API_KEY": "0" * 40,
        "ICMFORMER_BASIC_AUTH_USER": "ann",
        "BASIC_AUTH_PASS": "secret",
        "ICMFORMER_PORT": "1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return store


@pytest.mark.slow
def test_it_keeps_to_its_own_store_and_asks_nobody_to_log_in(
    operators_store, tmp_path, checkpoint, label_studio
):
    port = ports.choose(None, 19290, "port")
    settings = {
        "ICMFORMER_CHECKPOINT": str(checkpoint),
        "ICMFORMER_DEVICE": "cpu",
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
    }
    log = tmp_path / "backend.log"
    server = backend_server.start(tmp_path / "own", port, log, settings)
    try:
        backend_server.wait_until_ready(server, port)
        with requests.Session() as session:
            session.trust_env = False
            page = session.get(backend_server.url(port), timeout=PATIENCE)
            body = clicks(keypoint(50, 50))
            predict = f"{backend_server.url(port)}/predict"
            clicked = session.post(predict, json=body, timeout=PATIENCE)
        assert page.ok
        assert label_studio.url in page.text
        (prediction,) = clicked.json()["results"]
        assert "error" not in prediction
    finally:
        server.stop()
    assert (tmp_path / "own" / "state.db").exists()
    assert list(operators_store.iterdir()) == []
