from pathlib import Path

import numpy as np

from vidrestore.cli.photo import summary
from vidrestore.jobs.photo_results import PhotoFace, PhotoResult

CROP = np.zeros((4, 4, 3), np.uint8)


def result(*faces, notes=()):
    made = [PhotoFace((0, 0, 9, 9), 9.0, strength, why, CROP, CROP) for strength, why in faces]
    return PhotoResult(Path("out.jpg"), tuple(made), 1.25, notes)


def test_what_became_of_each_face_is_said_in_a_line():
    made = result((1.0, None), (0.4, "already sharp"), (0.0, "too small"), (0.0, "too small"))
    assert summary(made) == (
        "2 of 4 faces restored; 1 in part (already sharp); 2 left alone (too small); 1.2 s"
    )


def test_a_photograph_without_faces_says_so():
    assert summary(result()) == "no faces found; 1.2 s"
    assert summary(result((1.0, None), notes=("the XMP is lost",))).startswith(
        "1 of 1 faces restored; the XMP is lost"
    )
