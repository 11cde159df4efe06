"""How tests read the pages."""

FORM = {"Sec-Fetch-Site": "same-origin"}  # what a browser says of a form of the page itself


def page(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.split())
