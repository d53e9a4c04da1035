# How Fortran is compiled here: standard 2018, every warning that is one (not the remark that a
# query by name may be skipped in a logical expression), and no option that changes arithmetic.
function(climlink_fortran_options target)
  target_compile_options(${target} PRIVATE
    "$<$<AND:$<COMPILE_LANGUAGE:Fortran>,$<Fortran_COMPILER_ID:GNU>>:-std=f2018;-pedantic;-Wall;\
-Wextra;-Wno-function-elimination;-fimplicit-none>")
endfunction()

# An executable of Fortran sources, linked with the given libraries; its modules stay in a folder of
# its own.
function(climlink_fortran_executable target)
  climlink_fortran_options(${target})
  set_target_properties(${target} PROPERTIES
                        Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
  target_link_libraries(${target} PRIVATE ${ARGN})
endfunction()

# Packages for tests, made once by the test fortran.fixtures.
set(climlink_fixtures "${PROJECT_BINARY_DIR}/fortran_bridge/fixtures")

# What every test of the Fortran side needs. Open MPI starts as root (in containers), and more ranks
# than cores, only when told to.
function(climlink_fortran_test_properties name)
  set_tests_properties(${name} PROPERTIES
    LABELS fortran TIMEOUT 120 FIXTURES_REQUIRED fortran_fixtures
    ENVIRONMENT
    "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;\
OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_hwloc_base_binding_policy=none")
endfunction()

# climlink_fortran_test(NAME PROGRAM target [RANKS n] [ARGUMENTS ...])
function(climlink_fortran_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "PROGRAM;RANKS" "ARGUMENTS")
  if(test_RANKS)
    add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${test_RANKS}
                                  $<TARGET_FILE:${test_PROGRAM}> ${test_ARGUMENTS})
  else()
    add_test(NAME ${name} COMMAND ${test_PROGRAM} ${test_ARGUMENTS})
  endif()
  climlink_fortran_test_properties(${name})
endfunction()

# A static library of Fortran sources; whoever links it sees its modules.
function(climlink_fortran_library target)
  climlink_fortran_options(${target})
  set_target_properties(${target} PROPERTIES
                        Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
  target_include_directories(${target} PUBLIC "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
endfunction()
