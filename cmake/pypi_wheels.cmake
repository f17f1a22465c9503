# SPDX-License-Identifier: Apache-2.0
# The message wheels from PyPI name an include directory of the machine that built them, which CMake refuses. Injected with
# -DCMAKE_PROJECT_policy_ros_INCLUDE=cmake/pypi_wheels.cmake for such an environment only; a system ROS 2 needs none of it.
foreach(package builtin_interfaces service_msgs std_msgs)
  find_package(${package} QUIET)
  if(TARGET ${package}::${package}__rosidl_generator_py)
    set_target_properties(${package}::${package}__rosidl_generator_py PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "")
  endif()
endforeach()
