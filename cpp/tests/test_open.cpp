// Opening packages: what is refused, with which status and message. Cases tagged [torch] need the
// TorchScript backend.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>

#include "support.hpp"

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using support::fixture;
using support::Handle;
using support::opening;
using support::Options;

namespace {

void refuses(const std::string& name, climlink_status status, const std::string& words,
             const Options& options = {}) {
  CAPTURE(name);
  const auto [got, message] = opening(name, options);
  CHECK(std::string(climlink_status_name(got)) == climlink_status_name(status));
  CHECK_THAT(message, Contains(words));
}

std::string digest_of_tiny() {
  const std::string zeros(64, '0');
  const auto [status, message] = opening("tiny.pt", {{"pinned_sha256", zeros}});
  return message.substr(message.find("SHA-256 is ") + 11, 64);
}

}  // namespace

TEST_CASE("files that are no package are refused before torch sees them", "[open]") {
  refuses("absent.pt", CLIMLINK_ERROR_FILE, "cannot be opened");
  refuses("", CLIMLINK_ERROR_FILE, "not a regular file");
  refuses("empty.pt", CLIMLINK_ERROR_FILE, "is empty");
  refuses("truncated.pt", CLIMLINK_ERROR_FILE, "truncated or damaged");
  refuses("bad_crc.pt", CLIMLINK_ERROR_FILE, "is damaged");
  refuses("text.pt", CLIMLINK_ERROR_PACKAGE, "not a package");
  refuses("plain_zip.pt", CLIMLINK_ERROR_PACKAGE, "no entry */extra/climlink/manifest.json");
  refuses("no_manifest.pt", CLIMLINK_ERROR_PACKAGE, "climlink import");
  refuses("two_manifests.pt", CLIMLINK_ERROR_PACKAGE, "more than one entry");
  refuses("no_golden.pt", CLIMLINK_ERROR_PACKAGE, "golden_outputs.f32");
  refuses("short_golden.pt", CLIMLINK_ERROR_PACKAGE, "has 8 bytes");
  refuses("golden_digest.pt", CLIMLINK_ERROR_PACKAGE, "the golden columns were changed");
  refuses("newer_schema.pt", CLIMLINK_ERROR_SCHEMA, "newer");
  refuses("bad_json.pt", CLIMLINK_ERROR_SCHEMA, "not JSON");
  refuses("no_float32.pt", CLIMLINK_ERROR_BACKEND, "does not allow float32");
}

TEST_CASE("a flipped bit anywhere in a package is refused before torch sees it", "[open]") {
  refuses("flipped_weight.pt", CLIMLINK_ERROR_FILE, "entry tiny/data/0 is damaged (CRC error)");
}

TEST_CASE("what is no file of a package's size is refused unread", "[open]") {
  REQUIRE(mkfifo("pipe.pt", 0600) == 0);
  climlink_emulator* emulator = nullptr;
  CHECK(climlink_open("pipe.pt", nullptr, &emulator) ==
        CLIMLINK_ERROR_FILE);  // nobody writes: a blocking open would wait for ever
  CHECK_THAT(climlink_last_message(), Contains("not a regular file"));
  unlink("pipe.pt");
  std::ofstream("sparse.pt", std::ios::binary).seekp(3'000'000'000).put('x');
  CHECK(climlink_open("sparse.pt", nullptr, &emulator) == CLIMLINK_ERROR_FILE);
  CHECK_THAT(climlink_last_message(),
             Contains("3000000001 bytes; expected a package below 2147483648 bytes"));
  unlink("sparse.pt");
}

TEST_CASE("archives that exhaust or confuse their reader are refused", "[open]") {
  refuses("nested_65.pt", CLIMLINK_ERROR_SCHEMA, "nested deeper than 64 levels");
  refuses("nested_100000.pt", CLIMLINK_ERROR_SCHEMA, "nested deeper than 64 levels");
  refuses("huge_manifest.pt", CLIMLINK_ERROR_SCHEMA,
          "the manifest has 5242880 bytes; expected at most 4194304");
  refuses("inflated.pt", CLIMLINK_ERROR_PACKAGE,
          "claims to hold 83886080 or more (entry tiny/data.pkl)");
  refuses("twice_in_capitals.pt", CLIMLINK_ERROR_PACKAGE,
          "the archive holds the entry TINY/DATA.PKL twice");
}

TEST_CASE("archives can be checked and read without being opened", "[open]") {
  const auto check = [](const char* name) {
    const std::string bytes = support::read_bytes(fixture(name));
    return climlink_check_archive(bytes.data(), static_cast<int64_t>(bytes.size()), name);
  };
  CHECK(check("tiny.pt") == CLIMLINK_OK);
  CHECK(check("no_manifest.pt") == CLIMLINK_OK);  // plain TorchScript
  CHECK(check("flipped_weight.pt") == CLIMLINK_ERROR_FILE);
  CHECK(check("huge_manifest.pt") == CLIMLINK_ERROR_SCHEMA);
  const std::string bytes = support::read_bytes(fixture("tiny.pt"));
  const auto size = static_cast<int64_t>(bytes.size());
  void* contents = nullptr;
  int64_t count = 0;
  REQUIRE(climlink_read_entry(bytes.data(), size, "tiny.pt", "/golden_outputs.f32", &contents,
                              &count) == CLIMLINK_OK);
  CHECK(count == 4 * 5 * 4);
  climlink_free(contents);
  CHECK(climlink_read_entry(bytes.data(), size, "tiny.pt", "/no_such_entry", &contents, &count) ==
        CLIMLINK_ERROR_PACKAGE);
  CHECK(contents == nullptr);
  CHECK(climlink_check_archive(nullptr, 0, "x") == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_check_code(bytes.data(), -1, "x") == CLIMLINK_ERROR_ARGUMENT);
}

TEST_CASE("every truncation of a package is refused", "[open]") {
  const std::string whole = support::read_bytes(fixture("tiny.pt"));
  for (std::size_t size = 0; size < whole.size(); size += 97) {
    CAPTURE(size);
    climlink_emulator* emulator = nullptr;
    CHECK(climlink_open_bytes(whole.data(), static_cast<int64_t>(size), "cut", nullptr,
                              &emulator) != CLIMLINK_OK);
    CHECK(emulator == nullptr);
  }
}

TEST_CASE("the host's claims are held against the manifest", "[open]") {
  refuses("tiny.pt", CLIMLINK_ERROR_HOST, "the host has 60 levels, the package was trained for 4",
          {{"level_count", "60"}});
  refuses("tiny.pt", CLIMLINK_ERROR_HOST, "time step is 1800 s", {{"time_step_s", "1800"}});
  refuses("tiny.pt", CLIMLINK_ERROR_HOST, "time step is", {{"time_step_s", "1200.00001"}});
}

TEST_CASE("a pinned digest is checked before anything else of the file", "[open]") {
  const std::string digest = digest_of_tiny();
  const std::string other =
      digest_of_tiny().replace(0, 2, digest.substr(0, 2) == "00" ? "11" : "00");
  refuses("tiny.pt", CLIMLINK_ERROR_DIGEST, digest, {{"pinned_sha256", other}});
  refuses("text.pt", CLIMLINK_ERROR_DIGEST, "expected the pinned", {{"pinned_sha256", digest}});
}

TEST_CASE("null pointers are refused by name", "[open]") {
  climlink_emulator* emulator = nullptr;
  const void* nothing = nullptr;
  void* bytes = nullptr;
  int64_t size = 0;
  CHECK(climlink_open(nullptr, nullptr, &emulator) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(), Contains("path is a null pointer"));
  CHECK(climlink_open("x", nullptr, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_open_bytes(nothing, 3, "x", nullptr, &emulator) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_open_bytes("abc", 3, nullptr, nullptr, &emulator) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_open_bytes("abc", -3, "x", nullptr, &emulator) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_read_file(nullptr, &bytes, &size) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_read_file("x", nullptr, &size) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_close(nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_close(&emulator) == CLIMLINK_OK);
  CHECK(climlink_begin(nullptr, 1) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_run(nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(), Contains("open a package first"));
}

TEST_CASE("read_file gives the bytes of a file", "[open]") {
  void* bytes = nullptr;
  int64_t size = 0;
  REQUIRE(climlink_read_file(fixture("text.pt").c_str(), &bytes, &size) == CLIMLINK_OK);
  CHECK(std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size)) ==
        support::read_bytes(fixture("text.pt")));
  climlink_free(bytes);
  CHECK(climlink_read_file(fixture("absent").c_str(), &bytes, &size) == CLIMLINK_ERROR_FILE);
  CHECK(bytes == nullptr);
  climlink_free(nullptr);
}

TEST_CASE("every status has a short name", "[open]") {
  for (int status = CLIMLINK_OK; status <= CLIMLINK_ERROR_GROUP; ++status) {
    CHECK(std::string(climlink_status_name(static_cast<climlink_status>(status))) != "unknown");
  }
  CHECK(std::string(climlink_status_name(static_cast<climlink_status>(12345))) == "unknown");
  CHECK(std::string(climlink_version()).find('.') != std::string::npos);
}

TEST_CASE("a build without libtorch reads, validates and says why it cannot run", "[stub]") {
  CHECK(std::string(climlink_backend()) == "stub");
  refuses("tiny.pt", CLIMLINK_ERROR_BACKEND, "CLIMLINK_TORCH=ON");
  refuses("tiny.pt", CLIMLINK_ERROR_DEVICE, "no cuda device", {{"device", "cuda"}});
  CHECK(climlink_check_code("x", 1, "x") == CLIMLINK_ERROR_BACKEND);
}

TEST_CASE(
    "a graph that does more than compute is refused before it acts, unless the host trusts it",
    "[torch]") {
  const char* written = "written_by_graph";
  unlink(written);
  refuses("acting.pt", CLIMLINK_ERROR_GRAPH,
          "the graph calls aten::save in __torch__.Acting.forward");
  refuses("acting_on_load.pt", CLIMLINK_ERROR_GRAPH,
          "names __setstate__, which runs while the file is loaded");
  CHECK(access(written, F_OK) != 0);
  const Options trusting = {{"trust_code", "true"}};
  CHECK(opening("acting.pt", trusting).first == CLIMLINK_OK);
  CHECK(opening("acting_on_load.pt", trusting).first == CLIMLINK_OK);
  CHECK(access(written, F_OK) == 0);  // so the refusals above prevented something
  unlink(written);
}

TEST_CASE("a graph may raise in any of its methods, in any emulator of a process", "[torch]") {
  for (int time = 0; time < 20; ++time) {
    const Handle handle("raising.pt");
    std::vector<float> x(2 * 9, 2e5F), y(2 * 5);
    CHECK(climlink_run_packed(handle, x.data(), 2, 9, y.data(), 5) == CLIMLINK_ERROR_BACKEND);
    CHECK_THAT(climlink_last_message(), Contains("the method refuses inputs above 1e5"));
  }
}

TEST_CASE("code and pickles that would exhaust libtorch's parsers are refused", "[torch]") {
  refuses("deep_code.pt", CLIMLINK_ERROR_PACKAGE, "code nested deeper than 256 levels");
  refuses("large_memo.pt", CLIMLINK_ERROR_PACKAGE, "memo number 4009754623 after 0 values");
}

TEST_CASE("graphs that disagree with their manifest are refused", "[torch]") {
  refuses("not_torchscript.pt", CLIMLINK_ERROR_PACKAGE, "does not hold a TorchScript module");
  refuses("wide_output.pt", CLIMLINK_ERROR_GRAPH,
          "the graph returns Float [64, 5]; the manifest says Float [64, 6]");
  refuses("wide_input.pt", CLIMLINK_ERROR_GRAPH, "cannot be multiplied (64x10 and 9x5)");
  refuses("pair.pt", CLIMLINK_ERROR_GRAPH, "returns a Tuple");
  refuses("double.pt", CLIMLINK_ERROR_GRAPH, "returns Double");
}

TEST_CASE("a golden replay outside the tolerance names variable, column, got and expected",
          "[torch]") {
  refuses("golden_tampered.pt", CLIMLINK_ERROR_GOLDEN,
          "ptend_t: column 2 (0-based), level 3: got ");
  refuses("golden_tampered.pt", CLIMLINK_ERROR_GOLDEN, "beyond the tolerance 2e-05");
  refuses("no_tolerance.pt", CLIMLINK_ERROR_GOLDEN, "no tolerance for torchscript/cpu/float32");
}

TEST_CASE(
    "the golden difference is the largest |a - b| / (s + |b|), with the scale of its own output",
    "[torch]") {
  const Handle handle("off_by_hand.pt");
  double difference = 0;
  REQUIRE(climlink_golden_difference(handle, &difference) == CLIMLINK_OK);
  // Column 1, level 2 has -3 where -3.5 was recorded, s = 0.03; 0.125 / (0.01 + 1.125) of column 0,
  // level 0 is smaller.
  CHECK(difference == Approx(0.5 / 3.53).epsilon(1e-14));
  refuses("off_beyond.pt", CLIMLINK_ERROR_GOLDEN,
          "ptend_t: column 1 (0-based), level 2: got -3, expected -3.5; difference 0.14164");
}

TEST_CASE("a golden replay that gives no number is refused", "[torch]") {
  refuses("golden_nan.pt", CLIMLINK_ERROR_GOLDEN,
          "ptend_t: column 0 (0-based), level 3: got nan, expected 4");
  refuses("both_nan.pt", CLIMLINK_ERROR_GOLDEN, "level 3: got nan, expected nan");
}

TEST_CASE("an imported graph opens like any other and says what it asks of the host", "[torch]") {
  const Handle handle("imported.pt");
  const char* policy = nullptr;
  REQUIRE(climlink_host_postprocessing(handle, &policy) == CLIMLINK_OK);
  CHECK(std::string(policy) == "legacy");
}

TEST_CASE("a good package opens, from a file and from memory, and describes itself", "[torch]") {
  const std::string digest = digest_of_tiny();
  const Options options = {
      {"level_count", "4"}, {"time_step_s", "1200.0000000012"}, {"pinned_sha256", digest}};
  const std::string bytes = support::read_bytes(fixture("tiny.pt"));
  Handle handle;
  REQUIRE(climlink_open_bytes(bytes.data(), static_cast<int64_t>(bytes.size()), "broadcast",
                              options, &handle.emulator) == CLIMLINK_OK);
  const char* text = nullptr;
  CHECK(climlink_digest(handle, &text) == CLIMLINK_OK);
  CHECK(text == digest);
  CHECK(climlink_device(handle, &text) == CLIMLINK_OK);
  CHECK(std::string(text) == "cpu");
  CHECK(climlink_host_postprocessing(handle, &text) == CLIMLINK_OK);
  CHECK(std::string(text) == "none");
  CHECK(climlink_host_postprocessing(handle, nullptr) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_manifest(handle, &text) == CLIMLINK_OK);
  CHECK_THAT(text, Contains("\"state_q0001\""));
  int32_t level_count = 0;
  double number = 0;
  CHECK((climlink_level_count(handle, &level_count) == CLIMLINK_OK && level_count == 4));
  CHECK((climlink_time_step(handle, &number) == CLIMLINK_OK && number == 1200));
  CHECK((climlink_golden_difference(handle, &number) == CLIMLINK_OK && number >= 0 &&
         number <= 1e-6));
  CHECK(climlink_close(&handle.emulator) == CLIMLINK_OK);
  CHECK(handle.emulator == nullptr);
}

TEST_CASE("variables are listed by role, and units can be required", "[torch]") {
  const Handle handle("tiny.pt");
  int32_t count = 0;
  int64_t width = 0, offset = 0;
  const char *name = nullptr, *units = nullptr;
  REQUIRE(climlink_variable_count(handle, CLIMLINK_INPUT, &count, &width) == CLIMLINK_OK);
  CHECK((count == 3 && width == 9));
  REQUIRE(climlink_variable(handle, CLIMLINK_INPUT, 2, &name, &units, &width, &offset) ==
          CLIMLINK_OK);
  CHECK(
      (std::string(name) == "state_ps" && std::string(units) == "Pa" && width == 1 && offset == 8));
  CHECK(climlink_variable(handle, CLIMLINK_INPUT, 3, &name, &units, &width, &offset) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_variable(handle, CLIMLINK_INPUT, -1, &name, &units, &width, &offset) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_variable_count(handle, static_cast<climlink_role>(3), &count, &width) ==
        CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_require_units(handle, CLIMLINK_OUTPUT, "ptend_t", "K/s") == CLIMLINK_OK);
  CHECK(climlink_require_units(handle, CLIMLINK_INPUT, "state_ps", "hPa") == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(), Contains("the host has units \"hPa\", the package \"Pa\""));
  for (const char* as_long : {"hP", "pa", "aP", "Pb"}) {
    CHECK(climlink_require_units(handle, CLIMLINK_INPUT, "state_ps", as_long) ==
          CLIMLINK_ERROR_HOST);
  }
  CHECK(climlink_require_units(handle, CLIMLINK_INPUT, "state_t", "m") == CLIMLINK_ERROR_HOST);
  CHECK(climlink_require_units(handle, CLIMLINK_OUTPUT, "ptend_t", "m/s") == CLIMLINK_ERROR_HOST);
  CHECK(climlink_require_units(handle, CLIMLINK_OUTPUT, "cam_out_PRECC", "K/s") ==
        CLIMLINK_ERROR_HOST);
  CHECK(climlink_require_units(handle, CLIMLINK_INPUT, "state_p", "Pa") == CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(climlink_last_message(), Contains("Near names: state_t, state_ps"));
  CHECK(climlink_require_units(handle, CLIMLINK_INPUT, "ptend_t", "K/s") ==
        CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(climlink_last_message(), Contains("It is an output."));
}

TEST_CASE("\"auto\" falls to the CPU where there is no CUDA device, \"cuda\" does not", "[torch]") {
  if (opening("tiny.pt", {{"device", "cuda"}}).first == CLIMLINK_OK) return;  // there is one here
  refuses("tiny.pt", CLIMLINK_ERROR_DEVICE, "no cuda device", {{"device", "cuda:0"}});
  CHECK(opening("tiny.pt", {{"device", "auto"}}).first == CLIMLINK_OK);
}
