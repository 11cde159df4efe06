"""The header that a request carries a token or a login in, to one host alone."""

import requests

from ml_backend.label_studio.addresses import origin


class Authorization(requests.auth.AuthBase):
    """Sends this header or none; without it, requests would put in what a .netrc file says."""

    def __init__(self, header: str, address: str) -> None:
        """Take a header, and the address whose host alone may see it."""
        self._header = header
        self._origin = origin(address)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to a request that goes there."""
        if self._header and origin(request.url or "") == self._origin:
            request.headers["Authorization"] = self._header
        return request
