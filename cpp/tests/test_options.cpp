// Options by name and text: what there is, what a value may be, and who reads the defaults.
#include <catch2/catch.hpp>
#include <clocale>
#include <map>
#include <set>

#include "support.hpp"

using Catch::Matchers::Contains;
using support::opening;
using support::Options;

namespace {

struct Row {
  std::string type, value, set_by, help;
};

std::map<std::string, Row> table() {
  std::map<std::string, Row> rows;
  for (int32_t i = 0; i < climlink_option_count(); ++i) {
    const char *name = nullptr, *type = nullptr, *value = nullptr, *set_by = nullptr,
               *help = nullptr;
    REQUIRE(climlink_option(i, &name, &type, &value, &set_by, &help) == CLIMLINK_OK);
    REQUIRE(rows.emplace(name, Row{type, value, set_by, help}).second);
  }
  return rows;
}

std::string value_of(const climlink_options* options, const std::string& name) {
  const char* value = nullptr;
  REQUIRE(climlink_options_get(options, name.c_str(), &value) == CLIMLINK_OK);
  return value;
}

void refuses_value(const char* name, const std::string& value, const std::string& expected) {
  CAPTURE(name, value);
  const Options options;
  const std::string before = value_of(options, name);
  CHECK(climlink_options_set(options, name, value.c_str()) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(),
             Contains(std::string("option ") + name + " is \"" + value + "\"") &&
                 Contains("expected " + expected));
  CHECK(value_of(options, name) == before);
}

}  // namespace

TEST_CASE("the table says name, type, default and who sets an option", "[open]") {
  const auto rows = table();
  const std::map<std::string, std::pair<std::string, std::string>> user = {
      {"device", {"text", "cpu"}},
      {"threads", {"integer", "1"}},
      {"micro_batch", {"integer", "64"}},
      {"pinned_sha256", {"text", ""}},
      {"tuning", {"text", ""}},
      {"compiled", {"text", ""}},
      {"compiled_sha256", {"text", ""}},
      {"constraints_off", {"names", ""}},
      {"trust_code", {"logical", "false"}},
      {"group_size", {"integer", "1"}},
      {"device_memory_fraction", {"real", "0"}},
      {"cuda_graphs", {"logical", "false"}},
      {"group_timeout_s", {"integer", "600"}}};
  const std::map<std::string, std::pair<std::string, std::string>> host = {
      {"level_count", {"integer", "0"}},
      {"time_step_s", {"real", "0"}},
      {"column_count", {"integer", "0"}},
      {"local_rank", {"integer", "0"}},
      {"language", {"text", "c"}}};
  CHECK(rows.size() == user.size() + host.size());
  for (const auto& [set_by, expected] : {std::pair{"user", user}, std::pair{"host", host}}) {
    for (const auto& [name, row] : expected) {
      CAPTURE(name);
      REQUIRE(rows.count(name) == 1);
      CHECK(rows.at(name).type == row.first);
      CHECK(rows.at(name).value == row.second);
      CHECK(rows.at(name).set_by == set_by);
      CHECK(rows.at(name).help.size() > 10);
    }
  }
  const char* text = nullptr;
  const int32_t outside = GENERATE(-1, climlink_option_count());
  CHECK(climlink_option(outside, &text, &text, &text, &text, &text) == CLIMLINK_ERROR_ARGUMENT);
}

TEST_CASE("new options have the table's values, which they accept as they stand", "[open]") {
  const Options options;
  for (const auto& [name, row] : table()) {
    CAPTURE(name);
    CHECK(value_of(options, name) == row.value);
    CHECK(climlink_options_set(options, name.c_str(), row.value.c_str()) == CLIMLINK_OK);
    CHECK(value_of(options, name) == row.value);
  }
}

TEST_CASE("values are read from text as hosts write it", "[open]") {
  const Options options;
  const auto spelled = [&](const char* name, const char* given) {
    REQUIRE(climlink_options_set(options, name, given) == CLIMLINK_OK);
    return value_of(options, name);
  };
  CHECK(spelled("micro_batch", "  128   ") == "128");
  CHECK(spelled("device", "cuda:3  ") == "cuda:3");
  CHECK(spelled("constraints_off", " night ,\tnon_negative  ") == "night,non_negative");
  CHECK(spelled("constraints_off", "   ").empty());
  CHECK(spelled("time_step_s", "1.2e3") == "1.2e3");
  for (const char* yes : {"true", ".true.", "T", "1", " .TRUE. ", "True"})
    CHECK(spelled("trust_code", yes) == "true");
  for (const char* no : {"false", ".false.", "F", "0", "False"})
    CHECK(spelled("trust_code", no) == "false");
}

TEST_CASE("values outside their range or not of their type are refused", "[open]") {
  for (const char* value : {"0", "-1", "two", "2x", "2.5", "2 3", "", "99999999999"})
    refuses_value("threads", value, "an integer, 1 or more");
  for (const char* value : {"1", "-64", "many"})
    refuses_value("micro_batch", value, "an integer, 2 or more samples per forward");
  refuses_value("level_count", "-1", "an integer, the host's number of levels");
  refuses_value("local_rank", "-1", "an integer, the rank on this node");
  for (const char* value : {"-1", "nan", "inf", "1e999", "20 min", ""})
    refuses_value("time_step_s", value, "a number, the host's time step in seconds");
  for (const char* value : {"gpu", "", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "xpu:"})
    refuses_value("device", value, "\"cpu\", \"cuda\", \"cuda:N\", \"xpu\", \"xpu:N\" or \"auto\"");
  for (const char* value : {"-0.1", "1.1", "nan", "half", ""})
    refuses_value("device_memory_fraction", value, "a part of the device's memory");
  for (const std::string& value : {std::string("abc"), std::string(63, '0') + "g"})
    refuses_value("pinned_sha256", value, "64 hexadecimal digits");
  for (const char* value : {"2", "yes", ""}) refuses_value("trust_code", value, "false");
  for (const char* value : {"Fortran", "python", ""})
    refuses_value("language", value, "\"c\" or \"fortran\"");
}

TEST_CASE("a number is read alike in every locale", "[open]") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"de_DE.UTF-8", "C"}) {  // one of them is there on every machine
    if (std::setlocale(LC_ALL, locale) == nullptr) continue;
    const Options options;
    CHECK(climlink_options_set(options, "time_step_s", "1200.5") == CLIMLINK_OK);
    CHECK(climlink_options_set(options, "time_step_s", "1200,5") == CLIMLINK_ERROR_ARGUMENT);
  }
  std::setlocale(LC_ALL, before.c_str());
}

TEST_CASE("an unknown option is refused with the near ones and all there are", "[open]") {
  const Options options;
  const char* value = nullptr;
  for (const auto status : {climlink_options_set(options, "microbatch", "64"),
                            climlink_options_get(options, "microbatch", &value)}) {
    CHECK(status == CLIMLINK_ERROR_ARGUMENT);
    CHECK_THAT(climlink_last_message(), Contains("\"microbatch\" is not an option. Near names: "
                                                 "micro_batch"));
  }
  for (const auto& [name, row] : table()) CHECK_THAT(climlink_last_message(), Contains(name));
}

TEST_CASE("options are freed once, and null pointers are refused by name", "[open]") {
  climlink_options* options = nullptr;
  REQUIRE(climlink_options_new(&options) == CLIMLINK_OK);
  const char* value = nullptr;
  CHECK(climlink_options_set(options, "threads", nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(), Contains("threads is a null pointer"));
  CHECK(climlink_options_set(options, nullptr, "1") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_options_set(nullptr, "threads", "1") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_options_get(nullptr, "threads", &value) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_options_get(options, "threads", nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_options_new(nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_option(0, nullptr, &value, &value, &value, &value) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_options_free(&options) == CLIMLINK_OK);
  CHECK(options == nullptr);
  CHECK(climlink_options_free(&options) == CLIMLINK_OK);
  CHECK(climlink_options_free(nullptr) == CLIMLINK_ERROR_ARGUMENT);
}

TEST_CASE("an emulator does not need the options that it was opened with", "[torch]") {
  climlink_options* options = nullptr;
  REQUIRE(climlink_options_new(&options) == CLIMLINK_OK);
  REQUIRE(climlink_options_set(options, "language", "fortran") == CLIMLINK_OK);
  support::Handle handle;
  REQUIRE(climlink_open(support::fixture("tiny.pt").c_str(), options, &handle.emulator) ==
          CLIMLINK_OK);
  climlink_options_free(&options);
  support::one_step(handle, 3);
}
