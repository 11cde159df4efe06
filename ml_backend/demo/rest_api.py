"""The REST API of one's own Label Studio."""

from typing import Any

import requests

from ml_backend.errors import LabelStudioError
from ml_backend.local_servers.child_process import direct_session

_TIMEOUT_SECONDS = 30.0


class RestApi:
    """Calls to a Label Studio whose legacy token is known; answers are decoded JSON."""

    def __init__(self, url: str, token: str) -> None:
        """Remember where and as whom; nothing is sent yet.

        Args:
            url: address of Label Studio without a trailing slash.
            token: legacy token of an account that may create projects.
        """
        self.url = url
        self._session = direct_session()
        self._session.headers["Authorization"] = f"Token {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Read `path`; `query` becomes the query string."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Any = None, *, files: Any = None) -> Any:
        """Create something at `path` from a JSON body or from files."""
        return self._call("POST", path, json=body, files=files)

    def patch(self, path: str, body: Any) -> Any:
        """Change some fields of what is at `path`."""
        return self._call("PATCH", path, json=body)

    def _call(self, method: str, path: str, **request: Any) -> Any:
        """Send one request.

        Raises:
            LabelStudioError: no answer, or one that is not a success; quotes what it says.
        """
        try:
            answer = self._session.request(
                method, self.url + path, timeout=_TIMEOUT_SECONDS, **request
            )
        except requests.RequestException as error:
            raise LabelStudioError(f"No answer from Label Studio at {self.url}: {error}") from error
        if not answer.ok:
            raise LabelStudioError(
                f"Label Studio answered {method} {path} with {answer.status_code}: "
                f"{answer.text[:500]}"
            )
        return answer.json() if answer.content else None
