# The library exports the C interface and nothing else, binds its own symbols first, and does not
# need Python.
execute_process(COMMAND "${NM}" -D --defined-only "${LIBRARY}" OUTPUT_VARIABLE listing
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" lines "${listing}")
set(count 0)
foreach(line IN LISTS lines)
  if(NOT line MATCHES " T climlink_[a-z0-9_]+$")
    message(FATAL_ERROR "${LIBRARY} exports something else than functions climlink_*: ${line}")
  endif()
  math(EXPR count "${count} + 1")
endforeach()
if(count LESS 20)
  message(FATAL_ERROR "${LIBRARY} exports ${count} functions only")
endif()
execute_process(COMMAND "${READELF}" -d "${LIBRARY}" OUTPUT_VARIABLE dynamic
                COMMAND_ERROR_IS_FATAL ANY)
if(NOT dynamic MATCHES "SYMBOLIC")
  message(FATAL_ERROR "${LIBRARY} is not linked with -Bsymbolic")
endif()
if(dynamic MATCHES "libtorch_python|libpython")
  message(FATAL_ERROR "${LIBRARY} needs Python")
endif()
