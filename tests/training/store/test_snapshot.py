from tests.training.store.accepted_annotations import PROJECT, accepted
from training.store.snapshot import SampleReference, Snapshot, take_snapshot, thinned
from training.store.split import HELD_OUT, TRAINING, VALIDATION


def test_a_job_is_about_as_much_as_it_can_make_use_of(store, database):
    for number in range(60):
        store.replace(accepted(number, image=number % 40, lefts=(2, 7)))
    whole = take_snapshot(database, PROJECT)
    assert thinned(whole, 300, {HELD_OUT: 120, VALIDATION: 24}) == whole
    thin = thinned(whole, 9, {HELD_OUT: 3, VALIDATION: 2})
    assert thin == thinned(whole, 9, {HELD_OUT: 3, VALIDATION: 2})
    assert set(thin.samples) < set(whole.samples)
    assert list(thin.samples) == sorted(thin.samples)
    training = thin.on_side(TRAINING)
    assert len(training.images()) == 9
    assert len(training.samples) == 18, "with all their objects"
    assert len(set(thin.on_side(HELD_OUT).images())) == len(thin.on_side(HELD_OUT).samples) == 3
    assert len(thin.on_side(VALIDATION).samples) == 2
    store.replace(accepted(99, image=99))
    other = thinned(take_snapshot(database, PROJECT), 9, {HELD_OUT: 3, VALIDATION: 2})
    assert set(other.on_side(TRAINING).images()) != set(training.images())


def test_a_crowded_image_does_not_crowd_out_the_others():
    samples = [SampleReference("crowd", f"{n:02}", "", HELD_OUT, 9) for n in range(50)]
    samples += [SampleReference(f"image {n}", "00", "", HELD_OUT, 9) for n in range(5)]
    chosen = thinned(Snapshot(tuple(samples)), 300, {HELD_OUT: 10})
    assert [sample.image for sample in chosen.samples].count("crowd") == 5
    assert len(chosen.images()) == 6
    assert thinned(Snapshot(tuple(reversed(samples))), 300, {HELD_OUT: 10}) == chosen


def test_a_snapshot_counts_an_object_once_and_survives_a_file(store, database):
    store.replace(accepted(annotation=4, lefts=(2, 8)))
    store.replace(accepted(annotation=5, lefts=(2,)))
    snapshot = take_snapshot(database, PROJECT)
    assert len(snapshot.samples) == 2
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.fingerprint == snapshot.fingerprint
    store.withdraw(PROJECT, [5])
    assert take_snapshot(database, PROJECT).fingerprint == snapshot.fingerprint
    store.replace(accepted(annotation=4, minute=1, lefts=(2,)))
    assert take_snapshot(database, PROJECT).fingerprint != snapshot.fingerprint


def test_the_label_that_was_given_last_counts_in_whatever_order_it_arrived(store, database):
    store.replace(accepted(annotation=4, minute=5, label="Cell"))
    store.replace(accepted(annotation=5, minute=1, label="Object"))
    (sample,) = take_snapshot(database, PROJECT).samples
    assert sample.label == "Cell"
