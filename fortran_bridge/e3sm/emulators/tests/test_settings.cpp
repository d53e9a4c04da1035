// Settings from texts, as a configuration with an option map has them.
#include "emulators_support.hpp"

using namespace emulators;
using Catch::Matchers::Contains;
using climlink_e3sm::settings_from_options;

TEST_CASE("without options the settings are climlink's defaults", "[emulators_settings]") {
  const PackageSettings s = settings_from_options("a.pt", {});
  const climlink_options defaults = climlink_options_default();
  CHECK(s.path == "a.pt");
  CHECK(s.device == defaults.device);
  CHECK(s.local_rank == defaults.local_rank);
  CHECK(s.threads == defaults.threads);
  CHECK(s.micro_batch == defaults.micro_batch);
  CHECK(s.level_count == defaults.level_count);
  CHECK(s.time_step_s == defaults.time_step_s);
  CHECK(s.pinned_sha256.empty());
  CHECK(s.constraints_off.empty());
}

TEST_CASE("every setting has its option", "[emulators_settings]") {
  const PackageSettings s = settings_from_options("a.pt", {{"constraints_off", "night"},
                                                           {"device", "cuda"},
                                                           {"level_count", "60"},
                                                           {"local_rank", "3"},
                                                           {"micro_batch", "128"},
                                                           {"pinned_sha256", "ab"},
                                                           {"rank", "17"},
                                                           {"threads", "2"},
                                                           {"time_step_s", "1.2e3"}});
  CHECK(s.constraints_off == "night");
  CHECK(s.device == "cuda");
  CHECK(s.level_count == 60);
  CHECK(s.local_rank == 3);
  CHECK(s.micro_batch == 128);
  CHECK(s.pinned_sha256 == "ab");
  CHECK(s.rank == 17);
  CHECK(s.threads == 2);
  CHECK(s.time_step_s == 1200.0);
}

TEST_CASE("an unknown option and a value that is no number are refused", "[emulators_settings]") {
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{"thread", "2"}}),
                    Contains("\"thread\" is not known") && Contains("threads, time_step_s"));
  const std::string value = GENERATE("", "two", "2x", "2.5", "2 3", "99999999999");
  CAPTURE(value);
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{"threads", value}}),
                    Contains("option threads is \"" + value + "\"") && Contains("an integer"));
  CHECK_THROWS_AS(settings_from_options("a.pt", {{"time_step_s", "20 min"}}), PackageError);
}

TEST_CASE("numbers out of range are refused by climlink itself when it opens",
          "[emulators_settings]") {
  const std::string key =
      GENERATE("threads", "micro_batch", "local_rank", "level_count", "time_step_s");
  const auto how = settings_from_options(support::fixture("tiny.pt"), {{key, "-1"}});
  const auto failure = opening_failure(configuration(tiny), how);
  CHECK(failure.first == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(failure.second, Contains(key) && Contains("-1"));
}
