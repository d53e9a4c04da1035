# Finds the Python interpreter in use and pybind11, which a plain CMake build takes from that
# interpreter's own packages.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT pybind11_DIR)
  execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
                  OUTPUT_VARIABLE climlink_pybind11 OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(climlink_pybind11)
    set(pybind11_DIR "${climlink_pybind11}")
  endif()
endif()
find_package(pybind11 2.13 CONFIG QUIET)
if(NOT pybind11_FOUND)
  message(FATAL_ERROR
    "pybind11 was not found. Install it with `pip install pybind11` in ${Python_EXECUTABLE}, or \
configure with -DCLIMLINK_PYTHON=OFF")
endif()
