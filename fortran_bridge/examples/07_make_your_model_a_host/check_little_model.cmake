# Runs the little model as its users would, with packages of FIXTURES: those that fit it, and those
# that do not. Included by tests/find_package/run.cmake, which has built it. Temperatures are those
# of the closed form, step by step: a host that sends another array, or a step late, has others.
function(run_little_model package entries ok text)
  file(READ "${PROJECT}/little_model.nml" namelist)
  string(REPLACE "wrap_model.pt" "${FIXTURES}/${package}" namelist "${namelist}")
  string(REPLACE "spin_up_steps = 2" "${entries}" namelist "${namelist}")
  file(WRITE "${WORK}/little_model.nml" "${namelist}")
  execute_process(COMMAND "${WORK}/build/little_model" "${WORK}/little_model.nml"
                  RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(FIND "${output}" "${text}" at)
  if((ok AND failed) OR (NOT ok AND NOT failed) OR at LESS 0)
    message(FATAL_ERROR "little_model with ${package} and ${entries}: exit code ${failed}; \
expected \"${text}\" in:\n${output}")
  endif()
endfunction()

run_little_model(column.pt "spin_up_steps = 2" TRUE "step  6  temperature  280.586655 K")
run_little_model(lagged.pt "spin_up_steps = 2" TRUE "step  6  temperature  277.587868 K")
# In weighted.pt each input of the table weighs differently: a name in another's place shows. In the
# first step, from temperature to zenith, S = 2.80012 + 10 + 6 + 4 + 25 + 6 + 28 + 6.4 + 1.8 + 5 =
# 95.00012, in 1e-6 K/s; temperature 280.012 + 1200 S, vapour 5 - 1e3 1200 S / 100, and rain
# 3.6e6 S / 1000. Where only one answer is applied, vapour has the model's own tendency, here 0.
run_little_model(weighted.pt "spin_up_steps = 0" TRUE
                 "step  1  temperature  280.126000 K  vapour   3.8600 g/kg  rain   0.3420 mm/h")
run_little_model(weighted.pt "mode = 'partial', variables = 'ptend_t'" TRUE
                 "step  1  temperature  280.126000 K  vapour   5.0000 g/kg  rain   0.3420 mm/h")
run_little_model(lagged.pt "spin_up_steps = 1" FALSE "set spin_up_steps to 2 or more, not 1")
run_little_model(sums.pt "spin_up_steps = 0" FALSE "inputs that the host does not give: forcing")
run_little_model(climsim_q.pt "spin_up_steps = 0" FALSE
                 "the host has 6 levels, the package was trained for 60")
run_little_model(column.pt "micro_bath = 2" FALSE "micro_bath")
