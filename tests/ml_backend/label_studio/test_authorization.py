import requests

from ml_backend.label_studio.authorization import Authorization


def test_a_header_goes_to_the_host_that_it_is_for():
    def sent(address):
        asked = requests.Request("GET", address, auth=Authorization("Token x", "http://host:80/a"))
        return asked.prepare().headers.get("Authorization")

    assert sent("http://HOST/b") == "Token x"
    assert sent("http://other\\@host/b") is None
    assert sent("https://host/b") is None
