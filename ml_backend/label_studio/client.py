"""Label Studio's own interface, as far as this backend needs it; thread-safe.

Asked with plain requests rather than the SDK's client, because every answer that is not the wanted
one must become a sentence that names the kind of token and the setting to change.
"""

import json
import posixpath
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import unquote, urljoin

import requests
from urllib3.util import parse_url

from ml_backend.errors import LabelStudioError
from ml_backend.label_studio.access_tokens import AccessTokens, TokenKind, fits_a_header
from ml_backend.label_studio.addresses import ADDRESS_RULE, origin
from ml_backend.label_studio.authorization import Authorization
from ml_backend.label_studio.no_answer import reason

TIMEOUT_SECONDS = (5.0, 30.0)
TASKS_PER_PAGE = 50
_SETTINGS_PAGE = "Organization > API Tokens Settings"
_ACCOUNT_PAGE = "Account & Settings > Personal Access Token"
_ANNOTATED = {
    "filters": {
        "conjunction": "and",
        "items": [
            {
                "filter": "filter:tasks:total_annotations",
                "operator": "greater",
                "type": "Number",
                "value": 0,
            }
        ],
    }
}

JsonObject = dict[str, Any]


class LabelStudio:
    """One Label Studio, and the token to ask it with.

    Attributes:
        url: its address as seen from this machine, without a slash at the end.
        tokens: turns the API key into headers.
    """

    def __init__(self, url: str, api_key: str) -> None:
        """Prepare to ask; nothing is sent yet.

        Raises:
            LabelStudioError: if the address is not one, or no header can hold the key.
        """
        if origin(url) is None:
            raise LabelStudioError(
                f"{url[:200]!r} is not Label Studio's address: LABEL_STUDIO_URL {ADDRESS_RULE}"
            )
        self.url = url.rstrip("/")
        self.tokens = AccessTokens(api_key, self._exchange)
        self._session = requests.Session()
        # Label Studio would take a session cookie for a login, and then ask for a CSRF token.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def is_here(self, address: str) -> bool:
        """Return whether an absolute address is this Label Studio's, so may see the token.

        Other programs may lie beside it on the same host, under other paths.
        """
        if origin(address) != origin(self.url):
            return False
        own = parse_url(self.url).path or ""
        path = posixpath.normpath(unquote(parse_url(address).path or "/"))
        return f"{path}/".startswith(f"{own}/")

    def version(self) -> str:
        """Return the release, such as 1.23.2."""
        return str(self._get_object("/api/version/").get("release", ""))

    def token_settings(self) -> JsonObject:
        """Return `api_tokens_enabled` and `legacy_api_tokens_enabled` of the organisation."""
        return self._get_object("/api/jwt/settings")

    def project(self, project: int | str) -> JsonObject:
        """Return a project, with `label_config`."""
        try:
            return self._get_object(f"/api/projects/{int(project)}/")
        except LabelStudioError as error:
            if error.answered != 404:
                raise
            raise LabelStudioError(
                f"Label Studio at {self.url} has no project {project}, or does not show it to the "
                "owner of the token: use a token of a member of its organisation, and check "
                "LABEL_STUDIO_URL",
                404,
            ) from error

    def ml_backends(self, project: int | str) -> list[JsonObject]:
        """Return the backends connected to a project. Label Studio asks each how it is first."""
        return _list(self._get("/api/ml/", project=int(project)))

    def webhooks(self, project: int | str) -> list[JsonObject]:
        """Return the webhooks of a project, or of the whole organisation."""
        return _list(self._get("/api/webhooks/", project=int(project)))

    def change_webhook(self, webhook: int, changes: JsonObject) -> JsonObject:
        """Change a webhook, for instance its `headers` or `actions`."""
        return self._ask("PATCH", f"/api/webhooks/{webhook}/", body=changes)

    def task(self, task: int | str) -> JsonObject:
        """Return one task with its annotations."""
        return self._get_object(f"/api/tasks/{int(task)}/", resolve_uri="false")

    def tasks(self, project: int | str, *, annotated: bool = False) -> Iterator[JsonObject]:
        """Go through the tasks of a project.

        Args:
            project: its number.
            annotated: only tasks with annotations, each with `annotations` in full.
        """
        page = found = 0
        total = 1
        options = {"fields": "all", "query": json.dumps(_ANNOTATED)} if annotated else {}
        while found < total:
            page += 1
            answer = self._get_object(
                "/api/tasks/",
                project=int(project),
                page=page,
                page_size=TASKS_PER_PAGE,
                resolve_uri="false",
                **options,
            )
            tasks, total = _list(answer.get("tasks")), int(answer.get("total", 0))
            if not tasks:
                return
            found += len(tasks)
            yield from tasks

    def refusal(self, status: int) -> str:
        """Say what it means that Label Studio answered 401 or 403 to the token."""
        kind = self.tokens.kind
        if status == 403:
            return (
                f"Label Studio at {self.url} does not let the owner of the {kind.value} do this "
                "(403): use a token of a member of the project's organisation"
            )
        start = f"Label Studio at {self.url} refuses the {kind.value} (401)"
        advice = {
            TokenKind.NONE: (
                f"Label Studio at {self.url} wants a token (401): set LABEL_STUDIO_API_KEY to a "
                f"personal access token, from {_ACCOUNT_PAGE}"
            ),
            TokenKind.LEGACY: (
                f"{start}: it is mistyped, was reset or belongs to another Label Studio, or legacy "
                f"tokens are off under {_SETTINGS_PAGE}, as they are at first (one given to Label "
                "Studio as LABEL_STUDIO_USER_TOKEN counts at its very first start only); set "
                f"LABEL_STUDIO_API_KEY to a personal access token, from {_ACCOUNT_PAGE}"
            ),
            TokenKind.PERSONAL: (
                f"{start}: it was revoked, or copied incompletely, or belongs to another Label "
                f"Studio, or personal access tokens are off under {_SETTINGS_PAGE}; create a new "
                f"one under {_ACCOUNT_PAGE} and set it as LABEL_STUDIO_API_KEY"
            ),
            TokenKind.ACCESS: (
                f"{start}: it lives for five minutes only; set LABEL_STUDIO_API_KEY to the "
                f"personal access token it was made from, see {_ACCOUNT_PAGE}"
            ),
        }
        return advice[kind]

    def _get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, query=query)

    def _get_object(self, path: str, **query: Any) -> JsonObject:
        answer = self._get(path, **query)
        if not isinstance(answer, dict):
            raise LabelStudioError(f"{self.url}{path} does not answer like Label Studio")
        return answer

    def _ask(
        self, method: str, path: str, *, query: JsonObject | None = None, body: Any = None
    ) -> Any:
        """Ask for JSON; a refused access token is renewed once."""
        header = self.tokens.header()
        response = self._send(method, path, header, query=query, body=body)
        if response.status_code == 401 and self.tokens.forget(header):
            response = self._send(method, path, self.tokens.header(), query=query, body=body)
        if response.status_code in (401, 403):
            raise LabelStudioError(self.refusal(response.status_code), response.status_code)
        return self._json(response, path)

    def _exchange(self, personal_token: str) -> str:
        body = {"refresh": personal_token}
        response = self._send("POST", "/api/token/refresh/", "", query=None, body=body)
        if response.status_code == 401:
            raise LabelStudioError(self.refusal(401), 401)
        access = self._json(response, "/api/token/refresh/").get("access")
        if not isinstance(access, str) or not fits_a_header(access):
            raise LabelStudioError(f"Label Studio at {self.url} returned no access token")
        return access

    def _send(
        self, method: str, path: str, header: str, *, query: JsonObject | None, body: Any
    ) -> requests.Response:
        try:
            # Redirects are not followed: a POST would become a GET, and the token would travel.
            return self._session.request(
                method,
                f"{self.url}{path}",
                params=query,
                json=body,
                auth=Authorization(header, self.url),
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except OSError as error:  # requests' own, and what it says of a file of certificates
            raise self.unreachable(error) from error
        except ValueError as error:  # requests reads where a redirect leads, followed or not
            raise LabelStudioError(
                f"{self.url} sends requests on to an address that cannot be read: check what "
                "stands in front of Label Studio there"
            ) from error

    def unreachable(self, error: BaseException) -> LabelStudioError:
        """Say that Label Studio does not answer, and why."""
        away = f"Label Studio at {self.url} cannot be reached from this machine"
        why = reason(error)
        if why != type(error).__name__:
            return LabelStudioError(f"{away}: {why}")
        return LabelStudioError(
            f"{away} ({why}): check that it runs and that LABEL_STUDIO_URL is its "
            "address as seen from here; inside a container, localhost is the container itself"
        )

    def _json(self, response: requests.Response, path: str) -> Any:
        status = response.status_code
        if response.is_redirect:
            target = urljoin(f"{self.url}{path}", response.headers["location"])
            target = target.partition("?")[0].removesuffix(path)
            if target == self.url:
                where, then = "to itself", "check what stands in front of Label Studio there"
            else:
                where = f"to {target[:200]}"
                then = "set LABEL_STUDIO_URL to the address that answers itself"
            raise LabelStudioError(f"{self.url} sends requests on {where}: {then}", status)
        try:
            answer = response.json() if response.ok else None
        except ValueError as error:
            raise LabelStudioError(
                f"{self.url}{path} does not answer like Label Studio: is LABEL_STUDIO_URL right?",
                status,
            ) from error
        if not isinstance(answer, dict | list):
            raise LabelStudioError(f"Label Studio answered {status} to {self.url}{path}", status)
        return answer


def _list(answer: Any) -> list[JsonObject]:
    """Return the objects of a list, whether Label Studio pages it or not."""
    found = answer.get("results", []) if isinstance(answer, dict) else answer
    return [item for item in found or [] if isinstance(item, dict)]
