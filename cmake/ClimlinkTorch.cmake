# Finds libtorch: Torch_DIR or CMAKE_PREFIX_PATH if given, else the torch package of the Python
# interpreter in use. Gives the target climlink_libtorch.
if(NOT Torch_DIR AND NOT DEFINED ENV{Torch_DIR})
  find_package(Python COMPONENTS Interpreter QUIET)
  if(Python_FOUND)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c
        "import importlib.util as u; s = u.find_spec('torch');\
 print(s.submodule_search_locations[0] + '/share/cmake' if s else '')"
      OUTPUT_VARIABLE climlink_torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(climlink_torch_prefix)
      list(APPEND CMAKE_PREFIX_PATH "${climlink_torch_prefix}")
    endif()
  endif()
endif()
# A libtorch with CUDA asks for the whole CUDA toolkit, unless someone has found it before. Nothing
# here is compiled for CUDA, and libtorch brings the CUDA libraries that it runs with.
if(NOT TARGET torch::cudart)
  add_library(torch::cudart INTERFACE IMPORTED)
endif()
find_package(Torch 2.6 CONFIG QUIET)
if(NOT Torch_FOUND)
  message(FATAL_ERROR "libtorch 2.6 or newer was not found. Install it with"
    " `pip install torch==2.13.0` in the Python that CMake finds (Python_EXECUTABLE), or pass"
    " -DTorch_DIR=<libtorch>/share/cmake/Torch, or build without it: -DCLIMLINK_TORCH=OFF")
endif()
# A libtorch of the old C++ ABI (wheels until 2.6) wants all C++ around it compiled so.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${TORCH_CXX_FLAGS}>")

# A target of our own: torch's puts its paths in double quotes into the linker's command, where a
# shell expands a "$".
add_library(climlink_libtorch INTERFACE)
target_include_directories(climlink_libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
foreach(name IN ITEMS torch torch_cpu c10)
  find_library(CLIMLINK_LIB_${name} ${name} PATHS "${TORCH_INSTALL_PREFIX}/lib"
               NO_DEFAULT_PATH REQUIRED)
  mark_as_advanced(CLIMLINK_LIB_${name})
  target_link_libraries(climlink_libtorch INTERFACE "${CLIMLINK_LIB_${name}}")
endforeach()
# libtorch.so itself is empty; it is what brings the parts for a GPU.
target_link_options(climlink_libtorch INTERFACE "$<$<PLATFORM_ID:Linux>:LINKER:--no-as-needed>")

# What only libtorch's CUDA part offers needs CUDA's headers; without them it is left out.
find_library(CLIMLINK_LIB_c10_cuda c10_cuda PATHS "${TORCH_INSTALL_PREFIX}/lib" NO_DEFAULT_PATH)
find_path(CLIMLINK_CUDA_INCLUDE cuda_runtime_api.h
          PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda
          PATH_SUFFIXES include targets/x86_64-linux/include targets/sbsa-linux/include)
mark_as_advanced(CLIMLINK_LIB_c10_cuda CLIMLINK_CUDA_INCLUDE)
if(CLIMLINK_LIB_c10_cuda AND CLIMLINK_CUDA_INCLUDE)
  target_include_directories(climlink_libtorch SYSTEM INTERFACE "${CLIMLINK_CUDA_INCLUDE}")
  target_link_libraries(climlink_libtorch INTERFACE "${CLIMLINK_LIB_c10_cuda}")
  target_compile_definitions(climlink_libtorch INTERFACE CLIMLINK_CUDA_HEADERS)
endif()
