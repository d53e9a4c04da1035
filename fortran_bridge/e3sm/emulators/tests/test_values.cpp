// What a good batch gives, and the life of a backend.
#include <cfenv>
#include <cstring>
#include <thread>

#include "emulators_support.hpp"

using namespace emulators;
using Catch::Matchers::Contains;

TEST_CASE("values are those of climlink's own runtime to the bit", "[emulators_values]") {
  const Fixture f = GENERATE(tiny, mlp, convolution, field);
  const int n = GENERATE(1, 7, 384);
  CAPTURE(f.name, n);
  const auto b = backend(f);
  const auto x = rows(f, n);
  auto y = room(f, n);
  REQUIRE(b->infer(x.data(), y.data(), n));
  CHECK(b->error().empty());
  const auto expected = packed_answer(f, x, n);
  REQUIRE(y.size() == expected.size());
  CHECK(std::memcmp(y.data(), expected.data(), y.size() * sizeof(double)) == 0);
}

TEST_CASE("a batch of no columns succeeds, without addresses too", "[emulators_values]") {
  const auto b = backend(tiny);
  CHECK(b->infer(nullptr, nullptr, 0));
  double y = untouched;
  CHECK(b->infer(&y, &y, 0));
  CHECK(y == untouched);
}

TEST_CASE("the batch size is 1 where none is given, and may change from call to call",
          "[emulators_values]") {
  const auto b = backend(mlp);
  const auto x = rows(mlp, 20);
  const auto expected = packed_answer(mlp, x, 20);
  emulator::inference::InferenceBackend& base = *b;
  auto y = room(mlp, 20);
  REQUIRE(base.infer(x.data(), y.data()));
  CHECK(std::equal(y.begin(), y.begin() + 368, expected.begin()));
  CHECK(y[368] == untouched);
  for (const int n : {3, 20, 5}) {
    REQUIRE(base.infer(x.data(), y.data(), n));
    CHECK(std::equal(y.begin(), y.begin() + 368 * n, expected.begin()));
  }
}

TEST_CASE("micro-batch and threads do not change a bit", "[emulators_values]") {
  const auto x = rows(mlp, 100);
  const auto expected = packed_answer(mlp, x, 100);
  PackageSettings how = settings(mlp);
  how.options = {{"micro_batch", "16"}, {"threads", "2"}};
  ClimlinkBackend b(configuration(mlp), how);
  auto y = room(mlp, 100);
  REQUIRE(b.infer(x.data(), y.data(), 100));
  CHECK(y == expected);
}

TEST_CASE("constraints that are left out are those of a graph without them", "[emulators_values]") {
  const Fixture whole{"switched.pt", tiny.n_input, tiny.n_output},
      bare{"not_doubled.pt", tiny.n_input, tiny.n_output};
  const auto x = rows(tiny, 20);
  PackageSettings how = settings(whole);
  how.options["constraints_off"] = "doubled";
  ClimlinkBackend b(configuration(whole), how);
  auto y = room(whole, 20);
  REQUIRE(b.infer(x.data(), y.data(), 20));
  CHECK(y == packed_answer(bare, x, 20));
  CHECK(y != packed_answer(whole, x, 20));
}

TEST_CASE("two backends at once do not disturb each other", "[emulators_values]") {
  const auto one = backend(mlp), other = backend(convolution);
  const auto x = rows(mlp, 7, 3);
  const auto expected_one = packed_answer(mlp, x, 7),
             expected_other = packed_answer(convolution, x, 7);
  auto y_one = room(mlp, 7), y_other = room(mlp, 7);
  SECTION("in turn, and after one of them has ended") {
    REQUIRE(one->infer(x.data(), y_one.data(), 7));
    REQUIRE(other->infer(x.data(), y_other.data(), 7));
    CHECK(y_one == expected_one);
    CHECK(y_other == expected_other);
    other->finalize();
    y_one = room(mlp, 7);
    REQUIRE(one->infer(x.data(), y_one.data(), 7));
    CHECK(y_one == expected_one);
  }
  SECTION("in two threads") {
    bool good = true;
    std::thread second([&] {
      for (int i = 0; i < 20; ++i)
        good = other->infer(x.data(), y_other.data(), 7) && y_other == expected_other && good;
    });
    for (int i = 0; i < 20; ++i) {
      CHECK(one->infer(x.data(), y_one.data(), 7));
      CHECK(y_one == expected_one);
    }
    second.join();
    CHECK(good);
  }
}

TEST_CASE("the backend has E3SM's life cycle", "[emulators_values]") {
  const auto b = backend(tiny);
  CHECK(b->name() == "libtorch");
  CHECK_THAT(b->description(),
             Contains("tiny.pt") && Contains("cpu") && Contains("9 -> 5") && Contains("sha256"));
  const auto x = rows(tiny, 2);
  auto y = room(tiny, 2);
  b->finalize();
  CHECK_FALSE(b->infer(x.data(), y.data(), 2));
  CHECK_THAT(b->error(), Contains("finalized"));
  CHECK(y == room(tiny, 2));
  CHECK_FALSE(b->infer(nullptr, nullptr, 0));
  b->finalize();
  CHECK(b->description().empty());
  CHECK(b->name() == "libtorch");
}

TEST_CASE("a pinned file opens, with the rank's claims about levels and time step",
          "[emulators_values]") {
  const support::Handle handle("tiny.pt");
  const char* sha256 = nullptr;
  REQUIRE(climlink_digest(handle, &sha256) == CLIMLINK_OK);
  PackageSettings how = settings(tiny);
  how.options = {{"pinned_sha256", sha256},
                 {"level_count", "4"},
                 {"time_step_s", "1200"},
                 {"local_rank", "3"}};
  CHECK_NOTHROW(ClimlinkBackend(configuration(tiny), how));
}

#if defined(__GLIBC__)
TEST_CASE("a host that traps floating-point exceptions survives, and traps afterwards as before",
          "[emulators_values]") {
  constexpr int traps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;
  auto x = rows(tiny, 3);
  auto y = room(tiny, 3);
  std::feclearexcept(FE_ALL_EXCEPT);
  feenableexcept(traps);
  const auto b = backend(tiny);
  const bool good = b->infer(x.data(), y.data(), 3);
  x[4] = 1e300;  // the cast to float32 overflows
  const bool overflowing = b->infer(x.data(), y.data(), 3);
  x[4] = 1;
  x[8] = 0;  // the network divides by it
  const bool dividing = b->infer(x.data(), y.data(), 3);
  const int traps_after = fegetexcept();
  const int flags_after = std::fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  fedisableexcept(FE_ALL_EXCEPT);
  CHECK(good);
  CHECK_FALSE(overflowing);
  CHECK_FALSE(dividing);
  CHECK(traps_after == traps);
  CHECK(flags_after == 0);
}
#endif
