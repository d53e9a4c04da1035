// Micro-batches that `climlink bench --tune` measured, by processor, threads, package and engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace climlink {

struct TuningKey {
  std::string processor;
  std::int64_t threads = 1;
  std::string package_sha256, engine, precision;
};

// The micro-batch that a tuning file gives for a key; nothing where it has none. Throws Error: FILE
// if it cannot be read, ARGUMENT if it is no tuning file.
std::optional<std::int64_t> tuned_micro_batch(const std::string& path, const TuningKey& key);

}  // namespace climlink
