# Finds libtorch: Torch_DIR or CMAKE_PREFIX_PATH if given, else the torch package of the Python interpreter in use.
if(NOT Torch_DIR AND NOT DEFINED ENV{Torch_DIR})
  find_package(Python COMPONENTS Interpreter QUIET)
  if(Python_FOUND)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] + '/share/cmake' if s else '')"
      OUTPUT_VARIABLE climlink_torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(climlink_torch_prefix)
      list(APPEND CMAKE_PREFIX_PATH "${climlink_torch_prefix}")
    endif()
  endif()
endif()
find_package(Torch CONFIG QUIET)
if(NOT Torch_FOUND)
  message(FATAL_ERROR "libtorch was not found. Install it with `pip install torch==2.13.0` in the Python that CMake finds (Python_EXECUTABLE),"
                      " or pass -DTorch_DIR=<libtorch>/share/cmake/Torch, or build without it: -DCLIMLINK_TORCH=OFF")
endif()
