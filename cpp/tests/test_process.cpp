// What the runtime does to the process around it: threads, precision and memory.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "support.hpp"

using support::Field;
using support::Handle;

namespace {

long resident_kib() {
  long total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

void one_step(climlink_emulator* emulator, int64_t n) {
  Field<double> t(n, 4, 1.0), q(n, 4, 0.5), ps(n, 0, 2.0), out(n, 4), rain(n, 0);
  const auto ok = [](climlink_status status) {
    if (status != CLIMLINK_OK) throw std::runtime_error(climlink_last_message());
  };
  ok(climlink_begin(emulator, n));
  for (auto [name, field] : {std::pair{"state_t", &t}, std::pair{"state_q0001", &q}, std::pair{"state_ps", &ps}}) {
    const climlink_array view = field->view();
    ok(climlink_set(emulator, name, &view, 0));
  }
  ok(climlink_run(emulator));
  const climlink_array tendency = out.view(), scalar = rain.view();
  ok(climlink_get(emulator, "ptend_t", &tendency, 0));
  ok(climlink_get(emulator, "cam_out_PRECC", &scalar, 0));
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
