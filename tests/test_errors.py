import vidrestore.errors as errors


def test_each_branch_has_its_exit_code():
    assert {
        cls.__name__: cls.exit_code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.VidrestoreError)
    } == {
        "VidrestoreError": 1,
        "SettingsError": 2,
        "MediaError": 3,
        "MediaOpenError": 3,
        "RangeError": 3,
        "WeightsError": 4,
        "WeightsNotFoundError": 4,
        "WeightsCorruptError": 4,
        "DownloadError": 4,
        "DeviceError": 5,
        "OutputError": 6,
    }


def test_the_drawing_of_the_tree_names_every_class():
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.VidrestoreError):
            assert name in (errors.__doc__ or "")
