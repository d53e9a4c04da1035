# Installs the build into WORK/prefix, then configures, builds and runs the project in PROJECT
# against it, with the fixture PACKAGE. PREFIX: folder of the installation to search, "" for all of
# it. CHECK: a script that runs what was built, instead. LIBRARIES: folder of libtorch where the
# installed library looks for it beside itself in site-packages (Python builds).
if(LIBRARIES)
  set(ENV{LD_LIBRARY_PATH} "${LIBRARIES}:$ENV{LD_LIBRARY_PATH}")
endif()
file(REMOVE_RECURSE "${WORK}")
set(prefix "${WORK}/prefix")
foreach(command IN ITEMS
    "--install;${BUILD};--prefix;${prefix};--component;climlink"
    "-S;${PROJECT};-B;${WORK}/build;-G;${GENERATOR};\
-DCMAKE_PREFIX_PATH=${prefix}/${INSTALL_ROOT}${PREFIX};-DCMAKE_BUILD_TYPE=Release;\
-DINSTALLATION=${prefix}/${INSTALL_ROOT}"
    "--build;${WORK}/build")
  execute_process(COMMAND "${CMAKE_COMMAND}" ${command} OUTPUT_VARIABLE output ERROR_VARIABLE output
                  RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "cmake ${command} failed:\n${output}")
  endif()
endforeach()
if(CHECK)
  include("${CHECK}")
  return()
endif()
execute_process(COMMAND "${WORK}/build/host" "${PACKAGE}" RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${WORK}/build/host ${PACKAGE} failed: ${failed}")
endif()
