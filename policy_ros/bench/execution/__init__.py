# SPDX-License-Identifier: Apache-2.0
"""``policy-ros bench execution``: every mode, on one path, with inferences that take a known time.

The executor, its strategies, the delay estimator and the gate are the ones that drive a robot; only clock, arm and
policy are simulated, on one thread, so that a run can be repeated to the last bit.
"""
