import subprocess
import sys
from pathlib import Path

import pytest

import vidrestore.train
from vidrestore.errors import SettingsError
from vidrestore.train.config import Content, TrainConfig
from vidrestore.train.config_file import as_tables, parse_config, read_config

CONFIGS = Path(vidrestore.train.__file__).parent / "configs"


def test_an_empty_file_gives_the_defaults(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert read_config(path) == TrainConfig()


@pytest.mark.parametrize("name", ["tiny-cpu", "lite-256-pixels", "lite-256", "gpu-512"])
def test_the_configs_of_the_package_are_valid_and_survive_as_plain_data(name):
    config = read_config(CONFIGS / f"{name}.toml")
    assert config != TrainConfig()
    assert parse_config(as_tables(config)) == config


def test_the_gpu_config_has_the_published_values():
    config = read_config(CONFIGS / "gpu-512.toml")
    assert (config.model.size, config.model.channel_multiplier, config.model.narrow) == (512, 2, 1)
    assert (config.optimiser.generator_rate, config.optimiser.discriminator_rate) == (
        0.0016,
        0.0018,
    )
    assert config.loss.feature == 1
    assert config.loss.content is Content.SMOOTH_L1
    assert config.run.checkpoint_every == 10_000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[optimiser]\nstepz = 3", "unknown key 'stepz' in [optimiser]"),
        ("[optimizer]\nsteps = 3", "unknown table 'optimizer'"),
        ("steps = 3", "unknown table 'steps'"),
        ("model = 3", "'model' is a table"),
        ("[optimiser]\nsteps = 3.5", "[optimiser] steps is 3.5: use a whole number"),
        ("[optimiser]\nsteps = true", "[optimiser] steps is True"),
        ("[optimiser]\nbetas = [0.5]", "[optimiser] betas has 1 values: use 2"),
        ("[optimiser]\ngenerator_rate = nan", "[optimiser] generator_rate"),
        ("[model]\nsize = 100", "[model] size: use a power of two"),
        ("[model]\ntemplate = 'odd'", "use gpen, ffhq"),
        ("[degrade]\ntape = 2", "tape"),
        ("[loss]\nperceptual = 'vgg'", "perceptual_weight above 0"),
        ("[loss]\nidentity_weight = 1", "[loss] identity"),
        ("[loss]\ncontent_weight = 0", "[loss] content_weight"),
        ("[loss]\ndetail = -1", "[loss] detail"),
        ("[discriminator]\ncrop = 100", "[discriminator] crop: use 0 or a power of two"),
        ("[model]\nsize = 64\n[discriminator]\ncrop = 128", "crop is larger than [model] size"),
        ("[model]\ntemplate = ['ffhq']", "[model] template is ['ffhq']: use gpen, ffhq"),
        ("[model]\nnarrow = 0.01", "[model] narrow: use more"),
        ("[model]\nnarrow = -1", "[model] narrow: use more"),
        ("[discriminator]\nnarrow = 0.01", "[discriminator] narrow: use more"),
        ("[loss]\nperceptual_crop = 512", "perceptual_crop is larger than [model] size"),
        (
            "[loss]\ncontent_weight = 0\nadversarial = 0.1\nstart_step = 5",
            "another loss from the first step on",
        ),
        ("[run\n", "is no TOML file"),
    ],
)
def test_a_wrong_config_is_named_in_one_line(tmp_path, text, named):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_config(path)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_config_is_said(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the config"):
        read_config(tmp_path / "none.toml")


def test_a_wrong_config_is_said_before_pytorch_is_loaded(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("[model]\nsize = 100")
    code = """
import sys
from vidrestore.cli.app import main
code = main(["train", sys.argv[1]])
print(code, "torch" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout == "2 False\n", ended
