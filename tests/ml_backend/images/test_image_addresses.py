"""Whose an address is, and what of it is shown."""

import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.errors import TaskImageError
from ml_backend.images import image_addresses
from ml_backend.images.image_addresses import data_uri, image_address, own_path, short_key, shown
from ml_backend.label_studio.labeling_config import LONGEST_ADDRESS, ImageTag


@pytest.mark.parametrize("mark", ["?o=", "#"])
@pytest.mark.parametrize(
    "path", ["/data/upload/2/7eff500a-1.jpg", "/data/local-files/?d=1.jpg", "/data/local-files?d=1"]
)
def test_a_path_of_label_studio_in_the_query_of_another_site_is_not_its_own(path, mark):
    assert own_path(f"https://labels.example{path}", "41") == path
    assert own_path(f"https://cdn.example/x.jpg{mark}{path}", "41") is None


def test_what_follows_another_sites_address_may_be_secret():
    address = "https://cdn.example/x.jpg?sig=SECRET&o=/data/upload/2/7eff500a-1.jpg"
    assert shown(address) == "https://cdn.example/x.jpg?…"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("//pacs/x.png?sig=SECRET", "//pacs/x.png?…"),
        ("pacs/x.png?sig=SECRET", "pacs/x.png?…"),
        ("https:/ann:SECRET@pacs/x.png?sig=SECRET", "https:/…@pacs/x.png?…"),
        ("//SECRET@pacs:8080/x.png", "//…@pacs:8080/x.png"),
        ("https://ann:SE/CRET@pacs/x.png", "https://…@pacs/x.png"),
        ("ann:SE/CRET@pacs/x.png", "…@pacs/x.png"),
        ("https://ann:SECRET#1@pacs/x.png", "https://…"),
        ("https://ann:SEC?RET@pacs/x.png", "https://…"),
        ("https://ann:SECRET@pacs/x.png?to=b@c&sig=SECRET", "https://…"),
        (
            "https://ann:SECRET@pacs/data/local-files/?d=a&sig=SECRET",
            "https://…@pacs/data/local-files/?d=a&…",
        ),
        ("https://ann:SECRET@[2001:db8::7]:80/x.png", "https://…@[2001:db8::7]:80/x.png"),
        ("https://[2001:db8::7]/eye@2x.png", "https://[2001:db8::7]/eye@2x.png"),
        ("https://pacs:/x.png", "https://pacs:/x.png"),
        ("eye@2x.png?sig=SECRET", "eye@2x.png?…"),
        ("/eye@2x.png", "/eye@2x.png"),
        ("file:///eye@2x.png", "file:///eye@2x.png"),
        ("C:/scans/eye@2x.png", "C:/scans/eye@2x.png"),
        ("https://pacs:8080/eye@2x.png", "https://pacs:8080/eye@2x.png"),
        ("https://pacs/eye@2x.png", "https://pacs/eye@2x.png"),
        ("https://pacs/cats&dogs.png", "https://pacs/cats&dogs.png"),
        ("https://pacs/x.png#access_token=SECRET", "https://pacs/x.png#…"),
        ("azure-blob://cells/x.png?sig=SECRET", "azure-blob://cells/x.png?…"),
        ("s3://cells/eye@2x.png", "s3://cells/eye@2x.png"),
        ("/data/local-files/?d=a.png&sig=SECRET", "/data/local-files/?d=a.png&…"),
        (
            "https://bucket.example/data/upload/7/0123abcd-x.png?X-Amz-Signature=SECRET",
            "https://bucket.example/data/upload/7/0123abcd-x.png?…",
        ),
    ],
)
def test_of_no_kind_of_address_a_secret_is_shown(address, told):
    assert shown(address) == told


SCHEMES = st.sampled_from(["", "http:", "HTTPS:", "s3:"])


@given(SCHEMES, st.text("QZ#?/:@", max_size=8), st.text("xyz.@/", max_size=8))
def test_a_password_may_hold_any_letter(scheme, password, path):
    told = shown(f"{scheme}//ann:{password}@pacs/{path}?sig=QZ")
    assert told.startswith(f"{scheme}//…")
    assert not set(told) & set("QZ")


@given(
    SCHEMES,
    st.sampled_from(["pacs", "pacs:8080", "[2001:db8::7]", "[::1]:80"]),
    st.text("xyz.:@/", max_size=30),
    st.sampled_from(["", "?a=b@c:d", "#b@c"]),
)
def test_an_address_without_a_login_is_shown_as_far_as_its_path_goes(scheme, host, path, more):
    address = f"{scheme}//{host}/{path}"
    assert shown(address + more) == address + (f"{more[0]}…" if more else "")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", "data:image/png;base64,…"),
        ("data:,iVBORw0KGgo=", "data:,…"),
        ("data:image/png", "data:image/png"),
        ("data:" + "x" * 1000 + ",iVBORw0KGgo=", "data:" + "x" * 145 + ",…"),
        ("https://pacs/" + "x" * 1000 + "?size=9", "https://pacs/" + "x" * 137 + "?…"),
    ],
    ids=["image", "any", "no image", "of many words", "long"],
)
def test_of_an_address_no_more_than_a_line_is_shown(address, told):
    assert shown(address) == told


def test_the_id_of_a_task_leads_to_no_other_path():
    path = own_path("s3://bucket/a.png", "4/../../x?a#b")
    assert path.startswith("/tasks/4%2F..%2F..%2Fx%3Fa%23b/presign/?fileuri=")


def test_of_an_address_that_holds_its_image_only_a_hash_is_remembered():
    long = "data:image/png;base64," + "A" * 1000
    assert len(short_key(long)) == 64
    assert len({short_key(long), short_key(long + "A")}) == 2


def test_of_a_long_key_the_beginning_is_named():
    with pytest.raises(TaskImageError, match=r"under 'k{79}…' in its data"):
        image_address({"data": {}}, ImageTag("image", "$" + "k" * 100_000))


TOO_LONG = f"task 41 has an image address of more than {LONGEST_ADDRESS} letters, .* correct it"


def test_an_address_longer_than_servers_take_is_refused_before_anybody_reads_it():
    with pytest.raises(TaskImageError, match=TOO_LONG):
        image_address({"id": 41, "data": {"a": "http://" + "a." * 4000}}, ImageTag("image", "$a"))
    image = "data:image/png;base64," + "A" * 2 * LONGEST_ADDRESS
    assert image_address({"data": {"a": f" {image}"}}, ImageTag("image", "$a")) == image


def test_an_image_may_be_a_part_of_its_address_but_not_many_times():
    data, before = {"a": "A" * 2 * LONGEST_ADDRESS}, "data:image/png;base64,"
    assert image_address({"data": data}, ImageTag("image", f"{before}$a")) == before + data["a"]
    with pytest.raises(TaskImageError, match=TOO_LONG):
        image_address({"id": 41, "data": data}, ImageTag("image", f"{before}{'$a,' * 3000}"))


class Told:
    """A value that counts how often it is made a text."""

    def __init__(self, length):
        self.text, self.times = "x" * length, 0

    def __str__(self):
        self.times += 1
        return self.text


@given(st.integers(0, 9000), st.integers(2, 500), st.text("/-?=&", max_size=20))
def test_of_several_variables_no_more_is_put_together_than_an_address_may_have(
    length, times, between
):
    value, told = f"https://example.com/{between}" + f"$a/{between}" * times, Told(length)
    whole = value.replace("$a", told.text)
    try:
        assert ImageTag("image", value).address({"a": told}) == whole
        assert len(whole) <= LONGEST_ADDRESS
    except TaskImageError:
        assert len(whole) > LONGEST_ADDRESS
    assert told.times * length <= LONGEST_ADDRESS + length


@given(st.text("%4aGé\ud800", max_size=40), st.integers(3, 50))
def test_percent_encoding_may_be_decoded_in_any_pieces(text, size):
    whole = unquote_to_bytes(text.encode("utf-8", "replace"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_addresses, "_PIECE_CHARACTERS", size)
        assert data_uri(f"data:image/png,{text}", 1000) == whole


def test_percent_encoding_takes_no_more_memory_than_the_address():
    address = "data:image/png," + "%41" * 300_000
    tracemalloc.start()
    assert data_uri(address, 1_000_000) == b"A" * 300_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(address)
