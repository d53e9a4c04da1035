// What stand_in_device.cpp counts.
#pragma once

#include <cstdint>

namespace stand_in {

constexpr int n_device = 2;

struct Counts {
  std::int64_t to_device = 0, from_device = 0;  // copies
  std::int64_t from_pageable = 0;               // of these, with host memory that is not pinned
  std::int64_t on_default_stream = 0;           // of these
  std::int64_t waits = 0;                       // for a stream
  std::int64_t operations = 0;
  std::int64_t reduced = 0;  // operations while less than float32's precision was allowed
  std::int64_t replays = 0;
};

__attribute__((visibility("default"))) Counts& counts();

// Allocations beyond this throw what libtorch throws; 0: no limit. [byte]
__attribute__((visibility("default"))) void limit_memory(std::int64_t bytes);

}  // namespace stand_in
