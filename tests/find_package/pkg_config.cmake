# Installs the build, moves the installation, and builds and runs SOURCE against it with MAKEFILE,
# which knows NAME and pkg-config only. FOLDER: of the .pc files in the installation. LIBRARIES:
# folder of libtorch as in run.cmake.
if(LIBRARIES)
  set(ENV{LD_LIBRARY_PATH} "${LIBRARIES}:$ENV{LD_LIBRARY_PATH}")
endif()
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
set(ENV{PKG_CONFIG_PATH} "${WORK}/moved/${FOLDER}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix"
                        --component climlink OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${WORK}/prefix" "${WORK}/moved")
foreach(command IN ITEMS "${MAKE};-f;${MAKEFILE};FC=${COMPILER};NAME=${NAME};SOURCE=${SOURCE}"
                         "${WORK}/host;${PACKAGE}")
  execute_process(COMMAND ${command} WORKING_DIRECTORY "${WORK}" OUTPUT_VARIABLE output
                  ERROR_VARIABLE output RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${command} failed: ${failed}\n${output}")
  endif()
endforeach()
