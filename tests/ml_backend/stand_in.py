"""Servers on this machine that play Label Studio, a cloud storage, or any other web server."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, jsonify, redirect, request
from werkzeug.serving import make_server

LEGACY_TOKEN = "0123456789abcdef" * 2 + "01234567"
LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="kp" toName="image" smart="true"><Label value="Object"/></KeyPointLabels>
  <BrushLabels name="brush" toName="image" smart="false"><Label value="Object"/></BrushLabels>
</View>"""


def token(kind: str, *, lifetime: float = 300.0, number: int = 0) -> str:
    """Return a JWT as Label Studio makes them; its signature is of no interest here."""
    now = time.time()
    claims = {"token_type": kind, "iat": now, "exp": now + lifetime, "jti": f"{kind}{number}"}
    parts = [json.dumps({"alg": "HS256"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts)


PERSONAL_TOKEN = token("refresh", lifetime=1e8)


@dataclass
class StandInLabelStudio:
    """The routes of Label Studio 1.23.2 that a backend asks, and what it answers there."""

    legacy_tokens_enabled: bool = True
    personal_token: str = PERSONAL_TOKEN
    access_lifetime: float = 300.0
    project: dict[str, Any] = field(
        default_factory=lambda: {
            "id": 1,
            "title": "Cells",
            "label_config": LABEL_CONFIG,
            "show_collab_predictions": False,
        }
    )
    ml_backends: list[dict[str, Any]] = field(default_factory=list)
    webhooks: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    forbidden_files: set[str] = field(default_factory=set)
    presigned: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    access_tokens: list[str] = field(default_factory=list)
    url: str = ""

    def paths(self, part: str = "") -> list[str]:
        """Return what was asked for, as path and query."""
        return [path for _, path, _ in self.requests if part in path]

    def revoke_access(self) -> None:
        """Forget all access tokens, as a restart with another secret would."""
        self.access_tokens.clear()

    def is_authorized(self) -> bool:
        header = request.headers.get("Authorization", "")
        if header == f"Token {LEGACY_TOKEN}":
            return self.legacy_tokens_enabled
        kind, _, access = header.partition(" ")
        return kind == "Bearer" and access in self.access_tokens

    def app(self) -> Flask:
        app = Flask("label studio")
        app.before_request(self._authorize)
        app.after_request(self._set_cookie)
        for rule, (method, view) in {
            "/api/token/refresh/": ("POST", self._refresh),
            "/health": ("GET", lambda: {"status": "UP"}),
            "/api/version/": ("GET", lambda: {"release": "1.23.2"}),
            "/api/jwt/settings": ("GET", self._token_settings),
            "/api/projects/<int:number>/": ("GET", self._project),
            "/api/ml/": ("GET", lambda: jsonify(self.ml_backends)),
            "/api/webhooks/": ("GET", lambda: jsonify(self.webhooks)),
            "/api/webhooks/<int:number>/": ("PATCH", self._change_webhook),
            "/api/tasks/": ("GET", self._tasks),
            "/api/tasks/<int:number>/": ("GET", self._task),
            "/tasks/<int:number>/presign/": ("GET", self._presign),
            "/data/local-files/": ("GET", lambda: self._file(request.args["d"])),
            "/data/upload/<path:name>": ("GET", lambda name: self._file(f"upload/{name}")),
            "/storage-data/uploaded/": (
                "GET",
                lambda: self._file(f"cloud:{request.args['filepath']}"),
            ),
        }.items():
            app.add_url_rule(rule, rule, view, methods=[method])
        return app

    def _authorize(self) -> Any:
        header = request.headers.get("Authorization", "")
        self.requests.append((request.method, request.full_path.rstrip("?"), header))
        if request.cookies:
            return {"detail": "CSRF Failed: CSRF token missing."}, 403
        open_to_all = ("/health", "/api/token/refresh/")
        if request.path not in open_to_all and not self.is_authorized():
            return {"detail": "Authentication credentials were not provided."}, 401
        return None

    def _set_cookie(self, response: Response) -> Response:
        response.set_cookie("sessionid", "abc")
        return response

    def _refresh(self) -> Any:
        if request.get_json()["refresh"] != self.personal_token:
            return {"detail": "Token is blacklisted"}, 401
        number = len(self.access_tokens)
        self.access_tokens.append(token("access", lifetime=self.access_lifetime, number=number))
        return {"access": self.access_tokens[-1]}

    def _token_settings(self) -> Any:
        legacy = self.legacy_tokens_enabled
        return {"api_tokens_enabled": True, "legacy_api_tokens_enabled": legacy}

    def _project(self, number: int) -> Any:
        if number != self.project["id"]:
            return {"detail": "No Project matches the given query."}, 404
        return self.project

    def _change_webhook(self, number: int) -> Any:
        webhook = next(hook for hook in self.webhooks if hook["id"] == number)
        webhook.update(request.get_json())
        return webhook

    def _tasks(self) -> Any:
        tasks = self.tasks
        if "total_annotations" in request.args.get("query", ""):
            counts = [len(task.get("annotations", [])) for task in tasks]
            tasks = [t for t, n in zip(tasks, counts, strict=True) if t.get("total_annotations", n)]
        page, size = int(request.args["page"]), int(request.args["page_size"])
        return {"total": len(tasks), "tasks": tasks[(page - 1) * size : page * size]}

    def _task(self, number: int) -> Any:
        found = [task for task in self.tasks if task["id"] == number]
        return found[0] if found else ({"detail": "Not found."}, 404)

    def _presign(self, number: int) -> Any:
        uri = base64.urlsafe_b64decode(request.args["fileuri"]).decode()
        target = self.presigned.get(uri)
        return redirect(target, 303) if target else ("", 404)

    def _file(self, name: str) -> Any:
        if name in self.forbidden_files:
            return "", 403
        if name not in self.files:
            return "", 404
        return Response(self.files[name], mimetype="application/octet-stream")


@dataclass
class Elsewhere:
    """Some web server; remembers who asked for what and with which token."""

    answers: dict[str, Callable[[], Any]]
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def app(self) -> Flask:
        app = Flask("elsewhere")
        app.add_url_rule("/<path:name>", "file", self._answer)
        return app

    def _answer(self, name: str) -> Any:
        self.requests.append((name, request.headers.get("Authorization")))
        return self.answers[name]() if name in self.answers else ("", 404)


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on this machine; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
