"""A small version of each benchmark runs, so that none rots. Speed is not judged here."""

import numpy as np
import pytest

from benchmarks import loading, measuring, transfer


def test_the_loading_benchmark_reads_and_trains(tmp_path, capsys):
    loading.make_photos(tmp_path, count=12, side=48)
    theirs, ours = loading.measure_decoding(tmp_path, side=32)
    slow, fast = loading.measure_training(tmp_path, "tiny", side=32)
    assert min(theirs, ours, slow, fast) > 0
    printed = capsys.readouterr().out
    for row in ("cold files", "every later epoch", "extraction", "epoch of the head"):
        assert row in printed


def test_the_transfer_benchmark_draws_the_same_number_of_every_class():
    labels = np.repeat([0, 1, 2], [30, 25, 22])
    chosen = transfer.choose(labels, per_class=20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [20, 20, 20]
    assert (chosen == transfer.choose(labels, per_class=20, seed=0)).all()
    assert (chosen != transfer.choose(labels, per_class=20, seed=1)).any()


def test_times_are_medians_and_rows_say_how_many_images(capsys):
    assert measuring.median_seconds(lambda: None, 3) >= 0
    measuring.print_row("a name", 2.0, 100, beside=4.0)
    printed = capsys.readouterr().out
    assert "50 images/s" in printed
    assert "2.00x" in printed


def test_a_target_that_is_missed_is_an_error(monkeypatch):
    monkeypatch.setattr(transfer, "compare", lambda *_: [0.1, -0.01])
    monkeypatch.setattr("sys.argv", ["transfer"])
    with pytest.raises(AssertionError, match="random weights won"):
        transfer.main()
