# SPDX-License-Identifier: Apache-2.0
"""Models that were exported as graphs, run by ONNX Runtime or OpenVINO."""
