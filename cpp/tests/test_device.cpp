// The runtime on a device beside the CPU: two CUDA devices of host memory (stand_in_device.cpp) in
// a libtorch without CUDA. What they compute is what the CPU computes.
#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/jit/passes/tensorexpr_fuser.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "stand_in_device.hpp"
#include "support.hpp"

using Catch::Matchers::Contains;
using stand_in::counts;
using support::Handle;
using support::opening;

namespace {

constexpr int64_t n_input = 557, n_output = 368;

std::vector<float> random_rows(int64_t n) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<std::size_t>(n * n_input));
  for (float& value : rows) value = normal(random);
  return rows;
}

std::vector<float> run(climlink_emulator* emulator, const std::vector<float>& x) {
  const auto n = static_cast<int64_t>(x.size()) / n_input;
  std::vector<float> y(static_cast<std::size_t>(n * n_output));
  REQUIRE(climlink_run_packed(emulator, x.data(), n, n_input, y.data(), n_output) == CLIMLINK_OK);
  return y;
}

std::string told(const climlink_emulator* emulator, decltype(&climlink_device) query) {
  const char* answer = nullptr;
  REQUIRE(query(emulator, &answer) == CLIMLINK_OK);
  return answer;
}

// Counts of a run alone.
template <class Call>
stand_in::Counts counted(const Call& call) {
  counts() = {};
  call();
  return counts();
}

}  // namespace

TEST_CASE("a device gives what the CPU gives, whatever the number of columns", "[device]") {
  const Handle cpu("mlp.pt"), device("mlp.pt", {{"device", "cuda"}, {"local_rank", "3"}});
  CHECK(told(device, climlink_device) == "cuda:1");
  const auto all = random_rows(100);
  const auto expected = run(cpu, all), whole = run(device, all);
  // Layers of other kernels: some roundings of sums of up to 557 products of order 1.
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(expected[i] - whole[i]) <= 1e-5F)) FAIL(i << ": " << whole[i]);
  for (const int64_t n : {1, 16, 17, 40}) {
    CAPTURE(n);
    const auto got = run(device, {all.begin(), all.begin() + n * n_input});
    CHECK(std::memcmp(whole.data(), got.data(), got.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("a step is one copy each way, of pinned memory, on a stream of its own", "[device]") {
  const Handle device("mlp.pt", {{"device", "cuda:0"}, {"column_count", "100"}});
  for (const int64_t n : {100, 3, 100, 96}) {
    CAPTURE(n);
    const auto x = random_rows(n);
    const auto seen = counted([&] { run(device, x); });
    CHECK(seen.to_device == 1);
    CHECK(seen.from_device == 1);
    CHECK(seen.from_pageable == 0);
    CHECK(seen.on_default_stream == 0);
    CHECK(seen.waits == 1);
  }
}

TEST_CASE("use of the range policy is told from a device too", "[device]") {
  const auto use_on = [](const char* where) {
    const Handle handle("ranged.pt", {{"device", where}});
    support::one_step(handle, 5);
    std::vector<double> clipped(5), heating(5), share(5);
    REQUIRE(climlink_range_use(handle, 5, clipped.data(), heating.data(), share.data()) ==
            CLIMLINK_OK);
    clipped.insert(clipped.end(), heating.begin(), heating.end());
    clipped.insert(clipped.end(), share.begin(), share.end());
    return clipped;
  };
  const auto expected = use_on("cpu");
  CHECK(expected[5] != 0);
  CHECK(use_on("cuda") == expected);
}

TEST_CASE("the process keeps its fuser, its executor, its device and its stream", "[device]") {
  using namespace torch::jit;
  setTensorExprFuserEnabled(true);
  const auto chosen = [] {
    return std::tuple(tensorExprFuserEnabled(), getExecutorMode().load(), getProfilingMode().load(),
                      getNumProfiledRuns().load(), getGraphExecutorOptimize());
  };
  const auto before = chosen();
  const c10::DeviceGuard host(c10::Device(c10::kCUDA, 1));
  const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
  const Handle device("mlp.pt", {{"device", "cuda:0"}});
  run(device, random_rows(20));
  CHECK(chosen() == before);
  CHECK(guard.getDevice().index() == 1);
  for (const char* each : {"cuda:0", "cuda:1"}) CHECK(guard.getStream(c10::Device(each)).id() == 0);
}

TEST_CASE("no forward is profiled: the first runs the operators that all run", "[device]") {
  const Handle device("mlp.pt", {{"device", "cuda"}});
  const auto operations = [&](int64_t n) {
    return counted([&] { run(device, random_rows(n)); }).operations;
  };
  const auto first = operations(700);
  CHECK(first > 0);
  CHECK(operations(700) == first);
  CHECK(operations(16) == first);
}

TEST_CASE("no TF32 inside, whatever the process allows itself", "[device]") {
  constexpr auto place = at::Float32Backend::CUDA;
  constexpr auto operation = at::Float32Op::MATMUL;
  auto& context = at::globalContext();
  const auto before = context.float32Precision(place, operation);
  context.setFloat32Precision(place, operation, at::Float32Precision::TF32);
  const Handle device("mlp.pt", {{"device", "cuda"}});
  const auto seen = counted([&] { run(device, random_rows(20)); });
  CHECK(seen.operations > 0);
  CHECK(seen.reduced == 0);
  CHECK(context.float32Precision(place, operation) == at::Float32Precision::TF32);
  context.setFloat32Precision(place, operation, before);
}

TEST_CASE("a recorded forward is replayed on the rows of its step", "[device]") {
  const Handle plain("mlp.pt", {{"device", "cuda"}});
  const Handle recorded("mlp.pt",
                        {{"device", "cuda"}, {"cuda_graphs", "true"}, {"column_count", "90"}});
  CHECK(told(recorded, climlink_engine_note) == "forwards of 96 rows are recorded as a graph");
  auto x = random_rows(90);
  for (int step = 0; step < 3; ++step) {
    for (float& value : x) value += 0.25F;
    std::vector<float> got;
    const auto seen = counted([&] { got = run(recorded, x); });
    CHECK(seen.replays == 1);
    CHECK(seen.operations == 0);
    CHECK((seen.to_device == 1 && seen.from_device == 1));
    const auto expected = run(plain, x);
    CHECK(std::memcmp(expected.data(), got.data(), expected.size() * sizeof(float)) == 0);
  }
  CHECK(counted([&] { run(recorded, random_rows(20)); }).replays == 0);  // another size
}

TEST_CASE("what cannot be recorded runs as before, and the note says why", "[device]") {
  const Handle device("tiny.pt", {{"device", "cuda"}, {"cuda_graphs", "1"}, {"column_count", "5"}});
  CHECK_THAT(told(device, climlink_engine_note),
             Contains("cuda_graphs: forwards of 16 rows are not recorded: ") &&
                 Contains("not permitted when stream is capturing"));
  support::one_step(device, 5);
  const Handle cpu("tiny.pt", {{"cuda_graphs", "true"}});
  CHECK(told(cpu, climlink_engine_note).empty());
}

TEST_CASE("memory of a device is told, and where it is short the next step may fit", "[device]") {
  const Handle device("mlp.pt", {{"device", "cuda"}});
  int64_t held = 0, available = 0, total = 0;
  REQUIRE(climlink_device_memory(device, &held, &available, &total) == CLIMLINK_OK);
  CHECK(held > 500'000);  // the weights
  CHECK((available == int64_t{1} << 30 && total == int64_t{1} << 32));
  stand_in::limit_memory(held + 100'000);
  const auto x = random_rows(300);
  std::vector<float> y(300 * n_output);
  CHECK(climlink_run_packed(device, x.data(), 300, n_input, y.data(), n_output) ==
        CLIMLINK_ERROR_BACKEND);
  CHECK_THAT(climlink_last_message(), Contains("stand-in out of memory"));
  CHECK(opening("mlp.pt", {{"device", "cuda"}}).second.find("out of memory") != std::string::npos);
  stand_in::limit_memory(0);
  run(device, x);

  const Handle cpu("mlp.pt");
  REQUIRE(climlink_device_memory(cpu, &held, &available, &total) == CLIMLINK_OK);
  CHECK((held == 0 && available == 0 && total == 0));
}

TEST_CASE("a cap that cannot be set is refused, and is nothing on the CPU", "[device]") {
  const auto [status, message] =
      opening("tiny.pt", {{"device", "cuda"}, {"device_memory_fraction", "0.25"}});
  CHECK(status == CLIMLINK_ERROR_BACKEND);
  CHECK_THAT(message, Contains("device_memory_fraction is 0.25") && Contains("cuda:0"));
  CHECK(opening("tiny.pt", {{"device_memory_fraction", "0.25"}}).first == CLIMLINK_OK);
}

TEST_CASE("devices are counted for the groups of a node", "[device]") {
  int32_t count = -1;
  for (const char* policy : {"cuda", "auto"}) {
    REQUIRE(climlink_device_count(policy, &count) == CLIMLINK_OK);
    CHECK(count == stand_in::n_device);
  }
  for (const char* policy : {"cpu", "cuda:1", "xpu"}) {
    REQUIRE(climlink_device_count(policy, &count) == CLIMLINK_OK);
    CHECK(count == 0);
  }
  CHECK_THAT(opening("tiny.pt", {{"device", "cuda:2"}}).second, Contains("sees 2 cuda device(s)"));
}
