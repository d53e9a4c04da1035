// Settings from texts, as a configuration with an option map has them.
#include "emulators_support.hpp"

using namespace emulators;
using Catch::Matchers::Contains;
using climlink_e3sm::settings_from_options;

TEST_CASE("without options nothing is said, and climlink's defaults hold", "[emulators_settings]") {
  const PackageSettings s = settings_from_options("a.pt", {});
  CHECK(s.path == "a.pt");
  CHECK(s.options.empty());
  CHECK(s.rank == -1);
}

TEST_CASE("every option of climlink is a key", "[emulators_settings]") {
  std::map<std::string, std::string> given = {{"rank", "17"}};
  for (int32_t i = 0; i < climlink_option_count(); ++i) {
    const char *name = nullptr, *type = nullptr, *value = nullptr, *set_by = nullptr,
               *help = nullptr;
    REQUIRE(climlink_option(i, &name, &type, &value, &set_by, &help) == CLIMLINK_OK);
    given[name] = value;
  }
  const PackageSettings s = settings_from_options("a.pt", given);
  CHECK(s.rank == 17);
  given.erase("rank");
  CHECK(s.options == given);
}

TEST_CASE("an unknown option and a value that does not fit are refused", "[emulators_settings]") {
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{"thread", "2"}}),
                    Contains("climlink: \"thread\" is not an option. Near names: threads") &&
                        Contains("time_step_s"));
  const std::string value = GENERATE("", "two", "2x", "2.5", "2 3", "99999999999");
  CAPTURE(value);
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{"threads", value}}),
                    Contains("option threads is \"" + value + "\"") && Contains("an integer"));
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{"rank", value}}),
                    Contains("option rank is \"" + value + "\"") && Contains("an integer"));
  CHECK_THROWS_AS(settings_from_options("a.pt", {{"time_step_s", "20 min"}}), PackageError);
  const std::string key =
      GENERATE("threads", "micro_batch", "local_rank", "level_count", "time_step_s");
  CHECK_THROWS_WITH(settings_from_options("a.pt", {{key, "-1"}}), Contains(key) && Contains("-1"));
}

TEST_CASE("options set by the host itself are held to the same ranges when the package opens",
          "[emulators_settings]") {
  PackageSettings how;
  how.path = support::fixture("tiny.pt");
  how.options["threads"] = "-1";
  const auto failure = opening_failure(configuration(tiny), how);
  CHECK(failure.first == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(failure.second, Contains("threads") && Contains("-1"));
}
