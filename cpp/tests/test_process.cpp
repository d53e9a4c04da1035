// What the runtime does to the process around it: threads, precision and memory.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "support.hpp"

using support::Handle;
using support::one_step;

namespace {

long resident_kib() {
  long total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

TEST_CASE("the process keeps its own number of threads and its own float32 precision", "[process]") {
  at::set_num_threads(2);
  at::globalContext().setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL, at::Float32Precision::BF16);
  climlink_options options = climlink_options_default();
  options.threads = 1;
  const Handle handle("tiny.pt", options);
  CHECK(at::get_num_threads() == 2);
  one_step(handle, 5);
  CHECK(at::get_num_threads() == 2);
  CHECK(at::globalContext().float32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL) == at::Float32Precision::BF16);
  support::opening("golden_tampered.pt", options);  // also where opening fails half-way
  CHECK(at::get_num_threads() == 2);
  at::globalContext().setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL, at::Float32Precision::NONE);
}

TEST_CASE("100,000 steps hold memory flat", "[memory]") {
#if defined(__SANITIZE_ADDRESS__)
  constexpr int steps = 2000;  // AddressSanitizer keeps freed memory on purpose; it finds leaks in its own way
#else
  constexpr int steps = 100'000;
#endif
  const Handle handle("tiny.pt");
  for (int step = 0; step < 2000; ++step) one_step(handle, 1 + step % 20);
  const long before = resident_kib();
  for (int step = 0; step < steps; ++step) one_step(handle, 1 + step % 20);
  const long growth = resident_kib() - before;
  WARN("resident memory " << before << " KiB after 2,000 steps, " << growth << " KiB more after " << steps << " further steps");
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
