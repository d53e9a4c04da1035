# Takes the Fortran compiler into the project, or says how to do without one.
include(CheckLanguage)
check_language(Fortran)
if(NOT CMAKE_Fortran_COMPILER)
  unset(CMAKE_Fortran_COMPILER CACHE) # so that the next configure looks again
  message(FATAL_ERROR "No Fortran compiler that works was found. Install one (Debian: gfortran) or"
    " name it in FC or with -DCMAKE_Fortran_COMPILER=..., or build C, C++ and Python only:"
    " -DCLIMLINK_FORTRAN=OFF")
endif()
enable_language(Fortran)
