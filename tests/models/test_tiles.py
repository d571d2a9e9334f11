"""Pictures cut into tiles and put together again."""

import numpy as np
import pytest

from vidrestore.models.tiles import Tiling


@pytest.mark.parametrize("picture", [(20, 31), (128, 129), (300, 500), (576, 720), (1080, 131)])
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_give_the_picture_again(picture, scale):
    pixels = np.random.default_rng(0).random((*picture, 3)).astype(np.float32)
    tiling = Tiling(picture, 128)
    result = np.zeros((picture[0] * scale, picture[1] * scale, 3), np.float32)
    for place in tiling.places:
        tile = tiling.cut(pixels, place)
        assert tile.shape == (*tiling.tile, 3)
        assert max(tile.shape) <= 128
        tiling.add(result, tile.repeat(scale, 0).repeat(scale, 1), place, scale)
    np.testing.assert_allclose(result, pixels.repeat(scale, 0).repeat(scale, 1), atol=1e-5)


def test_a_picture_that_fits_is_one_tile():
    tiling = Tiling((100, 128), 128)
    assert (list(tiling.places), tiling.tile) == ([(0, 0)], (100, 128))


def test_what_a_network_does_at_the_edges_of_tiles_is_not_seen():
    tiling = Tiling((64, 300), 128)
    result = np.zeros((64, 300, 3), np.float32)
    for place in tiling.places:
        tile = np.zeros((*tiling.tile, 3), np.float32)
        tile[:, :11] = tile[:, -11:] = 1
        tiling.add(result, tile, place, 1)
    assert not result[:, 11:-11].any()
    assert (result[:, :11] == 1).all()
