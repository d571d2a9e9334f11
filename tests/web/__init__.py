"""Tests of the page; all need the extra ``web``."""

from importlib.util import find_spec

from tests.conftest import skip_or_fail

if find_spec("gradio") is None:
    skip_or_fail("browser", "gradio is not installed (pip install 'vidrestore[web]')")
