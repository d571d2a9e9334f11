import itertools
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from tests.train.tiny import write_faces
from vidrestore.errors import SettingsError
from vidrestore.train.augment import augment
from vidrestore.train.config import AugmentConfig, DataConfig
from vidrestore.train.data import Faces, Pairing, batches
from vidrestore.train.degrade import Mix

STILL = AugmentConfig(flip=0, move=0, colour=0, grey=0, side_light=0)
PAIRING = Pairing(seed=3, augment=AugmentConfig(), degrade=Mix(tape=0.0))


def test_what_is_no_face_is_skipped_and_counted(tmp_path):
    folder = write_faces(tmp_path / "faces", count=3)
    (folder / "broken.png").write_bytes(b"\x89PNG no")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no picture at all")
    cv2.imwrite(str(folder / "wide.png"), np.zeros((20, 40, 3), np.uint8))
    np.save(folder / "floats.npy", np.zeros((2, 32, 32, 3)))
    (folder / "broken.npz").write_bytes(b"PK no")
    faces = Faces(folder, 32)
    assert len(faces) == 3
    assert faces.num_skipped == 5


@pytest.mark.parametrize("prefixes", [(), ("smile_",)])
def test_a_folder_without_faces_is_one_clear_line(tmp_path, prefixes):
    if prefixes:
        write_faces(tmp_path)
    with pytest.raises(SettingsError, match="holds no face to train on"):
        Faces(tmp_path, 32, prefixes)


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        Faces(tmp_path / "none", 32)


def test_shards_and_images_are_read_alike_from_memory_and_disk(tmp_path):
    folder = write_faces(tmp_path / "faces", count=2)
    shard = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "more.npy", shard)
    np.savez(folder / "packed.npz", a=shard[:1], b=shard[1:])
    (folder / "deeper").mkdir()
    cv2.imwrite(str(folder / "deeper" / "large.png"), np.full((64, 64, 3), (10, 20, 30), np.uint8))
    for cache in (0, 1):
        faces = Faces(folder, 32, cache_megabytes=cache)
        assert len(faces) == 9
        assert (faces[0] == (30, 20, 10)).all()  # deeper/large.png: resized, RGB
        assert faces[0].shape == (32, 32, 3)
        assert all(np.array_equal(faces[3 + k], shard[k]) for k in range(3))
        assert all(np.array_equal(faces[6 + k], shard[k]) for k in range(3))


def test_workers_get_no_pictures_but_read_them(tmp_path):
    folder = write_faces(tmp_path / "faces", count=2)
    shard = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "more.npy", shard)
    np.savez(folder / "packed.npz", a=shard)
    faces = Faces(folder, 32, cache_megabytes=1)
    packed = pickle.dumps(faces)
    assert len(packed) < shard.nbytes / 8
    theirs = pickle.loads(packed)
    for _ in range(2):  # from disk, then from memory
        assert all(np.array_equal(theirs[k], faces[k]) for k in range(len(faces)))
    (folder / "more.npy").unlink()
    with pytest.raises(SettingsError, match="held faces when the run began"):
        pickle.loads(packed)[2]


def test_a_worker_leaves_signals_to_the_training_process():
    code = """
import os, signal
from vidrestore.train.data import _begin_worker
_begin_worker(0)
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
print("still there")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout == "still there\n", ended


def test_prefixes_choose(tmp_path):
    folder = write_faces(tmp_path / "faces", count=4)
    assert len(Faces(folder, 32, ("face1", "face3"))) == 2


def test_a_picture_follows_from_seed_and_number_alone(tmp_path):
    faces = Faces(write_faces(tmp_path / "faces"), 32)
    first = [PAIRING.pair(faces, number) for number in range(8)]
    again = [PAIRING.pair(faces, number) for number in reversed(range(8))][::-1]
    for (a, b), (c, d) in zip(first, again, strict=True):
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)
    assert not np.array_equal(first[0][0], first[0][1])


def test_each_epoch_shows_every_face_once_in_another_order(tmp_path):
    faces = Faces(write_faces(tmp_path / "faces"), 32)
    plain = Pairing(seed=0, augment=STILL, degrade=Mix(tape=0.0))
    known = {faces[k].tobytes(): k for k in range(len(faces))}
    epochs = [
        [known[plain.pair(faces, 6 * epoch + k)[1].tobytes()] for k in range(6)]
        for epoch in range(3)
    ]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_worker_processes_change_nothing_and_torchs_random_numbers_are_not_touched(tmp_path):
    faces = Faces(write_faces(tmp_path / "faces"), 32)
    before = torch.get_rng_state()
    both = []
    for workers in (0, 1):
        numbers = iter([[0, 1], [2, 3]])
        made = batches(faces, PAIRING, DataConfig(workers=workers), numbers)
        both.append(list(itertools.islice(made, 2)))
    assert torch.equal(torch.get_rng_state(), before)
    for (a, b), (c, d) in zip(*both, strict=True):
        assert a.shape == (2, 3, 32, 32)
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert a.abs().max() <= 1
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_augmentation_keeps_shape_and_does_what_it_says(tmp_path):
    image = Faces(write_faces(tmp_path / "faces", 1), 32)[0]
    rng = np.random.default_rng(0)
    assert np.array_equal(augment(image, STILL, rng), image)
    flip = AugmentConfig(flip=1, move=0, colour=0, grey=0, side_light=0)
    assert np.array_equal(augment(image, flip, rng), image[:, ::-1])
    grey = augment(image, AugmentConfig(grey=1), rng)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    lit = augment(
        np.full_like(image, 100), AugmentConfig(flip=0, move=0, colour=0, side_light=1), rng
    )
    assert np.ptp(lit) > 5
    moved = augment(image, AugmentConfig(flip=0, move=1, colour=0, grey=0, side_light=0), rng)
    assert moved.shape == image.shape
    assert not np.array_equal(moved, image)
