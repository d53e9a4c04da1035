// A climlink without libtorch.
#include "emulators_support.hpp"

using namespace emulators;

TEST_CASE("a climlink without libtorch refuses to make a backend", "[emulators_stub]") {
  const auto failure = opening_failure(configuration(tiny), settings(tiny));
  CHECK(failure.first == CLIMLINK_ERROR_BACKEND);
}
