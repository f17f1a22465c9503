# SPDX-License-Identifier: Apache-2.0
"""LeRobot's dataset layout v3 (parquet and video), from bags and to bags. Needs the extra ``dataset``."""
