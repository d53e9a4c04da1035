// Every refusal: what the message names, that outputs stay as they were, and that the backend can
// be used again.
#include <limits>

#include "emulators_support.hpp"

using namespace emulators;
using Catch::Matchers::Contains;

TEST_CASE("channel counts that are not the manifest's are refused at opening",
          "[emulators_refusals]") {
  const auto failure = [](int n_input, int n_output) {
    return opening_failure(configuration({"tiny.pt", n_input, n_output}), settings(tiny));
  };
  const auto wrong_input = failure(557, 5);
  CHECK(wrong_input.first == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(wrong_input.second, Contains("tiny.pt") && Contains("input_channels is 557") &&
                                     Contains("has 9 channels"));
  const auto wrong_output = failure(9, 368);
  CHECK(wrong_output.first == CLIMLINK_ERROR_SHAPE);
  CHECK_THAT(wrong_output.second, Contains("output_channels is 368") && Contains("has 5 channels"));
  CHECK_THAT(failure(0, 0).second,
             Contains("input_channels is 0"));  // E3SM's default is no claim to be let through
  CHECK(failure(-9, 5).first == CLIMLINK_ERROR_SHAPE);
}

TEST_CASE("a file that is no good package is refused at opening", "[emulators_refusals]") {
  PackageSettings how = settings(tiny);
  const auto failure = [&] { return opening_failure(configuration(tiny), how); };
  SECTION("missing") {
    how.path = support::fixture("no_such_file.pt");
    how.rank = 3;
    CHECK(failure().first == CLIMLINK_ERROR_FILE);
    CHECK_THAT(failure().second,
               Contains("climlink: rank 3: open: ") && Contains("no_such_file.pt"));
  }
  SECTION("no path") {
    how.path = "";
    CHECK(failure().first == CLIMLINK_ERROR_ARGUMENT);
    CHECK_THAT(failure().second, Contains("path") && Contains("wrap_model.pt"));
  }
  SECTION("plain TorchScript") {
    how.path = support::fixture("no_manifest.pt");
    CHECK(failure().first == CLIMLINK_ERROR_PACKAGE);
  }
  SECTION("another file than the pinned one") {
    how.options["pinned_sha256"] = std::string(64, '0');
    CHECK(failure().first == CLIMLINK_ERROR_DIGEST);
  }
  SECTION("golden columns that do not come out") {
    how.path = support::fixture("golden_tampered.pt");
    CHECK(failure().first == CLIMLINK_ERROR_GOLDEN);
  }
  SECTION("another number of levels, another time step") {
    how.options = {{"level_count", "72"}};
    CHECK(failure().first == CLIMLINK_ERROR_HOST);
    how.options = {{"level_count", "0"}, {"time_step_s", "1800"}};
    CHECK(failure().first == CLIMLINK_ERROR_HOST);
  }
  SECTION("a device that is not known, and one that is not there") {
    how.options = {{"device", "gpu"}};
    CHECK(failure().first == CLIMLINK_ERROR_ARGUMENT);
    how.options = {{"device", "cuda:999"}};
    CHECK(failure().first == CLIMLINK_ERROR_DEVICE);
    CHECK_THAT(failure().second, Contains("cuda:999"));
  }
}

TEST_CASE("a value that is not finite is named, outputs stay, and the next batch runs",
          "[emulators_refusals]") {
  const auto [value, text] =
      GENERATE(table<double, std::string>({{std::numeric_limits<double>::quiet_NaN(), "NaN"},
                                           {-std::numeric_limits<double>::infinity(), "-Inf"},
                                           {1e39, "float32 cannot hold"}}));
  const auto b = backend(tiny);
  const auto good = rows(tiny, 7);
  auto x = good;
  x[5 * 9 + 6] = value;  // column 5, third value of state_q0001
  const Refusal refused = refusal(*b, tiny, x, 7);
  CHECK_FALSE(refused.accepted);
  CHECK(refused.outputs_untouched);
  CHECK_THAT(refused.message, Contains("infer: ") && Contains("tiny.pt") &&
                                  Contains("state_q0001: column 5 (0-based), level 2") &&
                                  Contains(text));
  auto y = room(tiny, 7);
  REQUIRE(b->infer(good.data(), y.data(), 7));
  CHECK(b->error().empty());
  CHECK(y == packed_answer(tiny, good, 7));
}

TEST_CASE("a network that fails or gives no finite value is an error of that batch",
          "[emulators_refusals]") {
  const auto b = backend(tiny);
  auto x = rows(tiny, 3);
  SECTION("raises") {
    x[0] = 1e7;
    const Refusal refused = refusal(*b, tiny, x, 3);
    CHECK_FALSE(refused.accepted);
    CHECK(refused.outputs_untouched);
    CHECK_THAT(refused.message, Contains("refuses inputs above 1e6"));
  }
  SECTION("divides by zero") {
    x[2 * 9 + 8] = 0;
    const Refusal refused = refusal(*b, tiny, x, 3);
    CHECK_FALSE(refused.accepted);
    CHECK(refused.outputs_untouched);
    CHECK_THAT(refused.message, Contains("column 2 (0-based)"));
  }
  CHECK(b->infer(rows(tiny, 3).data(), room(tiny, 3).data(), 3));
}

TEST_CASE("a batch that cannot be is refused", "[emulators_refusals]") {
  const auto b = backend(tiny);
  const auto x = rows(tiny, 2);
  auto y = room(tiny, 2);
  CHECK_FALSE(b->infer(x.data(), y.data(), -1));
  CHECK_THAT(b->error(), Contains("-1"));
  CHECK_FALSE(b->infer(nullptr, y.data(), 2));
  CHECK_THAT(b->error(), Contains("inputs is a null pointer"));
  CHECK_FALSE(b->infer(x.data(), nullptr, 2));
  CHECK_THAT(b->error(), Contains("outputs is a null pointer"));
  CHECK(y == room(tiny, 2));
}

TEST_CASE("the message can be had from E3SM's base class", "[emulators_refusals]") {
  const std::shared_ptr<emulator::inference::InferenceBackend> base = backend(tiny);
  CHECK(climlink_e3sm::last_error(*base).empty());
  CHECK_FALSE(base->infer(nullptr, nullptr, 2));
  CHECK_THAT(climlink_e3sm::last_error(*base), Contains("null pointer"));
  CHECK(base->infer(nullptr, nullptr, 0));
  CHECK(climlink_e3sm::last_error(*base).empty());

  struct Other : emulator::inference::InferenceBackend {
    using InferenceBackend::InferenceBackend;
    bool infer(const double*, double*, int) override { return false; }
    void finalize() override {}
    std::string name() const override { return "other"; }
  };
  CHECK(climlink_e3sm::last_error(Other(InferenceConfig())).empty());
}
