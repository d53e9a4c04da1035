# Refuses a C++ runtime that the linker would copy into the library: beside libtorch's own, the two
# share symbols but not state, and opening a package crashes or hangs. It comes of -static-libstdc++
# somewhere in the flags, or of a compiler that has no shared libstdc++.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  return()
endif()
string(TOUPPER "${CMAKE_BUILD_TYPE}" climlink_configuration)
set(climlink_flags "")
foreach(kind IN ITEMS CXX_FLAGS SHARED_LINKER_FLAGS MODULE_LINKER_FLAGS)
  list(APPEND climlink_names CMAKE_${kind} CMAKE_${kind}_${climlink_configuration})
endforeach()
foreach(name IN LISTS climlink_names ITEMS CMAKE_BUILD_TYPE CMAKE_CXX_STANDARD_LIBRARIES)
  list(APPEND climlink_flags "-D${name}=${${name}}")
endforeach()
if(CLIMLINK_SHARED_RUNTIME_FLAGS STREQUAL climlink_flags)
  return() # seen with these flags
endif()

set(climlink_probe "${CMAKE_BINARY_DIR}/cxx_runtime")
try_compile(climlink_probe_built PROJECT cxx_runtime BINARY_DIR "${climlink_probe}"
            SOURCE_DIR "${CMAKE_CURRENT_LIST_DIR}/cxx_runtime" NO_CACHE
            CMAKE_FLAGS ${climlink_flags} OUTPUT_VARIABLE climlink_probe_output)
if(NOT climlink_probe_built)
  message(FATAL_ERROR "The C++ compiler and its flags make no library:\n${climlink_probe_output}")
endif()
foreach(library IN ITEMS shared module)
  execute_process(COMMAND "${CMAKE_READELF}" -d "${climlink_probe}/lib${library}.so"
                  OUTPUT_VARIABLE climlink_needed COMMAND_ERROR_IS_FATAL ANY)
  if(NOT climlink_needed MATCHES "NEEDED[^\n]*lib(std)?c\\+\\+")
    message(FATAL_ERROR "The C++ runtime would be linked into climlink's ${library} library instead"
      " of being shared with libtorch, and opening a package would crash or hang. Take"
      " -static-libstdc++ and -static out of CMAKE_CXX_FLAGS, CMAKE_SHARED_LINKER_FLAGS,"
      " CMAKE_MODULE_LINKER_FLAGS, CXXFLAGS and LDFLAGS. If they are not there,"
      " ${CMAKE_CXX_COMPILER} finds only a static libstdc++.a: install its libstdc++.so"
      " (Debian: libstdc++-12-dev, by the compiler's version) or name another compiler with"
      " -DCMAKE_CXX_COMPILER=...")
  endif()
endforeach()
set(CLIMLINK_SHARED_RUNTIME_FLAGS "${climlink_flags}"
    CACHE INTERNAL "flags with which the C++ runtime is a shared library")
