"""A migrated model trains as the original did: gradients through tf.GradientTape are TF1's."""

from .check_behaviour import check_gradients


def test_gradients(truth, loaded):
    """Every recorded gradient of a stateless signature was compared; where TF1 found none, there is none."""
    stateless = [key for key in truth.gradients if not truth.is_stateful(key[2])]
    assert check_gradients(truth, loaded) == len(stateless)
