# SPDX-License-Identifier: Apache-2.0
"""What a policy would have done on a recording, through the code that runs on the robot."""
