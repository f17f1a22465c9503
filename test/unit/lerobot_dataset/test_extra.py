# SPDX-License-Identifier: Apache-2.0
"""Without the extra ``dataset`` the package imports, and says what is missing when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from policy_ros.lerobot_dataset import extra
from policy_ros.lerobot_dataset.errors import LeRobotError


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_a_missing_library_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(LeRobotError, match=rf"'{package}', it is not installed; pip install 'policy_ros\[dataset\]'"):
        getattr(extra, package)()


def test_importing_the_room_imports_neither_library():
    code = "import sys, policy_ros.lerobot_dataset.writer, policy_ros.lerobot_dataset.reader\n"
    code += "print({'av', 'pyarrow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == ("set()", "")
