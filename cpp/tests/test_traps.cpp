// Hosts that trap floating-point exceptions, as debug builds of models do. Only glibc can arm traps
// from C.
#include <catch2/catch.hpp>
#include <cfenv>

#include "support.hpp"

#if defined(__GLIBC__)
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

using support::Field;
using support::Handle;
using support::one_step;
using support::opening;

namespace {

constexpr int traps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

// The host's traps for one scope.
struct Armed {
  Armed() {
    std::feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(traps);
  }
  ~Armed() { fedisableexcept(FE_ALL_EXCEPT); }
};

// Exit code, or minus the signal, of a child process.
template <class Call>
int outcome_of_child(const Call& call) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGFPE, SIG_DFL);
    call();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

double quotient(volatile double divisor) { return 1.0 / divisor; }

}  // namespace

TEST_CASE(
    "packages open and run in a host with traps, also where NaN and overflow arise inside and are "
    "masked",
    "[traps]") {
  int traps_after = 0, flags_after = 0;
  {
    const Armed armed;
    const Handle handle("masked.pt");
    one_step(handle, 3);
    one_step(handle, 40);
    traps_after = fegetexcept();
    flags_after = std::fetestexcept(traps);
  }
  CHECK(traps_after == traps);
  CHECK(flags_after == 0);
}

TEST_CASE("what is refused is a status, not a signal", "[traps]") {
  Field<double> t(2, 4, 1e300), ps(2, 0, 0.0), q(2, 4, 0.5);
  climlink_status overflow = CLIMLINK_OK, division = CLIMLINK_OK;
  std::pair<climlink_status, std::string> opened;
  int traps_after = 0;
  {
    const Armed armed;
    const Handle handle("tiny.pt");
    opened = opening("golden_tampered.pt");
    climlink_begin(handle, 2);
    climlink_array view = t.view();
    overflow = climlink_set(handle, "state_t", &view, 0);  // no float32
    t.values.assign(t.values.size(), 1.0);
    climlink_set(handle, "state_t", &view, 0);
    view = q.view();
    climlink_set(handle, "state_q0001", &view, 0);
    view = ps.view();
    climlink_set(handle, "state_ps", &view, 0);
    division = climlink_run(handle);  // the network divides by ps
    traps_after = fegetexcept();
  }
  CHECK(opened.first == CLIMLINK_ERROR_GOLDEN);
  CHECK(overflow == CLIMLINK_ERROR_NONFINITE);
  CHECK(division == CLIMLINK_ERROR_NONFINITE);
  CHECK(traps_after == traps);
}

TEST_CASE("the host's own division by zero still ends it", "[traps]") {
  const Handle handle("tiny.pt");
  const auto divides = [&](bool armed) {
    return outcome_of_child([&] {
      if (armed) feenableexcept(traps);
      one_step(handle, 3);
      if (quotient(0.0) < 0) _exit(1);
    });
  };
  CHECK(divides(true) == -SIGFPE);
  CHECK(divides(false) == 0);
}

TEST_CASE("a host without traps gets none, and its rounding and flags stay", "[traps]") {
  const Handle handle("masked.pt");
  std::feclearexcept(FE_ALL_EXCEPT);
  std::feraiseexcept(FE_INEXACT);
  std::fesetround(FE_UPWARD);
  one_step(handle, 3);
  const int rounding = std::fegetround(), flags = std::fetestexcept(FE_ALL_EXCEPT);
  std::fesetround(FE_TONEAREST);
  CHECK(rounding == FE_UPWARD);
  CHECK(flags == FE_INEXACT);
  CHECK(fegetexcept() == 0);
}
#endif
