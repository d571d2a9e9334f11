import pytest

from vidrestore.benchmark import rounds
from vidrestore.benchmark.rounds import Contender, paired_ratio, preamble, quartiles, run_rounds


def test_everyone_runs_once_a_round_and_who_begins_changes():
    calls = []
    contenders = [Contender(lambda name=name: calls.append(name)) for name in "abc"]
    said = []
    run_rounds(contenders, 4, lambda done, total: said.append((done, total)))
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert [len(c.wall_ms) for c in contenders] == [4, 4, 4]  # the first round does not count
    assert [len(c.cpu_ms) for c in contenders] == [4, 4, 4]
    assert said == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_times_are_milliseconds_for_one_item(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(rounds.time, "process_time", lambda: 2 * now[0])

    def work():
        now[0] += 0.2

    contender = Contender(work, num_items=4)
    contender.time_once()
    assert contender.wall_ms == [pytest.approx(50)]
    assert contender.cpu_ms == [pytest.approx(100)]


def test_the_ratio_is_that_of_rounds_and_not_of_medians():
    slow, fast = [10.0, 100.0, 30.0], [5.0, 10.0, 20.0]
    assert paired_ratio(slow, fast) == 2.0
    assert quartiles(slow)[1] / quartiles(fast)[1] == 3.0


def test_quartiles_are_in_order():
    assert quartiles([5, 1, 4, 2, 3]) == (2.0, 3.0, 4.0)


def test_a_result_begins_with_machine_and_versions():
    found = preamble()
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["processor"]
    assert found["versions"]["torch"] != "unknown"
    assert len(found["date"]) == len("2026-01-31")
