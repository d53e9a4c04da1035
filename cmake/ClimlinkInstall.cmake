# Where things are installed. In a Python build everything lies inside the package climlink/, so
# that one `pip install` serves Python, C, C++ and Fortran users; otherwise the usual lib, include
# and bin.
include(GNUInstallDirs)
if(SKBUILD)
  set(CLIMLINK_INSTALL_ROOT "climlink/")
  set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../lib;$ORIGIN/../../torch/lib")
else()
  set(CLIMLINK_INSTALL_ROOT "")
  set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../lib")
endif()
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH TRUE)
set(CLIMLINK_INSTALL_LIB "${CLIMLINK_INSTALL_ROOT}lib")
set(CLIMLINK_INSTALL_BIN "${CLIMLINK_INSTALL_ROOT}bin")
set(CLIMLINK_INSTALL_INCLUDE "${CLIMLINK_INSTALL_ROOT}include")
set(CLIMLINK_INSTALL_CMAKE "${CLIMLINK_INSTALL_LIB}/cmake/climlink")
# A prefix of its own: only who names it in CMAKE_PREFIX_PATH finds climlink under the names FTorch,
# pytorch_proxy and pytorch_fort_proxy.
set(CLIMLINK_INSTALL_COMPAT "${CLIMLINK_INSTALL_ROOT}compat")
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME climlink)

# Installs climlinkConfig.cmake: find_package(climlink) gives climlink::climlink (C) and
# climlink::fortran.
function(climlink_install_package)
  include(CMakePackageConfigHelpers)
  configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/climlinkConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/climlinkConfig.cmake"
    INSTALL_DESTINATION "${CLIMLINK_INSTALL_CMAKE}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/climlinkConfigVersion.cmake"
    COMPATIBILITY SameMinorVersion)
  install(EXPORT climlinkTargets NAMESPACE climlink:: DESTINATION "${CLIMLINK_INSTALL_CMAKE}")
  install(FILES "${PROJECT_BINARY_DIR}/climlinkConfig.cmake"
          "${PROJECT_BINARY_DIR}/climlinkConfigVersion.cmake"
          DESTINATION "${CLIMLINK_INSTALL_CMAKE}")
endfunction()
