import base64
import threading
import time
from urllib.parse import quote

import numpy as np
import pytest
from flask import Response

from ml_backend.errors import ImageHostError, LabelStudioError, TaskImageError
from ml_backend.label_studio.client import LabelStudio
from tests.ml_backend.stand_in import (
    LEGACY_TOKEN,
    PERSONAL_TOKEN,
    Elsewhere,
    StandInLabelStudio,
    serving,
)
from tests.ml_backend.task_pictures import PICTURE, TAG, UPLOAD, images, png, task
from tests.waiting import PATIENCE


@pytest.fixture
def stand_in():
    label_studio = StandInLabelStudio(files={"upload/1/0123abcd-cells.png": png()})
    with serving(label_studio.app()) as label_studio.url:
        yield label_studio


@pytest.fixture
def elsewhere():
    server = Elsewhere({"cells.png": png})
    with serving(server.app()) as server.url:
        yield server


@pytest.mark.parametrize("api_key", [LEGACY_TOKEN, PERSONAL_TOKEN])
@pytest.mark.parametrize(
    "address",
    [
        UPLOAD,
        UPLOAD.removeprefix("/data"),
        UPLOAD.removeprefix("/data/"),
        # As Label Studio writes it for browsers, under an address that means nothing here.
        f"http://labels.example.com{UPLOAD}",
        f"https://labels.example.com/studio{UPLOAD}",
    ],
)
def test_uploads(stand_in, api_key, address):
    label_studio = LabelStudio(stand_in.url, api_key)
    image = images().load(task(address), TAG, label_studio)
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert stand_in.paths("/data/") == [UPLOAD]


def test_uploads_that_are_kept_in_a_cloud_storage(stand_in):
    stand_in.files["cloud:upload/1/0123abcd-other.png"] = png()
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    address = "/data/upload/1/0123abcd-other.png"
    np.testing.assert_array_equal(images().load(task(address), TAG, label_studio).pixels, PICTURE)


@pytest.mark.parametrize("host", ["", "http://labels.example.com", "own"])
def test_local_files_storage(stand_in, host):
    stand_in.files["dir/a file.png"] = png()
    host = stand_in.url if host == "own" else host
    address = f"{host}/data/local-files/?d=dir/a%20file.png"
    label_studio = LabelStudio(stand_in.url, PERSONAL_TOKEN)
    np.testing.assert_array_equal(images().load(task(address), TAG, label_studio).pixels, PICTURE)


@pytest.mark.parametrize("scheme", ["s3", "gs", "azure-blob"])
def test_cloud_storage_through_presign_keeps_the_token_at_home(stand_in, elsewhere, scheme):
    uri = f"{scheme}://bucket/a file/ü.png"
    stand_in.presigned[uri] = f"{elsewhere.url}/cells.png?signature=x"
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    np.testing.assert_array_equal(images().load(task(uri), TAG, label_studio).pixels, PICTURE)
    assert stand_in.paths()[0].startswith("/tasks/41/presign/?fileuri=")
    assert elsewhere.requests == [("cells.png", None)]


@pytest.mark.parametrize("host", ["", "own"])
def test_an_address_that_label_studio_already_resolved(stand_in, elsewhere, host):
    stand_in.presigned["s3://b/c.png"] = f"{elsewhere.url}/cells.png"
    uri = base64.urlsafe_b64encode(b"s3://b/c.png").decode()
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    address = f"{stand_in.url if host else ''}/tasks/41/presign/?fileuri={uri}"
    np.testing.assert_array_equal(images().load(task(address), TAG, label_studio).pixels, PICTURE)


def test_other_servers_never_see_the_token(stand_in, elsewhere):
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    loader = images(allowed_hosts=frozenset({elsewhere.host}))
    address = f"{elsewhere.url}/cells.png"
    np.testing.assert_array_equal(loader.load(task(address), TAG, label_studio).pixels, PICTURE)
    np.testing.assert_array_equal(loader.load(task(address + "?a"), TAG).pixels, PICTURE)
    assert elsewhere.requests == [("cells.png", None)] * 2
    assert stand_in.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "data:image/png;base64," + base64.b64encode(png()).decode(),
        "data:image/png;base64," + base64.b64encode(png()).decode().rstrip("="),
        "data:image/png;base64," + quote(base64.b64encode(png()).decode(), safe=""),
        "data:image/png," + quote(png(), safe=""),
        "data:;BASE64," + base64.b64encode(png()).decode(),
    ],
)
def test_data_addresses(address):
    np.testing.assert_array_equal(images().load(task(address), TAG).pixels, PICTURE)


def test_the_second_click_downloads_and_decodes_nothing(stand_in):
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    loader = images()
    first = loader.load(task(UPLOAD), TAG, label_studio)
    stand_in.files.clear()
    assert loader.load(task(UPLOAD), TAG, label_studio) is first
    assert loader.load(task(UPLOAD, number=42), TAG, label_studio) is first
    assert len(stand_in.paths("/data/")) == 1
    with pytest.raises(ValueError, match="read-only"):
        first.pixels[0, 0, 0] = 1


def test_cloud_addresses_are_remembered_task_by_task(stand_in, elsewhere):
    stand_in.presigned["s3://b/c.png"] = f"{elsewhere.url}/cells.png"
    loader, label_studio = images(), LabelStudio(stand_in.url, LEGACY_TOKEN)
    for number in (1, 2, 1, 2):
        loader.load(task("s3://b/c.png", number), TAG, label_studio)
    assert len(elsewhere.requests) == 2


def test_two_label_studios_do_not_share_images(stand_in):
    other = StandInLabelStudio(files={"upload/1/0123abcd-cells.png": png(255 - PICTURE)})
    loader = images()
    with serving(other.app()) as url:
        first = loader.load(task(UPLOAD), TAG, LabelStudio(stand_in.url, LEGACY_TOKEN))
        second = loader.load(task(UPLOAD), TAG, LabelStudio(url, LEGACY_TOKEN))
    np.testing.assert_array_equal(first.pixels, 255 - second.pixels)


def test_the_cache_is_bounded_in_bytes_and_drops_what_was_used_longest_ago(elsewhere):
    for name in "abc":
        elsewhere.answers[name] = png
    loader = images(PICTURE.nbytes * 2, allowed_hosts=frozenset({"127.0.0.1"}))
    for name in "abacaba":
        loader.load(task(f"{elsewhere.url}/{name}"), TAG)
        assert loader.nbytes <= PICTURE.nbytes * 2
    assert [name for name, _ in elsewhere.requests] == ["a", "b", "c", "b"]


def test_after_an_hour_an_image_is_fetched_again(elsewhere, monkeypatch):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/cells.png")
    np.testing.assert_array_equal(loader.load(one, TAG).pixels, PICTURE)
    elsewhere.answers["cells.png"] = lambda: png(255 - PICTURE)  # of the same size
    np.testing.assert_array_equal(loader.load(one, TAG).pixels, PICTURE)
    later = time.monotonic() + 3601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    np.testing.assert_array_equal(loader.load(one, TAG).pixels, 255 - PICTURE)
    assert loader.nbytes == PICTURE.nbytes
    assert len(elsewhere.requests) == 2


def test_a_file_that_was_replaced_is_fetched_anew(elsewhere):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/cells.png")
    assert loader.load(one, TAG, shown_hw=(6, 9)).pixels.shape == (6, 9, 3)
    elsewhere.answers["cells.png"] = lambda: png(np.ascontiguousarray(PICTURE.swapaxes(0, 1)))
    assert loader.load(one, TAG, shown_hw=(6, 9)).pixels.shape == (6, 9, 3)  # as the editor has it
    assert loader.load(one, TAG, shown_hw=(9, 6)).pixels.shape == (9, 6, 3)
    assert loader.nbytes == PICTURE.nbytes
    assert len(elsewhere.requests) == 2
    # Masks of an earlier file do not keep the image from those who drew on this one.
    for _ in range(2):
        assert loader.load(one, TAG, painted_hw=(6, 9)).pixels.shape == (9, 6, 3)
    assert loader.load(one, TAG, painted_hw=(9, 6)).pixels.shape == (9, 6, 3)
    assert len(elsewhere.requests) == 4


def test_a_mask_of_another_size_than_the_annotator_sees_is_not_made(elsewhere):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    with pytest.raises(TaskImageError, match="9x6 pixels, but the annotator sees 6x9: reload"):
        loader.load(task(f"{elsewhere.url}/cells.png"), TAG, shown_hw=(9, 6))
    assert len(elsewhere.requests) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:pw@127.0.0.1:1/a.png?sig=SECRET", "'http://…@127.0.0.1:1/a.png?…'"),
        ("http://127.0.0.1:1?sig=SECRET", "'http://127.0.0.1:1?…'"),
        ("http://127.0.0.1:1/a.png", "'http://127.0.0.1:1/a.png'"),
        ("HTTPS://me:pw@127.0.0.1:1/a.png?sig=SECRET", "'HTTPS://…@127.0.0.1:1/a.png?…'"),
        ("ftp://me:pw@host/a.png", "'ftp://…@host/a.png'"),
        (f"http://me:pw@host{UPLOAD}?a", f"'http://…@host{UPLOAD}?…'"),
        ("/data/local-files/?d=photos/a.png", "'/data/local-files/?d=photos/a.png'"),
        ("data:image/png;base64,SECRETPIXELS", "'data:image/png;base64,…'"),
        ("data:image/svg+xml,<svg xmlns='http://w3.org/'/>", "'data:image/svg+xml,…'"),
    ],
)
def test_what_may_be_secret_in_an_address_is_not_shown(address, shown):
    with pytest.raises(TaskImageError) as error:
        images().load(task(address, number="4\n1\ud800"), TAG)
    assert str(error.value).startswith(f"task 41, image {shown}: ")


def test_a_site_that_wants_a_login_is_told_apart(elsewhere):
    elsewhere.answers["cells.png"] = lambda: Response(status=401)
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    with pytest.raises(TaskImageError, match="it answers 401: logins for other sites"):
        loader.load(task(f"{elsewhere.url}/cells.png"), TAG)


def test_a_server_that_does_not_answer_is_told_apart(elsewhere):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    for address in ("http://127.0.0.1:1/a.png", "https://host.invalid/a.png"):
        with pytest.raises(ImageHostError, match="task 41"):
            loader.load(task(address), TAG)
    with pytest.raises(ImageHostError, match="longer than"):
        loader.load(task(f"{elsewhere.url}/cells.png"), TAG, seconds=0)
    with pytest.raises(TaskImageError, match="404") as error:
        loader.load(task(f"{elsewhere.url}/gone.png"), TAG)
    assert not isinstance(error.value, ImageHostError)


def test_an_image_larger_than_the_cache_is_still_served(elsewhere):
    loader = images(10, allowed_hosts=frozenset({"127.0.0.1"}))
    for _ in range(2):
        assert loader.load(task(f"{elsewhere.url}/cells.png"), TAG).pixels.shape == PICTURE.shape
    assert loader.nbytes == 0


def test_a_failure_is_not_remembered(elsewhere):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/late.png")
    with pytest.raises(TaskImageError, match="404"):
        loader.load(one, TAG)
    elsewhere.answers["late.png"] = png
    np.testing.assert_array_equal(loader.load(one, TAG).pixels, PICTURE)


def failure(loader, address, label_studio=None):
    with pytest.raises(TaskImageError) as error:
        loader.load(task(address), TAG, label_studio)
    assert "task 41" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, "no image address under 'image'"),
        ({}, "no image address"),
        ({"image": ""}, "no image address"),
        ({"image": None}, "no image address"),
        ({"image": ["a.png"]}, r"a list under 'image' .* by value=.\$image\[0\]"),
        ({"text": "a"}, "no image address"),
    ],
)
def test_a_task_without_an_image(data, sentence):
    with pytest.raises(TaskImageError, match=sentence):
        images().load({"id": 41, "data": data}, TAG)
    with pytest.raises(TaskImageError, match="no image address"):
        images().load({}, TAG)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("file:///etc/hostname", "kind of address is not served"),
        ("ftp://host/a.png", "kind of address is not served"),
        ("C:\\photos\\a.png", "kind of address is not served"),
        ("https", "kind of address is not served"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,A", "not base64"),
        ("data:image/png;base64," + "A" * 4000, "over the limit"),
        ("data:image/png;base64," + "A" * 1336, "over the limit"),  # 1002 bytes
        ("data:image/png," + "a" * 1001, "over the limit"),
        ("data:image/png;base64," + " " * 3000 + "A", "over the limit"),  # before it is decoded
        ("data:image/png,hello", "not an image"),
        ("//host.invalid/a.png", "write https:// in front"),
        ("http://", "does not give it"),
        ("http://[::1/a.png", "this is no address"),
        ("http://a b/c.png", "does not give it"),
        ("https://host.invalid/a.png", "does not give it"),
        ("HTTPS://host.invalid/a.png", "does not give it"),
        (UPLOAD, "set LABEL_STUDIO_URL"),
        ("s3://bucket/a.png", "set LABEL_STUDIO_URL"),
    ],
)
def test_addresses_that_cannot_be_loaded(address, sentence):
    text = failure(images(max_bytes=1000), address)
    assert sentence in text
    shown = address.partition(",")[0]
    assert shown[:100] in text or repr(shown)[1:100] in text


@pytest.mark.parametrize("host", ["[bad", "a]b", "ho\u2100st"])
def test_what_is_no_address_at_all(stand_in, host):
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    with pytest.raises(TaskImageError, match=r"task 41, image 'http://.*: this is no address: cor"):
        images().load(task(f"http://{host}/x.jpg"), TAG, label_studio)


def test_what_label_studio_does_not_have(stand_in):
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    text = failure(images(), "/data/upload/1/0123abcd-gone.png", label_studio)
    assert "does not have the file (404)" in text
    text = failure(images(), "s3://bucket/gone.png", label_studio)
    assert "no storage for it (404)" in text


def test_an_expired_presigned_address_is_not_blamed_on_the_token(stand_in, elsewhere):
    stand_in.presigned["s3://b/c.png"] = f"{elsewhere.url}/denied"
    elsewhere.answers["denied"] = lambda: ("", 403)
    text = failure(images(), "s3://b/c.png", LabelStudio(stand_in.url, LEGACY_TOKEN))
    assert "cloud storage does not give it: it answers 403" in text
    stand_in.presigned["s3://b/c.png"] = "http://127.0.0.1:1/x"
    text = failure(images(), "s3://b/c.png", LabelStudio(stand_in.url, LEGACY_TOKEN))
    assert "cloud storage does not give it: no answer" in text


def test_a_refused_token_or_a_silent_label_studio_is_no_fault_of_the_image(stand_in):
    stand_in.legacy_tokens_enabled = False
    with pytest.raises(LabelStudioError, match="refuses the legacy token"):
        images().load(task(UPLOAD), TAG, LabelStudio(stand_in.url, LEGACY_TOKEN))
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        images().load(task(UPLOAD), TAG, LabelStudio("http://127.0.0.1:1", LEGACY_TOKEN))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_away_for_a_moment_is_no_fault_of_the_image(stand_in, elsewhere, status):
    app = stand_in.app()
    app.view_functions["/data/upload/<path:name>"] = lambda name: Response(status=status)
    with (
        serving(app) as url,
        pytest.raises(LabelStudioError, match=f"answers {status}") as of_theirs,
    ):
        images().load(task(UPLOAD), TAG, LabelStudio(url, LEGACY_TOKEN))
    assert of_theirs.value.answered == status
    elsewhere.answers["cells.png"] = lambda: ("", status)
    with pytest.raises(ImageHostError, match=f"it answers {status}"):
        images(allowed_hosts=frozenset({elsewhere.host})).load(
            task(f"{elsewhere.url}/cells.png"), TAG
        )


def test_an_address_may_not_lead_past_label_studio(stand_in):
    label_studio = LabelStudio(f"{stand_in.url}/studio", LEGACY_TOKEN)
    for address in ("/../other/a.png", "/data/../../other/a.png"):
        assert "leads out of Label Studio's own" in failure(images(), address, label_studio)
    assert stand_in.requests == []


def test_one_file_that_label_studio_may_not_show_is_no_fault_of_the_token(stand_in):
    stand_in.forbidden_files = {"a.png", "upload/1/0123abcd-cells.png"}
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    text = failure(images(), "/data/local-files/?d=a.png", label_studio)
    assert "start it with LOCAL_FILES_SERVING_ENABLED=true" in text
    assert "(403): use a token of a member" in failure(images(), UPLOAD, label_studio)


def test_one_file_that_does_not_come_to_an_end_is_no_fault_of_label_studio(stand_in):
    silence = threading.Event()
    app = stand_in.app()
    app.view_functions["/data/upload/<path:name>"] = lambda name: Response(
        silence.wait(PATIENCE) or b"" for _ in range(1)
    )
    with serving(app) as url:
        loader = images(read_seconds=0.2)
        text = failure(loader, UPLOAD, LabelStudio(url, LEGACY_TOKEN))
        silence.set()
    assert "Label Studio does not finish sending it: no answer" in text


def test_an_access_token_that_expired_meanwhile_is_renewed(stand_in):
    label_studio = LabelStudio(stand_in.url, PERSONAL_TOKEN)
    label_studio.version()
    stand_in.revoke_access()
    np.testing.assert_array_equal(images().load(task(UPLOAD), TAG, label_studio).pixels, PICTURE)


def test_label_studio_itself_may_be_private_but_its_neighbours_not(stand_in, elsewhere):
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    assert (
        images().load(task(stand_in.url + UPLOAD), TAG, label_studio).pixels.shape == PICTURE.shape
    )
    assert "is not a public" in failure(images(), f"{elsewhere.url}/cells.png", label_studio)


def test_a_picture_with_too_many_pixels(elsewhere):
    loader = images(max_pixels=53, allowed_hosts=frozenset({"127.0.0.1"}))
    assert "9x6 pixels, more than" in failure(loader, f"{elsewhere.url}/cells.png")
    loader = images(max_pixels=54, allowed_hosts=frozenset({"127.0.0.1"}))
    assert loader.load(task(f"{elsewhere.url}/cells.png"), TAG).pixels.shape == PICTURE.shape
