"""What a runner leaves behind, whether it comes to its end or not."""

import numpy as np

from migrate.verify.results import Results, find_under_way


def test_who_never_came_back_left_word_of_the_call(tmp_path):
    folder = str(tmp_path / "answers")
    found = Results(folder=folder)
    assert find_under_way(folder) == ""
    found.begin_call("callable", "serve/default/batch_1")
    assert find_under_way(folder) == "serve/default/batch_1 (callable)"
    found.record_outputs("callable", "serve/default/batch_1", {"y": np.ones(2)})
    found.begin_call("", "serve/default/batch_3")
    assert find_under_way(folder) == "serve/default/batch_3"
    found.save()
    assert find_under_way(folder) == ""
    assert list(Results.load(folder).outputs) == [("callable", "serve/default/batch_1")]
