# How Fortran is compiled here: standard 2018, every warning the compiler knows, and no option that changes arithmetic.
function(climlink_fortran_options target)
  target_compile_options(${target} PRIVATE
    $<$<AND:$<COMPILE_LANGUAGE:Fortran>,$<Fortran_COMPILER_ID:GNU>>:-std=f2018 -pedantic -Wall -Wextra -fimplicit-none>)
endfunction()

# An executable of Fortran sources, linked with the given libraries; its modules stay in a folder of its own.
function(climlink_fortran_executable target)
  climlink_fortran_options(${target})
  set_target_properties(${target} PROPERTIES Fortran_MODULE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/${target}.modules")
  target_link_libraries(${target} PRIVATE ${ARGN})
endfunction()
