# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: takes another Python or another ROS 2 of the calling shell out of the environment, since
# .venv brings its own and the two do not mix. Names what it took out in $foreign_variables.
foreign_variables=()
for name in PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH; do
    [[ -z ${!name:-} ]] || foreign_variables+=("$name")
done
unset PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH

# The ROS wheels set these once, in the first Python that has them; set by an outer one, .venv would load its libraries.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
kept=
IFS=: read -ra entries <<<"${LD_LIBRARY_PATH:-}"
for entry in "${entries[@]}"; do
    [[ -z $entry || $entry == *.libs || -d $entry/../share/ament_index ]] || kept+=${kept:+:}$entry
done
unset LD_LIBRARY_PATH
[[ -z $kept ]] || export LD_LIBRARY_PATH=$kept
unset name entry entries kept
