# The drop-ins define Fortran module symbols and climlink_* only: a C name such as torch_from_blob
# would be bound to libtorch's.
foreach(library IN LISTS LIBRARIES)
  execute_process(COMMAND "${NM}" -g --defined-only "${library}" OUTPUT_VARIABLE listing
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [A-Z] [^\n]+" symbols "${listing}")
  if(NOT symbols)
    message(FATAL_ERROR "${library} defines nothing")
  endif()
  foreach(symbol IN LISTS symbols)
    if(NOT symbol MATCHES " (__(ftorch|ftorch_[a-z_]+|torch_ftn|climlink_compat)_MOD_|climlink_)")
      message(FATAL_ERROR "${library} defines ${symbol}")
    endif()
  endforeach()
endforeach()
