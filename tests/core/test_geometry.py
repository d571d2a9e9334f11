"""Transforms against least squares, numpy's own flips, and matrices of a reference program."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from vidrestore.contracts import FrameGeometry
from vidrestore.core.geometry import (
    area_scale,
    compose,
    display_from_frame,
    display_size,
    invert_affine,
    iou,
    similarity_transform,
    transform_points,
    translation,
    upright_from_frame,
)
from vidrestore.models.registry import Template, landmark_template

TEMPLATE = landmark_template(Template.FFHQ, 512)

# The display matrix's signs, and what numpy does to a picture of shape (rows, columns).
ORIENTATIONS = {
    (1, 0, 0, 1): lambda a: a,
    (-1, 0, 0, 1): lambda a: a[:, ::-1],
    (1, 0, 0, -1): lambda a: a[::-1],
    (-1, 0, 0, -1): lambda a: a[::-1, ::-1],
    (0, 1, 1, 0): lambda a: a.T,
    (0, 1, -1, 0): lambda a: np.rot90(a, -1),
    (0, -1, 1, 0): lambda a: np.rot90(a, 1),
    (0, -1, -1, 0): lambda a: a[::-1, ::-1].T,
}


def _similarity(scale, degrees, x, y):
    turn = scale * np.exp(1j * np.radians(degrees))
    return np.array([[turn.real, -turn.imag, x], [turn.imag, turn.real, y]])


@pytest.mark.parametrize("degrees", [0, 17, 90, -135, 180])
def test_a_similarity_is_found_again(degrees):
    wanted = _similarity(0.37, degrees, -80, 12.5)
    found = similarity_transform(TEMPLATE, transform_points(wanted, TEMPLATE))
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_noisy_landmarks_get_the_transform_of_least_squared_error():
    rng = np.random.default_rng(1)
    face = transform_points(_similarity(0.3, 20, 100, 50), TEMPLATE) + rng.normal(0, 4, (5, 2))

    def residuals(p):
        return (
            transform_points(np.array([[p[0], -p[1], p[2]], [p[1], p[0], p[3]]]), face) - TEMPLATE
        ).ravel()

    a, b, x, y = least_squares(residuals, [3, 0, 0, 0], x_scale=[1, 1, 100, 100]).x
    np.testing.assert_allclose(
        similarity_transform(face, TEMPLATE), [[a, -b, x], [b, a, y]], atol=1e-4
    )


def test_mirrored_landmarks_are_never_mirrored_back():
    mirrored = TEMPLATE * [-1, 1]
    found = similarity_transform(mirrored, TEMPLATE)
    assert found is not None
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize(
    "landmarks",
    [
        np.full((5, 2), 100.0),
        np.full((5, 2), 100.0) + 1e-4 * np.arange(10).reshape(5, 2),
        np.where(np.arange(10).reshape(5, 2) == 3, np.nan, TEMPLATE),
        np.where(np.arange(10).reshape(5, 2) == 3, np.inf, TEMPLATE),
    ],
    ids=["coincident", "almost coincident", "nan", "infinite"],
)
def test_points_that_determine_no_transform_give_none(landmarks):
    assert similarity_transform(landmarks, TEMPLATE) is None
    assert similarity_transform(TEMPLATE, landmarks) is None


def test_points_without_resemblance_to_the_target_give_none():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    crossed = square[[0, 2, 1, 3]]
    assert similarity_transform(square, crossed) is not None
    assert similarity_transform(np.array([[-1, 0], [1, 0], [0, 0]]), np.eye(3, 2)) is not None
    assert similarity_transform(square, np.array([[0, 0], [1, 0], [0, 0], [1, 0]])) is None


@pytest.mark.parametrize(("kind", "size"), [("gpen_512", 512), ("gpen_256", 256)])
def test_matrices_agree_with_the_reference_program(shared_dir: Path, kind, size):
    golden = np.load(shared_dir / "golden" / "align.npz")
    template = golden[f"template_gpen_{size}"]
    _assert_golden(golden, f"matrix/{kind}", template)
    for name, landmarks, inverse in zip(
        golden["names"], golden["landmarks"], golden[f"matrix/{kind}_inverse"], strict=True
    ):
        found = similarity_transform(landmarks, template)
        if found is not None and name != "mirrored_labels":
            np.testing.assert_allclose(invert_affine(found), inverse, atol=1e-3, err_msg=name)


def test_matrices_agree_with_least_squares_to_the_ffhq_template(shared_dir: Path):
    golden = np.load(shared_dir / "golden" / "align.npz")
    _assert_golden(golden, "matrix/umeyama_ffhq_512", golden["template_ffhq_512"])


def _assert_golden(golden, key, template):
    """All cases are held to it: the closed form has the reference's answer for odd input too."""
    num_transforms = 0
    for name, landmarks, expected in zip(
        golden["names"], golden["landmarks"], golden[key], strict=True
    ):
        found = similarity_transform(landmarks, template)
        if np.isnan(expected).any():
            assert found is None, name
        else:
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)
            num_transforms += 1
    assert num_transforms == 14


def test_templates_match_the_reference(shared_dir: Path):
    golden = np.load(shared_dir / "golden" / "align.npz")
    for size in (256, 512, 1024):
        np.testing.assert_allclose(
            landmark_template(Template.GPEN, size), golden[f"template_gpen_{size}"], atol=1e-3
        )
    np.testing.assert_allclose(TEMPLATE, golden["template_ffhq_512"], atol=1e-3)


def test_compose_applies_the_last_matrix_first():
    double, shift = np.array([[2.0, 0, 0], [0, 2, 0]]), translation(5, 7)
    points = np.array([[1.0, 1.0]])
    np.testing.assert_array_equal(transform_points(compose(double, shift), points), [[12, 16]])
    np.testing.assert_array_equal(transform_points(compose(shift, double), points), [[7, 9]])
    np.testing.assert_array_equal(
        transform_points(compose(shift, double, shift), points), [[17, 23]]
    )


def test_compose_leaves_its_arguments_alone():
    a, b = translation(1, 2), translation(3, 4)
    compose(a, b)
    compose(a)
    np.testing.assert_array_equal(a, translation(1, 2))
    np.testing.assert_array_equal(b, translation(3, 4))


def test_an_inverse_undoes_its_transform():
    matrix = np.array([[1.2, -0.7, 30], [0.4, 2.0, -5]])
    identity = compose(matrix, invert_affine(matrix))
    np.testing.assert_allclose(identity, translation(0, 0), atol=1e-12)


def test_a_flattening_transform_has_no_inverse():
    with pytest.raises(ValueError, match="no inverse"):
        invert_affine(np.array([[1.0, 2.0, 0], [2.0, 4.0, 0]]))


def test_area_scale_is_the_scale_of_a_similarity():
    assert area_scale(_similarity(2.5, 33, 1, 2)) == pytest.approx(2.5)
    assert area_scale(np.array([[-4.0, 0, 0], [0, 1, 0]])) == pytest.approx(2)


def test_iou_compares_every_box_with_every_other():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 20], [30, 30, 40, 40]]
    others = [[0, 0, 10, 10], [5, 0, 15, 10]]
    np.testing.assert_allclose(iou(boxes, others), [[1, 1 / 3], [1 / 2, 1 / 5], [0, 0]])
    assert iou([[0, 0, 10, 10]], [[12, 12, 22, 22]]) == 0
    assert iou(np.zeros((0, 4)), others).shape == (0, 2)


def test_iou_of_boxes_without_area_is_zero():
    flat = [[3, 3, 3, 9], [5, 5, 2, 2]]
    np.testing.assert_array_equal(iou(flat, flat), np.zeros((2, 2)))


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_turning_moves_every_pixel_as_numpy_does(turn):
    stored = np.arange(5 * 3).reshape(5, 3)
    shown = ORIENTATIONS[turn](stored)
    geometry = FrameGeometry(width=3, height=5, turn=turn)
    y, x = np.mgrid[:5, :3]
    frame_points = np.stack([x.ravel(), y.ravel()], axis=1)
    for matrix in (upright_from_frame(geometry), display_from_frame(geometry)):
        points = transform_points(matrix, frame_points)
        columns, rows = points.astype(int).T
        assert (points == points.astype(int)).all()
        np.testing.assert_array_equal(shown[rows, columns], stored.ravel())
    assert display_size(geometry) == shown.shape[::-1]


@pytest.mark.parametrize("turn", ORIENTATIONS)
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(16, 15), Fraction(1, 2)])
def test_wide_pixels_fill_the_picture_from_edge_to_edge(turn, aspect):
    geometry = FrameGeometry(width=30, height=8, turn=turn, pixel_aspect=aspect)
    edges = np.array([[-0.5, -0.5], [29.5, 7.5]])
    shown = transform_points(display_from_frame(geometry), edges)
    width, height = display_size(geometry)
    np.testing.assert_allclose(shown.min(axis=0), [-0.5, -0.5])
    np.testing.assert_allclose(shown.max(axis=0), [width - 0.5, height - 0.5])


def test_a_stretch_by_two_is_that_of_a_resize():
    """One stored sample becomes two columns, whose common centre lies between them."""
    geometry = FrameGeometry(width=4, height=4, pixel_aspect=Fraction(2))
    points = transform_points(display_from_frame(geometry), np.array([[0, 0], [3, 3]]))
    np.testing.assert_allclose(points, [[0.5, 0], [6.5, 3]])


def test_upright_leaves_the_pixel_aspect_alone():
    geometry = FrameGeometry(10, 4, turn=(0, 1, -1, 0), pixel_aspect=Fraction(12, 11))
    upright = upright_from_frame(geometry)
    np.testing.assert_array_equal(upright, [[0, -1, 3], [1, 0, 0]])


def test_display_size_of_dv_is_a_whole_number():
    assert display_size(FrameGeometry(720, 576, pixel_aspect=Fraction(16, 15))) == (768, 576)
    assert display_size(FrameGeometry(720, 480, pixel_aspect=Fraction(8, 9))) == (640, 480)
    assert display_size(FrameGeometry(720, 480, (0, 1, -1, 0), Fraction(8, 9))) == (480, 640)
