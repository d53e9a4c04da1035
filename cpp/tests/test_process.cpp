// What the runtime does to the process around it: threads, precision and memory.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <climlink/torchscript.h>
#include <dlfcn.h>
#include <torch/version.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

using support::Handle;
using support::one_step;

namespace {

long resident_kib() {
  long total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

// The process's own choice of how the CPU multiplies float32 matrices, in each libtorch's words.
#if TORCH_VERSION_MINOR >= 10
using Precision = at::Float32Precision;
constexpr auto usual = Precision::NONE, reduced = Precision::BF16;
constexpr auto on_cpu = at::Float32Backend::MKLDNN;
constexpr auto product = at::Float32Op::MATMUL;
Precision precision() { return at::globalContext().float32Precision(on_cpu, product); }
void choose(Precision p) { at::globalContext().setFloat32Precision(on_cpu, product, p); }
#elif TORCH_VERSION_MINOR == 9
using Precision = std::string;
const std::string usual = "none", reduced = "bf16";
Precision precision() { return at::globalContext().float32Precision("mkldnn", "matmul"); }
void choose(const Precision& p) { at::globalContext().setFloat32Precision("mkldnn", "matmul", p); }
#else
using Precision = at::Float32MatmulPrecision;
constexpr auto usual = Precision::HIGHEST, reduced = Precision::MEDIUM;
Precision precision() { return at::globalContext().float32MatmulPrecision(); }
void choose(Precision p) { at::globalContext().setFloat32MatmulPrecision(p); }
#endif

}  // namespace

TEST_CASE("the process keeps its own number of threads and its own float32 precision",
          "[process]") {
  at::set_num_threads(2);
  choose(reduced);
  const support::Options options = {{"threads", "1"}};
  const Handle handle("tiny.pt", options);
  CHECK(at::get_num_threads() == 2);
  one_step(handle, 5);
  CHECK(at::get_num_threads() == 2);
  CHECK(precision() == reduced);
  support::opening("golden_tampered.pt", options);  // also where opening fails half-way
  CHECK(at::get_num_threads() == 2);
  choose(usual);
}

#if defined(__linux__)
// libtorch's pool of a thread is as large as its first parallel operation asks; ATen's own choice
// would be another number than 4.
TEST_CASE("the first forward on a thread has the thread's own number of OpenMP threads",
          "[process]") {
  const auto set_threads =
      reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  REQUIRE(set_threads != nullptr);
  at::set_num_threads(2);  // what ATen gives to threads that it meets for the first time
  const auto tasks = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  long added = 0;
  climlink_status status = CLIMLINK_OK;
  std::thread([&] {
    set_threads(4);
    std::vector<float> x(1'000'000, 1.0F), y(x.size());
    const std::int64_t shape[] = {1'000'000}, stride[] = {1};
    climlink_module* module = nullptr;
    climlink_tensor *input = nullptr, *output = nullptr;
    climlink_module_load(CLIMLINK_TORCHSCRIPT "/numbered.pt", "cpu", &module);
    climlink_tensor_wrap(x.data(), CLIMLINK_KIND_FLOAT32, 1, shape, stride, "cpu", &input);
    climlink_tensor_wrap(y.data(), CLIMLINK_KIND_FLOAT32, 1, shape, stride, "cpu", &output);
    const climlink_value argument = {CLIMLINK_VALUE_TENSOR, input, 0.0, 0};
    const long before = tasks();
    status = climlink_module_forward(module, &argument, 1, &output, 1);
    added = tasks() - before;
    climlink_tensor_delete(&input);
    climlink_tensor_delete(&output);
    climlink_module_delete(&module);
  }).join();
  CHECK(status == CLIMLINK_OK);
  CHECK(added == 3);
}
#endif

TEST_CASE("100,000 steps hold memory flat", "[memory]") {
#if defined(__SANITIZE_ADDRESS__)
  constexpr int steps =
      2000;  // AddressSanitizer keeps freed memory on purpose; it finds leaks in its own way
#else
  constexpr int steps = 100'000;
#endif
  const Handle handle("tiny.pt");
  for (int step = 0; step < 2000; ++step) one_step(handle, 1 + step % 20);
  const long before = resident_kib();
  for (int step = 0; step < steps; ++step) one_step(handle, 1 + step % 20);
  const long growth = resident_kib() - before;
  WARN("resident memory " << before << " KiB after 2,000 steps, " << growth << " KiB more after "
                          << steps << " further steps");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(growth <= 256);  // 100,000 leaked bytes would be 98 KiB: less than three bytes a step
#endif
}

TEST_CASE("opening and closing 200 times holds memory within a bound", "[memory]") {
  for (int i = 0; i < 50; ++i) const Handle handle("tiny.pt");
  const long before = resident_kib();
  for (int i = 0; i < 200; ++i) const Handle handle("tiny.pt");
  const long growth = resident_kib() - before;
  WARN("200 further packages opened and closed: " << growth << " KiB more");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(growth <= 4096);
#endif
}
