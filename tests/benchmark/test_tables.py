"""The page of benchmarks is filled from the results."""

import json

from benchmarks.tables import MAKERS, filled
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "BENCHMARKS.md"
FACTS = {
    "date": "2026-01-31",
    "machine": {"processor": "Some CPU", "cores": 2, "system": "Linux", "load_average_1min": 0.1},
    "versions": {"torch": "1", "openvino": "2", "av": "3"},
}


def test_a_table_is_made_anew_and_what_is_not_measured_is_said(tmp_path):
    row = {
        "model": "gpen-bfr-256", "ours_ms_a_frame": 41.4, "plain_loop_ms_a_frame": 228.2,
        "times_as_fast": 5.51, "wall_over_slowest_stage": 1.08,
    }  # fmt: skip
    (tmp_path / "end-to-end.json").write_text(json.dumps({**FACTS, "rows": [row]}))
    page = (
        "a\n<!-- table end-to-end -->\nold\n<!-- end -->\nb\n<!-- table cadence -->\n<!-- end -->\n"
    )
    made = filled(page, tmp_path)
    assert "| gpen-bfr-256 | 41 | 228 | 5.5 | 1.08 |" in made
    assert "Some CPU, 2 cores, Linux, load 0.1, 2026-01-31" in made
    assert "old" not in made
    assert made.startswith("a\n<!-- table end-to-end -->\n|")
    assert made.endswith("b\n<!-- table cadence -->\nnot measured yet\n<!-- end -->\n")
    assert filled(made, tmp_path) == made


def test_the_page_has_a_place_for_every_table_and_holds_what_was_measured():
    page = PAGE.read_text(encoding="utf-8")
    assert all(page.count(f"<!-- table {name} -->\n") == 1 for name in MAKERS)
    assert page.count("<!-- end -->") == len(MAKERS)
    assert filled(page, REPOSITORY / "benchmarks" / "results") == page
