# cmake -DCOMMAND=a;b;c -DTEXT=regex -P expect_failure.cmake: the command must end by itself with a
# non-zero exit code, write the text to the error unit, and not go on after the error.
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE result OUTPUT_VARIABLE output
                ERROR_VARIABLE errors TIMEOUT 60)
if(result EQUAL 0)
  message(FATAL_ERROR "expected a failure, got exit code 0\n${output}\n${errors}")
endif()
if(NOT result MATCHES "^[0-9]+$")
  message(FATAL_ERROR "did not end by itself: ${result}\n${errors}")
endif()
if(NOT errors MATCHES "${TEXT}")
  message(FATAL_ERROR "the error unit does not hold \"${TEXT}\":\n${errors}")
endif()
if(output MATCHES "still running")
  message(FATAL_ERROR "the program went on after the error")
endif()
