// Digest, near names, device choice, sizes of forwards, and what compiled code and tuning need.
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <set>
#include <stdexcept>

#include "column_runner.hpp"
#include "compiled_artefact.hpp"
#include "device.hpp"
#include "error.hpp"
#include "near_names.hpp"
#include "processor.hpp"
#include "sha256.hpp"
#include "shared_object.hpp"
#include "tuning.hpp"

using Catch::Matchers::Contains;
using namespace climlink;

TEST_CASE("SHA-256 gives the published digests", "[parts]") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(is_sha256_hex(std::string(64, 'A')));
  CHECK_FALSE(is_sha256_hex(std::string(63, 'a')));
  CHECK_FALSE(is_sha256_hex(std::string(63, 'a') + "g"));
}

TEST_CASE("edit distance counts insertions, deletions and replacements", "[parts]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("state_t", "state_t") == 0);
}

TEST_CASE("near names lists the closest first and nothing far", "[parts]") {
  const std::vector<std::string_view> names = {"state_q0001", "state_q0002", "state_t", "state_ps",
                                               "cam_in_ASDIR"};
  CHECK_THAT(near_names("state_T", names), Contains("Near names: state_t"));
  CHECK_THAT(near_names("ASDIR", names), Contains("cam_in_ASDIR"));
  CHECK(near_names("zzzzzzzzzzzz", names).empty());
  CHECK(near_names("", names).empty());
}

namespace {

// So many CUDA and XPU devices; counting those of a kind that is not asked for fails.
DeviceCount devices(int cuda, int xpu = -1) {
  return [=](DeviceKind kind) {
    const int count = kind == DeviceKind::cuda ? cuda : kind == DeviceKind::xpu ? xpu : -1;
    if (count < 0) throw std::logic_error("a driver is started in vain");
    return count;
  };
}

constexpr int not_asked = -1;

}  // namespace

TEST_CASE("a device is chosen from policy, rank on the node and device count", "[parts]") {
  const auto chosen = [](std::string_view policy, int rank, int cuda, int xpu = not_asked) {
    return choose_device(policy, rank, devices(cuda, xpu)).text();
  };
  CHECK(chosen("cpu", 3, not_asked) == "cpu");
  CHECK(chosen("auto", 3, 0) == "cpu");
  CHECK(chosen("auto", 5, 4) == "cuda:1");
  CHECK(chosen("cuda", 0, 1) == "cuda:0");
  CHECK(chosen("cuda", 7, 4) == "cuda:3");
  CHECK(chosen("cuda:2", 7, 4) == "cuda:2");
  CHECK(chosen("xpu", 7, not_asked, 6) == "xpu:1");
  CHECK(chosen("xpu:5", 0, not_asked, 6) == "xpu:5");
  const Device xpu = choose_device("xpu:5", 0, devices(not_asked, 6));
  CHECK((xpu.type() == "xpu" && xpu.tolerance_type() == "cuda" && !xpu.on_host()));
  CHECK(Device().tolerance_type() == "cpu");
}

TEST_CASE("devices to choose among are counted where the rank decides, and only there", "[parts]") {
  CHECK(choices_of("cuda", devices(4)) == 4);
  CHECK(choices_of("auto", devices(2)) == 2);
  CHECK(choices_of("xpu", devices(not_asked, 3)) == 3);
  for (const char* policy : {"cpu", "cuda:1", "xpu:0", "gpu"})
    CHECK(choices_of(policy, devices(not_asked)) == 0);
}

TEST_CASE("the forwards of a step have the sizes that warm-up runs", "[parts]") {
  using Sizes = std::vector<std::int64_t>;
  const Batching on_cpu{16, 64}, on_device{16, 0}, one_by_one{1, 1};
  CHECK(on_cpu.sizes(192) == Sizes{64});
  CHECK(on_cpu.sizes(200) == Sizes{64, 16});
  CHECK(on_cpu.sizes(250) == Sizes{64});  // 58 rows are filled up to 64
  CHECK(on_cpu.sizes(50) == Sizes{64});
  CHECK(on_cpu.sizes(40) == Sizes{48});
  CHECK(on_device.sizes(384) == Sizes{384});
  CHECK(on_device.sizes(385) == Sizes{512});
  CHECK(on_device.sizes(21600) == Sizes{24576});
  CHECK(one_by_one.sizes(3) == Sizes{1});
  CHECK(on_device.sizes(0).empty());
}

TEST_CASE("a device sees few sizes, none of them half empty", "[parts]") {
  for (const std::int64_t granule : {1, 2, 16}) {
    const Batching batching{granule, 0};
    std::set<std::int64_t> sizes;
    for (std::int64_t n = 1; n <= 4096; ++n) {
      const std::int64_t rows = batching.rows(n);
      CHECK((rows >= n && rows % granule == 0));
      CHECK((rows == granule || 2 * rows <= 3 * (n - 1) || rows == 2 * granule));
      CHECK(batching.rows(rows) == rows);
      sizes.insert(rows);
    }
    CHECK(sizes.size() <= 24);
  }
}

TEST_CASE("what a processor lacks is named", "[parts]") {
  CHECK(missing_flags({"avx2", "fma"}, {"fma", "sse", "avx2"}).empty());
  CHECK(missing_flags({"avx2", "amx_tile"}, {"fma", "avx2"}) ==
        std::vector<std::string>{"amx_tile"});
  CHECK_FALSE(processor_name().empty());
}

TEST_CASE("a tuning file answers for its own key only", "[parts]") {
  const std::string path = std::string(CLIMLINK_FIXTURES) + "/tuning.json";
  std::ofstream(path) << R"({"schema_version": 1, "entries": [{"processor": "P", "threads": 2,
    "package_sha256": "a", "engine": "torchscript", "precision": "float32", "micro_batch": 192}]})";
  const TuningKey key{"P", 2, "a", "torchscript", "float32"};
  CHECK(tuned_micro_batch(path, key) == 192);
  for (const TuningKey& other : {TuningKey{"Q", 2, "a", "torchscript", "float32"},
                                 TuningKey{"P", 1, "a", "torchscript", "float32"},
                                 TuningKey{"P", 2, "b", "torchscript", "float32"},
                                 TuningKey{"P", 2, "a", "aotinductor", "float32"},
                                 TuningKey{"P", 2, "a", "torchscript", "bfloat16"}})
    CHECK_FALSE(tuned_micro_batch(path, other));
  std::ofstream(path) << R"({"schema_version": 2, "entries": []})";
  CHECK_THROWS_WITH(tuned_micro_batch(path, key), Contains("schema_version: expected 1"));
  std::ofstream(path) << "no JSON";
  CHECK_THROWS_WITH(tuned_micro_batch(path, key),
                    Contains("not a file of `climlink bench --tune`"));
  std::remove(path.c_str());
  CHECK_THROWS_AS(tuned_micro_batch(path, key), Error);
}

TEST_CASE("what is no shared object is refused with the linker's reason", "[parts]") {
  CHECK_THROWS_WITH(load_shared_object("not ELF", "digest", "model.pt2"),
                    Contains("model.pt2: the compiled code cannot be loaded"));
}

TEST_CASE("a device that is not there, or not known, is refused", "[parts]") {
  const auto status_of = [](std::string_view policy, int rank, int count) {
    try {
      choose_device(policy, rank, devices(count, count));
    } catch (const Error& error) {
      return error.status();
    }
    return CLIMLINK_OK;
  };
  CHECK(status_of("cuda", 0, 0) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("cuda:0", 0, 0) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("cuda:4", 0, 4) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("xpu", 0, 0) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("xpu:4", 0, 4) == CLIMLINK_ERROR_DEVICE);
  for (const char* policy : {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda: 1",
                             "cuda:99999999999", "cpu:0", "xpu:", "xpu1", "cudaxpu"}) {
    CAPTURE(policy);
    CHECK(status_of(policy, 0, 4) == CLIMLINK_ERROR_ARGUMENT);
  }
  CHECK(status_of("cpu", -1, 4) == CLIMLINK_ERROR_ARGUMENT);
}
