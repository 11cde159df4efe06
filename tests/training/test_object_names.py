from training.object_names import image_of, object_name


def test_the_name_of_an_object_says_its_image_whatever_that_is_called():
    for image in ("photo", "photo #2", "#"):
        assert image_of(object_name(image, "0.7")) == image
    assert image_of("alone") == "alone"
