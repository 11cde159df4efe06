from ml_backend.label_studio.addresses import origin


def test_origins():
    assert origin("https://Host/x") == ("https", "host", 443)
    assert origin("s3://bucket/x") is None
    assert origin("10.0.0.7:8080") is None
    assert origin("label-studio.example:8080") is None
    assert origin("http://[::1") is None
