#include "options.hpp"

#include <cmath>

#include "error.hpp"

namespace climlink {
namespace {

void check(bool fits, const char* field, double value, const char* expected) {
  if (!fits)
    fail(CLIMLINK_ERROR_ARGUMENT, "options.", field, " is ", value, "; expected ", expected,
         ". Start from climlink_options_default()");
}

}  // namespace

void check_options(const climlink_options& o) {
  check(o.level_count >= 0, "level_count", o.level_count,
        "the host's number of levels, or 0 for no claim");
  check(std::isfinite(o.time_step_s) && o.time_step_s >= 0, "time_step_s", o.time_step_s,
        "the host's time step in seconds, or 0 for no claim");
  check(o.local_rank >= 0, "local_rank", o.local_rank, "the rank on this node, 0 or more");
  check(o.threads >= 1, "threads", o.threads, "1 or more");
  check(o.micro_batch >= 2, "micro_batch", o.micro_batch,
        "a number of samples per forward, 2 or more");
  check(o.trust_code == 0 || o.trust_code == 1, "trust_code", o.trust_code,
        "0 (the graph's code is checked) or 1");
  if (o.device == nullptr) {
    fail(CLIMLINK_ERROR_ARGUMENT,
         "options.device is a null pointer; expected \"cpu\", \"cuda\", \"cuda:N\" or \"auto\". ",
         "Start from climlink_options_default()");
  }
}

void check_host_claims(const climlink_options& o, const Manifest& m, const std::string& name) {
  const std::int64_t level_count =
      m.dim_size("level");  // 0, as a time step of 0: the package states none
  if (o.level_count != 0 && level_count != 0 && o.level_count != level_count) {
    fail(CLIMLINK_ERROR_HOST, name, ": the host has ", o.level_count,
         " levels, the package was trained for ", level_count,
         ". Use a package for this vertical grid");
  }
  constexpr double relative =
      1e-9;  // room for a time step that was divided and multiplied, far below any real difference
  if (o.time_step_s != 0 && m.time_step_s != 0 &&
      std::fabs(o.time_step_s - m.time_step_s) > relative * m.time_step_s) {
    fail(CLIMLINK_ERROR_HOST, name, ": the host's time step is ", o.time_step_s,
         " s, the package was trained for ", m.time_step_s, " s. Use a package for this time step");
  }
}

}  // namespace climlink
